"""A reply while it streams: its row is provisional, refreshed at least every 500 ms, and final only at the end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import TracebackType
from typing import Self

from memos.kernel.control import Turn
from memos.kernel.queue_manager import QueueManager
from memos.llm.processor import Processor, model_call
from memos.messages import (
    Finish,
    Message,
    MessageState,
    MonologueDelta,
    Provenance,
    Reply,
    ReplyPart,
    SpeechDelta,
)

REFRESH_S = 0.5


class Draft:
    """An async context around one inference: left without `finish`, what was shown is kept as incomplete.

    It is made right after the prompt, for it notes what of the queue stands in that.
    `call` is the ledger's entry of the inference; it is stored, and completed, together with the row.
    """

    def __init__(self, queue_manager: QueueManager, turn: Turn, processor: Processor) -> None:
        self.call = model_call(processor, "chat")
        self._processor = processor
        self._queue_manager = queue_manager
        self._seen = queue_manager.seen(None if processor.reads_queue else turn.start_seq)
        self._row = Message(
            role="assistant",
            content="",
            agent_id=queue_manager.agent.id,
            turn_id=turn.id,
            state=MessageState.PROVISIONAL,
            provenance=Provenance.AGENT,
            session=queue_manager.session,
        )
        self._monologue: list[str] = []
        self._speech: list[str] = []
        self._changed = False
        self._ended = asyncio.Event()
        self._refresher: asyncio.Task[None] | None = None
        self._finished = False

    async def __aenter__(self) -> Self:
        """Begin to refresh the provisional row."""
        self._refresher = asyncio.create_task(self._refresh())
        return self

    def add(self, part: ReplyPart) -> bool:
        """Take a further piece of the stream; return whether it is a piece of the reply."""
        if isinstance(part, MonologueDelta):
            self._monologue.append(part.text)
        elif isinstance(part, SpeechDelta):
            self._speech.append(part.text)
        else:
            return False
        self._changed = True
        return True

    async def finish(self, reply: Reply) -> Message:
        """Store the finished reply, or, where the stream was cut, what was shown of it."""
        await self._stop_refreshing()
        self._finished = True
        self.call = replace(self.call, usage=reply.usage, cost_usd=self._processor.cost_usd(reply.usage))
        if reply.finish is Finish.CUT:
            return await self._queue_manager.store_incomplete(self._shown(), self.call, self._seen)
        if reply.finish is Finish.LENGTH and not reply.calls:
            words = {"speech": reply.text} if reply.text else {}
            row = replace(self._row, content=reply.monologue, payload=words)
            return await self._queue_manager.store_incomplete(row, self.call, self._seen)
        return await self._queue_manager.store_reply(reply, self._row, self.call, self._seen)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Keep what was shown of a reply that ended by an error or an interrupt.

        A request that was interrupted before anything came may have to be paid for all the same.
        """
        await self._stop_refreshing()
        if self._finished:
            return
        if self._monologue or self._speech:
            await self._queue_manager.store_incomplete(self._shown(), self.call, self._seen)
        elif kind is asyncio.CancelledError:
            await self._queue_manager.record_call(self._row.turn_id, self.call)

    def _shown(self) -> Message:
        speech = "".join(self._speech)
        return replace(self._row, content="".join(self._monologue), payload={"speech": speech} if speech else {})

    async def _refresh(self) -> None:
        while not self._ended.is_set():
            try:
                async with asyncio.timeout(REFRESH_S):
                    await self._ended.wait()
            except TimeoutError:
                if self._changed:
                    self._changed = False
                    self._row, self.call = await self._queue_manager.store_draft(self._shown(), self.call, self._seen)

    async def _stop_refreshing(self) -> None:
        """Let a write under way come to its end: only then is it known whether the row exists."""
        self._ended.set()
        if self._refresher:
            await asyncio.wait([self._refresher])
            self._refresher.result()
            self._refresher = None
