"""An agent as Markdown: headings of our own, and every text of others in a fence that it cannot end."""

from __future__ import annotations

import re
from collections.abc import Iterator

from memos.storage.agent_export import AgentSnapshot
from memos.terminal.readable_agent import Entry, Heading, Part, Remark, Text, parts

_ACTIVE = re.compile(r"([\\`*_{}\[\]<>#!|~&@]|:(?=/)|(?<=www)\.)", re.IGNORECASE)
"""Signs that mean something within a line that begins with one of ours; the last two make bare addresses links."""
_TICKS = re.compile(r"`+")


def markdown_lines(snapshot: AgentSnapshot, *, with_thoughts: bool) -> Iterator[bytes]:
    """Yield the document piece by piece, in UTF-8."""
    for part in parts(snapshot, with_thoughts=with_thoughts):
        yield f"{_written(part)}\n\n".encode()


def _written(part: Part) -> str:
    match part:
        case Heading(level, text):
            return f"{'#' * level} {_escaped(text)}"
        case Remark(text):
            return f"*{_escaped(text)}*"
        case Text(text):
            return _fenced(text)
        case Entry("note", who, _, text):
            return f"**{_escaped(who)}**\n\n{_fenced(text)}"
        case Entry("user" | "agent", who, at, text):
            return f"**{_escaped(who)}**, {at:%H:%M}\n\n{_fenced(text)}"
        case Entry(_, who, at, text):
            head = f"*{_escaped(who)}*, {at:%H:%M}"
            return f"{head}\n\n{_fenced(text)}" if text else head


def _escaped(text: str) -> str:
    """Return one line whose signs mean nothing."""
    return _ACTIVE.sub(r"\\\1", text)


def _fenced(text: str) -> str:
    longest = max(map(len, _TICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
