"""`memos help`: a list, a topic, and one sentence for a topic that is not there."""

from __future__ import annotations

import re
from pathlib import Path

from support.backends import BACKENDS
from support.command_line import memos, memos_on_a_terminal

from memos.cli.app import app
from memos.help import text_of, topics


def test_without_a_topic_all_are_listed(tmp_path: Path) -> None:
    run = memos(tmp_path, "help")
    assert run.returncode == 0
    for topic, about in topics().items():
        assert re.search(rf"^{topic} +{re.escape(about)}$", run.stdout, re.MULTILINE)


def test_in_a_pipe_a_topic_is_its_markdown(tmp_path: Path) -> None:
    printed = memos(tmp_path, "help", "backends").stdout
    assert printed.startswith("# Backends")
    assert "<!--" not in printed
    assert "\x1b" not in printed
    for backend in BACKENDS:
        assert f"| {backend.title} |" in printed


def test_on_a_terminal_it_is_drawn(tmp_path: Path) -> None:
    drawn = memos_on_a_terminal(tmp_path, "help", "backends")
    assert "\x1b[" in drawn
    assert "koboldcpp" in drawn
    assert "| --- |" not in drawn


def test_a_topic_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    run = memos(tmp_path, "help", "backend")
    assert run.returncode == 2
    assert run.stderr == '✗ There is no help on "backend".\n  Next: memos help backends\n'


def test_every_flag_and_command_that_a_topic_shows_is_there() -> None:
    import typer

    commands = typer.main.get_command(app)
    assert isinstance(commands, typer.core.TyperGroup)
    for topic in topics():
        for words in re.findall(r"\bmemos ((?:run|configure|doctor|list|help)\b[^`\n#|<]*)", text_of(topic)):
            name, *rest = words.split()
            offered = {flag for option in commands.commands[name].params for flag in option.opts}
            flags = {word for word in rest if word.startswith("-")} - {"--help"}
            assert flags <= offered, (topic, words)
