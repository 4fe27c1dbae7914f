"""How long typing stalls while litellm loads: `python tests/benchmarks/bench_typing_stall.py [ROUNDS]`.

An event loop ticks every 5 ms, as one that waits for keys does; the worst delay of a tick is what a key would wait. In
turn, each in a fresh process: nothing else going on (the noise of the machine), litellm imported by a thread of that
process, and litellm loaded by its road in a process of its own. Exits with 1 when any round misses the bar.
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
ROUNDS = 3
TICK_S = 0.005
BAR_MS = 100.0


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


def main() -> int:
    """Measure and print."""
    if sys.argv[1:2] == ["--way"]:
        print(asyncio.run(worst_ms(WAYS[sys.argv[2]])))
        return 0
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    worst: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, found in worst.items():
            command = [sys.executable, __file__, "--way", name]
            found.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    for name, found in worst.items():
        print(f"{name:8} worst tick late by " + "  ".join(f"{ms:6.1f} ms" for ms in found))
    print(f"by the road {max(worst['road']):.1f} ms (bar {BAR_MS:g} ms), by a thread {max(worst['thread']):.1f} ms")
    return int(max(worst["road"]) > BAR_MS)


if __name__ == "__main__":
    sys.exit(main())
