"""What memos' own road costs per streamed chunk, in one run: `python tests/benchmarks/bench_httpx_road.py`.

CPU of a whole reply of some 500 chunks, warm: raw httpx with `json.loads` of each line, and the remote processor over
`HttpxRoad` with its decoder, in turn, against the fake server in a process of its own. Exits with 1 beyond the bar.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.bench_litellm_road import WORDS, fake_server, prompt, raw_httpx  # noqa: E402

ROUNDS = 25
BAR_CHUNK_RATIO = 3.0


async def measure(url: str) -> dict[str, float]:
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
    for number in range(ROUNDS + 2):
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


def main() -> int:
    with fake_server(f"chars:2:{WORDS}") as url:
        figures: dict[str, Any] = asyncio.run(measure(url))
    print(
        f"{figures['chunks']} chunks; CPU per chunk: "
        + ", ".join(f"{k} {v:.1f} us" for k, v in figures.items() if k != "chunks")
    )
    ratio = figures["memos"] / figures["httpx"]
    print(f"whole cost {ratio:.2f}x raw httpx, least {figures['least_memos'] / figures['least_httpx']:.2f}x; ", end="")
    print(f"added {ratio - 1:.2f}x (bar {BAR_CHUNK_RATIO}x)")
    return int(ratio > BAR_CHUNK_RATIO)


if __name__ == "__main__":
    sys.exit(main())
