"""The call format `json_schema`: one JSON call a step, written under a grammar after a few examples, shown as it comes.

What never changes stands first (instructions, examples), then the queue, then the blocks beside the newest event, so
that an edited block is read again and nothing else (prompt profile `small`).
"""

from __future__ import annotations

import bisect
import functools
import itertools
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from memos.llm.call_grammar import Lengths, call_grammar
from memos.llm.call_text import CallText
from memos.llm.engine import Completion
from memos.llm.json_messages import written_call
from memos.messages import (
    Block,
    Counters,
    EventKind,
    Finish,
    FunctionCall,
    FunctionSchema,
    Message,
    Notice,
    Prompt,
    PromptTokens,
    Reply,
    ReplyPart,
    new_id,
)
from memos.storage.attachments import words_and_images

SLOTS = 1
SLOT = 0
_FIRST = Lengths()
_SHORTER = Lengths(thoughts_chars=60, string_chars=160)
_MAX_TOKENS = 256
_REPLY_TOKENS = 2 * _MAX_TOKENS
_QUEUE_STEP = 8
"""Old messages leave the prompt in lots: each time one leaves, all after it is read again."""
_LINE_LIMIT_CHARS = 1200
_CHARS_PER_TOKEN = 3
_ASK = "Call:"
_UNFINISHED = "The model did not come to the end of its reply; ask again, or say it in fewer words."
_PERSON_AND_AGENT = ("human", "persona")

Show = Callable[[ReplyPart], None]


class GrammarCompleter(Protocol):
    """The part of the engine that writes under a grammar."""

    @property
    def window_tokens(self) -> int:
        """How much it can read and write at once."""
        ...

    def tokens(self, text: str) -> list[int] | None:
        """Return the bytes of each token of a prompt, None where that is not known."""
        ...

    def complete(
        self,
        prompt: str,
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        slot: int = 0,
        grammar: str | None = None,
        on_text: Callable[[str], None] | None = None,
        cancelled: threading.Event | None = None,
    ) -> Completion:
        """Continue `prompt`."""
        ...


class OneCall:
    """Has the model write the next call. Blocks while it works: for a worker thread."""

    def __init__(self, engine: GrammarCompleter, *, max_tokens: int = _MAX_TOKENS) -> None:
        self._engine = engine
        self._max_tokens = max_tokens
        self._shots = fixed_prompt()

    def prefixes(self) -> tuple[tuple[int, str], ...]:
        """Return what each slot of the engine always begins with."""
        return ((SLOT, self._shots),)

    def warm_up(self) -> None:
        """Do nothing more: the prefix is all there is to read."""

    def reply(self, prompt: Prompt, cancelled: threading.Event | None = None, show: Show = lambda _: None) -> Reply:
        """Write the next step, `show`ing thoughts and words as they come; a call without an end is asked anew, once."""
        text = f"{self._shots}{live_part(prompt, self._room_chars(prompt), self._shots)}{_ASK}"
        for lengths in (_FIRST, _SHORTER):
            reading = CallText([function.name for function in prompt.functions])
            done = self._engine.complete(
                text,
                max_tokens=self._max_tokens,
                slot=SLOT,
                grammar=call_grammar(prompt.functions, lengths),
                on_text=functools.partial(_show_new, reading, show),
                cancelled=cancelled,
            )
            found = reading.finish()
            if done.finish is Finish.CANCELLED:
                return Reply(found.thoughts, found.said, finish=Finish.CANCELLED, usage=done.usage)
            if found.calls:
                calls = tuple(FunctionCall(new_id(), str(call.name), call.arguments) for call in found.calls)
                return Reply(found.thoughts, calls=calls, usage=done.usage)
            if found.said:  # it has been seen: no second version of it
                break
        show(Notice(_UNFINISHED))
        return Reply(found.thoughts, found.said or found.thoughts, usage=done.usage)

    def measure(self, prompt: Prompt) -> PromptTokens | None:
        """Count the prompt as the model will read it, all of its queue; None where its tokenizer is not at hand."""
        live = _live(prompt, self._shots)
        before, after = live.lines[: live.newest], live.lines[live.newest :]
        texts = [self._shots, live.functions, live.counters, live.blocks, _ASK, *before, *after]
        place = [0, *range(5, 5 + len(before)), 1, 2, 3, *range(5 + len(before), len(texts)), 4]
        sizes = self._engine.tokens("".join(texts[index] for index in place))
        if sizes is None:
            return None
        counts = [0] * len(texts)
        for index, count in zip(place, _shares(sizes, [texts[index] for index in place]), strict=True):
            counts[index] = count
        shots, functions, counters, blocks, ask, *rows = counts
        return PromptTokens(shots, functions, blocks, 0, tuple(rows), counters + ask, "the model's own", exact=True)

    def _room_chars(self, prompt: Prompt) -> int:
        """Return how much of the queue may stand in the prompt: all of it where it is known to fit."""
        tokens = self._engine.window_tokens - _REPLY_TOKENS
        measured = self.measure(prompt)
        if measured is not None and measured.total <= tokens:
            return sys.maxsize
        return max(0, tokens * _CHARS_PER_TOKEN - len(self._shots))


