"""A page of search results as the LLM reads it: totals, then one line a hit, bounded in length and in tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from memos.errors import FunctionFailed
from memos.memory.query_terms import search_terms

PAGE_SIZE = 5
NOTHING = "No results."
PAGE_LIMIT_TOKENS = 1_500
_LINE_LIMITS_CHARS = ((600, 160), (400, 120), (250, 80), (120, 40), (100, 15))
"""So much of a hit and of a line beside it is shown: the first of these with which the page keeps its limit."""
_TOKENS_A_CHARACTER = (0.25, 1.0)
"""Tokens of a character in ASCII and of any other, reckoned high."""
_EXCERPT_CHARS = _LINE_LIMITS_CHARS[0][0]
_BEFORE_CHARS = 80
"""So much of a long text is shown before the word that was looked for."""
_STEM_CHARS = 6
"""So much of a word is enough to see it again in another form."""


@dataclass(frozen=True, slots=True)
class Line:
    """A hit: when it was said or stored (UTC), its text, who spoke ('' in archival storage), its tags.

    `beside`: no hit, but what was said before or after one.
    """

    at: datetime
    text: str
    speaker: str = ""
    tags: tuple[str, ...] = ()
    beside: bool = False


def page_text(lines: Sequence[Line], total: int, page: int, query: str = "", nothing: str = NOTHING) -> str:
    """Return one page: `Showing 1-5 of 12 results (page 0):`, then a line each, with local time and tags.

    What stands beside a hit is set in. `nothing` is said where there are no results at all.

    Of a text too long for its line that part is shown which has most of the words of `query`.
    """
    if total == 0:
        return nothing
    if not lines:
        return f"No results on page {page}: there are {total} in all, {PAGE_SIZE} a page."
    first = page * PAGE_SIZE + 1
    head = f"Showing {first}-{first + sum(not line.beside for line in lines) - 1} of {total} results (page {page}):"
    stems = _stems(query)
    text = ""
    for limits in _LINE_LIMITS_CHARS:
        text = "\n".join([head, *(_line(line, stems, limits[line.beside]) for line in lines)])
        if _tokens(text) <= PAGE_LIMIT_TOKENS:
            break
    return text


def _stems(query: str) -> list[str]:
    return [term.strip('"').casefold()[:_STEM_CHARS] for term in search_terms(query)]


def checked_page(page: int) -> int:
    """Return `page` if there can be such a page. Raises: FunctionFailed."""
    if not 0 <= page <= 1_000_000:
        raise FunctionFailed("page is a whole number from 0.")
    return page


def _tokens(text: str) -> float:
    in_ascii = sum(map(str.isascii, text))
    return in_ascii * _TOKENS_A_CHARACTER[0] + (len(text) - in_ascii) * _TOKENS_A_CHARACTER[1]


def _line(line: Line, stems: Sequence[str], limit_chars: int) -> str:
    text = " ".join(line.text.split())
    if len(text) > limit_chars:
        text = _part(text, stems, limit_chars)
    speaker = f"{line.speaker}: " if line.speaker else ""
    tags = "".join(f" #{tag}" for tag in line.tags)
    return f"{'    ' if line.beside else ''}[{line.at.astimezone():%Y-%m-%d %H:%M}{tags}] {speaker}{text}"


def _part(text: str, stems: Sequence[str], limit_chars: int) -> str:
    """Return the part of a long text in which most of `stems` stand, the earliest of equals, and where it stands."""
    folded = text.casefold()
    places = sorted(place for stem in stems if (place := folded.find(stem)) >= 0)
    places += [place for stem in stems if (place := folded.rfind(stem)) >= 0]

    def found(start: int) -> int:
        window = folded[start : start + limit_chars]
        return sum(stem in window for stem in stems)

    starts = [0, *(max(0, place - _BEFORE_CHARS) for place in places)]
    best = max(starts, key=lambda start: (found(start), -start))
    start = min(best, len(text) - limit_chars)
    shown = text[start : start + limit_chars]
    where = f"characters from {start} of {len(text)}" if start else f"the first {limit_chars} of {len(text)} characters"
    return f"{'…' if start else ''}{shown}… ({where})"


def excerpt(text: str, query: str) -> str:
    """Return `text` on one line; of a long one the part that has most of the words of `query`, and where it stands."""
    line = " ".join(text.split())
    return line if len(line) <= _EXCERPT_CHARS else _part(line, _stems(query), _EXCERPT_CHARS)
