"""The live screen: one prompt_toolkit application owns the bottom of the terminal for the whole conversation.

Below: the tail of what is being said, the phase, and the line being typed. Above, in the scrollback: everything that
is finished, printed once. Enter never ends the application, so typing goes on while a reply streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from prompt_toolkit.application import Application, run_in_terminal
from prompt_toolkit.application.current import set_app
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.patch_stdout import patch_stdout
from rich.cells import cell_len, set_cell_size

from memos.errors import MemosError
from memos.messages import Event, EventKind, MonologueDelta, OutputBody, SpeechDelta, StepStarted, TurnDone
from memos.terminal.commands import CommandContext
from memos.terminal.consoles import colours_wanted, make_console, marks_for
from memos.terminal.input_line import make_input_line, unremember
from memos.terminal.key_bindings import hasten_escape, key_bindings
from memos.terminal.line_queue import LineQueue
from memos.terminal.marks import incognito
from memos.terminal.painter import Painter
from memos.terminal.recall_keys import RecallKeys
from memos.terminal.screen_output import make_screen_output, one_write, rows_pushed_down
from memos.terminal.session import KERNEL_ENDED, Session, farewell
from memos.terminal.signals import signals_handled
from memos.terminal.status_bar import Running, StatusBar
from memos.terminal.turn_details import TurnDetails
from memos.terminal.type_ahead import typed_ahead
from memos.terminal.wrapping import displayable

if TYPE_CHECKING:
    from prompt_toolkit.buffer import Buffer

    from memos.kernel.outputs import Subscription

REDRAW_S = 0.05
"""Streamed text is redrawn at most so often; everything else at once."""
TICK_S = 0.1
DRAWING_WAITS_S = 0.03
"""After Enter the screen waits so long: a drawing costs milliseconds that belong to the request."""
TWICE_S = 2.0
WAITING_SHOWN = 3
_BAR_FROM_ROWS = 8
"""A lower terminal has no row to spare for a bar."""


class LiveScreen:
    """One conversation on a terminal that can move its cursor."""

    def __init__(self, session: Session, typed: Sequence[str] = ()) -> None:
        """`typed` are lines that were typed for this agent while another one was left."""
        self._session = session
        wanted = session.screen
        self._typed_before = typed
        colours = colours_wanted(wanted.theme)
        self._output = make_screen_output(sys.stdout, colours)
        self._paper = io.StringIO()
        self._console = make_console(self._paper, colours=colours, theme=wanted.theme)
        marks = replace(marks_for(sys.stdout, plain_ascii=wanted.ascii), speech_inline=False)
        self._marks = incognito(marks) if session.incognito else marks
        details = TurnDetails(wanted.thoughts)
        self._painter = Painter(
            self._console,
            session.agent.name,
            self._marks,
            width_cells=lambda: self._output.get_size().columns - 1,
            tail_limit_rows=lambda: max(1, self._output.get_size().rows // 2 - len(self._lines.waiting)),
            markdown=colours and not wanted.ascii,  # without renditions what was marked could not be told
            details=details,
        )
        commands = CommandContext(
            session, self._console, self._marks, self.leave, self.post, wrap=True, put=self.give_back, details=details
        )
        self._commands = commands
        self._lines = LineQueue(commands, self._painter, self)
        commands.send, commands.lend = self._lines.send, self._lend
        self._recall = RecallKeys(commands, self._redraw)
        self._bar = StatusBar(session, self._marks, self._redraw)
        self._prompt = make_input_line(
            session,
            self._marks,
            key_bindings(self),
            self._output,
            above=self._message,
            below=self._bar_row,
            colours=colours,
        )
        self._prompt.default_buffer.on_text_changed += self.line_changed
        commands.unremember = lambda holds: unremember(self._prompt.default_buffer, holds)
        self._editing: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._stale = False
        self._begun = False
        self._lent = False
        self._drawn: StyleAndTextTuples = []
        self._drawn_columns = 0
        self._rendered_columns = self._output.get_size().columns
        self._drawing_waits_until_s = 0.0
        self._last_interrupt = self._last_escape = -TWICE_S
        self._code: int | None = None
        self._failure: BaseException | None = None

    async def run(self) -> int:
        """Talk until the person leaves; return the exit code."""
        outputs = self._session.kernel.subscribe()
        with signals_handled(self.leave), patch_stdout():
            work = [self._listen(outputs), self._lines.run(), self._tick(), self._bar.run(), self._recall.run()]
            tasks = [asyncio.create_task(each) for each in work]
            for task in tasks:
                task.add_done_callback(self._task_ended)
            try:
                await self._converse()
            finally:
                outputs.close()
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
        if self._failure:
            raise self._failure
        self._say_farewell()
        return self._code or 0

    # --- the prompt ------------------------------------------------------------------------------------

    def _redraw(self) -> None:
        self._prompt.app.invalidate()

    async def _converse(self) -> None:
        """Hold the prompt until somebody leaves."""
        app = self._prompt.app
        app._on_resize = self._resized  # type: ignore[method-assign]  # there is no public hook
        app.invalidate = self._invalidate  # type: ignore[method-assign]
        hasten_escape(app)
        with app.input.raw_mode():
            lines, rest = typed_ahead(sys.stdin)
            lines = [*self._typed_before, *lines]
            app.before_render += lambda _: self._follow_resize()
            app.after_render += lambda _: self._begin(lines)
            with contextlib.suppress(EOFError):  # the terminal is gone
                await self._prompt.prompt_async(default=rest, pre_run=self._leave_if_told)

    def _begin(self, typed_lines: list[str]) -> None:
        """Once, when the prompt stands on the screen: tell the agent who came, and send what was typed before."""
        if self._begun:
            return
        self._begun = True
        self._bar.look_again()
        if self._session.login:
            self.post(self._session.login)
        for line in typed_lines:
            self.submit(line)
        self.show()

    def _message(self) -> StyleAndTextTuples:
        """Return everything that stands before the line being typed."""
        if self._drawn_columns != self._output.get_size().columns:
            self._draw()
        return self._drawn

    def _draw(self) -> None:
        self._drawn_columns = self._output.get_size().columns
        rows: list[tuple[str, str]] = [*self._painter.tail_rows()]
        phase = self._painter.phase_line()
        rows.append(("phase", f"{self._marks.notice}{phase}" if phase else ""))
        for sent in list(self._lines.waiting)[:WAITING_SHOWN]:
            rows.append(("waiting", self._marks.user + displayable(sent.text).replace("\n", " ")))
        if len(self._lines.waiting) > WAITING_SHOWN:
            rows.append(("waiting", f"{self._marks.more} {len(self._lines.waiting) - WAITING_SHOWN} more wait"))
        width_cells = self._drawn_columns - 1
        drawn: StyleAndTextTuples = [(f"class:{kind}", _fitted(row, width_cells) + "\n") for kind, row in rows]
        self._drawn = [*drawn, ("class:mark", self._marks.user)]

    def _bar_row(self) -> StyleAndTextTuples:
        """Return the status bar as it is now."""
        size, recall, lines = self._output.get_size(), self._recall, self._lines
        if size.rows < _BAR_FROM_ROWS:
            return []
        running = lines.running or self._painter.phase
        now = Running(running, len(lines.waiting), recall.matches, matches_capped=recall.capped)
        return [*self._bar.row(now, size.columns - 1)]

    # --- what keys do: see `key_bindings.KeyActions` ---------------------------------------------------

    def submit(self, text: str) -> None:
        """Take a line that was ended with Enter: what is interrupted next is another turn."""
        self._last_interrupt = -TWICE_S
        self._lines.submit(text)

    def line_changed(self, buffer: Buffer) -> None:
        """Look for what is remembered about the line as it is now."""
        self._recall.line_changed(buffer.text)

    def show_matches(self) -> None:
        """Print the best memories that fit the line above it."""
        self._recall.show()
        self.show()

    def quote(self) -> None:
        """Quote the best memory that fits the line, or the next."""
        self._recall.quote(self._buffer)

    def interrupt(self, buffer: Buffer) -> None:
        """Ctrl-C: stop what runs, else clear the line, else say how to leave; twice leaves."""
        if self._lent:
            return  # it is the editor's
        now = time.monotonic()
        if now - self._last_interrupt < TWICE_S:
            self.leave(130)
            return
        self._last_interrupt = now
        if self.stoppable:
            self.stop()
        elif buffer.text:
            buffer.append_to_history()
            buffer.reset()
            self.line_changed(buffer)
        else:
            self._painter.notice("Ctrl-C again or Ctrl-D leaves; /help lists what else there is.", style="dim")
        self.show()

    @property
    def stoppable(self) -> bool:
        """Whether a command or a turn is at work."""
        return self._lines.at_work or self._session.kernel.busy

    def stop(self) -> None:
        """Stop the command, or else the turn, that is at work."""
        if not self._lines.cancel_command():
            self._session.kernel.cancel()
            self._painter.enter("stopping")
        self.show()

    def escape(self) -> None:
        """Stop what runs; where nothing does, close the menu, and at the second time offer to change the last words."""
        now, buffer = time.monotonic(), self._buffer
        again, self._last_escape = now - self._last_escape < TWICE_S, now
        if self.stoppable:
            self.stop()
        elif buffer.complete_state:
            buffer.cancel_completion()
        elif again and not buffer.text:
            buffer.document = Document("/edit")

    def edit_line(self) -> None:
        """Open the line in the user's editor; what is saved becomes the line."""
        if self._editing is None or self._editing.done():
            self._editing = asyncio.create_task(self._edit_line())

    async def _edit_line(self) -> None:
        try:
            text = await self._commands.edit(self._buffer.text, "message.md")
        except MemosError as error:
            self._painter.notice(str(error), style="red")
        else:
            self._buffer.document = Document(text)
        self.show()

    @property
    def _buffer(self) -> Buffer:
        return self._prompt.default_buffer

    # --- what typed lines need: see `line_queue.Desk` --------------------------------------------------

    @property
    def leaving(self) -> bool:
        """Whether the conversation is about to end."""
        return self._code is not None

    def give_back(self, text: str) -> None:
        """Put a line that could not be sent where it was typed, unless something else is typed there by now."""
        if not self._buffer.text:
            self._buffer.document = Document(text)

    def command_ended(self) -> None:
        """Read anew what a command may have changed."""
        self._bar.look_again()

    def unread(self) -> list[str]:
        """Return the lines that were typed behind the command that left: they are for whoever comes next."""
        return self._lines.unread()

    async def _lend(self, work: Callable[[], str]) -> str:
        """Lend the terminal to an editor; what happens meanwhile is printed afterwards."""
        self._lent = True
        try:
            with set_app(self._prompt.app):
                return await run_in_terminal(work, in_executor=True)
        finally:
            self._lent = False

    def post(self, event: Event) -> None:
        """Hand the kernel an event; what it changes on the screen is drawn once the request is on its way."""
        self._session.kernel.post(event)
        if not self._painter.busy:
            self._painter.enter("sending" if event.kind is EventKind.USER_MESSAGE else "waking up")
        self._show_later()

    # --- what is shown ---------------------------------------------------------------------------------

    def _show_later(self) -> None:
        self._drawing_waits_until_s = time.monotonic() + DRAWING_WAITS_S
        asyncio.get_running_loop().call_later(DRAWING_WAITS_S, self.show)

    def _invalidate(self) -> None:
        """Have the prompt redrawn, after Enter a moment later."""
        app, wait_s = self._prompt.app, self._drawing_waits_until_s - time.monotonic()
        if wait_s > 0 and app.loop:
            app.loop.call_soon_threadsafe(app.loop.call_later, wait_s, Application.invalidate, app)
        else:
            Application.invalidate(app)

    async def _listen(self, outputs: Subscription) -> None:
        async for output in outputs:
            self._consume(output.body)
        if not self.leaving:
            self._painter.notice(KERNEL_ENDED, style="red")
            self.show()
            self.leave(1)

    def _consume(self, body: OutputBody) -> None:
        self._painter.consume(body)
        if isinstance(body, TurnDone):
            self._bar.look_again()
            self._lines.print_next()
        if isinstance(body, MonologueDelta | SpeechDelta):
            self._stale = True
            self._wake.set()
        elif isinstance(body, StepStarted):
            self._show_later()
        else:
            self.show()

    async def _tick(self) -> None:
        """Redraw streamed text and the seconds of a phase; sleeps while nothing goes on."""
        last_s = 0.0
        while True:
            await self._wake.wait()
            if self._stale or time.monotonic() - last_s >= TICK_S:
                last_s = time.monotonic()
                self.show()
            if not self._painter.busy and not self._stale:
                self._wake.clear()
            await asyncio.sleep(REDRAW_S)

    def show(self) -> None:
        """Print what is finished above the prompt, and redraw what is not."""
        self._stale = False
        app = self._prompt.app
        self._console.width = self._output.get_size().columns
        self._draw()
        printed = self._paper.getvalue()
        if not app.is_running or self.leaving or self._lent:
            return  # it is printed when the prompt stands, or is gone
        if printed:
            self._paper.seek(0)
            self._paper.truncate()
            with one_write(self._output), set_app(app):
                self._follow_resize()
                app.renderer.erase()
                self._output.write_raw(printed.replace("\n", "\r\n"))
                app.render_counter += 1  # what the last rendering cached is out of date
                app.renderer.render(app, app.layout)
        else:
            app.invalidate()
        if self._painter.busy:
            self._wake.set()

    def _follow_resize(self) -> None:
        """After a resize erase also what a terminal that breaks long rows anew has pushed down.

        The new size is often seen before the signal that tells of it, so this is asked before every drawing.
        """
        columns = self._output.get_size().columns
        if columns == self._rendered_columns:
            return
        renderer = self._prompt.app.renderer
        if renderer.last_rendered_screen:
            screen, window = renderer.last_rendered_screen, self._prompt.app.layout.current_window
            self._output.cursor_up(rows_pushed_down(screen, window, columns))
            renderer.erase()
        self._rendered_columns = columns

    def _resized(self) -> None:
        self._follow_resize()
        self.show()
        self._prompt.app.invalidate()

    # --- leaving ---------------------------------------------------------------------------------------

    def leave(self, code: int) -> None:
        """End the conversation, once."""
        if self._code is None:
            self._code = code
            if self._prompt.app.is_running:
                self._prompt.app.exit(result="")

    def _leave_if_told(self) -> None:
        if self.leaving:
            self._prompt.app.exit(result="")

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception():
            self._failure = self._failure or task.exception()
            self.leave(1)

    def _say_farewell(self) -> None:
        self._painter.leave_tail()
        lines = [self._paper.getvalue().rstrip("\n"), farewell(self._session)]
        if self._lines.waiting:
            lines.insert(1, f"Messages not answered yet: {len(self._lines.waiting)}; they come first next time.")
        with contextlib.suppress(OSError):  # the terminal may be gone
            sys.stdout.write("\n".join(line for line in lines if line) + "\n")
            sys.stdout.flush()


def _fitted(row: str, width_cells: int) -> str:
    return row if cell_len(row) <= width_cells else set_cell_size(row, width_cells).rstrip()
