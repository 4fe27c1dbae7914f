"""The conversation: a live screen where a person sits at a terminal; plain lines in a pipe, or where wanted.

`/switch` ends one conversation, all of it closed, before the next one is opened.
"""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from memos.errors import MemosError
from memos.safe_text import safe_line, safe_text
from memos.terminal.consoles import interactive, marks_for
from memos.terminal.marks import DRAWN, in_ascii
from memos.terminal.session import Session
from memos.terminal.signals import LEAVING

if TYPE_CHECKING:
    from memos.terminal.typed_lines import TypedLines

OpenAgent = Callable[[str], AbstractAsyncContextManager[Session]]
"""Opens a conversation with the agent of that name; '' is the one that memos began with."""


async def run_repl(open_agent: OpenAgent) -> int:
    """Talk until the person leaves, and return the exit code: 0, 130 (Ctrl-C twice), 143 (SIGTERM), 129 (SIGHUP).

    Raises: MemosError, where the first conversation cannot be opened.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an encoding that lacks a character is no reason to stop
    talk, name, last = _Talk(), "", ""
    while True:
        session = None
        try:
            async with open_agent(name) as session:
                code = await _unless_the_terminal_goes(talk.with_agent(session))
        except MemosError as error:
            if session or not last:
                raise
            _write(str(error))
            name, last = last, ""  # back to where the user came from
            continue
        if not session.next_agent:
            return code
        name, last = session.next_agent, session.agent.name


async def _unless_the_terminal_goes(talk: Awaitable[int]) -> int:
    """Return the exit code of a conversation: that of SIGHUP where its window was closed and nothing can be written."""
    try:
        return await talk
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return LEAVING["SIGHUP"]


class _Talk:
    """The conversations of one process, one after the other: what was typed for the next one is not lost."""

    def __init__(self) -> None:
        self._typed: list[str] = []
        self._lines: TypedLines | None = None

    async def with_agent(self, session: Session) -> int:
        wanted = session.screen
        drawn = marks_for(sys.stdout, plain_ascii=wanted.ascii) is DRAWN or not sys.stdout.isatty()
        for line in session.header:  # before any import that takes time
            sys.stdout.write(safe_text(line if drawn else in_ascii(line)) + "\n")
        sys.stdout.flush()
        if interactive(sys.stdin, sys.stdout) and not (wanted.plain or wanted.screen_reader):
            from memos.terminal.live_screen import LiveScreen

            screen = LiveScreen(session, self._typed)
            code = await screen.run()
            self._typed = screen.unread()
            return code
        from memos.terminal.plain_lines import PlainLines
        from memos.terminal.typed_lines import TypedLines

        self._lines = self._lines or TypedLines(sys.stdin)
        return await PlainLines(session, self._lines, sys.stdout).run()


def _write(text: str) -> None:
    sys.stdout.write(f"{safe_line(text)}\n")
    sys.stdout.flush()
