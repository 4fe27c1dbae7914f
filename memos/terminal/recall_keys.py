"""F4 and F5: what is remembered about the line being typed is shown above it, or quoted in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prompt_toolkit.document import Document

from memos.terminal.drawing import clipped
from memos.terminal.highlighting import find_line
from memos.terminal.recall_as_you_type import RecallAsYouType, looking_in, quoted

if TYPE_CHECKING:
    from prompt_toolkit.buffer import Buffer

    from memos.terminal.command_registry import CommandContext

MATCHES_SHOWN = 5
_QUERY_CHARS = 40


@dataclass(frozen=True, slots=True)
class _Quoting:
    """A memory that was put into the line: the line before, which of the finds it is, and the line since."""

    line: Document
    number: int
    text: str


class RecallKeys:
    """Follows the line being typed, where the user wants that, and answers the two keys."""

    def __init__(self, context: CommandContext, changed: Callable[[], None]) -> None:
        session = context.session
        self._context = context
        self._quoting = _Quoting(Document(), 0, "")
        self._recall: RecallAsYouType | None = None
        if session.words_finder:
            self._recall = RecallAsYouType(looking_in(session.words_finder, session.agent), changed)

    @property
    def matches(self) -> int:
        """How many memories fit the line."""
        return len(self._recall.finds) if self._recall else 0

    @property
    def capped(self) -> bool:
        """Whether there may be more of them."""
        return self._recall is not None and self._recall.capped

    async def run(self) -> None:
        """Look whenever the line has been left alone for a moment; until cancelled."""
        if self._recall:
            await self._recall.run()

    def line_changed(self, text: str) -> None:
        """Take note of the line; what was just quoted in it is not looked for."""
        if self._recall and not (text and text == self._quoting.text):
            self._recall.typed(text)

    def show(self) -> None:
        """Print the best memories that fit the line."""
        finds, query = (self._recall.finds, self._recall.query) if self._recall else ((), "")
        more = self._context.marks.more
        if not finds:
            self._context.say("Nothing is remembered about the line you type.", "dim")
            return
        self._context.say(f'Remembered about "{clipped(query, _QUERY_CHARS, more)}":', "bold")
        for find in finds[:MATCHES_SHOWN]:
            self._context.say(find_line(find, query, "  "), hang_cells=4)
        if len(finds) > MATCHES_SHOWN:
            self._context.say(f"  {more} {len(finds) - MATCHES_SHOWN} more: /search finds them", "dim")

    def quote(self, buffer: Buffer) -> None:
        """Put the best memory that fits the line into it; in place of the one put there before, the next."""
        if not (self._recall and self._recall.finds):
            return
        finds, last = self._recall.finds, self._quoting
        again = bool(last.text) and buffer.text == last.text
        number = (last.number + 1) % len(finds) if again else 0
        line = last.line if again else buffer.document
        before, after = line.text_before_cursor, line.text_after_cursor
        blank = " " if before and not before[-1].isspace() else ""
        before += blank + quoted(finds[number], self._recall.query)
        self._quoting = _Quoting(line, number, before + after)
        buffer.document = Document(before + after, len(before))
