"""A conversation that is told to end, or whose terminal goes away, ends in order and keeps what was being said."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import clean_environ
from support.fake_openai import FakeOpenAI, echo, say
from support.screens import Screen, environment

TIMEOUT_S = 30.0
QUIET = ("--set", "memory.embedding=none", "--set", "terminal.greet=false", "--set", "window_tokens=32768")


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


def command(server: FakeOpenAI, *words: str) -> list[str]:
    return [sys.executable, "-m", "memos", "run", "-m", "openai/x", "--api-base", server.url, *QUIET, *words]


def stored(home: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(f"file:{home}/data/memos.db?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT role, content || payload, state FROM messages ORDER BY seq")
        return [(state, text) for _, text, state in rows]


def begin(screen: Screen, home: Path, words: list[str]) -> None:
    """Ask, and wait until some of the reply is on disk."""
    screen.until("\n>" if words else "❯")
    screen.type("Tell me of bees.\r")
    screen.until(lambda: "speech" in str(_peek(home)))


def check_kept_and_goes_on(home: Path, server: FakeOpenAI) -> None:
    """Hold that what was typed is kept, what was streamed is marked, and the next run is answered."""
    (typed_state, typed), (said_state, said) = stored(home)
    assert typed_state == "complete" and "Tell me of bees." in typed
    assert said_state == "incomplete" and '"speech"' in said
    server.script, before = echo, len(server.violations)
    done = subprocess.run(
        [*command(server), "-p", "And now?"],
        env=clean_environ(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "You said: And now?\n")
    assert len(server.violations) == before


@pytest.mark.terminal
@pytest.mark.parametrize("words", [[], ["--plain"]], ids=["live screen", "plain lines"])
@pytest.mark.parametrize(("strike", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_in_a_terminal_ends_it_in_order(
    tmp_path: Path, server: FakeOpenAI, words: list[str], strike: signal.Signals, code: int
) -> None:
    server.script = lambda request: say("Sentence after sentence. " * 100, delay_s=0.05)
    screen = Screen(command(server, *words), env=environment(tmp_path))
    try:
        begin(screen, tmp_path, words)
        screen.kill(strike)
        assert screen.exit_code() == code
        assert "Saved. Resume: memos run" in screen.text
    finally:
        screen.close()
    check_kept_and_goes_on(tmp_path, server)


@pytest.mark.terminal
@pytest.mark.parametrize("words", [[], ["--plain"]], ids=["live screen", "plain lines"])
def test_a_terminal_that_goes_away_loses_nothing(tmp_path: Path, server: FakeOpenAI, words: list[str]) -> None:
    server.script = lambda request: say("Sentence after sentence. " * 100, delay_s=0.05)
    screen = Screen(command(server, *words), env=environment(tmp_path))
    begin(screen, tmp_path, words)
    assert screen.hang_up() == 129
    check_kept_and_goes_on(tmp_path, server)


def test_a_signal_in_a_pipe_of_lines_ends_it_in_order(tmp_path: Path, server: FakeOpenAI) -> None:
    server.script = lambda request: say("Sentence after sentence. " * 100, delay_s=0.05)
    process = subprocess.Popen(
        command(server),
        env=clean_environ(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin
    process.stdin.write("Tell me of bees.\n")
    process.stdin.flush()
    while "speech" not in str(_peek(tmp_path)):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 143 and "Traceback" not in err and "Saved. Resume: memos run" in out
    check_kept_and_goes_on(tmp_path, server)


def _peek(home: Path) -> list[tuple[str, str]]:
    try:
        return stored(home)
    except sqlite3.Error:
        return []  # it is not there yet
