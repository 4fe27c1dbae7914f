"""How long typing stalls while litellm loads: `python tests/benchmarks/bench_typing_stall.py`.

An event loop ticks every 5 ms, as one that waits for keys does; the worst delay of a tick is what a key would wait. In
turn, each in a fresh process: nothing else going on (the noise of the machine), litellm imported by a thread of that
process, and litellm loaded by its road in a process of its own.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.figures import Figure, Size, run_alone  # noqa: E402

ROUNDS: dict[Size, int] = {"quick": 1, "usual": 3, "full": 3}
TICK_S = 0.005
STALL_BOUND_MS = 100.0


async def nothing() -> None:
    await asyncio.sleep(3)


async def in_a_thread() -> None:
    from memos.llm.quiet_litellm import import_litellm

    await asyncio.to_thread(import_litellm)


async def by_the_road() -> None:
    from memos.llm.litellm_road import LitellmRoad

    await LitellmRoad("anthropic/claude-sonnet-4-5").warm_up()
    assert "litellm" not in sys.modules


WAYS: dict[str, Callable[[], Awaitable[None]]] = {"nothing": nothing, "thread": in_a_thread, "road": by_the_road}


async def worst_ms(way: Callable[[], Awaitable[None]]) -> float:
    """Return the worst delay of a tick while `way` is going on."""
    worst_s = 0.0
    going_on = asyncio.ensure_future(way())
    while not going_on.done():
        due = time.monotonic() + TICK_S
        await asyncio.sleep(TICK_S)
        worst_s = max(worst_s, time.monotonic() - due)
    await going_on
    return worst_s * 1e3


def figures(size: Size) -> list[Figure]:
    """Return the worst delay of each way, in turn."""
    worst: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS[size]):
        for name, found in worst.items():
            command = [sys.executable, __file__, "--way", name]
            found.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    baseline = (
        f"worst of {ROUNDS[size]} rounds; nothing going on {max(worst['nothing']):.0f} ms,"
        f" imported by a thread {max(worst['thread']):.0f} ms"
    )
    return [Figure(6, "typing stalls while litellm loads", max(worst["road"]), "ms", STALL_BOUND_MS, baseline=baseline)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--way"]:
        print(asyncio.run(worst_ms(WAYS[sys.argv[2]])))
    else:
        sys.exit(run_alone(figures))