def _show_new(reading: CallText, show: Show, piece: str) -> None:
    for part in reading.feed(piece):
        show(part)


def live_part(prompt: Prompt, room_chars: int, shots: str) -> str:
    """Return what follows the examples: as much of the queue as there is room for, blocks beside the newest event."""
    live = _live(prompt, shots)
    lines, newest = live.lines, live.newest
    state = f"{live.functions}{live.counters}{live.blocks}"
    needed = len(state) + sum(len(line) for line in lines[newest:])
    start = 0
    while start < newest and needed + sum(len(line) for line in lines[start:newest]) > room_chars:
        start += _QUEUE_STEP
    start = min(start, newest)
    return "".join([*lines[start:newest], state, *lines[newest:]])


@dataclass(frozen=True, slots=True)
class _Live:
    """What follows the examples: `lines` has one text a row; the other three stand before the row `newest`."""

    lines: list[str]
    newest: int
    functions: str
    counters: str
    blocks: str


def _live(prompt: Prompt, shots: str) -> _Live:
    others = [_signature(f) for f in prompt.functions if f"{f.name}(" not in shots]
    also = f"\nAlso: {' '.join(others)}" if others else ""
    blocks = [_block(block) for label in _PERSON_AND_AGENT[::-1] for block in prompt.blocks if block.label == label]
    more = [_block(block) for block in prompt.blocks if block.label not in _PERSON_AND_AGENT]
    return _Live(
        lines=["".join(_lines(row)) for row in prompt.queue],
        newest=max((i for i, row in enumerate(prompt.queue) if row.role == "user"), default=0),
        functions=f"{also}\n",
        counters=_counted(prompt.counters),
        blocks="".join([*more, *blocks]),
    )


def _shares(sizes: Sequence[int], texts: Sequence[str]) -> list[int]:
    """Return how many of the tokens, which have these sizes in bytes, begin in each of `texts`.

    What the tokenizer adds at the beginning may make the sizes a few bytes more than the texts have.
    """
    ends = list(itertools.accumulate(len(text.encode("utf-8", "replace")) for text in texts))
    counts = [0] * len(texts)
    begins = min(0, ends[-1] - sum(sizes))
    for size in sizes:
        counts[min(bisect.bisect_right(ends, max(0, begins)), len(texts) - 1)] += 1
        begins += size
    return counts


def _signature(function: FunctionSchema) -> str:
    required = [name for name in function.parameters.get("required", ()) if name != "request_heartbeat"]
    meaning = next(iter(function.description.splitlines()), "")
    return f"{function.name}({', '.join(required)}): {meaning}"


def _counted(counters: Counters) -> str:
    kept = counters.archival_count
    return f"Archive: {kept} {'note' if kept == 1 else 'notes'}.\n" if kept else ""


def _block(block: Block) -> str:
    return f"Core memory, {block.label}: {block.value.strip() or '(empty)'}\n"


def _lines(row: Message) -> list[str]:
    match row.role:
        case "user":
            words = words_and_images(row) or ("The person is here." if row.kind is EventKind.LOGIN else "")
            return [f"Event {row.kind or EventKind.USER_MESSAGE}: {_one_line(words)}\n"]
        case "tool":
            return [f"Result {'Failed' if row.ok is False else 'OK'}: {_one_line(row.content)}\n"]
    return [f"Call: {written_call(row.content, call)[:_LINE_LIMIT_CHARS]}\n" for call in row.calls]


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LINE_LIMIT_CHARS]


def fixed_prompt() -> str:
    """Return the instructions and examples that never change."""
    from importlib.resources import files

    return (files("memos.prompts") / "one_call" / "one_call.txt").read_text(encoding="utf-8")
