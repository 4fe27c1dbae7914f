"""The console under load, in a pseudo-terminal: echo of keys, cost of drawing, and how soon Ctrl-C gives the prompt.

    python tests/benchmarks/bench_console.py

Keystroke echo while 500 tokens a second stream (bound: p95 30 ms); drawing 800 chunks against printing them plainly
(bound: 3 times); Ctrl-C to the prompt in each state of a turn (bound: 200 ms). The screen is read, not emulated.
"""

from __future__ import annotations

import json
import os
import pty
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import pexpect

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.figures import Figure, Size, p95, run_alone, spread
from support.fake_openai import Answer, FakeOpenAI, say
from support.screens import environment, saying

from memos.messages import Said, SpeechDelta, StepStarted, TurnDone
from memos.terminal.consoles import make_console
from memos.terminal.marks import DRAWN
from memos.terminal.painter import Painter

TOKENS_A_SECOND = 500
ECHO_BOUND_MS, DRAWING_BOUND, STOP_BOUND_MS = 30.0, 3.0, 200.0
KEYS: dict[Size, int] = {"quick": 40, "usual": 100, "full": 100}
TURNS: dict[Size, int] = {"quick": 1, "usual": 3, "full": 3}
KEY_NAMES = {"\x03": "Ctrl-C", "\x1b": "Esc"}
WORDS = "The story goes on and on, with [abc] and [/foo] in it. "


def started(home: Path, replies: list[dict[str, Any]], *more: str, model: str = "") -> pexpect.spawn[bytes]:
    """Start memos with a scripted model, or the given one, and wait for the greeting."""
    script = home / "script.json"
    script.write_text(json.dumps(replies))
    words = ["-m", "memos", "run", "-m", model or f"scripted:{script}", "--set", "memory.embedding=none", *more]
    child = pexpect.spawn(sys.executable, words, env=environment(home), dimensions=(30, 100))
    child.delaybeforesend = None
    child.expect("Good evening", timeout=60)
    read_for(child, 1.0)
    return child


def read_for(child: pexpect.spawn[bytes], seconds: float) -> bytes:
    """Return what arrives in that time."""
    data, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        data += read(child)
    return data


def read(child: pexpect.spawn[bytes]) -> bytes:
    """Return what is there, or comes within a millisecond."""
    try:
        return child.read_nonblocking(65_536, timeout=0.001)
    except pexpect.TIMEOUT:
        return b""


def milliseconds_until(child: pexpect.spawn[bytes], seen: Callable[[bytes], bool], timeout_s: float = 20.0) -> float:
    """Return how long it takes until `seen` holds of what arrived since."""
    began, data = time.monotonic(), b""
    while not seen(data):
        assert time.monotonic() - began < timeout_s, data[-2000:]
        data += read(child)
    return (time.monotonic() - began) * 1000


def echoes(keys: int, *, streaming: bool) -> list[float]:
    """Return milliseconds from each key to its echo: a letter that no reply contains."""
    reply = saying(WORDS * 400, delay_s=1 / TOKENS_A_SECOND, chunk_chars=4)
    with tempfile.TemporaryDirectory() as home:
        child = started(Path(home), [saying("Good evening."), reply])
        if streaming:
            child.send("Go\r")
            child.expect("The story", timeout=20)
        times = []
        for _ in range(keys):
            read_for(child, 0.07)
            child.send("Q")
            times.append(milliseconds_until(child, lambda data: b"Q" in data))
        child.close(force=True)
    return times


def drawing(chunks: int = 800) -> tuple[float, float]:
    """Return how many times the processor time of printing a message of so many chunks it takes to draw it.

    First against Rich's print of each chunk, then against a bare print of each, flushed as it comes. All three write
    to a terminal that another thread reads. The message is Markdown, in paragraphs of ten rows.
    """
    text = (WORDS * 15 + "\n\n") * chunks
    pieces = [text[start : start + 4] for start in range(0, 4 * chunks, 4)]
    with terminal() as paper:

        def drawn() -> None:
            console = make_console(paper, colours=True, width_cells=100)
            painter = Painter(console, "sam", DRAWN, width_cells=lambda: 99, tail_limit_rows=lambda: 12, markdown=True)
            painter.consume(StepStarted(1, 30))
            for number, piece in enumerate(pieces):
                painter.consume(SpeechDelta(piece))
                if number % 25 == 0:  # 20 times a second at 500 a second
                    paper.write("\r".join(row for _, row in painter.tail_rows()))
                    paper.flush()
            painter.consume(Said("".join(pieces)))
            painter.consume(TurnDone(1))
            paper.flush()

        def printed_by_rich() -> None:
            console = make_console(paper, colours=True, width_cells=100)
            for piece in pieces:
                console.print(piece, end="")

        def printed() -> None:
            for piece in pieces:
                print(piece, end="", file=paper, flush=True)

        cost = best(drawn)
        return cost / best(printed_by_rich), cost / best(printed)


