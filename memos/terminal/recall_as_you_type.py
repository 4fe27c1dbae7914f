"""Recall as you type: what is remembered about the line being typed.

It is looked for by words alone, in a worker thread, once the keys have been quiet for a moment: a keystroke only notes
the line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from memos.errors import MemosError
from memos.memory.finder import Find, merged
from memos.memory.pages import excerpt
from memos.memory.word_forms import coverage, word_patterns
from memos.safe_text import safe_line

if TYPE_CHECKING:
    from memos.memory.finder import Place
    from memos.storage.agents import Agent
    from memos.terminal.session import FinderView

QUIET_S = 0.25
"""So long no key was pressed before it is looked."""
LOOKED_AT = 20
"""So many of the best finds of each place are looked at."""
TOO_LITTLE = 0.5
"""A memory counts that has more than this share of the words of the line."""
LEAST_CHARS = 4
LINE_LIMIT_CHARS = 400
_PLACES: tuple[Place, ...] = ("recall", "archival")

Look = Callable[[str], Sequence[Find]]
"""Returns what fits a line, best first; blocking."""


class RecallAsYouType:
    """The finds for one line at a time. `changed` is called on the event loop whenever they are others."""

    def __init__(self, look: Look, changed: Callable[[], None]) -> None:
        self._look = look
        self._changed = changed
        self._line = ""
        self._typed = asyncio.Event()
        self.finds: tuple[Find, ...] = ()
        self.query = ""
        """The line that they were found for."""

    @property
    def capped(self) -> bool:
        """Whether there may be more."""
        return len(self.finds) >= LOOKED_AT

    def typed(self, line: str) -> None:
        """Take note of the line as it is now; costs nothing."""
        self._line = line
        if not line:
            self.finds, self.query = (), ""
        self._typed.set()

    async def run(self) -> None:
        """Look whenever the line has been left alone for a moment; until cancelled."""
        while True:
            await self._typed.wait()
            self._typed.clear()
            await asyncio.sleep(QUIET_S)
            if self._typed.is_set():
                continue
            line = self._line.strip()
            finds = await self._found(line)
            if not self._typed.is_set() and (finds, line) != (self.finds, self.query):
                self.finds, self.query = finds, line
                self._changed()

    async def _found(self, line: str) -> tuple[Find, ...]:
        if len(line) < LEAST_CHARS or line.startswith("/"):
            return ()
        try:
            return tuple(await asyncio.to_thread(self._look, line[-LINE_LIMIT_CHARS:]))
        except MemosError:  # the search command, or the turn, will say what is wrong
            return ()


def looking_in(finder: FinderView, agent: Agent) -> Look:
    """Return a look into what an agent keeps, by a finder that goes by words."""

    def look(line: str) -> Sequence[Find]:
        patterns = word_patterns(line)
        groups = [finder.find(agent, place, line, LOOKED_AT) for place in _PLACES]
        return [
            find
            for find in merged(groups, line, LOOKED_AT)
            if coverage(find.text, patterns) > TOO_LITTLE and find.text.strip() != line
        ]

    return look


def quoted(find: Find, query: str) -> str:
    """Return a find as it stands quoted in a message: its words, who said them, and when."""
    words = safe_line(excerpt(find.text, query)).replace('"', "'")
    who = f"{safe_line(find.speaker)}, " if find.speaker else ""
    return f'"{words}" ({who}{find.at.astimezone():%Y-%m-%d})'
