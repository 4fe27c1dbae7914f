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
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.fake_openai import Answer, Call, FakeOpenAI, Request, say
from support.screens import Screen, environment

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


@contextmanager
def conversation(home: Path, server: FakeOpenAI) -> Iterator[Screen]:
    """Run `memos run` against the server until it has greeted, and yield its screen."""
    # Search by words only: what is under test is the truth, not the index.
    options = ["--model", "openai/fake-model", "--api-base", server.url, "--set", "memory.embedding=none"]
    command = [sys.executable, "-m", "memos", "run", *options]
    screen = Screen(command, columns=120, rows=40, env=environment(home))
    try:
        screen.until("I am here", START_TIMEOUT_S)
        yield screen
    finally:
        screen.close()


def confirmed_facts(screen: Screen) -> set[str]:
    """Return the facts whose calls were shown with their result: each of them was said to be stored."""
    calls = [line for line in screen.scrollback if line.startswith("⚙") and "→" in line]
    return {fact for call in calls for fact in re.findall(r"Fact \d+-\d+\.", call)}


def stored_facts(home: Path) -> Counter[str]:
    with sqlite3.connect(home / "data" / "memos.db") as connection:
        block = connection.execute("SELECT value FROM blocks WHERE label = 'human'").fetchone()[0]
        passages = [row[0] for row in connection.execute("SELECT content FROM passages")]
    return Counter([*block.splitlines(), *passages])


def stored_replies(home: Path) -> Counter[str]:
    """Return how many replies each turn has."""
    with sqlite3.connect(home / "data" / "memos.db") as connection:
        return Counter(row[0] for row in connection.execute("SELECT turn_id FROM messages WHERE role = 'assistant'"))


def paid_calls(home: Path) -> Counter[str]:
    """Return how many model calls the ledger has of each turn."""
    with sqlite3.connect(home / "data" / "memos.db") as connection:
        return Counter(row[0] for row in connection.execute("SELECT turn_id FROM model_calls"))


@pytest.mark.crash
@pytest.mark.timeout(900)
def test_a_kill_at_any_point_of_a_chain_loses_and_doubles_nothing(tmp_path: Path) -> None:
    chance = random.Random(20)
    asked: list[str] = []
    confirmed: set[str] = set()
    with FakeOpenAI(script=chained) as server:
        for point in POINTS:
            with conversation(tmp_path, server) as screen:
                begun = len(server.requests)
                screen.type(f"Go {point}\r")
                asked.append(f"Go {point}")
                screen.until(lambda: len(server.requests) >= begun + point)  # noqa: B023 (used within the round)
                screen.read(chance.uniform(0.0, 0.12))
                screen.kill(signal.SIGKILL)
                assert screen.exit_code() == -signal.SIGKILL
                confirmed |= confirmed_facts(screen)
        with conversation(tmp_path, server) as screen:
            screen.type("And now?\r")
            screen.until("I am here: And now?")
            assert server.violations == []
            screen.type("\x04")
            assert screen.exit_code() == 0
    stored = stored_facts(tmp_path)
    assert paid_calls(tmp_path) == stored_replies(tmp_path), "a reply without its model call, or the other way round"
    assert confirmed, "nothing was confirmed: the test has seen nothing"
    assert confirmed <= set(stored), "a fact that was shown as stored is missing"
    assert set(stored.values()) == {1}, "a fact is there twice"
    with sqlite3.connect(tmp_path / "data" / "memos.db") as connection:
        typed = [row[0] for row in connection.execute("SELECT content FROM messages WHERE kind = 'user_message'")]
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert connection.execute("SELECT count(*) FROM messages WHERE state = 'provisional'").fetchone()[0] == 0
    assert typed == [*asked, "And now?"], "what was typed is there once, in order"
