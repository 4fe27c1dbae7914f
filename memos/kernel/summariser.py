"""Folds what left the FIFO queue into the recursive summary.

First without a model, so that a flush neither waits for one nor fails by one; then, where a model can write it, better.
Source: Packer et al. 2023, §2.2 (recursive summary); the fallback is ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from memos.errors import MemosError, StreamCut
from memos.kernel.summary import FACTS, departures, entries_of, headings_in, summary_text, with_departures
from memos.kernel.transcript import both_ends, pieces, transcript_lines
from memos.llm.processor import Processor, closing_stream, model_call
from memos.memory.message_rows import event_message
from memos.messages import Counters, Event, EventKind, Finish, Message, Prompt, Reply, utc_now
from memos.prompts import summary_instructions
from memos.storage.usage_ledger import ModelCall

BY_MEMOS = "memos"
"""The author of a summary that no model wrote."""

_CHARS_PER_TOKEN = 3
_WINDOW_SHARE = 12
_LEAST_TOKENS, _MOST_TOKENS = 120, 1_000
_QUOTE_CHARS = 160
_TIMEOUT_S = 180.0
_LEAST_HEADINGS = 2

NoteCall = Callable[[ModelCall], Awaitable[None]]
"""Is told of every call that a summary took."""


class NoSummary(MemosError):
    """A model gave no summary that can be used; `extract` stands in its place."""


def limit_chars(window_tokens: int) -> int:
    """Return how long the summary may be beside the rest of a window of that size."""
    return _CHARS_PER_TOKEN * min(_MOST_TOKENS, max(_LEAST_TOKENS, window_tokens // _WINDOW_SHARE))


def extract(previous: str, evicted: Sequence[Message], limit: int) -> str:
    """Return the summary that needs no model: the user's own words, shortened, beside what was there, the newest first
    to stay. `limit` in characters."""
    entries = entries_of(previous)
    said = transcript_lines(message for message in evicted if message.role == "user")
    entries[FACTS] += [both_ends(line, _QUOTE_CHARS) for line in said]
    return summary_text(_departed(entries, previous, evicted), limit)


async def summarise(
    processor: Processor, previous: str, evicted: Sequence[Message], window_tokens: int, note: NoteCall
) -> str:
    """Return the model's summary of `previous` and `evicted`.

    The messages go to the model as plain text, in pieces that fit its window, one after the other.

    Raises: NoSummary, whatever the model did in place of it.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            text = await _written(processor, previous, evicted, window_tokens, note)
    except TimeoutError as error:
        raise NoSummary(f"{processor.model} took too long to write the summary.") from error
    except MemosError as error:
        raise NoSummary(f"{processor.model} could not write the summary: {error.what}") from error
    if headings_in(text) < _LEAST_HEADINGS or not any(entries_of(text).values()):
        raise NoSummary(f"{processor.model} wrote no summary that can be used.")
    return summary_text(_departed(entries_of(text), previous, evicted), limit_chars(window_tokens))


async def _written(
    processor: Processor, previous: str, evicted: Sequence[Message], window_tokens: int, note: NoteCall
) -> str:
    instructions, limit = summary_instructions(), limit_chars(window_tokens)
    room = window_tokens * _CHARS_PER_TOKEN * 2 // 3 - len(instructions) - 2 * limit
    for piece in pieces(transcript_lines(evicted), max(room, _QUOTE_CHARS)):
        prompt = _prompt(instructions, previous, piece, limit)
        while processor.measure(prompt).at_most > window_tokens - limit // _CHARS_PER_TOKEN and len(piece) > 1:
            piece = both_ends(piece, len(piece) // 2)  # noqa: PLW2901  writing of few letters takes more tokens
            prompt = _prompt(instructions, previous, piece, limit)
        reply = await _reply(processor, prompt)
        await note(model_call(processor, "summarise", reply.usage))
        if reply.finish is Finish.CUT:
            raise StreamCut(f"the reply of {processor.model} was cut off.")
        previous = (reply.text or reply.monologue).strip()
    return previous


def _departed(entries: dict[str, list[str]], previous: str, evicted: Sequence[Message]) -> dict[str, list[str]]:
    return with_departures(entries, departures(previous) + len(evicted), evicted[-1].created_at)


async def _reply(processor: Processor, prompt: Prompt) -> Reply:
    async with closing_stream(processor.infer(prompt)) as parts:
        async for part in parts:
            if isinstance(part, Reply):
                return part
    return Reply()


def _prompt(instructions: str, previous: str, piece: str, limit: int) -> Prompt:
    task = (
        f"Summary so far:\n{previous or '(there is none yet)'}\n\nMessages:\n{piece}\n\n"
        f"The new summary may have at most {limit // 6} words."
    )
    event = event_message(Event(EventKind.SYSTEM_ALERT, task), "", "")
    return Prompt(instructions, (), (), (event,), Counters(utc_now().astimezone()), purpose="summarise")
