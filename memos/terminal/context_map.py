"""`/context`: the map of the window, as letters that say as much as its colours, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from memos.memory.message_rows import spoken_words
from memos.safe_text import safe_line
from memos.terminal.drawing import clipped
from memos.terminal.marks import Marks

if TYPE_CHECKING:
    from memos.kernel.operator import ContextMap
    from memos.storage.usage_ledger import ModelCall

_CELLS = 60


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the window."""

    letter: str
    name: str
    tokens: int
    style: str


def segments(context: ContextMap) -> list[Segment]:
    """Return the parts of the window in the order of the prompt; together they fill it, or more than that."""
    tokens, gauge = context.gauge.tokens, context.gauge
    margin = gauge.needed_tokens - tokens.total
    free = max(0, gauge.window_tokens - gauge.reply_tokens - gauge.needed_tokens)
    return [
        Segment("I", "instructions", tokens.instructions + tokens.frame, "blue"),
        Segment("F", f"functions ({len(context.functions)})", tokens.functions, "cyan"),
        Segment("B", f"core memory ({len(context.blocks)} blocks)", tokens.blocks, "green"),
        Segment("S", "summary of what has left", tokens.summary, "magenta"),
        Segment("Q", f"queue ({context.messages} messages)", sum(tokens.queue), "yellow"),
        Segment("M", "margin of the count", margin, "dim"),
        Segment(".", "free", free, "dim"),
        Segment("R", "kept for the reply", gauge.reply_tokens, "red"),
    ]


def context_lines(context: ContextMap, width: int, marks: Marks) -> Iterator[Text]:
    """Yield the lines of the map."""
    gauge = context.gauge
    known = "" if context.window_known else " (a guess: the window is unknown)"
    yield Text(
        f"{safe_line(context.model)}: {gauge.needed_tokens:,} of {gauge.room_tokens:,} tokens for a prompt"
        f" ({gauge.fill:.0%}), window {gauge.window_tokens:,}{known}"
    )
    yield _bar(segments(context), gauge.window_tokens, max(20, min(_CELLS, width - 3)))
    for segment in segments(context):
        if segment.tokens:
            yield Text(f"  {segment.letter}  ", style=segment.style).append(
                f"{segment.name:<28}{segment.tokens:>9,}", style="not dim default"
            )
    how = "the model's own tokenizer" if gauge.tokens.exact else "an estimate"
    yield Text(f"Counted by {gauge.tokens.counted_by} ({how}).", style="dim")
    if context.last_call:
        yield Text(f"Last request: {_reported(context.last_call)}")
    yield Text(_next_flush(context, marks))


def context_json(context: ContextMap) -> dict[str, Any]:
    """Return the map as data; the parts of `tokens` add up to `prompt_tokens`."""
    gauge, tokens = context.gauge, context.gauge.tokens
    return {
        "model": context.model,
        "window_tokens": gauge.window_tokens,
        "window_known": context.window_known,
        "prompt_tokens": tokens.total,
        "margin_tokens": gauge.needed_tokens - tokens.total,
        "reply_tokens": gauge.reply_tokens,
        "counted_by": tokens.counted_by,
        "exact": tokens.exact,
        "tokens": {
            "instructions": tokens.instructions,
            "functions": tokens.functions,
            "blocks": tokens.blocks,
            "summary": tokens.summary,
            "queue": sum(tokens.queue),
            "frame": tokens.frame,
        },
        "blocks": [
            {"label": b.label, "chars": len(b.value), "limit_chars": b.limit_chars, "read_only": b.read_only}
            for b in context.blocks
        ],
        "queue_messages": context.messages,
        "next_flush": {"messages": len(context.evicted_next), "tokens": context.evicted_next_tokens},
        "last_call": _call_json(context.last_call) if context.last_call else None,
    }


def _reported(call: ModelCall) -> str:
    """Return what the provider said of a request, and how much of it was in its cache."""
    prompt, cached = call.usage.prompt_tokens, call.usage.cached_tokens
    if prompt is None:
        return "its tokens are not reported."
    if cached is None:
        return f"{prompt:,} tokens; how many were read from a cache is not reported."
    if cached > prompt:  # some servers count only what they had not read before
        return f"{prompt:,} tokens, and {cached:,} more that were in the cache."
    return f"{prompt:,} tokens; {cached:,} of them were in the cache ({cached / max(prompt, 1):.0%})."


def _call_json(call: ModelCall) -> dict[str, Any]:
    """Return a request as data; null is what its provider did not report."""
    usage = call.usage
    return {
        "model": call.model,
        "created_at": call.created_at.isoformat(),
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "reply_tokens": usage.reply_tokens,
    }


def _bar(parts: list[Segment], window_tokens: int, cells: int) -> Text:
    """Return the window as letters, each segment that is there with at least one; `cells` in all."""
    total = max(window_tokens, sum(part.tokens for part in parts))
    counts = [max(1, round(part.tokens * cells / total)) if part.tokens else 0 for part in parts]
    while sum(counts) > cells:
        counts[counts.index(max(counts))] -= 1
    while sum(counts) < cells and any(counts):
        counts[counts.index(max(counts))] += 1
    bar = Text("  ")
    for part, count in zip(parts, counts, strict=True):
        bar.append(part.letter * count, style=part.style)
    return bar


def _next_flush(context: ContextMap, marks: Marks) -> str:
    if not context.evicted_next:
        return "Nothing in the queue can be evicted yet."
    said = next((words for message in reversed(context.evicted_next) if (words := spoken_words(message))), "")
    return (
        f"The next flush evicts the oldest {len(context.evicted_next)} messages"
        f" ({context.evicted_next_tokens:,} tokens)" + (f', up to "{clipped(said, 40, marks.more)}".' if said else ".")
    )
