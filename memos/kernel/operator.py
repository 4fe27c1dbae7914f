"""The operator's console of one agent: what the user does to its queue and memory, between turns, never within one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memos.errors import BadInput
from memos.kernel.control import Turn
from memos.kernel.kernel import Kernel
from memos.kernel.main_context import Gauge, Publish
from memos.memory.archival_storage import ArchivalStorage
from memos.memory.message_rows import rethought, reworded, spoken_words, thought_of
from memos.memory.prompt_records import Grounds, PromptRecords, Source
from memos.memory.working_context import Revision, WorkingContext
from memos.messages import Block, Event, EventKind, Evicted, FunctionSchema, Message, Notice, OutputBody, new_id
from memos.storage.attachments import IMAGES_KEY
from memos.storage.database import Database
from memos.storage.usage_ledger import ModelCall

if TYPE_CHECKING:
    from memos.memory.forgetting import Certificate, Forgetting, Preview
    from memos.storage.unwanted_words import UnwantedWords


@dataclass(frozen=True, slots=True)
class ContextMap:
    """Main context as it is now: what each part costs, and what the next flush would evict."""

    model: str
    gauge: Gauge
    window_known: bool
    functions: Sequence[FunctionSchema]
    blocks: Sequence[Block]
    messages: int
    evicted_next: Sequence[Message]
    evicted_next_tokens: int
    last_call: ModelCall | None
    """The newest step's request, as its provider reported it."""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What `/undo` took back: the user's words, how many messages, edits and passages, and what it had to leave."""

    words: str
    images: Mapping[str, Any]
    """What the payload of the user's message held of its images."""
    messages: int
    edits: int
    passages: int
    left: Sequence[str]
    """Blocks that were changed again since, and so keep what they hold."""


