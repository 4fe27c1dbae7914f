"""Main context: what the LLM sees. Put together from instructions, working context and the FIFO queue; always fits.

Source: Packer et al. 2023, §2.1.
"""

from __future__ import annotations

from collections.abc import Sequence

from memos.functions.table import FunctionTable
from memos.kernel.queue_manager import QueueManager
from memos.llm.processor import Processor
from memos.memory.recall_storage import RecallStorage
from memos.memory.working_context import WorkingContext
from memos.messages import Block, Counters, Evicted, Message, Prompt, utc_now
from memos.storage.database import Database

DEFAULT_WINDOW_TOKENS = 8_192
_REPLY_SHARE = 8
"""One part in so many of the window is kept free for the reply."""
_PACKET_TOKENS = 30
"""What the packet and the frame around a message cost beside its words."""


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
        evicted = await self._fit(processor, blocks)
        prompt = Prompt(
            instructions=self._instructions,
            functions=self._table.schemas,
            blocks=blocks,
            queue=tuple(self._queue_manager.queue),
            counters=Counters(utc_now().astimezone(), *counts),
            summary=self._queue_manager.summary,
        )
        return prompt, evicted

    async def _fit(self, processor: Processor, blocks: Sequence[Block]) -> Evicted | None:
        window = processor.window_tokens or DEFAULT_WINDOW_TOKENS
        count = processor.count_tokens
        fixed = count(self._instructions) + count(self._queue_manager.summary)
        fixed += sum(count(str(schema.parameters) + schema.description) for schema in self._table.schemas)
        fixed += sum(count(block.value + block.description) for block in blocks)
        tokens_of = [_tokens(message, processor) for message in self._queue_manager.queue]
        excess = fixed + sum(tokens_of) - (window - window // _REPLY_SHARE)
        return await self._queue_manager.flush(tokens_of, excess) if excess > 0 else None


def _tokens(message: Message, processor: Processor) -> int:
    words = message.content + "".join(call.name + call.arguments for call in message.calls)
    return processor.count_tokens(words) + _PACKET_TOKENS
