"""The conversation as plain lines: for pipes, dumb terminals and screen readers. No cursor moves, no colours.

A line is sent when the answer to the one before is complete, so that a transcript reads in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from memos.errors import MemosError
from memos.messages import Event, EventKind, TurnDone
from memos.safe_text import storable
from memos.terminal.announcer import Announcer
from memos.terminal.commands import CommandContext, as_message, is_command, run_command
from memos.terminal.consoles import make_console
from memos.terminal.images import showing
from memos.terminal.marks import WORDS, incognito
from memos.terminal.mentions import Typed, mentions_images, read_mentions, with_dropped_path
from memos.terminal.painter import Painter
from memos.terminal.session import KERNEL_ENDED, READ_ONLY, Session, farewell
from memos.terminal.signals import signals_handled
from memos.terminal.turn_details import TurnDetails
from memos.terminal.typed_lines import TypedLines

if TYPE_CHECKING:
    from memos.kernel.outputs import Subscription


class PlainLines:
    """Takes lines from one stream and writes a transcript to another."""

    def __init__(self, session: Session, lines: TypedLines, stdout: TextIO) -> None:
        self._session = session
        self._lines, self._stdout = lines, stdout
        console = make_console(stdout, colours=False)
        self._marks = incognito(WORDS) if session.incognito else WORDS
        details = TurnDetails("none" if session.screen.thoughts == "none" else "all")  # a pipe cannot unfold them
        self._painter = Painter(
            console,
            session.agent.name,
            self._marks,
            width_cells=lambda: None,
            tail_limit_rows=lambda: 0,
            details=details,
        )
        self._commands = CommandContext(
            session, console, self._marks, self._leave, self._post, send=self._send, details=details
        )
        if lines.is_terminal and stdout.isatty():
            self._commands.lend = _lend
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._announcer = Announcer(self._painter) if session.screen.screen_reader else None
        self._left: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self) -> int:
        """Talk until the end of input or a command to leave; return the exit code."""
        outputs = self._session.kernel.subscribe()
        tasks = [asyncio.create_task(self._paint(outputs)), asyncio.create_task(self._talk())]
        if self._announcer:
            tasks.append(asyncio.create_task(self._announcer.run()))
        ends: list[asyncio.Future[Any]] = [*tasks, self._left]
        try:
            with signals_handled(self._leave, self._interrupt):
                done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for finished in done:
                finished.result()
        finally:
            outputs.close()
            for task in tasks:
                task.cancel()
        self._commands.say(farewell(self._session))
        return self._left.result() if self._left.done() else 0

    async def _paint(self, outputs: Subscription) -> None:
        async for output in outputs:
            self._painter.consume(output.body)
            self._stdout.flush()
            if isinstance(output.body, TurnDone) and not self._session.kernel.busy:
                if self._announcer:
                    self._announcer.say("Your turn.")
                self._quiet.set()
        if not self._left.done():
            self._painter.notice(KERNEL_ENDED)
            self._leave(1)

    async def _talk(self) -> None:
        if self._lines.is_terminal and self._session.login:  # a pipe is nobody who could be greeted
            self._post(self._session.login)
        while True:
            await self._quiet.wait()
            if self._lines.is_terminal:
                self._stdout.write(self._marks.user)
                self._stdout.flush()
            line = await self._lines.next()
            if line is None:
                return
            await self._take(line)
            self._painter.call_agent(self._session.agent.name)
            if self._left.done():
                return  # the next line is for another agent, or for nobody

    async def _take(self, line: str) -> None:
        if not line.strip():
            return
        if not self._lines.is_terminal:
            self._painter.user_line(line)
        if self._lines.is_terminal:  # what a pipe says may be anybody's words: no file is read for them
            line = with_dropped_path(line)
        if is_command(line):
            await run_command(self._commands, line)
        elif self._lines.is_terminal and mentions_images(line) and not self._session.read_only:
            await self._show_images(read_mentions(as_message(line)))
        else:
            self._send(as_message(line))

    def _send(self, text: str) -> None:
        if self._session.read_only:
            self._painter.notice(READ_ONLY)
        else:
            self._post(Event(EventKind.USER_MESSAGE, storable(text)))

    async def _show_images(self, typed: Typed) -> None:
        try:
            event, lines = await showing(self._session.kernel, typed.words, typed.paths)
        except MemosError as error:
            self._painter.notice(str(error))
            return
        for told in lines:
            self._painter.notice(told)
        self._post(event)

    def _post(self, event: Event) -> None:
        self._quiet.clear()
        self._session.kernel.post(event)

    def _interrupt(self) -> None:
        if self._session.kernel.busy:
            self._session.kernel.cancel()
        else:
            self._leave(130)

    def _leave(self, code: int) -> None:
        if not self._left.done():
            self._left.set_result(code)


async def _lend(work: Callable[[], str]) -> str:
    """Lend the terminal: nothing is read from it meanwhile."""
    return await asyncio.to_thread(work)
