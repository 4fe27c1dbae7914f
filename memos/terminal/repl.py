"""The conversation: a live screen where a person sits at a terminal; plain lines in a pipe, or where wanted."""

from __future__ import annotations

import io
import sys

from memos.safe_text import safe_text
from memos.terminal.consoles import interactive, marks_for
from memos.terminal.marks import DRAWN, in_ascii
from memos.terminal.session import Session


async def run_repl(session: Session) -> int:
    """Talk until the person leaves, and return the exit code: 0, 130 (Ctrl-C twice), 143 (SIGTERM), 129 (SIGHUP)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an encoding that lacks a character is no reason to stop
    wanted, live = session.screen, interactive(sys.stdin, sys.stdout)
    drawn = marks_for(sys.stdout, plain_ascii=wanted.ascii) is DRAWN or not sys.stdout.isatty()
    for line in session.header:  # before any import that takes time
        sys.stdout.write(safe_text(line if drawn else in_ascii(line)) + "\n")
    sys.stdout.flush()
    if live and not (wanted.plain or wanted.screen_reader):
        from memos.terminal.live_screen import LiveScreen

        return await LiveScreen(session).run()
    from memos.terminal.plain_lines import PlainLines

    return await PlainLines(session, sys.stdin, sys.stdout).run()
