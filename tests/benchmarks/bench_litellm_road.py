"""What the litellm road costs, as ratios from one run: `python tests/benchmarks/bench_litellm_road.py`.

Enter to wire (median, warm), and CPU per streamed chunk, for raw httpx, bare litellm in this process, and our processor
by its road to litellm in another (both processes count), in turn against the fake server in a process of its own. Exits
with 1 when a bar is missed.
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
ROUNDS = 15
WORDS = "word " * 200  # 2 characters a chunk: about 500 chunks
PAUSE_S = 0.1  # between two turns a person reads; what litellm does after a reply is done by then
TARGET_ENTER_TO_WIRE_MS = 10.0  # the median on an idle machine; the bar is the ratio of the least disturbed rounds
BAR_ENTER_TO_WIRE_RATIO = 1.5
BAR_CHUNK_RATIO = 1.3

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


async def measure(url: str) -> dict[str, dict[str, float]]:
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
    for number in range(ROUNDS + 2):
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


def main() -> int:
    with fake_server(f"chars:2:{WORDS}") as url:
        measured = asyncio.run(measure(url))
    for name, figures in measured.items():
        print(f"{name:8} " + "  ".join(f"{key} {value:8.2f}" for key, value in figures.items()))
    ours, bare, raw = measured["memos"], measured["litellm"], measured["httpx"]
    ratio = ours["cpu_per_chunk_us"] / bare["cpu_per_chunk_us"]
    print(f"per chunk: {ratio:.2f}x bare litellm (bar {BAR_CHUNK_RATIO}x)", end=", ")
    print(f"{ours['cpu_per_chunk_us'] / raw['cpu_per_chunk_us']:.1f}x raw httpx")
    least_ms = ours["least_enter_to_wire_ms"]
    wire_ratio = least_ms / bare["least_enter_to_wire_ms"]
    print(f"Enter to wire: {ours['enter_to_wire_ms']:.1f} ms (target {TARGET_ENTER_TO_WIRE_MS} ms), ", end="")
    print(f"least {wire_ratio:.2f}x bare litellm (bar {BAR_ENTER_TO_WIRE_RATIO}x), ", end="")
    print(f"{least_ms / raw['least_enter_to_wire_ms']:.1f}x raw httpx")
    return int(ratio > BAR_CHUNK_RATIO or wire_ratio > BAR_ENTER_TO_WIRE_RATIO)


if __name__ == "__main__":
    sys.exit(main())
