"""A page of search results as the LLM reads it: totals, then one line a hit, bounded in length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

PAGE_SIZE = 5
_LINE_LIMIT_CHARS = 600


@dataclass(frozen=True, slots=True)
class Line:
    """A hit: when it was said or stored (UTC), its text, and who spoke ('' in archival storage)."""

    at: datetime
    text: str
    speaker: str = ""


def page_text(lines: Sequence[Line], total: int, page: int) -> str:
    """Return one page: `Showing 1-5 of 12 results (page 0):`, then a line each, with local time."""
    if total == 0:
        return "No results."
    if not lines:
        return f"No results on page {page}: there are {total} in all, {PAGE_SIZE} a page."
    first = page * PAGE_SIZE + 1
    head = f"Showing {first}-{first + len(lines) - 1} of {total} results (page {page}):"
    return "\n".join([head, *map(_line, lines)])


def _line(line: Line) -> str:
    text = " ".join(line.text.split())
    if len(text) > _LINE_LIMIT_CHARS:
        text = f"{text[:_LINE_LIMIT_CHARS]}… ({len(text)} characters in all)"
    speaker = f"{line.speaker}: " if line.speaker else ""
    return f"[{line.at.astimezone():%Y-%m-%d %H:%M}] {speaker}{text}"
