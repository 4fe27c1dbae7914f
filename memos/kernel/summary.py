"""A recursive summary as data: five sections of short entries, always within its limit.

Source: Packer et al. 2023, §2.2; the sections are ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

SECTIONS = ("Facts", "Decisions", "Open threads", "Dates", "Where to look")
FACTS, WHERE = SECTIONS[0], SECTIONS[4]
_ENTRY_CHARS = 400
_HEADING = re.compile(rf"[#*\s]*({'|'.join(SECTIONS)})[*\s]*:[*\s]*(.*)", re.IGNORECASE)
_LEFT = re.compile(r"(\d+) messages have left the queue, ")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+\.)\s+")

Entries = Mapping[str, Sequence[str]]
"""The entries of each section, oldest first."""


def entries_of(text: str) -> dict[str, list[str]]:
    """Return the entries in a text, whatever marks stand before them; words before the first heading are facts."""
    found: dict[str, list[str]] = {section: [] for section in SECTIONS}
    section = FACTS
    for line in text.splitlines():
        if heading := _HEADING.fullmatch(line):
            section = next(known for known in SECTIONS if known.casefold() == heading[1].casefold())
        words = " ".join(_BULLET.sub("", heading[2] if heading else line).split())[:_ENTRY_CHARS].rstrip()
        if words.strip("*#-: ") and words not in found[section]:
            found[section].append(words)
    return found


def headings_in(text: str) -> int:
    """Return how many of the sections a text names."""
    return len({heading[1].casefold() for line in text.splitlines() if (heading := _HEADING.fullmatch(line))})


def summary_text(entries: Entries, limit_chars: int) -> str:
    """Return the sections as text of at most `limit_chars`: the oldest entries of the longest section go first.

    The newest entry of `Where to look`, which says what has left the queue, stays in any case.
    """
    kept = {section: list(entries.get(section, ())) for section in SECTIONS}
    while len(text := _written(kept)) > limit_chars:
        longest = max(SECTIONS, key=lambda section: sum(map(len, kept[section][: -1 if section == WHERE else None])))
        if len(kept[longest]) <= (1 if longest == WHERE else 0):
            break
        kept[longest].pop(0)
    return text


def with_departures(entries: Entries, count: int, last_at: datetime) -> dict[str, list[str]]:
    """Return the entries with one on how many messages have left the queue in all, and where they are."""
    others = {section: [entry for entry in entries.get(section, ()) if not _LEFT.search(entry)] for section in SECTIONS}
    others[WHERE].append(
        f"{count} messages have left the queue, the last of {last_at.astimezone():%Y-%m-%d %H:%M}."
        " They are kept word for word: conversation_search finds them."
    )
    return others


def departures(text: str) -> int:
    """Return how many messages a summary says have left the queue."""
    found = _LEFT.search(text)
    return int(found[1]) if found else 0


def _written(entries: Entries) -> str:
    lines: list[str] = []
    for section in SECTIONS:
        if entries[section]:
            lines += [f"{section}:", *(f"- {entry}" for entry in entries[section])]
    return "\n".join(lines)
