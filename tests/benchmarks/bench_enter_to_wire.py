"""From Enter to the request at the server, and from its last byte to the screen: the real program in a pseudo-terminal.

    python tests/benchmarks/bench_enter_to_wire.py

Beside it a raw httpx POST of the same body in the same run.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
import pexpect

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.figures import Figure, Size, run_alone, spread
from support.fake_openai import Answer, Call, FakeOpenAI, Request

TURNS: dict[Size, int] = {"quick": 10, "usual": 30, "full": 30}


def echo_with_mark(request: Request) -> Answer:
    """Answer with a message whose end can be waited for on the screen."""
    words = [str(packet.get("message", "")) for packet in request.packets()]
    return Answer(calls=(Call("send_message", {"message": f"Heard {words[-1]} END{request.number}"}),), chunk_chars=64)


def wait_for(child: pexpect.spawn[str], condition: object, timeout_s: float = 60) -> None:
    """Read what the program writes until `condition()` holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "timed out"
        try:
            child.read_nonblocking(4096, timeout=0.0005)
        except pexpect.TIMEOUT:
            continue


def figures(size: Size) -> list[Figure]:
    """Return what memos adds before the request and after the reply."""
    turns = TURNS[size]
    to_wire, to_screen, raw = [], [], []
    with FakeOpenAI(script=echo_with_mark) as server, tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "MEMOS_HOME": home, "PROMPT_TOOLKIT_NO_CPR": "1", "MEMOS_MEMORY_EMBEDDING": "none"}
        arguments = ["-m", "memos", "run", "-m", "openai/fake-model", "--api-base", server.url]
        child = pexpect.spawn(sys.executable, arguments, env=environ, dimensions=(30, 100), encoding="utf-8")
        child.delaybeforesend = None  # pexpect waits 50 ms before it types
        child.expect("END1", timeout=60)
        time.sleep(3)  # the warm-up behind the prompt is over
        for turn in range(turns):
            known = len(server.requests)
            child.send(f"turn {turn}")
            wait_for(child, lambda until_s=time.monotonic() + 0.1: time.monotonic() > until_s)
            began_ns = time.monotonic_ns()
            child.send("\r")
            wait_for(child, lambda: len(server.requests) > known)  # noqa: B023
            request = server.requests[-1]
            to_wire.append((request.received_ns - began_ns) / 1e6)
            child.expect(f"END{request.number}", timeout=20)
            to_screen.append((time.monotonic_ns() - request.received_ns) / 1e6)
            time.sleep(0.3)
        body = dict(server.requests[-1].body)
        with httpx.Client() as client:
            for _ in range(turns):
                began_ns = time.monotonic_ns()
                client.post(f"{server.url}/chat/completions", json=body)
                raw.append((server.requests[-1].received_ns - began_ns) / 1e6)
        child.sendcontrol("c")
        child.close(force=True)
    median, plainly = statistics.median(to_wire), statistics.median(raw)
    return [
        Figure(8, "Enter to request on the wire, median", median, "ms", 10.0, baseline=spread(to_wire)),
        Figure(2, "Enter to request on the wire", median / plainly, "x", baseline=f"raw httpx POST, {plainly:.1f} ms"),
        Figure(
            2,
            "request received to whole reply on screen",
            statistics.median(to_screen),
            "ms",
            baseline=spread(to_screen),
        ),
    ]


if __name__ == "__main__":
    sys.exit(run_alone(figures))
