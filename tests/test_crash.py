"""kill -9 in the middle of a chain of heartbeats, twenty times over: nothing confirmed is lost, nothing is there twice.

The real program in a pseudo-terminal, against a real HTTP server that refuses every history that breaks the rules of
pairing. `MEMOS_TEST_FULL=1` runs all twenty points; otherwise five of them.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import sys
import time
from collections import Counter
from pathlib import Path

import pexpect
import pytest
from support.fake_openai import Answer, Call, FakeOpenAI, Request, say

STEPS = 20
POINTS = range(1, 21) if os.environ.get("MEMOS_TEST_FULL") else (1, 4, 9, 16, 20)
START_TIMEOUT_S = 60


def chained(request: Request) -> Answer:
    """Answer "Go N" by a chain of 20 calls and a message, and anything else at once."""
    newest = [packet for packet in request.packets() if packet["type"] != "heartbeat"][-1]
    words = str(newest.get("message", ""))
    if not words.startswith("Go "):
        return say(f"I am here: {words}")
    done = request.results_since()
    if done >= STEPS:
        return say(f"Finished {words}.", delay_s=0.02)
    fact = f"Fact {words[3:]}-{done + 1}."
    if done % 4:
        call = Call("archival_memory_insert", {"content": fact, "request_heartbeat": True})
    else:
        call = Call("core_memory_append", {"name": "human", "content": fact, "request_heartbeat": True})
    return Answer(text=f"Step {done + 1}: I keep {fact}", calls=(call,), delay_s=0.005)


class Terminal:
    """`memos run` in a pseudo-terminal; `shown` is all it ever wrote."""

    def __init__(self, home: Path, server: FakeOpenAI) -> None:
        environment = {
            **os.environ,
            "MEMOS_HOME": str(home),
            "MEMOS_MEMORY_EMBEDDING": "none",  # what is under test is the truth, not the index
            "PROMPT_TOOLKIT_NO_CPR": "1",
        }
        arguments = ["-m", "memos", "run", "--model", "openai/fake-model", "--api-base", server.url]
        self.child = pexpect.spawn(
            sys.executable, arguments, env=environment, dimensions=(40, 120), encoding="utf-8", timeout=START_TIMEOUT_S
        )
        self._written: list[str] = []
        self.child.logfile_read = self  # type: ignore[assignment]

    def write(self, text: str) -> None:
        self._written.append(text)

    def flush(self) -> None:
        pass

    @property
    def shown(self) -> str:
        return "".join(self._written)

    def say(self, text: str) -> None:
        self.child.send(text + "\r")

    def read_until(self, condition, timeout_s: float = START_TIMEOUT_S) -> None:  # type: ignore[no-untyped-def]
        """Read what is written, so that the program never waits for us, until `condition` holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, self.shown[-2000:]
            try:
                self.child.read_nonblocking(4096, timeout=0.01)
            except pexpect.TIMEOUT:
                continue

    def kill(self) -> None:
        self.child.kill(signal.SIGKILL)
        self.child.expect(pexpect.EOF)
        self.child.close()


def confirmed_facts(shown: str) -> set[str]:
    """Return the facts whose calls were shown with their result: each of them was said to be stored."""
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    calls = [line.split("⚙", 1)[1] for line in plain.splitlines() if "⚙" in line and "→" in line]
    return {fact for call in calls for fact in re.findall(r"Fact \d+-\d+\.", call)}


def stored_facts(home: Path) -> Counter[str]:
    with sqlite3.connect(home / "data" / "memos.db") as connection:
        block = connection.execute("SELECT value FROM blocks WHERE label = 'human'").fetchone()[0]
        passages = [row[0] for row in connection.execute("SELECT content FROM passages")]
    return Counter([*block.splitlines(), *passages])


@pytest.mark.crash
@pytest.mark.timeout(900)
def test_a_kill_at_any_point_of_a_chain_loses_and_doubles_nothing(tmp_path: Path) -> None:
    chance = random.Random(20)
    asked: list[str] = []
    confirmed: set[str] = set()
    with FakeOpenAI(script=chained) as server:
        for point in POINTS:
            terminal = Terminal(tmp_path, server)
            terminal.read_until(lambda: "I am here" in terminal.shown)  # noqa: B023 (used within the round)
            begun = len(server.requests)
            terminal.say(f"Go {point}")
            asked.append(f"Go {point}")
            terminal.read_until(lambda: len(server.requests) >= begun + point)  # noqa: B023
            end_s = time.monotonic() + chance.uniform(0.0, 0.12)
            terminal.read_until(lambda: time.monotonic() >= end_s)  # noqa: B023
            terminal.kill()
            confirmed |= confirmed_facts(terminal.shown)
        terminal = Terminal(tmp_path, server)
        terminal.read_until(lambda: "I am here" in terminal.shown)
        terminal.say("And now?")
        terminal.read_until(lambda: "I am here: And now?" in terminal.shown)
        assert server.violations == []
        terminal.child.sendeof()
        terminal.child.expect(pexpect.EOF)
    stored = stored_facts(tmp_path)
    assert confirmed, "nothing was confirmed: the test has seen nothing"
    assert confirmed <= set(stored), "a fact that was shown as stored is missing"
    assert set(stored.values()) == {1}, "a fact is there twice"
    with sqlite3.connect(tmp_path / "data" / "memos.db") as connection:
        typed = [row[0] for row in connection.execute("SELECT content FROM messages WHERE kind = 'user_message'")]
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert connection.execute("SELECT count(*) FROM messages WHERE state = 'provisional'").fetchone()[0] == 0
    assert typed == [*asked, "And now?"], "what was typed is there once, in order"
