"""From nothing to the first reply: `python tests/benchmarks/bench_first_reply.py`.

The real program in a pseudo-terminal, with an empty home and nothing configured, and the built-in model's weights in
the cache. It is answered as a newcomer would: Enter to the menu, then a first message. What reading weights for the
first time costs (their hash, the prefixes that the clerk keeps) is in it, for the cache has nothing else.

The bound is that of a newcomer's first minute, 60 s, less the time in which the weights come at 5 MB/s.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.figures import Figure, Size, run_alone, skipped
from benchmarks.given import NO_WEIGHTS, cache_folder, has_weights
from support.screens import Screen, environment

from memos.llm.weights import TINY, weights_path

PATIENCE_S = 120.0
DOWNLOAD_S = TINY.download_bytes / 5e6
BOUND_S = round(60 - DOWNLOAD_S, 1)
RUNS: dict[Size, int] = {"quick": 1, "usual": 3, "full": 3}


def first_minutes(home: Path, cache: Path) -> tuple[float, float, float]:
    """Return the seconds to the menu, to the greeting, and to the answer to a first message, each since the start."""
    began = time.monotonic()
    screen = Screen([sys.executable, "-m", "memos", "run"], env=environment(home, MEMOS_CACHE=str(cache)))
    try:
        screen.until("Which model should the agent think with?", PATIENCE_S)
        menu_s = time.monotonic() - began
        screen.type("\r")
        screen.until("● clerk", PATIENCE_S)
        greeted_s = time.monotonic() - began
        screen.type("My name is Ana and I keep bees.\r")
        screen.until("Filed", PATIENCE_S)
        return menu_s, greeted_s, time.monotonic() - began
    finally:
        screen.close()


def figures(size: Size) -> list[Figure]:
    """Return the medians, in seconds of the clock."""
    what = "from an empty home to"
    if not has_weights():
        return [skipped(9, f"{what} the first reply", NO_WEIGHTS)]
    weights, found = weights_path(cache_folder()), []
    for _ in range(RUNS[size]):
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder) / "cache"
            cached = weights_path(cache)
            cached.parent.mkdir(parents=True)
            cached.symlink_to(weights)
            found.append(first_minutes(Path(folder), cache))
    menu_s, greeted_s, answered_s = (statistics.median(times) for times in zip(*found, strict=True))
    how = f"weights in the cache; median of {len(found)}"
    return [
        Figure(9, f"{what} the menu", menu_s, "s", baseline=how),
        Figure(
            *(9, f"{what} the first reply, one action", greeted_s, "s", BOUND_S),
            baseline=f"{how}; 60 s less {DOWNLOAD_S:.1f} s of download at 5 MB/s",
        ),
        Figure(9, f"{what} the answer to a first message", answered_s, "s", baseline=f"{how}; two actions"),
    ]


if __name__ == "__main__":
    sys.exit(run_alone(figures))
