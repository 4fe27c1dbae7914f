"""What a prompt will cost a model, by part, before it is sent; and what its server says it did cost.

What is counted is what is sent: the chat messages and the functions' JSON. The count of a message is kept per message
and tokenizer for all models of the process, so that the next step, and another model, count only what is new.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Protocol

from memos.llm import offline_tokenizer
from memos.llm.chat_messages import blocks_text, newest_state, row_messages, summary_text, tools
from memos.llm.image_tokens import NAME as IMAGES
from memos.llm.image_tokens import ImageScale, image_tokens
from memos.llm.offline_tokenizer import ESTIMATE, Tokenizer
from memos.llm.processor import DEFAULT_WINDOW_TOKENS
from memos.llm.token_scale import Counted, TokenScale
from memos.messages import FunctionSchema, Image, Message, Prompt, PromptTokens, TokenUsage

_MESSAGE_TOKENS = 4
"""Role and separators of one chat message, before anything is learned."""
_CALL_TOKENS = 8
_FUNCTIONS_TOKENS = 32
"""What a chat template says about functions as such."""
_REPLY_BEGINS_TOKENS = 3
_CACHE_LIMIT = 20_000
_KNOWN_BESIDE_IMAGES = 0.3
"""How much of the pictures' estimate the doubt about all other parts may be, for a report to tell of the pictures."""


class KeptScales(Protocol):
    """Where what was learned of models outlives the process."""

    def load(self, model: str, endpoint: str) -> Mapping[str, str]:
        """Return what was learned of a model, by tokenizer."""
        ...

    def note(self, model: str, endpoint: str, tokenizer: str, scale: str) -> None:
        """Take what was learned, to be stored later; quick."""
        ...


@dataclass(frozen=True, slots=True)
class _Counts:
    """A prompt as the tokenizer counts it; `queue` has words and calls of each row, `images` its pictures."""

    instructions: int
    functions: int
    blocks: int
    summary: int
    queue: tuple[tuple[int, int], ...]
    images: tuple[int, ...]
    frame: int

    @property
    def counted(self) -> Counted:
        words = self.instructions + self.blocks + self.summary + self.frame + sum(row[0] for row in self.queue)
        return self.functions, words, sum(row[1] for row in self.queue)


