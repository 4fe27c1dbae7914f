"""Finds of a search as lines: local time, speaker, and the words that were looked for standing out."""

from __future__ import annotations

from rich.text import Text

from memos.memory.finder import Find
from memos.memory.pages import excerpt
from memos.memory.word_forms import without_accents, word_patterns
from memos.safe_text import safe_line
from memos.terminal.wrapping import displayable

MATCH_STYLE = "bold yellow"


def find_line(find: Find, query: str, head: str = "") -> Text:
    """Return one find on one line after `head`; of a long text the part around the words is shown."""
    line = Text(head).append(f"{find.at.astimezone():%Y-%m-%d %H:%M}  ", style="dim")
    if find.speaker:
        line.append(f"{safe_line(find.speaker)}: ")
    return line.append_text(highlighted(excerpt(find.text, query), query))


def highlighted(text: str, query: str) -> Text:
    """Return a text, made harmless, in which each form of a word of `query` stands out."""
    shown = displayable(text)
    line, plain = Text(shown), without_accents(shown)
    for pattern in word_patterns(query):
        for match in pattern.finditer(plain):
            line.stylize(MATCH_STYLE, *match.span())
    return line
