"""Main context: what the LLM sees. Put together from instructions, working context and the FIFO queue; always fits.

Before a prompt is sent it is measured. While it is too long, the queue manager evicts earlier turns, and what leaves is
folded into the summary; where none is left, a huge message of the queue is shortened; then earlier steps of the running
turn leave; then any message is shortened; at last the prompt is refused with advice. Each rung frees tokens or is the
last.
Source: Packer et al. 2023, §2.1 and §2.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest

from memos.errors import ContextOverflow
from memos.functions.table import FunctionTable
from memos.kernel.control import Turn
from memos.kernel.executor import RESULT_LIMIT_CHARS
from memos.kernel.queue_manager import QueueManager
from memos.kernel.shortening import shortened, weight
from memos.kernel.summariser import BY_MEMOS, NoSummary, extract, limit_chars, summarise
from memos.llm.chat_messages import blind
from memos.llm.processor import DEFAULT_WINDOW_TOKENS, Processor
from memos.memory.recall_storage import RecallStorage
from memos.memory.working_context import WorkingContext
from memos.messages import (
    Counters,
    Evicted,
    Image,
    Message,
    Notice,
    OutputBody,
    Profile,
    Progress,
    Prompt,
    PromptTokens,
    TokenUsage,
    utc_now,
)
from memos.prompts import system_instructions
from memos.storage.attachments import Attachments, image_names
from memos.storage.database import Database
from memos.storage.usage_ledger import ModelCall

SMALL_WINDOW_TOKENS = 4_096
"""In a window up to this size the prompt has the profile `small`."""
_REPLY_SHARE = 8
"""One part in so many of the window is kept for the reply, where nobody has said how long one may be."""
_LEAST_TOKENS = 48
"""A message is not shortened below about so many tokens: it would say nothing any more."""
_HUGE = 4
"""A message of more than one part in so many of the queue's room is shortened before the running turn loses its
beginning."""
_RESULT_SHARE = 4
"""The results of one reply take one part in so many of the room that the queue has."""
_CHARS_PER_TOKEN = 3
_MESSAGES_WITH_IMAGES = 3
"""The newest messages with images keep them; of older ones names and sizes stay. Pictures cost thousands of tokens, and
are sent anew with each step."""
_REFUSALS = 4
"""So often in a row a prompt that a provider refused as too long is made shorter and sent again: to half of it."""
_AFTER_A_REFUSAL = 0.85
"""A provider that refused a prompt as too long is sent at most this share of it from then on."""

Publish = Callable[[OutputBody], None]


@dataclass(frozen=True, slots=True)
class Paging:
    """How the queue is paged. Shares of the room that the window leaves beside the reply; `reply_tokens` 0: an eighth
    of the window."""

    warn_at: float = 0.7
    flush_at: float = 1.0
    evict_share: float = 0.5
    reply_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Gauge:
    """A measured prompt in its window. `room_tokens`: what a prompt may have, once the reply has its reserve."""

    tokens: PromptTokens
    window_tokens: int
    reply_tokens: int

    @property
    def needed_tokens(self) -> int:
        """What the prompt is taken to cost: the estimate and its margin."""
        return self.tokens.at_most

    @property
    def room_tokens(self) -> int:
        """What a prompt may cost."""
        return self.window_tokens - self.reply_tokens

    @property
    def queue_tokens(self) -> int:
        """What the queue may cost: what the fixed parts leave of the room."""
        return max(0, self.room_tokens - self.tokens.fixed - self.tokens.margin)

    @property
    def fill(self) -> float:
        """The share of the room that is taken."""
        return self.needed_tokens / max(self.room_tokens, 1)


class PromptTooLong(ContextOverflow):
    """What cannot be paged out is too long already; nothing was sent."""


class MainContext:
    """Builds the prompt of one agent so that it fits the processor's window."""

    def __init__(
        self,
        database: Database,
        table: FunctionTable,
        working_context: WorkingContext,
        recall: RecallStorage,
        queue_manager: QueueManager,
        paging: Paging = Paging(),
        summary_processor: Processor | None = None,
    ) -> None:
        """`summary_processor` writes the summaries in place of the one that runs the agent."""
        self._database = database
        self._table = table
        self._working_context = working_context
        self._recall = recall
        self._queue_manager = queue_manager
        self.paging = paging
        """How the queue is paged; may be changed between steps."""
        self._summary_processor = summary_processor
        self._attachments = Attachments(database)
        self._images: dict[str, Image] = {}
        self._caps: dict[str, int] = {}
        self._refusals = 0
        self._asked: set[str] = set()
        self._told_of: set[str] = set()
        self.gauge: Gauge | None = None
        """The newest prompt, measured."""

    async def prompt(self, processor: Processor, turn: Turn, publish: Publish) -> Prompt:
        """Return the prompt for the next step, after paging out what does not fit.

        Raises: PromptTooLong when what cannot be paged out is too long already.
        """
        if processor.window_tokens is None and processor.model not in self._asked:
            self._asked.add(processor.model)
            publish(Progress("asking for the model's window"))
            await processor.find_window()
        for message in self._with_images()[:-_MESSAGES_WITH_IMAGES]:
            await self._queue_manager.shorten(replace(message, attachments=()))
        while True:
            prompt, gauge = await self.measured(processor)
            if processor.window_tokens is None and gauge.fill >= self.paging.warn_at:  # now it matters
                self._tell_once(processor.model, _unknown_window_notice(processor), publish)
            if gauge.fill <= self.paging.flush_at:
                self.gauge = gauge
                return prompt
            await self._free(gauge, processor, turn, publish)

    async def measured(self, processor: Processor) -> tuple[Prompt, Gauge]:
        """Return the prompt as it would be now, and what it costs; nothing is paged out for it."""
        blocks, counts = await self._database.run(lambda: (self._working_context.blocks(), self._recall.counts()))
        images = await self._images_of_queue()
        window = self._window_of(processor)
        profile = profile_for(window)
        prompt = Prompt(
            instructions=system_instructions(profile),
            functions=self._table.schemas_for(profile),
            blocks=blocks,
            queue=tuple(_as_far_as_there(message, images) for message in self._queue_manager.queue),
            counters=Counters(utc_now().astimezone(), *counts),
            summary=self._queue_manager.summary,
            profile=profile,
            images=images,
        )
        if processor.sees is False:
            prompt = blind(prompt)
        tokens = processor.measure(prompt)
        reply = self.paging.reply_tokens or min(window // _REPLY_SHARE, DEFAULT_WINDOW_TOKENS)
        return prompt, Gauge(tokens, window, min(reply, window // 2))

    def cut(self, gauge: Gauge) -> int:
        """Return how many of the oldest messages the next flush would evict."""
        return self._queue_manager.cut(gauge.tokens.queue, self._wanted(gauge))

    @property
    def result_limit_chars(self) -> int:
        """How long the results of one reply's calls may be: a part of the queue's room, so that a step fits beside."""
        if self.gauge is None:
            return RESULT_LIMIT_CHARS
        return min(RESULT_LIMIT_CHARS, self.gauge.queue_tokens * _CHARS_PER_TOKEN // _RESULT_SHARE)

    def pressure(self) -> bool:
        """Whether the agent is to be warned now: the newest prompt was near its limit, and it has not been told."""
        gauge = self.gauge
        return gauge is not None and gauge.fill >= self.paging.warn_at and not self._queue_manager.warned

    def refused(self, processor: Processor, overflow: ContextOverflow) -> bool:
        """Take note that a provider refused the newest prompt as too long: its window is smaller than it was said.

        Return whether another try makes sense, with less. It does not after many, or where the refusal is our own: then
        it was hardly about length, and what was taken note of is forgotten.
        """
        self._refusals += 1
        if self.gauge is None or isinstance(overflow, PromptTooLong) or self._refusals > _REFUSALS:
            self._refusals = 0
            self._caps.pop(processor.model, None)
            return False
        room = int(self.gauge.needed_tokens * _AFTER_A_REFUSAL)
        reserve = self.paging.reply_tokens or room // (_REPLY_SHARE - 1)
        self._caps[processor.model] = room + reserve
        self.gauge = None
        return True

    def forget_refusals(self, model: str) -> None:
        """Forget how small the window of a model was found to be, and that it was asked for: its server is another."""
        self._caps.pop(model, None)
        self._asked.discard(model)

    def accepted(self, processor: Processor, usage: TokenUsage) -> None:
        """Take note that the newest prompt was answered, and of what its provider counted."""
        self._refusals = 0
        if self.gauge:
            processor.learn(self.gauge.tokens, usage)

    async def flush(self, processor: Processor, turn: Turn, publish: Publish, gauge: Gauge, count: int) -> None:
        """Evict the `count` oldest messages and fold them into the summary, at once without a model, then with one.

        What the model used for it counts for `turn`.
        """
        previous, evicted = self._queue_manager.summary, self._queue_manager.queue[:count]
        await self._queue_manager.evict(count, extract(previous, evicted, limit_chars(gauge.window_tokens)), BY_MEMOS)
        publish(Evicted(count, sum(gauge.tokens.queue[:count])))

        async def note(call: ModelCall) -> None:
            turn.note_model_call(call)
            await self._queue_manager.record_call(turn.id, call)

        writers = [writer for writer in (self._summary_processor, processor) if writer and writer.summarises]
        for writer, next_one in zip_longest(writers, writers[1:]):
            publish(Progress("summarising what has left the queue"))
            try:
                summary = await summarise(writer, previous, evicted, gauge.window_tokens, note)
            except NoSummary as problem:
                instead = f"{next_one.model} writes it" if next_one else "The summary holds the messages' own words"
                publish(Notice(f"{problem} {instead} instead; nothing is lost."))
            else:
                return await self._queue_manager.set_summary(summary, writer.model)

    # --- the rungs -----------------------------------------------------------------------------------------

    async def _free(self, gauge: Gauge, processor: Processor, turn: Turn, publish: Publish) -> None:
        """Free tokens by the first rung that can. Raises: PromptTooLong."""
        if count := self.cut(gauge):
            return await self.flush(processor, turn, publish, gauge, count)
        if await self._shorten(gauge, publish, above_tokens=max(gauge.queue_tokens // _HUGE, _LEAST_TOKENS)):
            return None
        if count := self._queue_manager.cut_within_turn(gauge.tokens.queue, self._wanted(gauge)):
            return await self.flush(processor, turn, publish, gauge, count)
        if not await self._shorten(gauge, publish, above_tokens=_LEAST_TOKENS):
            raise PromptTooLong(
                f"Instructions, functions and core memory alone take {gauge.tokens.fixed:,} of the"
                f" {gauge.room_tokens:,} tokens that a prompt for {processor.model} may have.",
                "choose a model with a larger window (/model), or shorten core memory (the window: window_tokens).",
            )
        return None

    def _wanted(self, gauge: Gauge) -> int:
        """Return how many tokens a flush should free: a share of the queue, and at least what is too much."""
        excess = gauge.needed_tokens - int(gauge.room_tokens * self.paging.flush_at)
        return max(excess, int(sum(gauge.tokens.queue) * self.paging.evict_share))

    async def _shorten(self, gauge: Gauge, publish: Publish, *, above_tokens: int) -> bool:
        """Let the longest message of the queue stand there shortened, if it is above that; return whether it is."""
        queue, tokens_of = self._queue_manager.queue, gauge.tokens.queue
        excess = gauge.needed_tokens - gauge.room_tokens
        for tokens, message in sorted(zip(tokens_of, queue, strict=True), key=lambda pair: -pair[0]):
            if tokens <= above_tokens:
                return False
            if message.attachments:
                await self._queue_manager.shorten(replace(message, attachments=()))
                self._tell_once(message.id, _unseen_notice(message), publish)
                return True
            keep = max(_LEAST_TOKENS, tokens - excess - _LEAST_TOKENS)
            if shorter := shortened(message, weight(message) * keep // tokens):
                await self._queue_manager.shorten(shorter)
                self._tell_once(message.id, _shortened_notice(message), publish)
                return True
        return False

    # --- images --------------------------------------------------------------------------------------------

    def _with_images(self) -> list[Message]:
        """Return the messages of the queue that still show images, in order."""
        return [message for message in self._queue_manager.queue if message.attachments]

    async def _images_of_queue(self) -> dict[str, Image]:
        """Return the images that messages of the queue show; they are read from disk once."""
        wanted = {hash_ for message in self._with_images() for hash_ in message.attachments}
        missing = wanted - self._images.keys()
        if missing:
            self._images |= await self._database.run(lambda: self._attachments.load(missing))
        self._images = {hash_: image for hash_, image in self._images.items() if hash_ in wanted}
        return dict(self._images)

    # --- the window ----------------------------------------------------------------------------------------

    def _window_of(self, processor: Processor) -> int:
        window = processor.window_tokens or DEFAULT_WINDOW_TOKENS
        return min(window, self._caps.get(processor.model, window))

    def _tell_once(self, of: str, words: str, publish: Publish) -> None:
        if of not in self._told_of:
            self._told_of.add(of)
            publish(Notice(words))


def _as_far_as_there(message: Message, images: Mapping[str, Image]) -> Message:
    """Return a message as it can be shown: without its images where the bytes of one are gone."""
    return message if images.keys() >= set(message.attachments) else replace(message, attachments=())


def profile_for(window_tokens: int) -> Profile:
    """Return the layout of prompts for a window of that size."""
    return "small" if window_tokens <= SMALL_WINDOW_TOKENS else "full"


def _unknown_window_notice(processor: Processor) -> str:
    return (
        f"The window of {processor.model} is unknown; memos reckons with {DEFAULT_WINDOW_TOKENS:,} tokens."
        " To change that: memos configure --set window_tokens=…"
    )


def _unseen_notice(message: Message) -> str:
    names = "; ".join(image_names(message))
    return f"There is no room for a picture in the model's window: it gets its name and size ({names})."


def _shortened_notice(message: Message) -> str:
    what = {"user": "Your message", "tool": f"The result of {message.name}"}.get(message.role, "A reply")
    return f"{what} is too long for the model's window: it sees beginning and end. All of it is kept."
