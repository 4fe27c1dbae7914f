"""What a step costs memos itself, no model's time in it, with 1,000 and with 100,000 messages stored.

    python tests/benchmarks/bench_step_overhead.py

A step is a turn with one reply of 200 pieces and one send_message. Both databases are asked by turns.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.figures import Figure, Size, run_alone
from support.agent_home import AgentHome, agent_home
from support.listening import Listener, running
from support.strict_server import paragraph

from memos.llm.scripted import ScriptedProcessor
from memos.messages import (
    Event,
    EventKind,
    FunctionCall,
    Message,
    MonologueDelta,
    Prompt,
    Reply,
    ReplyPart,
    SpeechDelta,
    new_id,
    utc_now,
)

SMALL = 1_000
PIECES = 200
QUEUE = 40
LARGE: dict[Size, int] = {"quick": 20_000, "usual": 100_000, "full": 100_000}
ROUNDS: dict[Size, int] = {"quick": 30, "usual": 60, "full": 60}
RATIO_BOUND = 1.3


class Instant(ScriptedProcessor):
    """Gives 200 pieces and one call at once, whatever is asked; a window that nothing is evicted from."""

    def __init__(self) -> None:
        super().__init__([], window_tokens=1_000_000)

    async def infer(self, prompt: Prompt) -> AsyncIterator[ReplyPart]:
        words = "I answer. " + "word " * PIECES
        for piece in range(PIECES):
            yield MonologueDelta("I think. ") if piece < PIECES // 10 else SpeechDelta("word ")
        call = FunctionCall(new_id(), "send_message", '{"message": "' + words + '"}')
        yield Reply(monologue="I think. " * (PIECES // 10), calls=(call,))


@dataclass
class Stored:
    """A running agent with so many messages, and what its steps took, in milliseconds."""

    number: int
    listener: Listener
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    async def step(self) -> None:
        """Run one step and note what it took."""
        cpu, wall = time.process_time(), time.perf_counter()
        await self.listener.post(Event(EventKind.USER_MESSAGE, "What is new?"))
        self.cpu.append((time.process_time() - cpu) * 1000)
        self.wall.append((time.perf_counter() - wall) * 1000)


def filled(folder: Path, number: int) -> AgentHome:
    """Return an agent with so many messages stored, the last of which are its queue."""
    home = agent_home(folder, name="sam")
    began = utc_now() - timedelta(days=300)
    with home.database.transaction():
        for row in range(number):
            moment = began + timedelta(minutes=row)
            role = ("user", "assistant")[row % 2]
            words = paragraph("m", row % 10_000, 30)
            message = Message(role, words, home.agent.id, f"turn {row // 2}", created_at=moment)  # type: ignore[arg-type]
            home.recall.append(replace(message, kind=EventKind.USER_MESSAGE if role == "user" else None))
    last = home.database.query("SELECT max(seq) AS seq FROM messages")[0]["seq"]
    home.agents.begin_queue(home.agent, last - QUEUE + 1, "They talked of this and that.", "benchmark")
    home.database.query("PRAGMA wal_checkpoint(TRUNCATE)")
    return home


async def measure(homes: dict[int, AgentHome], rounds: int) -> list[Stored]:
    """Run steps on all of them by turns; the first five count for nothing."""
    async with AsyncExitStack() as stack:
        stored = []
        for number, home in homes.items():
            listener = await stack.enter_async_context(running(home.kernel(Instant())))
            stored.append(Stored(number, listener))
        for turn in range(rounds + 5):
            for one in stored if turn % 2 else reversed(stored):
                await one.step()
        for one in stored:
            one.cpu, one.wall = one.cpu[5:], one.wall[5:]
        return stored


def figures(size: Size) -> list[Figure]:
    """Return how much more a step costs over many messages than over few."""
    large, rounds = LARGE[size], ROUNDS[size]
    with tempfile.TemporaryDirectory() as folder:
        homes = {number: filled(Path(folder) / str(number), number) for number in (SMALL, large)}
        small, big = asyncio.run(measure(homes, rounds))
    cpu, few = statistics.median(big.cpu), statistics.median(small.cpu)
    return [
        Figure(
            *(4, f"CPU of a step at {large:,} messages", cpu / few, "x", RATIO_BOUND if large == 100_000 else None),
            baseline=f"at {SMALL:,} messages, {few:.2f} ms; medians of {rounds} steps of {PIECES} pieces",
        ),
        Figure(
            *(4, f"time of a step at {large:,} messages", statistics.median(big.wall), "ms"),
            baseline=f"no model's time in it; at {SMALL:,} messages {statistics.median(small.wall):.2f} ms",
        ),
    ]


if __name__ == "__main__":
    sys.exit(run_alone(figures))
