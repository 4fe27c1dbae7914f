"""Main context: what the LLM sees. Put together from instructions, working context and the FIFO queue; always fits.

Source: Packer et al. 2023, §2.1.
"""

from __future__ import annotations

from memos.functions.table import FunctionTable
from memos.kernel.queue_manager import QueueManager
from memos.llm.processor import DEFAULT_WINDOW_TOKENS, Processor
from memos.memory.recall_storage import RecallStorage
from memos.memory.working_context import WorkingContext
from memos.messages import Block, Counters, Evicted, Prompt, utc_now
from memos.storage.database import Database

_REPLY_SHARE = 8
"""One part in so many of the window is kept free for the reply."""


class MainContext:
    """Builds the prompt of one agent, and has the queue flushed when it would not fit."""

    def __init__(
        self,
        database: Database,
        instructions: str,
        table: FunctionTable,
        working_context: WorkingContext,
        recall: RecallStorage,
        queue_manager: QueueManager,
    ) -> None:
        self._database = database
        self._instructions = instructions
        self._table = table
        self._working_context = working_context
        self._recall = recall
        self._queue_manager = queue_manager

    async def prompt(self, processor: Processor) -> tuple[Prompt, Evicted | None]:
        """Return the prompt for the next step, and what had to be paged out of the queue for it."""
        blocks, counts = await self._database.run(lambda: (self._working_context.blocks(), self._recall.counts()))
        counters = Counters(utc_now().astimezone(), *counts)
        prompt = self._prompt(blocks, counters)
        evicted = await self._fit(processor, prompt)
        return (self._prompt(blocks, counters) if evicted else prompt), evicted

    def _prompt(self, blocks: tuple[Block, ...], counters: Counters) -> Prompt:
        return Prompt(
            instructions=self._instructions,
            functions=self._table.schemas,
            blocks=blocks,
            queue=tuple(self._queue_manager.queue),
            counters=counters,
            summary=self._queue_manager.summary,
        )

    async def _fit(self, processor: Processor, prompt: Prompt) -> Evicted | None:
        window = processor.window_tokens or DEFAULT_WINDOW_TOKENS
        measured = processor.measure(prompt)
        excess = measured.at_most - (window - window // _REPLY_SHARE)
        return await self._queue_manager.flush(measured.queue, excess) if excess > 0 else None
