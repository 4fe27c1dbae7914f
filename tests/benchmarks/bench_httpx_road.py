"""What memos' own road costs per streamed chunk, in one run: `python tests/benchmarks/bench_httpx_road.py`.

CPU of a whole reply of some 500 chunks, warm: raw httpx with `json.loads` of each line, and the remote processor over
`HttpxRoad` with its decoder, in turn, against the fake server in a process of its own.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.bench_litellm_road import WORDS, fake_server, prompt, raw_httpx  # noqa: E402
from benchmarks.figures import Figure, Size, run_alone  # noqa: E402

ROUNDS: dict[Size, int] = {"quick": 10, "usual": 25, "full": 25}
ADDED_BOUND = 3.0


async def measure(url: str, rounds: int) -> dict[str, float]:
    """Return CPU microseconds per chunk of both roads: the median, and the least disturbed round."""
    import httpx

    from memos.llm.httpx_road import HttpxRoad
    from memos.llm.remote_processor import RemoteProcessor

    ours = RemoteProcessor("openai/fake-model", HttpxRoad("fake-model", url), api_base=url)
    await ours.warm_up()
    client = httpx.AsyncClient(timeout=60)

    async def our_road() -> int:
        return len([part async for part in ours.infer(prompt())])

    cpu: dict[str, list[float]] = {"httpx": [], "memos": []}
    chunks = 1
    for number in range(rounds + 2):
        for name in ("httpx", "memos") if number % 2 else ("memos", "httpx"):
            started = time.process_time()
            got = await (raw_httpx(url, client) if name == "httpx" else our_road())
            chunks = got if name == "httpx" else chunks
            if number >= 2:
                cpu[name].append((time.process_time() - started) * 1e6)
    await client.aclose()
    await ours.aclose()
    per_chunk = {name: statistics.median(values) / chunks for name, values in cpu.items()}
    return per_chunk | {f"least_{name}": min(values) / chunks for name, values in cpu.items()} | {"chunks": chunks}


def figures(size: Size) -> list[Figure]:
    """Return what the road adds to raw httpx."""
    with fake_server(f"chars:2:{WORDS}") as url:
        found = asyncio.run(measure(url, ROUNDS[size]))
    baseline = f"raw httpx, {found['httpx']:.0f} us CPU a chunk; {found['chunks']:.0f} chunks, {ROUNDS[size]} rounds"
    least = found["least_memos"] / found["least_httpx"] - 1
    return [
        Figure(
            6, "added per chunk, httpx road", found["memos"] / found["httpx"] - 1, "x", ADDED_BOUND, baseline=baseline
        ),
        Figure(6, "added per chunk, httpx road, least round", least, "x", baseline="raw httpx, its least round"),
    ]


if __name__ == "__main__":
    sys.exit(run_alone(figures))