@contextmanager
def terminal() -> Iterator[TextIO]:
    """Yield a terminal to write to; another thread reads what is written."""
    reader, writer = pty.openpty()
    threading.Thread(target=drain, args=(reader,), daemon=True).start()
    with os.fdopen(writer, "w", encoding="utf-8") as paper:
        yield paper


def drain(reader: int) -> None:
    """Read until the other side is closed."""
    with suppress(OSError):
        while os.read(reader, 65_536):
            pass


def best(work: Callable[[], None], runs: int = 15) -> float:
    """Return the least processor time of several runs, in seconds."""
    times = []
    for _ in range(runs):
        began = time.thread_time()
        work()
        times.append(time.thread_time() - began)
    return min(times)


STATES: dict[str, list[dict[str, Any]]] = {
    "waiting for the first word": [saying("Never.", delay_s=30.0, chunk_chars=100)],
    "thinking": [{"monologue": WORDS * 200, "text": "x", "delay_s": 0.01, "chunk_chars": 4}],
    "speaking": [saying(WORDS * 200, delay_s=0.01, chunk_chars=4)],
    "speaking fast": [saying(WORDS * 400, delay_s=0.002, chunk_chars=4)],
    "second step": [
        {"calls": [{"name": "conversation_search", "arguments": {"query": "bees", "request_heartbeat": True}}]},
        saying("Never.", delay_s=30.0, chunk_chars=100),
    ],
}


def interrupts(replies: list[dict[str, Any]], key: str, turns: int) -> list[float]:
    """Return milliseconds from the key to the notice that the turn is over, which the prompt follows in one write."""
    times = []
    for _ in range(turns):
        with tempfile.TemporaryDirectory() as home:
            child = started(Path(home), [saying("Good evening."), *replies])
            child.send("Go\r")
            read_for(child, 1.0)
            child.send(key)
            times.append(milliseconds_until(child, lambda data: b"Stopped." in data))
            child.close(force=True)
    return times


SERVED: dict[str, tuple[str, Answer]] = {
    "at an endpoint that never answers": ("Go", Answer(fault="stall_headers")),
    "before the first byte": ("Go", Answer(fault="stall_first")),
    "in a silence amid a reply": ("Go", Answer(WORDS * 10, fault="stall_middle")),
    "in a retry countdown": ("Go", Answer(fault="429", retry_after="10")),
    "in a summary that a command waits for": ("/summarize", Answer(fault="stall_first")),
}
"""What is typed, and what the server does then."""


def served(typed: str, answer: Answer, key: str, turns: int) -> list[float]:
    """Return the same for an endpoint over HTTP."""
    times = []
    answers = [say("Good evening."), say("One."), say("Two."), answer]
    for _ in range(turns):
        with (
            tempfile.TemporaryDirectory() as home,
            FakeOpenAI(script=lambda request: answers[min(request.number, 4) - 1]) as server,
        ):
            child = started(Path(home), [], "--api-base", server.url, "--set", "road=httpx", model="openai/fake")
            for words in ("One?", "Two?", typed):
                child.send(f"{words}\r")
                read_for(child, 0.5)
            read_for(child, 1.0)
            child.send(key)
            times.append(milliseconds_until(child, lambda data: b"Stopped." in data))
            child.close(force=True)
    return times


def stopping(what: str, times: Callable[[], list[float]]) -> Figure:
    """Return the slowest of some interruptions; one that never comes fails alone."""
    try:
        found = times()
    except (AssertionError, pexpect.ExceptionPexpect) as error:
        return Figure(8, f"{what}, to the prompt", None, "ms", missing=f"failed: {str(error)[:100]!r}")
    return Figure(8, f"{what}, to the prompt", max(found), "ms", STOP_BOUND_MS, baseline=spread(found))


def figures(size: Size) -> list[Figure]:
    """Return echoes, the cost of drawing, and how soon each state is stopped by each key."""
    keys, turns = KEYS[size], TURNS[size]
    idle, streaming = echoes(keys, streaming=False), echoes(keys, streaming=True)
    by_rich, bare = drawing()
    while_it_streams = f"echo of a key at {TOKENS_A_SECOND} tokens a second, p95"
    stops = [
        stopping(f"{name} {what}", times)
        for key, name in KEY_NAMES.items()
        for what, times in (
            *((f"while {state}", partial(interrupts, replies, key, turns)) for state, replies in STATES.items()),
            *((state, partial(served, typed, answer, key, turns)) for state, (typed, answer) in SERVED.items()),
        )
    ]
    return [
        Figure(8, "echo of a key, idle, p95", p95(idle), "ms", ECHO_BOUND_MS, baseline=spread(idle)),
        Figure(8, while_it_streams, p95(streaming), "ms", ECHO_BOUND_MS, baseline=spread(streaming)),
        Figure(8, "drawing 800 chunks", bare, "x", DRAWING_BOUND, baseline="a bare print of each, flushed"),
        Figure(8, "drawing 800 chunks by Rich", by_rich, "x", baseline="Rich's print of each"),
        *stops,
    ]


if __name__ == "__main__":
    sys.exit(run_alone(figures))
