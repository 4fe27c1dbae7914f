"""Messages as plain text, for a summary: who said what and when, and what was filed, never a call or a packet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memos.memory.message_rows import spoken_words
from memos.messages import Message

LINE_LIMIT_CHARS = 2_000
"""A message longer than this is given by its beginning and its end: a summary needs no more of it."""
_GAP = " […] "


def transcript_lines(messages: Iterable[Message]) -> list[str]:
    """Return a line for each message in which something was said, with local time, in order."""
    return [line for message in messages if (line := _line(message))]


def pieces(lines: Sequence[str], limit_chars: int) -> list[str]:
    """Return the lines joined into texts of at most about `limit_chars` characters (one line may be longer)."""
    found: list[list[str]] = []
    room = 0
    for line in lines:
        if not found or len(line) + 1 > room:
            found.append([])
            room = limit_chars
        found[-1].append(line)
        room -= len(line) + 1
    return ["\n".join(piece) for piece in found]


def both_ends(text: str, limit_chars: int, gap: str = _GAP) -> str:
    """Return `text`, or where it is longer than `limit_chars` its beginning and its end with `gap` between them."""
    if len(text) <= limit_chars:
        return text
    kept = max(0, limit_chars - len(gap))
    end = kept // 3
    return f"{text[: kept - end]}{gap}{text[len(text) - end :]}"


def _line(message: Message) -> str:
    said = " ".join(spoken_words(message).split())
    if not said:
        return ""
    who = "person" if message.role == "user" else "agent"
    return f"[{message.created_at.astimezone():%Y-%m-%d %H:%M}] {who}: {both_ends(said, LINE_LIMIT_CHARS)}"