class Operator:
    """Acts on one agent. While a turn runs every method that changes something raises BadInput."""

    def __init__(
        self,
        database: Database,
        kernel: Kernel,
        working_context: WorkingContext,
        archival: ArchivalStorage,
        forgetting: Callable[[], Forgetting],
    ) -> None:
        """`forgetting` makes what erases; nobody needs it but who forgets."""
        self._database = database
        self._prompts = PromptRecords(database, kernel.agent.id)
        self._kernel = kernel
        self._main_context = kernel.machine.main_context
        self._queue_manager = kernel.machine.queue_manager
        self._working_context = working_context
        self._archival = archival
        self._forgetting = forgetting

    async def context(self) -> ContextMap:
        """Return main context as it is now; a turn may be running."""
        await self._kernel.opened()
        processor = self._kernel.processor
        prompt, gauge = await self._main_context.measured(processor)
        count = self._main_context.cut(gauge)
        return ContextMap(
            processor.model,
            gauge,
            processor.window_tokens is not None,
            prompt.functions,
            prompt.blocks,
            len(prompt.queue),
            prompt.queue[:count],
            sum(gauge.tokens.queue[:count]),
            await self._queue_manager.last_call(),
        )

    async def pop(self, count: int) -> int:
        """Take the last `count` messages out of the queue, and more where a call would lose its result; return how
        many. They no longer count, and are no longer found.

        Raises: BadInput.
        """
        await self._ready()
        queue = self._queue_manager.queue
        if not 1 <= count <= len(queue):
            raise BadInput(f"There are {len(queue)} messages in the queue.", f"/pop N takes 1 to {len(queue)} of them.")
        start = len(queue) - count
        while start and queue[start].role == "tool":
            start -= 1
        taken = queue[start:]
        return await self._queue_manager.take_back(taken, f"pop {new_id()}", lambda: len(taken))

    async def undo(self) -> TakenBack:
        """Take back the last turn that the user began, all that came after it, and their edits of memory.

        Raises: BadInput where there is none in the queue.
        """
        await self._ready()
        queue = self._queue_manager.queue
        start = _last_said(queue)
        if start is None:
            raise BadInput("There is no turn of yours in the queue to take back.", "say something first.")
        taken, by = queue[start:], f"undo {new_id()}"
        turns = list(dict.fromkeys(message.turn_id for message in taken))

        def effects() -> TakenBack:
            edits, left = 0, list[str]()
            for turn_id in reversed(turns):
                left += self._working_context.changed_since(turn_id)
                edits += len(self._working_context.take_back(turn_id))
            passages = sum(self._archival.take_back(turn_id, by) for turn_id in turns)
            images = {key: value for key, value in taken[0].payload.items() if key == IMAGES_KEY}
            return TakenBack(taken[0].content, images, len(taken), edits, passages, left)

        return await self._queue_manager.take_back(taken, by, effects)

    async def retry(self) -> TakenBack:
        """Take back the last turn as `undo` does, and say the same words again. Raises: BadInput."""
        taken = await self.undo()
        self._kernel.post(Event(EventKind.USER_MESSAGE, taken.words, taken.images))
        return taken

    async def edit_block(self, label: str, before: str, value: str) -> Revision | None:
        """Let a block that read `before` read `value`; return the edit, or None where that changes nothing.

        Raises: BadInput (changed meanwhile, too long).
        """
        await self._ready()

        def work() -> Revision | None:
            block = self._working_context.block(label)
            if block.value != before:
                raise BadInput(
                    f"{block.label} was changed meanwhile; it is as the agent left it.", "look, and try again"
                )
            return self._working_context.edit(block.label, value)

        return await self._database.run(work)

    async def undo_edit(self, seq: int | None) -> Revision:
        """Take back one edit of a block, by its number, or the newest one; return the edit that does.

        Raises: BadInput.
        """
        await self._ready()
        return await self._database.run(lambda: self._working_context.undo(seq))

    async def remember(self, text: str) -> bool:
        """Keep the user's own words in archival storage; return whether they were not there already."""
        await self._kernel.opened()
        return await self._database.run(lambda: self._archival.remember(text))

    async def rethink(self, text: str) -> Message:
        """Let the last inner monologue read `text`; return the new row. Raises: BadInput."""
        return await self._revise(text, thought_of, rethought, "thought of the agent")

    async def rewrite(self, text: str) -> Message:
        """Let the last message to the user read `text`; return the new row. Raises: BadInput."""
        return await self._revise(text, spoken_words, reworded, "message of the agent")

    async def _revise(
        self, text: str, part: Callable[[Message], str], revised: Callable[[Message, str], Message], what: str
    ) -> Message:
        """Supersede the last reply that has this part, and all after it, by copies in which the part reads `text`."""
        await self._ready()
        queue = self._queue_manager.queue
        place = next(
            (n for n in range(len(queue) - 1, -1, -1) if queue[n].role == "assistant" and part(queue[n])), None
        )
        if place is None:
            raise BadInput(f"There is no {what} in the queue to change.", "say something first.")
        return await self._queue_manager.revise(place, lambda message: revised(message, text))

    @property
    def queue(self) -> Sequence[Message]:
        """The FIFO queue, in order."""
        return self._queue_manager.queue

    async def grounds(self) -> tuple[Source | None, Grounds | None]:
        """Return the last reply that said something, and what stood in its prompt; a turn may be running."""
        await self._kernel.opened()
        return await self._database.run(self._prompts.last)

    async def preview_forgetting(self, words: UnwantedWords) -> Preview:
        """Return all that `forget` would erase of this agent's memory, and of memos' files. Raises: BadInput."""
        await self._ready()
        return await self._database.run(lambda: self._forgetting().preview(words, [self._kernel.agent.id]))

    async def forget(self, words: UnwantedWords, spared_numbers: Sequence[int]) -> Certificate:
        """Erase what a preview shows but for these numbers of it, from 1. What is said meanwhile waits for the end.

        Raises: BadInput, StorageProblem.
        """
        await self._ready()
        agent = self._queue_manager.agent

        def work() -> Certificate:
            forgetting = self._forgetting()
            traces = forgetting.preview(words, [agent.id]).traces
            if wrong := [number for number in spared_numbers if not 1 <= number <= len(traces)]:
                raise BadInput(f"There is no number {wrong[0]}; nothing was erased.", "/forget WORDS shows them")
            spared = {traces[number - 1].key for number in spared_numbers}
            return forgetting.erase(words, [agent.id], [agent.name], spared)

        return await self._queue_manager.erase(work)

    async def clear(self) -> int:
        """Begin an empty queue and summary; return how many messages left. They stay in recall storage.

        Raises: BadInput.
        """
        await self._ready()
        count = len(self._queue_manager.queue)
        if not count and not self._queue_manager.summary:
            raise BadInput("The queue is empty already.", "say something.")
        if count:
            await self._queue_manager.evict(count, "", "user")
        else:
            await self._queue_manager.set_summary("", "user")
        return count

    async def summarise(self, at_least: int = 0) -> tuple[Evicted, str]:
        """Flush the queue now, of `at_least` so many messages where that is not 0; return what left, and the summary.

        A turn leaves whole, and the last one stays. Raises: BadInput where nothing can leave.
        """
        await self._ready()
        _, gauge = await self._main_context.measured(self._kernel.processor)
        queue_manager = self._queue_manager
        count = queue_manager.cut([1] * len(self.queue), at_least) if at_least else self._main_context.cut(gauge)
        if not count:
            raise BadInput("There is too little in the queue to summarise.", "it happens by itself when it is full.")
        outputs: list[OutputBody] = []
        publish: Publish = outputs.append
        await self._main_context.flush(self._kernel.processor, Turn(), publish, gauge, count)
        evicted = next(body for body in outputs if isinstance(body, Evicted))
        notices = [body.text for body in outputs if isinstance(body, Notice)]
        return evicted, "\n".join([*notices, self._queue_manager.summary])

    async def _ready(self) -> None:
        await self._kernel.opened()
        if self._kernel.busy:
            raise BadInput("A turn is running.", "wait for its end, or stop it with Ctrl-C.")


def _last_said(queue: Sequence[Message]) -> int | None:
    return next((n for n in range(len(queue) - 1, -1, -1) if queue[n].kind is EventKind.USER_MESSAGE), None)
