"""One session with an agent, as boot wires it: lines go in, and what the agent said and did comes out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memos.cli.agent_choice import Machinery, Wish
from memos.cli.boot import open_session
from memos.errors import MemosError
from memos.messages import (
    CallFinished,
    Event,
    EventKind,
    OutputBody,
    ReplyStored,
    Said,
    StepStarted,
    Stopped,
    TokenUsage,
)
from memos.terminal.session import KERNEL_ENDED

if TYPE_CHECKING:
    from memos.config import Settings
    from memos.kernel.outputs import Subscription
    from memos.storage.agents import Agent
    from memos.terminal.session import Session

_PASSAGES = "SELECT content FROM passages WHERE agent_id = ? AND superseded_by IS NULL"
_ITS_OWN_BLOCK = "persona"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent did in one turn: its words, the functions it called, and what that cost.

    `tokens` is None where the model reports none; `cpu_s` is what this process used, all threads together; `steps` are
    inferences.
    """

    said: str
    calls: tuple[str, ...]
    tokens: int | None
    cpu_s: float
    wall_s: float
    steps: int
    stopped: Stopped | None = None


class Sitting:
    """An open session: says lines one after the other, and looks into the agent's memory."""

    def __init__(self, machinery: Machinery, agent: Agent, session: Session) -> None:
        self._machinery = machinery
        self._agent = agent
        self._session = session

    async def log_in(self) -> Answer:
        """Tell the agent that the user is here."""
        return await self._turn(self._session.login or Event(EventKind.LOGIN))

    async def say(self, text: str) -> Answer:
        """Send one line and wait until the agent yields."""
        return await self._turn(Event(EventKind.USER_MESSAGE, text))

    def memory_lines(self) -> list[str]:
        """Return the lines of the blocks, the agent's own aside, and of its archive."""
        blocks = [block.value for block in self._session.memory.blocks() if block.label != _ITS_OWN_BLOCK]
        passages = [row["content"] for row in self._machinery.database.query(_PASSAGES, (self._agent.id,))]
        return [line for text in (*blocks, *passages) for line in text.splitlines()]

    async def _turn(self, event: Event) -> Answer:
        kernel = self._session.kernel
        outputs = kernel.subscribe()
        cpu_began, began = time.process_time(), time.monotonic()
        kernel.post(event)
        hearing = asyncio.create_task(_hear(outputs))
        idle = asyncio.create_task(kernel.idle())
        try:
            await asyncio.wait([hearing, idle], return_when=asyncio.FIRST_COMPLETED)
            cpu_s, wall_s = time.process_time() - cpu_began, time.monotonic() - began
            if not idle.done():
                raise MemosError(KERNEL_ENDED)
            outputs.close()  # what was published before is still heard
            return _answer(await hearing, cpu_s, wall_s)
        finally:
            outputs.close()
            idle.cancel()
            hearing.cancel()


@asynccontextmanager
async def open_sitting(machinery: Machinery, agent: Agent, settings: Settings) -> AsyncIterator[tuple[Sitting, float]]:
    """Open a session with its model ready; yield it, and the CPU seconds that took. Raises: MemosError."""
    cpu_began = time.process_time()
    async with open_session(machinery, agent, settings, Wish(), stays=True) as session:
        await session.kernel.processor.warm_up()
        yield Sitting(machinery, agent, session), time.process_time() - cpu_began


async def _hear(outputs: Subscription) -> list[OutputBody]:
    return [output.body async for output in outputs]


def _answer(heard: list[OutputBody], cpu_s: float, wall_s: float) -> Answer:
    spoken = [text for text in map(_spoken, heard) if text]
    calls = tuple(body.call.name for body in heard if isinstance(body, CallFinished) and body.result.ok)
    counts = [
        count
        for body in heard
        if isinstance(body, TokenUsage)
        for count in (body.prompt_tokens, body.reply_tokens)
        if count is not None
    ]
    stops = [body for body in heard if isinstance(body, Stopped)]
    tokens = sum(counts) if counts else None
    steps = sum(isinstance(body, StepStarted) for body in heard)
    return Answer("\n".join(spoken), calls, tokens, cpu_s, wall_s, steps, stops[-1] if stops else None)


def _spoken(body: OutputBody) -> str:
    """Return what the agent says to the user: by a call, or as a reply without any."""
    if isinstance(body, Said):
        return body.text
    return body.reply.text if isinstance(body, ReplyStored) and not body.reply.calls else ""
