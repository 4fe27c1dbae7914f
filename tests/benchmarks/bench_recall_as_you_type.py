"""Recall as you type in a store of 100,000 messages: how long a look takes, and whether typing stalls meanwhile.

    python tests/benchmarks/bench_recall_as_you_type.py

The lines grow word by word, as they are typed; each is looked for as the console does it, in a worker thread, while an
event loop ticks every 5 ms: the worst delay of a tick is what a key would wait. Messages have 20 words of a Zipf
vocabulary, so that common words are in most of them.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.figures import Figure, Size, p95, run_alone
from support.agent_home import AgentHome, agent_home

from memos.memory.imported_messages import ImportedMessage, store
from memos.terminal.recall_as_you_type import LEAST_CHARS, Look, looking_in

MESSAGES: dict[Size, int] = {"quick": 100_000, "usual": 100_000, "full": 1_000_000}
LINES: dict[Size, int] = {"quick": 8, "usual": 25, "full": 25}
WORDS_A_LINE = 8
TICK_S = 0.005
STALL_BOUND_MS = 100.0
WORDS = [f"w{number}" for number in range(20_000)]
ZIPF = list(itertools.accumulate(1 / (rank + 1) for rank in range(len(WORDS))))


def filled(folder: Path, number: int) -> AgentHome:
    """Return an agent with so many messages stored."""
    home, chance, start = agent_home(folder, name="sam"), random.Random(3), datetime(2020, 1, 1, tzinfo=UTC)
    for first in range(0, number, 10_000):
        store(
            home.database,
            home.agent,
            [
                ImportedMessage(
                    ("user", "assistant")[row % 2],
                    " ".join(chance.choices(WORDS, cum_weights=ZIPF, k=20)),
                    start + timedelta(minutes=row),
                    session=f"s{row // 40}",
                )
                for row in range(first, min(first + 10_000, number))
            ],
        )
    return home


def typed(lines: int) -> Iterator[str]:
    """Yield what stands in the line whenever a word is finished."""
    chance = random.Random(11)
    for _ in range(lines):
        words = chance.choices(WORDS, cum_weights=ZIPF, k=WORDS_A_LINE)
        yield from (line for count in range(1, WORDS_A_LINE + 1) if len(line := " ".join(words[:count])) >= LEAST_CHARS)


async def looks(look: Look, lines: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each look, and how late the ticks were meanwhile."""
    took: list[float] = []
    late: list[float] = []
    for line in typed(lines):
        began = time.perf_counter()
        going_on = asyncio.ensure_future(asyncio.to_thread(look, line))
        while not going_on.done():
            due = time.monotonic() + TICK_S
            await asyncio.wait([going_on], timeout=TICK_S)
            if not going_on.done():
                late.append((time.monotonic() - due) * 1000)
        await going_on
        took.append((time.perf_counter() - began) * 1000)
    return took, late


def figures(size: Size) -> list[Figure]:
    """Return how long looks take and how late the event loop was."""
    number = MESSAGES[size]
    with tempfile.TemporaryDirectory() as folder:
        home = filled(Path(folder), number)
        look = looking_in(home.finder, home.agent)
        look("warm up")
        took, late = asyncio.run(looks(look, LINES[size]))
        home.database.close()
    name = f"recall as you type, {number:,} messages"
    how = f"{len(took)} looks; lines of 1 to {WORDS_A_LINE} words, common ones included"
    return [
        Figure(8, f"{name}: a look, median", statistics.median(took), "ms", baseline=how),
        Figure(8, f"{name}: a look, p95", p95(took), "ms", baseline=f"max {max(took):.0f} ms"),
        Figure(
            *(8, f"{name}: typing stalls at most", max(late, default=0.0), "ms", STALL_BOUND_MS),
            baseline=f"{len(late):,} ticks of {TICK_S * 1000:.0f} ms while it looks, p95 {p95(late or [0.0]):.1f} ms",
        ),
    ]


if __name__ == "__main__":
    sys.exit(run_alone(figures))