class CountCache:
    """Counts by key, bounded: when it is full the older half is dropped. Safe to share between threads."""

    def __init__(self, limit: int = _CACHE_LIMIT) -> None:
        self._limit = limit
        self._counts: dict[Hashable, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def get(self, key: Hashable, count: Callable[[], tuple[int, int]]) -> tuple[int, int]:
        """Return the count of `key`, taken by `count` where it is new."""
        known = self._counts.get(key)
        if known is not None:
            return known
        if len(self._counts) >= self._limit:
            counts = self._counts.copy()
            self._counts = dict(itertools.islice(counts.items(), len(counts) // 2, None))
        taken = self._counts[key] = count()
        return taken


_SHARED = CountCache()


class TokenCounts:
    """Counts prompts for one model at one endpoint, and learns how that model counts."""

    def __init__(
        self,
        model: str,
        endpoint: str = "",
        *,
        scales: KeptScales | None = None,
        window_tokens: Callable[[], int | None] = lambda: None,
        cache: CountCache = _SHARED,
    ) -> None:
        """`window_tokens` decides whether a rough estimate does until the tokenizer is loaded."""
        self._model = model
        self._endpoint = endpoint
        self._kept = scales
        self._window_tokens = window_tokens
        self._cache = cache
        known = scales.load(model, endpoint) if scales else {}
        self._scales = {name: TokenScale.from_json(text) for name, text in known.items() if name != IMAGES}
        self._images = ImageScale.from_json(known.get(IMAGES, ""))
        self._measured: tuple[PromptTokens, Prompt] | None = None
        self._reported: tuple[Prompt, int | None] | None = None

    def load(self) -> None:
        """Load the tokenizer: 0.2 s once per process, for a worker thread."""
        offline_tokenizer.load()

    def measure(self, prompt: Prompt) -> PromptTokens:
        """Return what `prompt` will cost, by part.

        Until the tokenizer is loaded, bytes are counted instead; only where those say that the prompt could come
        near the window does this load it.
        """
        tokenizer = offline_tokenizer.at_hand()
        counts = _counts(prompt, tokenizer, self._cache)
        rough = sum(counts.counted) + sum(counts.images)
        if tokenizer is ESTIMATE and 2 * rough > (self._window_tokens() or DEFAULT_WINDOW_TOKENS):
            tokenizer = offline_tokenizer.load()
            counts = _counts(prompt, tokenizer, self._cache)
        tokens = _scaled(counts, self._scale_by(tokenizer), self._images.factor, tokenizer.name)
        self._measured = tokens, prompt
        return tokens

    def learn(self, measured: PromptTokens, usage: TokenUsage) -> None:
        """Learn from what the server reported for a prompt measured so."""
        reported = usage.prompt_tokens
        if reported is not None and usage.cached_tokens is not None and usage.cached_tokens > reported:
            return  # it counts only what it had not read before
        # Where next to nothing is known of the words they get all that the pictures hardly can have cost.
        of_words = None if reported is None else reported - int(self._images.least * measured.images)
        if self._measured is not None and self._measured[0] is measured:
            self._reported = self._measured[1], of_words
        scale = self._scale(measured.counted_by)
        if measured.images and reported is not None:
            words = scale.expected(measured.counted)
            doubt = scale.margin(measured.counted) * words
            if doubt <= _KNOWN_BESIDE_IMAGES * measured.images:
                self._learn_images(measured.images, reported - words + doubt)
                return
        if scale.learn(measured.counted, of_words) and self._kept:
            self._kept.note(self._model, self._endpoint, measured.counted_by, scale.as_json())

    def _learn_images(self, estimated: int, counted: float) -> None:
        if self._images.learn(estimated, counted) and self._kept:
            self._kept.note(self._model, self._endpoint, IMAGES, self._images.as_json())

    def _scale_by(self, tokenizer: Tokenizer) -> TokenScale:
        """Return the scale of a tokenizer. One that was loaded only now learns from the newest report that there was:
        the model is no unknown one because we begin to count better."""
        scale, reported = self._scale(tokenizer.name), self._reported
        if not scale.is_tried and reported is not None:
            self._reported = None
            scale.learn(_counts(reported[0], tokenizer, self._cache).counted, reported[1])
        return scale

    def _scale(self, tokenizer: str) -> TokenScale:
        return self._scales.setdefault(tokenizer, TokenScale())


def estimated(prompt: Prompt) -> PromptTokens:
    """Return what `prompt` holds by the estimate from bytes, for what sends it to no LLM as it is."""
    counts = _counts(prompt, ESTIMATE, _SHARED)
    queue = tuple(words + calls + seen for (words, calls), seen in zip(counts.queue, counts.images, strict=True))
    return PromptTokens(
        counts.instructions, counts.functions, counts.blocks, counts.summary, queue, counts.frame, ESTIMATE.name
    )


def _scaled(counts: _Counts, scale: TokenScale, per_image: float, counted_by: str) -> PromptTokens:
    """Return the counts as the model will count: each part by its factor, the sum exact but for rounding."""
    per_function, per_word, per_call = scale.factors
    images = tuple(round(per_image * estimate) for estimate in counts.images)
    total = round(scale.expected(counts.counted)) + sum(images)
    parts = [round(per_word * part) for part in (counts.instructions, counts.blocks, counts.summary)]
    functions = round(per_function * counts.functions)
    queue = tuple(
        round(per_word * words + per_call * calls) + seen
        for (words, calls), seen in zip(counts.queue, images, strict=True)
    )
    frame = max(0, total - functions - sum(parts) - sum(queue))  # takes what rounding left over
    return PromptTokens(
        instructions=parts[0],
        functions=functions,
        blocks=parts[1],
        summary=parts[2],
        queue=queue,
        frame=frame,
        counted_by=counted_by,
        margin=round(total * scale.margin(counts.counted)),
        counted=counts.counted,
        images=sum(counts.images),
    )


def _counts(prompt: Prompt, tokenizer: Tokenizer, cache: CountCache) -> _Counts:
    def words(text: str) -> int:
        return cache.get((tokenizer.name, hash(text), len(text)), lambda: (tokenizer.count(text), 0))[0] if text else 0

    # The state changes at every step: it is counted anew, and not kept.
    state = tokenizer.count(json.dumps(newest_state(prompt.counters, prompt.blocks), ensure_ascii=False))
    return _Counts(
        instructions=words(prompt.instructions),
        functions=_functions(prompt.functions, tokenizer, cache),
        blocks=words(blocks_text(prompt.blocks)),
        summary=words(summary_text(prompt.summary)),
        queue=tuple(_row(row, tokenizer, cache) for row in prompt.queue),
        images=tuple(_images(row, prompt.images) for row in prompt.queue),
        frame=_MESSAGE_TOKENS + state + _REPLY_BEGINS_TOKENS,
    )


def _functions(functions: tuple[FunctionSchema, ...], tokenizer: Tokenizer, cache: CountCache) -> int:
    if not functions:
        return 0
    text = json.dumps(tools(functions), ensure_ascii=False)
    key = (tokenizer.name, hash(text), len(text))
    return cache.get(key, lambda: (tokenizer.count(text), 0))[0] + _FUNCTIONS_TOKENS


def _row(row: Message, tokenizer: Tokenizer, cache: CountCache) -> tuple[int, int]:
    # A row's words and calls are replaced in the queue where they are too long for it; its id stays.
    words = (row.content, *(call.arguments for call in row.calls))
    key = (tokenizer.name, row.id, hash(words), sum(map(len, words)), row.state, len(row.attachments))
    return cache.get(key, lambda: _row_counts(row, tokenizer))


def _images(row: Message, images: Mapping[str, Image]) -> int:
    return sum(image_tokens(images[hash_]) for hash_ in row.attachments if hash_ in images)


def _row_counts(row: Message, tokenizer: Tokenizer) -> tuple[int, int]:
    words = calls = 0
    for message in row_messages(row):
        words += tokenizer.count(message["content"] or "") + _MESSAGE_TOKENS
        for call in message.get("tool_calls", ()):
            function = call["function"]
            calls += tokenizer.count(function["name"]) + tokenizer.count(function["arguments"]) + _CALL_TOKENS
    return words, calls
