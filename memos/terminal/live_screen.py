"""The live screen: one prompt_toolkit application owns the bottom of the terminal for the whole conversation.

Below: the tail of what is being said, the phase, and the line being typed. Above, in the scrollback: everything that
is finished, printed once. Enter never ends the application, so typing goes on while a reply streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.application import Application, run_in_terminal
from prompt_toolkit.application.current import set_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import Style
from rich.cells import cell_len, set_cell_size

from memos.errors import MemosError
from memos.messages import Event, EventKind, MonologueDelta, OutputBody, SpeechDelta, StepStarted, TurnDone
from memos.safe_text import storable
from memos.terminal.commands import (
    CommandContext,
    as_message,
    completions,
    is_command,
    is_worth_keeping,
    may_be_command,
    run_command,
)
from memos.terminal.consoles import colours_wanted, make_console, marks_for
from memos.terminal.images import showing
from memos.terminal.mentions import begun_mention, mentions_images, path_completions, read_mentions, with_dropped_path
from memos.terminal.painter import Painter
from memos.terminal.screen_output import make_screen_output, one_write, rows_pushed_down
from memos.terminal.session import KERNEL_ENDED, READ_ONLY, Session, farewell
from memos.terminal.signals import signals_handled
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
_MENU_ROWS = 6
_STYLE = Style.from_dict(
    {
        "mark": "bold ansigreen",
        "thought": "dim italic",
        "name": "bold ansigreen",
        "speech": "",
        "waiting": "dim",
        "phase": "dim",
    }
)


@dataclass(frozen=True, slots=True)
class _Sent:
    """A message as it is printed: what was typed, and a line on each of its images."""

    text: str
    image_lines: tuple[str, ...] = ()


class LiveScreen:
    """One conversation on a terminal that can move its cursor."""

    def __init__(self, session: Session, typed: Sequence[str] = ()) -> None:
        """`typed` are lines that were typed for this agent while another one was left."""
        self._session = session
        self._typed_before = typed
        colours = colours_wanted()
        self._output = make_screen_output(sys.stdout, colours)
        self._paper = io.StringIO()
        self._console = make_console(self._paper, colours=colours)
        self._marks = replace(marks_for(sys.stdout), speech_inline=False)
        self._painter = Painter(
            self._console,
            session.agent.name,
            self._marks,
            width_cells=lambda: self._output.get_size().columns - 1,
            tail_limit_rows=lambda: max(1, self._output.get_size().rows // 2 - len(self._waiting)),
        )
        self._commands = CommandContext(session, self._console, self._marks, self._leave, self._post, wrap=True)
        self._commands.send, self._commands.lend = self._send, self._lend
        self._prompt = self._make_prompt(colours)
        self._typed: asyncio.Queue[str] = asyncio.Queue()
        self._typed_later: list[str] = []
        self._command: asyncio.Task[bool] | None = None
        self._waiting: deque[_Sent] = deque()
        self._wake = asyncio.Event()
        self._stale = False
        self._begun = False
        self._lent = False
        self._drawn: StyleAndTextTuples = []
        self._drawn_columns = 0
        self._rendered_columns = self._output.get_size().columns
        self._drawing_waits_until_s = 0.0
        self._last_interrupt = -TWICE_S
        self._code: int | None = None
        self._failure: BaseException | None = None

    async def run(self) -> int:
        """Talk until the person leaves; return the exit code."""
        outputs = self._session.kernel.subscribe()
        with signals_handled(self._leave), patch_stdout():
            tasks = [asyncio.create_task(work) for work in (self._listen(outputs), self._work(), self._tick())]
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

    def _make_prompt(self, colours: bool) -> PromptSession[str]:
        prompt: PromptSession[str] = PromptSession(
            message=self._message,
            prompt_continuation=" " * len(self._marks.user),
            history=_private_history(self._session),
            completer=_CommandCompleter(self._session),
            complete_while_typing=Condition(lambda: _may_be_completed(self._buffer.document.text_before_cursor)),
            reserve_space_for_menu=_MENU_ROWS,
            key_bindings=self._keys(),
            style=_STYLE,
            color_depth=None if colours else ColorDepth.DEPTH_1_BIT,
            erase_when_done=True,
            output=self._output,
        )
        return prompt

    async def _converse(self) -> None:
        """Hold the prompt until somebody leaves."""
        app = self._prompt.app
        app._on_resize = self._resized  # type: ignore[method-assign]  # there is no public hook
        app.invalidate = self._invalidate  # type: ignore[method-assign]
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
        if self._session.login:
            self._post(self._session.login)
        for line in typed_lines:
            self._submit(line)
        self._show()

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
        for sent in list(self._waiting)[:WAITING_SHOWN]:
            rows.append(("waiting", self._marks.user + displayable(sent.text).replace("\n", " ")))
        if len(self._waiting) > WAITING_SHOWN:
            rows.append(("waiting", f"{self._marks.more} {len(self._waiting) - WAITING_SHOWN} more wait"))
        width_cells = self._drawn_columns - 1
        drawn: StyleAndTextTuples = [(f"class:{kind}", _fitted(row, width_cells) + "\n") for kind, row in rows]
        self._drawn = [*drawn, ("class:mark", self._marks.user)]

    # --- keys ------------------------------------------------------------------------------------------

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("enter")
        def _send(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            text = buffer.text
            buffer.reset()
            self._submit(text)
            if text.strip():
                buffer.history.append_string(text)

        @keys.add("c-j")
        @keys.add("escape", "enter")
        def _new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add(Keys.BracketedPaste)
        def _paste(event: KeyPressEvent) -> None:
            # As prompt_toolkit does it, but that a file's path becomes a mention, which can be seen and changed.
            text = event.data.replace("\r\n", "\n").replace("\r", "\n")
            event.current_buffer.insert_text(with_dropped_path(text))

        @keys.add("c-c")
        @keys.add("<sigint>")
        def _interrupt(event: KeyPressEvent) -> None:
            self._interrupt(event.current_buffer)

        @keys.add("c-d", filter=Condition(lambda: not self._buffer.text))
        def _leave(event: KeyPressEvent) -> None:
            self._leave(0)

        return keys

    def _interrupt(self, buffer: Buffer) -> None:
        """Ctrl-C: stop what runs, else clear the line, else say how to leave; twice leaves."""
        if self._lent:
            return  # it is the editor's
        now = time.monotonic()
        if now - self._last_interrupt < TWICE_S:
            self._leave(130)
            return
        self._last_interrupt = now
        if self._command:
            self._command.cancel()
        elif self._session.kernel.busy:
            self._session.kernel.cancel()
            self._painter.enter("stopping")
        elif buffer.text:
            buffer.append_to_history()
            buffer.reset()
        else:
            self._painter.notice("Ctrl-C again or Ctrl-D leaves; /help lists what else there is.", style="dim")
        self._show()

    @property
    def _leaving(self) -> bool:
        return self._code is not None

    @property
    def _buffer(self) -> Buffer:
        return self._prompt.default_buffer

    # --- what was typed --------------------------------------------------------------------------------

    def _submit(self, text: str) -> None:
        """Take a line: at once, unless a command or an image came before it, which keeps its place, or has left."""
        if not text.strip():
            return
        text = with_dropped_path(text)
        waits = self._command or not self._typed.empty() or self._leaving
        if waits or is_command(text) or mentions_images(text):
            self._typed.put_nowait(text)
        else:
            self._send(text)

    async def _work(self) -> None:
        """Run commands, and what was typed behind them, in order; a message with images has files to be read, too."""
        while True:
            text = await self._typed.get()
            if self._leaving:
                self._typed_later.append(text)
                continue
            if is_command(text):
                self._painter.user_line(text)
                self._show()
                work = run_command(self._commands, text)
            elif mentions_images(text) and not self._session.read_only:
                work = self._send_images(text)
            else:
                self._send(text)
                continue
            self._command = asyncio.create_task(work)
            await asyncio.wait([self._command])
            finished, self._command = self._command, None
            if finished.cancelled():
                self._painter.notice("Stopped.")
            elif not finished.result() and (is_worth_keeping(text) or not is_command(text)):
                self._give_back(text)
            self._painter.call_agent(self._session.agent.name)
            self._show()

    def unread(self) -> list[str]:
        """Return the lines that were typed behind the command that left: they are for whoever comes next."""
        waiting = [self._typed.get_nowait() for _ in range(self._typed.qsize())]
        return [*self._typed_later, *waiting]

    async def _lend(self, work: Callable[[], str]) -> str:
        """Lend the terminal to an editor; what happens meanwhile is printed afterwards."""
        self._lent = True
        try:
            with set_app(self._prompt.app):
                return await run_in_terminal(work, in_executor=True)
        finally:
            self._lent = False

    async def _send_images(self, text: str) -> bool:
        """Send a message with the images it names; return whether that was possible."""
        typed = read_mentions(as_message(text))
        try:
            event, lines = await showing(self._session.kernel, typed.words, typed.paths)
        except MemosError as error:
            self._painter.notice(str(error), style="red")
            return False
        self._send_event(event, _Sent(storable(as_message(text)), tuple(lines)))
        return True

    def _give_back(self, text: str) -> None:
        """Put a line that could not be sent where it was typed, unless something else is typed there by now."""
        if not self._buffer.text:
            self._buffer.document = Document(text)

    def _send(self, text: str) -> None:
        message = storable(as_message(text))
        if self._session.read_only:
            self._painter.user_line(message)
            self._painter.notice(READ_ONLY)
            self._show()
        else:
            self._send_event(Event(EventKind.USER_MESSAGE, message), _Sent(message))

    def _send_event(self, event: Event, sent: _Sent) -> None:
        waits = self._painter.busy
        self._post(event)
        if waits:
            self._waiting.append(sent)  # printed when its turn comes, not in the middle of a reply
        else:
            self._print_sent(sent)

    def _print_sent(self, sent: _Sent) -> None:
        self._painter.user_line(sent.text)
        for line in sent.image_lines:
            self._painter.notice(line, style="dim")

    def _post(self, event: Event) -> None:
        """Hand the kernel an event; what it changes on the screen is drawn once the request is on its way."""
        self._session.kernel.post(event)
        if not self._painter.busy:
            self._painter.enter("sending" if event.kind is EventKind.USER_MESSAGE else "waking up")
        self._show_later()

    # --- what is shown ---------------------------------------------------------------------------------

    def _show_later(self) -> None:
        self._drawing_waits_until_s = time.monotonic() + DRAWING_WAITS_S
        asyncio.get_running_loop().call_later(DRAWING_WAITS_S, self._show)

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
        if not self._leaving:
            self._painter.notice(KERNEL_ENDED, style="red")
            self._show()
            self._leave(1)

    def _consume(self, body: OutputBody) -> None:
        self._painter.consume(body)
        if isinstance(body, TurnDone) and self._waiting:
            self._print_sent(self._waiting.popleft())
            self._painter.enter("sending")
        if isinstance(body, MonologueDelta | SpeechDelta):
            self._stale = True
            self._wake.set()
        elif isinstance(body, StepStarted):
            self._show_later()
        else:
            self._show()

    async def _tick(self) -> None:
        """Redraw streamed text and the seconds of a phase; sleeps while nothing goes on."""
        last_s = 0.0
        while True:
            await self._wake.wait()
            if self._stale or time.monotonic() - last_s >= TICK_S:
                last_s = time.monotonic()
                self._show()
            if not self._painter.busy and not self._stale:
                self._wake.clear()
            await asyncio.sleep(REDRAW_S)

    def _show(self) -> None:
        """Print what is finished above the prompt, and redraw what is not."""
        self._stale = False
        app = self._prompt.app
        self._console.width = self._output.get_size().columns
        self._draw()
        printed = self._paper.getvalue()
        if not app.is_running or self._leaving or self._lent:
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
        self._show()
        self._prompt.app.invalidate()

    # --- leaving ---------------------------------------------------------------------------------------

    def _leave(self, code: int) -> None:
        if self._code is None:
            self._code = code
            if self._prompt.app.is_running:
                self._prompt.app.exit(result="")

    def _leave_if_told(self) -> None:
        if self._leaving:
            self._prompt.app.exit(result="")

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception():
            self._failure = self._failure or task.exception()
            self._leave(1)

    def _say_farewell(self) -> None:
        self._painter.leave_tail()
        lines = [self._paper.getvalue().rstrip("\n"), farewell(self._session)]
        if self._waiting:
            lines.insert(1, f"Messages not answered yet: {len(self._waiting)}; they come first next time.")
        with contextlib.suppress(OSError):  # the terminal may be gone
            sys.stdout.write("\n".join(line for line in lines if line) + "\n")
            sys.stdout.flush()


def _fitted(row: str, width_cells: int) -> str:
    return row if cell_len(row) <= width_cells else set_cell_size(row, width_cells).rstrip()


def _may_be_completed(before_cursor: str) -> bool:
    return may_be_command(before_cursor) or begun_mention(before_cursor) is not None


class _CommandCompleter(Completer):
    """Completes slash commands, their arguments, and the paths of images, never the words of a message."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what may stand at the cursor."""
        line = document.text_before_cursor
        if not may_be_command(line):
            typed = begun_mention(line)
            for path in path_completions(typed) if typed is not None else ():
                yield Completion(path, start_position=-len(typed or ""))
            return
        word = line if " " not in line else line.partition(" ")[2].lstrip()
        for text, meta in completions(line, self._session):
            yield Completion(text, start_position=-len(word), display_meta=meta)


def _private_history(session: Session) -> History:
    """Return the history of what was typed, in a file that only its owner can read."""
    path = session.history_file
    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
        path.chmod(0o600)
    except OSError:
        return InMemoryHistory()  # a history is a comfort, not a reason to refuse a conversation
    return FileHistory(str(path))
