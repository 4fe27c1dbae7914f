"""Ctrl-C and Esc in every state of a turn: the prompt is back, the wire is closed, what was shown is kept and marked.

How soon that is, `benchmarks/bench_console.py` measures.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.conversation import CTRL_C, ESC, bar_of, ready
from support.fake_openai import Answer, Call, FakeOpenAI, Request, say
from support.screens import Screen, environment

pytestmark = pytest.mark.terminal

LONG = "and on it goes, " * 400
SEARCH = Call("conversation_search", {"query": "bees", "request_heartbeat": True})
STATES: dict[str, tuple[Answer, str]] = {
    "before the headers": (Answer("Never.", fault="stall_headers"), "· thinking"),
    "before the first byte": (Answer("Never.", fault="stall_first"), "· thinking"),
    "thinking": (Answer(f"THOUGHT {LONG}", (SEARCH,), delay_s=0.01), "┊ THOUGHT"),
    "speaking": (say(f"SPEECH {LONG}", delay_s=0.01), "SPEECH"),
    "writing a call": (Answer("", (Call("archival_memory_insert", {"content": LONG}),), delay_s=0.01), "· thinking"),
    "within a silence": (Answer(f"WORDS {LONG}", fault="stall_middle", delay_s=0.001), "WORDS"),
    "a countdown": (Answer("Busy.", fault="429", retry_after="5"), "· asking again in"),
}
"""What the server does with the message that names a state, and what the screen shows in it."""
CLOSES_THE_WIRE = set(STATES) - {"a countdown"}


def answered(request: Request) -> Answer:
    words = [packet.get("message", "") for packet in request.packets()] or [""]
    if request.packets()[-1]["type"] == "user_message" and words[-1] in STATES:
        return STATES[words[-1]][0]
    return say("Good evening. I am Sam." if len(words) < 2 else f"Here again after {words[-1]}")


@contextmanager
def talking(home: Path, api_base: str, *more: str) -> Iterator[Screen]:
    words = ["-m", "memos", "run", "-m", "openai/fake", "--api-base", api_base, "--set", "memory.embedding=none", *more]
    screen = Screen([sys.executable, *words], env=environment(home), rows=40)
    try:
        yield screen
    finally:
        screen.close()


def stop(screen: Screen, key: str, notice: str = "■ Stopped.") -> None:
    """Press the key, and wait for the notice, the prompt, and the words that were typed there."""
    before = screen.count(notice)
    began = time.monotonic()
    screen.type(f"half a line{key}")
    screen.until(lambda: screen.count(notice) > before)
    screen.until(lambda: " · idle" in bar_of(screen) or "remembered" in bar_of(screen))
    assert time.monotonic() - began < 3.0, "the time-outs are longer: it was the key"
    assert screen.prompt_line == "❯ half a line"
    screen.type("\x7f" * len("half a line"))


def test_in_every_state_of_a_turn_both_keys_stop_it_and_the_next_message_works(tmp_path: Path) -> None:
    with FakeOpenAI(script=answered) as server, talking(tmp_path, server.url, "--set", "road=httpx") as screen:
        ready(screen)
        for number, (state, (_, shown)) in enumerate(STATES.items()):
            left, asked = len(server.client_left_ns), len(server.requests)
            screen.type(f"{state}\r")
            screen.until(lambda asked=asked: len(server.requests) > asked)  # type: ignore[misc]
            screen.until(lambda shown=shown: any(shown in row for row in screen.lines))  # type: ignore[misc]
            stop(screen, (CTRL_C, ESC)[number % 2])
            if state in CLOSES_THE_WIRE:
                server._wait(lambda left=left: len(server.client_left_ns) > left, 5.0, f"the wire to close: {state}")
            screen.type(f"hello {number}\r")
            screen.until(f"Here again after hello {number}")
            screen.until(lambda: " · idle" in bar_of(screen))
        assert screen.count("THOUGHT") == screen.count("SPEECH") == screen.count("WORDS") == 1, "kept, once"
        assert server.violations == []


def test_a_slow_command_is_stopped_too(tmp_path: Path) -> None:
    answers = [say("Good evening. I am Sam."), say("One."), say("Two."), Answer("Never.", fault="stall_first")]
    with (
        FakeOpenAI(script=lambda request: answers[min(request.number, 4) - 1]) as server,
        talking(tmp_path, server.url, "--set", "road=httpx") as screen,
    ):
        ready(screen)
        for typed, reply in (("first\r", "One."), ("second\r", "Two.")):
            screen.type(typed)
            screen.until(reply)
        screen.until(lambda: " · idle" in bar_of(screen))
        screen.type("/summarize\r")
        screen.until(lambda: len(server.requests) == 4)
        stop(screen, CTRL_C, "· Stopped.")
        server.wait_for_client_to_leave()
        server.script = lambda request: say("Still here.")
        screen.type("Hello?\r")
        screen.until("Still here.")


def test_while_a_connection_is_tried_that_never_stands_the_keys_stop_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        crowd = [socket.socket() for _ in range(4)]
        for each in crowd:
            each.setblocking(False)
            each.connect_ex(address)
        url = f"http://127.0.0.1:{address[1]}/v1"
        with talking(tmp_path, url, "--set", "road=httpx", "--set", "terminal.greet=false") as screen:
            screen.until(lambda: screen.prompt_line == "❯")
            screen.type("Is anybody there?\r")
            screen.until(lambda: any(row.startswith("· ") for row in screen.lines))
            screen.read(0.3)
            stop(screen, CTRL_C)
        for each in crowd:
            each.close()


def test_while_litellm_is_still_being_loaded_the_keys_stop_a_turn(tmp_path: Path) -> None:
    with (
        FakeOpenAI(script=lambda request: say("Here I am.")) as server,
        talking(tmp_path, server.url, "--set", "road=litellm", "--set", "terminal.greet=false") as screen,
    ):
        screen.until(lambda: screen.prompt_line == "❯")
        screen.type("Hello?\r")
        screen.until(lambda: any(row.startswith("· ") for row in screen.lines))
        stop(screen, CTRL_C)
        screen.type("Hello again?\r")
        screen.until("Here I am.")
