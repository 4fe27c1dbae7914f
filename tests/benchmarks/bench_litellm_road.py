"""What the litellm road costs, as ratios from one run: `python tests/benchmarks/bench_litellm_road.py`.

Request to wire (median, warm), and CPU per streamed chunk, for raw httpx, bare litellm in this process, and our
processor by its road to litellm in another (both processes count), in turn against the fake server in a process of its
own.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.figures import Figure, Size, run_alone  # noqa: E402

ROUNDS: dict[Size, int] = {"quick": 6, "usual": 15, "full": 15}
WORDS = "word " * 200  # 2 characters a chunk: about 500 chunks
PAUSE_S = 0.1  # between two turns a person reads; what litellm does after a reply is done by then
WIRE_BOUND = 1.5
CHUNK_BOUND = 1.3

Run = Callable[[str], Awaitable[int]]


async def raw_httpx(url: str, client: Any) -> int:
    chunks = 0
    async with client.stream("POST", f"{url}/chat/completions", json=body()) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                json.loads(line[6:])
                chunks += 1
    return chunks


def body() -> dict[str, Any]:
    from memos.llm.chat_messages import chat_messages, tools

    return {
        "model": "fake-model",
        "messages": chat_messages(prompt()),
        "tools": tools(prompt().functions),
        "stream": True,
    }


async def bare_litellm(url: str) -> int:
    from memos.llm.quiet_litellm import import_litellm

    litellm = import_litellm()
    request = {**body(), "model": "openai/fake-model", "max_retries": 0, "num_retries": 0}
    stream = await litellm.acompletion(**request, api_base=url, api_key="none")
    return len([chunk async for chunk in stream])


def prompt() -> Any:
    from memos.messages import Counters, EventKind, FunctionSchema, Message, Prompt, utc_now

    schema = FunctionSchema(
        "send_message", "Say it.", {"type": "object", "properties": {"message": {"type": "string"}}}
    )
    event = Message("user", "Hello.", "a", "t", kind=EventKind.USER_MESSAGE)
    return Prompt("Be kind.", (schema,), (), (event,), Counters(utc_now()))


async def measure(url: str, rounds: int) -> dict[str, dict[str, float]]:
    import httpx

    from memos.llm.litellm_process import shared_process
    from memos.llm.litellm_road import LitellmRoad
    from memos.llm.remote_processor import RemoteProcessor

    ours = RemoteProcessor("openai/fake-model", LitellmRoad("openai/fake-model", api_base=url), api_base=url)
    await ours.warm_up()
    host = shared_process().pid
    assert host is not None
    client = httpx.AsyncClient(timeout=60)

    async def our_road(url: str) -> int:
        return len([part async for part in ours.infer(prompt())])

    roads: dict[str, Run] = {"httpx": lambda u: raw_httpx(u, client), "litellm": bare_litellm, "memos": our_road}
    cpu: dict[str, list[float]] = {name: [] for name in roads}
    wire: dict[str, list[float]] = {name: [] for name in roads}
    pieces = {}
    for number in range(rounds + 2):
        for name, road in sorted(roads.items(), reverse=bool(number % 2)):
            started_ns, started_cpu = time.monotonic_ns(), time.process_time() + cpu_s_of(host)
            pieces[name] = await road(url)
            await asyncio.sleep(PAUSE_S)
            if number >= 2:
                cpu[name].append((time.process_time() + cpu_s_of(host) - started_cpu) * 1e3)
                wire[name].append((newest_request_ns(url) - started_ns) / 1e6)
    await client.aclose()
    await ours.aclose()
    return {
        name: {
            "enter_to_wire_ms": statistics.median(wire[name]),
            "least_enter_to_wire_ms": min(wire[name]),
            "cpu_per_chunk_us": statistics.median(cpu[name]) * 1e3 / pieces["httpx"],
        }
        for name in roads
    }


def cpu_s_of(pid: int) -> float:
    """Return the CPU time another process has used, by its clock."""
    return time.clock_gettime((~pid << 3) | 2)


def newest_request_ns(url: str) -> int:
    """Return when the server had the newest request; its clock is ours, on one machine."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/requests", timeout=10) as response:
        return int(json.load(response)["requests"][-1]["received_ns"])


@contextmanager
def fake_server(script: str) -> Iterator[str]:
    """Serve `script` from a process of its own; yield its API base."""
    command = [sys.executable, "-m", "support.fake_openai", "--script", script]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def figures(size: Size) -> list[Figure]:
    """Return both ratios to bare litellm, and the time from Enter to the wire."""
    rounds = ROUNDS[size]
    with fake_server(f"chars:2:{WORDS}") as url:
        found = asyncio.run(measure(url, rounds))
    ours, bare, raw = found["memos"], found["litellm"], found["httpx"]
    chunk, least_ms = "cpu_per_chunk_us", "least_enter_to_wire_ms"
    return [
        Figure(
            *(6, "per chunk, litellm road", ours[chunk] / bare[chunk], "x", CHUNK_BOUND),
            baseline=f"bare litellm, {bare[chunk]:.0f} us CPU a chunk (raw httpx {raw[chunk]:.0f}); {rounds} rounds",
        ),
        Figure(
            *(6, "request to wire, litellm road, least round", ours[least_ms] / bare[least_ms], "x", WIRE_BOUND),
            baseline=f"bare litellm, {bare[least_ms]:.1f} ms (raw httpx {raw[least_ms]:.1f})",
        ),
        Figure(
            6, "request to wire, litellm road", ours["enter_to_wire_ms"], "ms", 10.0, baseline=f"median of {rounds}"
        ),
    ]


if __name__ == "__main__":
    sys.exit(run_alone(figures))
