"""A page of search results as the LLM reads it: totals, then one line a hit, bounded in length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from memos.memory.query_terms import search_terms

PAGE_SIZE = 5
_LINE_LIMIT_CHARS = 600
_BEFORE_CHARS = 80
"""So much of a long text is shown before the word that was looked for."""
_STEM_CHARS = 6
"""So much of a word is enough to see it again in another form."""


@dataclass(frozen=True, slots=True)
class Line:
    """A hit: when it was said or stored (UTC), its text, and who spoke ('' in archival storage)."""

    at: datetime
    text: str
    speaker: str = ""


def page_text(lines: Sequence[Line], total: int, page: int, query: str = "") -> str:
    """Return one page: `Showing 1-5 of 12 results (page 0):`, then a line each, with local time.

    Of a text too long for its line that part is shown which has most of the words of `query`.
    """
    if total == 0:
        return "No results."
    if not lines:
        return f"No results on page {page}: there are {total} in all, {PAGE_SIZE} a page."
    first = page * PAGE_SIZE + 1
    head = f"Showing {first}-{first + len(lines) - 1} of {total} results (page {page}):"
    stems = [term.strip('"').casefold()[:_STEM_CHARS] for term in search_terms(query)]
    return "\n".join([head, *(_line(line, stems) for line in lines)])


def _line(line: Line, stems: Sequence[str]) -> str:
    text = " ".join(line.text.split())
    if len(text) > _LINE_LIMIT_CHARS:
        text = _part(text, stems)
    speaker = f"{line.speaker}: " if line.speaker else ""
    return f"[{line.at.astimezone():%Y-%m-%d %H:%M}] {speaker}{text}"


def _part(text: str, stems: Sequence[str]) -> str:
    """Return the part of a long text in which most of `stems` stand, the earliest of equals, and where it stands."""
    folded = text.casefold()
    places = sorted(place for stem in stems if (place := folded.find(stem)) >= 0)
    places += [place for stem in stems if (place := folded.rfind(stem)) >= 0]

    def found(start: int) -> int:
        window = folded[start : start + _LINE_LIMIT_CHARS]
        return sum(stem in window for stem in stems)

    starts = [0, *(max(0, place - _BEFORE_CHARS) for place in places)]
    best = max(starts, key=lambda start: (found(start), -start))
    start = min(best, len(text) - _LINE_LIMIT_CHARS)
    where = f" from {start}" if start else ""
    shown = text[start : start + _LINE_LIMIT_CHARS]
    return f"{'…' if start else ''}{shown}… (characters{where} of {len(text)})"


def excerpt(text: str, query: str) -> str:
    """Return `text` on one line; of a long one the part that has most of the words of `query`, and where it stands."""
    line = " ".join(text.split())
    if len(line) <= _LINE_LIMIT_CHARS:
        return line
    return _part(line, [term.strip('"').casefold()[:_STEM_CHARS] for term in search_terms(query)])
