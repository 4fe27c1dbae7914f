"""Every command that the README and `memos help` show is run, as it stands there, in a home of its own.

Names in capitals are filled in, and addresses lead to a fake server that speaks the wire of the backend that is meant.
Where a page shows what a command prints, that is compared to the letter.
What cannot be run here stands in `NOT_RUN`, each with its reason.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.backends import AWS, BACKENDS, Backend
from support.command_line import clean_environ
from support.documented import Documented, documented
from support.minds import GREETED, HELLO

from memos.cli.app import app

NOT_RUN: Mapping[str, str] = {
    r"pip install .*": ".ci/run runs it, to the letter",
    r"memos configure": "asks a person; tests/terminal/test_first_run.py answers",
    r"memos models get builtin/small": "1.1 GB from huggingface.co; tests/llm/test_hub_weights.py has a hub of its own",
    r"memos run --model gguf:/path/to/model.gguf": "a model of the reader's; tests/llm/test_embedded.py runs one",
    r"sqlite-utils .*": "tests/cli/test_help_database.py runs each on a database that was lived in",
    r"datasette .*": "a server for a browser",
    r"(koboldcpp|ollama pull|llama-server|\./FILE\.llamafile|vllm serve) .*": "another program",
}
COMMANDS = [each for each in documented() if not any(re.fullmatch(pattern, each.command) for pattern in NOT_RUN)]
BY_PREFIX = {backend.model.partition("/")[0]: backend for backend in reversed(BACKENDS)}
BY_NAME = {backend.name: backend for backend in BACKENDS}
KEY = "sk-test-0123456789"
TIMEOUT_S = 100


def backend_of(command: str) -> Backend:
    """Return the backend that a command means; OpenAI's where it names none."""
    if "LOAD_BALANCER" in command:
        return BY_NAME["gateway"]
    named = re.search(r"(?:--model|--model-endpoint-type|model=)[ =]?([a-z_]+)", command)
    return BY_PREFIX.get(named[1], BY_NAME["openai"]) if named else BY_NAME["openai"]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder with the files that commands name, and `memos` on the path."""
    texts = {"error.log": "Error: no honey.", "old.txt": "Old.", "new.txt": "New.", "question.txt": HELLO}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    speaking = [{"calls": [{"name": "send_message", "arguments": {"message": GREETED}}]}]
    (tmp_path / "replies.json").write_text(json.dumps(speaking), encoding="utf-8")
    program = tmp_path / "bin" / "memos"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m memos "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    yield tmp_path


@pytest.mark.parametrize("shown", COMMANDS, ids=lambda shown: shown.place)
def test_a_documented_command_does_what_it_says(shown: Documented, desk: Path) -> None:
    backend, command = backend_of(shown.command), shown.command
    if "jq" in command and not shutil.which("jq"):
        pytest.skip("jq is not installed")
    with backend.serve() as server:
        root = re.match(r"http://[^/]+", server.url)
        assert root
        command = re.sub(r"http://(localhost:\d+|LOAD_BALANCER)", root[0], command)
        command = re.sub(r"(VENDOR/)?\bMODEL\b", backend.model.partition("/")[2], command)
        environ = clean_environ(desk / "home", MEMOS_MEMORY_EMBEDDING="none", MEMOS_TERMINAL_GREET="false")
        environ |= dict(backend.environ) | {name: value.replace("…", KEY) for name, value in shown.exports.items()}
        environ["PATH"] = f"{desk / 'bin'}{os.pathsep}{environ['PATH']}"
        if root[0] not in command and "scripted:" not in command:
            environ["MEMOS_API_BASE"] = server.url
        if "model" not in command:
            environ["MEMOS_MODEL"] = backend.model
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            env=environ,
            input=HELLO + "\n" if "-p" not in command else "",
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            cwd=desk,
        )
    assert "Traceback" not in done.stderr, (command, done.stdout, done.stderr)
    if shown.printed is not None:
        assert done.stdout + done.stderr == shown.printed, f"{shown.place} shows what is no longer so"
        return
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    if re.match(r"memos run --model|memos run -p .Hello", command):
        assert GREETED in done.stdout, (command, done.stdout, done.stderr)


def test_what_is_not_run_is_still_shown_somewhere_and_the_rest_is_not_nothing() -> None:
    shown = [each.command for each in documented()]
    for pattern in NOT_RUN:
        assert any(re.fullmatch(pattern, command) for command in shown), f"{pattern} is shown nowhere any more"
    assert len(COMMANDS) >= 25
    assert any(each.printed for each in COMMANDS)
    assert AWS.keys() <= BY_NAME["bedrock"].environ.keys()


def test_every_flag_that_a_documented_command_names_exists() -> None:
    """Those that are not run, too."""
    import typer

    commands = typer.main.get_command(app)
    assert isinstance(commands, typer.core.TyperGroup)
    for each in documented():
        for words in re.findall(r"\bmemos ([a-z][^|&<]*)", each.command):
            name, *rest = words.split()
            command = commands.commands[name]
            if isinstance(command, typer.core.TyperGroup):
                command = command.commands[rest[0]]
            offered = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
            flags = {word.partition("=")[0] for word in rest if word.startswith("-") and word != "-"}
            assert flags <= offered, each
