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
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.application import Application
from prompt_toolkit.application.current import set_app
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, emacs_mode, has_focus, vi_navigation_mode
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import HSplit, Window
from prompt_toolkit.layout.controls import FormattedTextControl
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import Style
from rich.cells import cell_len, set_cell_size

from memos.errors import MemosError
from memos.messages import Event, EventKind, MonologueDelta, OutputBody, SpeechDelta, StepStarted, TurnDone, utc_now
from memos.safe_text import safe_line, storable
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
from memos.terminal.drawing import clipped
from memos.terminal.highlighting import find_line
from memos.terminal.images import showing
from memos.terminal.keys import COMMAND_KEYS
from memos.terminal.line_display import HarmlessLine
from memos.terminal.mentions import begun_mention, mentions_images, path_completions, read_mentions, with_dropped_path
from memos.terminal.painter import Painter
from memos.terminal.recall_as_you_type import RecallAsYouType, looking_in, quoted
from memos.terminal.screen_output import make_screen_output, one_write, rows_pushed_down
from memos.terminal.session import KERNEL_ENDED, READ_ONLY, Session, farewell
from memos.terminal.signals import signals_handled
from memos.terminal.status_bar import BarFacts, bar_row
from memos.terminal.themes import palette, screen_styles
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
MATCHES_SHOWN = 5
ESCAPE_S = 0.02
"""After a lone Esc the rest of an Alt-key or of a function key is waited for so long, twice; they come in one piece."""
_CHORD_S = 1.0
_BAR_FROM_ROWS = 8
"""A lower terminal has no row to spare for a bar."""


@dataclass(frozen=True, slots=True)
class _Quoting:
    """A memory that was put into the line: the line before, which of the finds it is, and the line since."""

    line: Document
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class _Sent:
    """A message as it is printed: what was typed, and a line on each of its images."""

    text: str
    image_lines: tuple[str, ...] = ()


class LiveScreen:
    """One conversation on a terminal that can move its cursor."""

    def __init__(self, session: Session) -> None:
        self._session = session
        wanted = session.screen
        colours = colours_wanted(wanted.theme)
        self._output = make_screen_output(sys.stdout, colours)
        self._paper = io.StringIO()
        self._console = make_console(self._paper, colours=colours, theme=wanted.theme)
        self._marks = replace(marks_for(sys.stdout, plain_ascii=wanted.ascii), speech_inline=False)
        self._painter = Painter(
            self._console,
            session.agent.name,
            self._marks,
            width_cells=lambda: self._output.get_size().columns - 1,
            tail_limit_rows=lambda: max(1, self._output.get_size().rows // 2 - len(self._waiting)),
        )
        self._commands = CommandContext(session, self._console, self._marks, self._leave, self._post, wrap=True)
        self._facts = BarFacts(session.agent.name)
        self._facts_wanted = asyncio.Event()
        self._recall = self._make_recall()
        self._quoting = _Quoting(Document(), 0, "")
        self._prompt = self._make_prompt(colours)
        self._typed: asyncio.Queue[str] = asyncio.Queue()
        self._command: asyncio.Task[bool] | None = None
        self._running = ""
        self._waiting: deque[_Sent] = deque()
        self._wake = asyncio.Event()
        self._stale = False
        self._begun = False
        self._screen_is_lent = False
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
            work = [self._listen(outputs), self._work(), self._tick(), self._keep_facts()]
            work += [self._recall.run()] if self._recall else []
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

    def _make_prompt(self, colours: bool) -> PromptSession[str]:
        completed = Condition(lambda: _may_be_completed(self._buffer.document.text_before_cursor))
        prompt: PromptSession[str] = PromptSession(
            message=self._message,
            prompt_continuation=" " * len(self._marks.user),
            history=_private_history(self._session),
            completer=_CommandCompleter(self._session),
            complete_while_typing=completed,
            reserve_space_for_menu=_MENU_ROWS,
            # Without any rendition a suggestion could not be told from what was typed.
            auto_suggest=AutoSuggestFromHistory() if colours else None,
            enable_history_search=~completed,  # prompt_toolkit has one or the other
            search_ignore_case=True,
            enable_suspend=True,
            vi_mode=self._session.screen.vi,
            input_processors=[HarmlessLine()],
            key_bindings=self._keys(),
            style=Style.from_dict(screen_styles(palette(self._session.screen.theme))),
            color_depth=None if colours else ColorDepth.DEPTH_1_BIT,
            erase_when_done=True,
            output=self._output,
        )
        prompt.default_buffer.on_text_changed += self._line_changed
        root = prompt.layout.container
        assert isinstance(root, HSplit)
        # prompt_toolkit's own toolbar waits for the terminal to tell where its cursor is, which is never asked.
        root.children.append(Window(FormattedTextControl(self._bar), height=1, dont_extend_height=True))
        return prompt

    def _make_recall(self) -> RecallAsYouType | None:
        finder = self._session.words_finder
        if finder is None:
            return None
        return RecallAsYouType(looking_in(finder, self._session.agent), self._redraw)

    def _redraw(self) -> None:
        self._prompt.app.invalidate()

    async def _converse(self) -> None:
        """Hold the prompt until somebody leaves."""
        app = self._prompt.app
        app._on_resize = self._resized  # type: ignore[method-assign]  # there is no public hook
        app.invalidate = self._invalidate  # type: ignore[method-assign]
        app.ttimeoutlen = ESCAPE_S
        app.key_processor.after_key_press += lambda _: self._hasten_escape()
        with app.input.raw_mode():
            lines, rest = typed_ahead(sys.stdin)
            app.before_render += lambda _: self._follow_resize()
            app.after_render += lambda _: self._begin(lines)
            with contextlib.suppress(EOFError):  # the terminal is gone
                await self._prompt.prompt_async(default=rest, pre_run=self._leave_if_told)

    def _begin(self, typed_lines: list[str]) -> None:
        """Once, when the prompt stands on the screen: tell the agent who came, and send what was typed before."""
        if self._begun:
            return
        self._begun = True
        self._facts_wanted.set()
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

    def _bar(self) -> StyleAndTextTuples:
        """Return the status bar as it is now."""
        size, facts, kernel = self._output.get_size(), self._facts, self._session.kernel
        if size.rows < _BAR_FROM_ROWS:
            return []
        gauge = kernel.machine.main_context.gauge
        facts.model = kernel.processor.model
        facts.fill = gauge.fill if gauge else None
        facts.running, facts.waiting = self._running or self._painter.phase, len(self._waiting)
        facts.matches = len(self._recall.finds) if self._recall else 0
        facts.matches_capped = self._recall.capped if self._recall else False
        return [*bar_row(facts, self._marks, size.columns - 1)]

    async def _keep_facts(self) -> None:
        """Read anew what the bar says of the database, whenever that may have changed, off the event loop."""
        session = self._session
        while True:
            await self._facts_wanted.wait()
            self._facts_wanted.clear()
            today = utc_now().astimezone().date()
            with contextlib.suppress(MemosError):  # the bar keeps what it knew; the turn says what is wrong
                counts, spent = await asyncio.gather(
                    asyncio.to_thread(session.memory.counts),
                    asyncio.to_thread(session.usage.spent, agent_id=session.agent.id, since=today),
                )
                self._facts.recall_count, self._facts.archival_count = counts
                self._facts.spent_today = spent
                self._prompt.app.invalidate()

    # --- keys ------------------------------------------------------------------------------------------

    def _keys(self) -> KeyBindings:
        """Return the keys of `memos.terminal.keys` that prompt_toolkit does not have by itself."""
        keys = KeyBindings()
        in_line = has_focus(DEFAULT_BUFFER)  # and not in the words of Ctrl-R

        @keys.add("enter", filter=in_line)
        def _send(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            text = buffer.text
            buffer.reset()
            self._line_changed(buffer)  # a reset does not tell
            self._submit(text)
            if text.strip():
                buffer.history.append_string(text)

        @keys.add("c-j", filter=in_line)
        @keys.add("escape", "enter", filter=in_line)
        def _new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add(Keys.BracketedPaste, filter=in_line)
        def _paste(event: KeyPressEvent) -> None:
            # As prompt_toolkit does it, but that a file's path becomes a mention, which can be seen and changed.
            text = event.data.replace("\r\n", "\n").replace("\r", "\n")
            event.current_buffer.insert_text(with_dropped_path(text))

        @keys.add("c-c", filter=in_line)
        @keys.add("<sigint>")
        def _interrupt(event: KeyPressEvent) -> None:
            self._interrupt(event.app.current_buffer)

        @keys.add("escape", filter=in_line & (emacs_mode | vi_navigation_mode) & Condition(lambda: self._stoppable))
        def _stop(event: KeyPressEvent) -> None:
            self._stop()
            self._show()

        @keys.add("c-d", filter=in_line & Condition(lambda: not self._buffer.text))
        def _leave(event: KeyPressEvent) -> None:
            self._leave(0)

        @keys.add("tab", filter=in_line)
        def _complete(event: KeyPressEvent) -> None:
            self._complete(event.current_buffer)

        @keys.add("end", filter=in_line & Condition(lambda: bool(self._suggested)))
        def _take_over(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text(self._suggested)

        @keys.add("c-g", filter=in_line)
        def _edit(event: KeyPressEvent) -> None:
            event.current_buffer.open_in_editor()

        for key, line in COMMAND_KEYS.items():
            keys.add(key, filter=in_line)(lambda event, line=line: self._submit(line))

        @keys.add("f4", filter=in_line)
        def _show_matches(event: KeyPressEvent) -> None:
            self._show_matches()

        @keys.add("f5", filter=in_line)
        def _quote(event: KeyPressEvent) -> None:
            self._quote()

        return keys

    @property
    def _suggested(self) -> str:
        """What is suggested behind the cursor at the end of the line."""
        suggestion = self._buffer.suggestion
        return suggestion.text if suggestion and self._buffer.document.is_cursor_at_the_end else ""

    def _complete(self, buffer: Buffer) -> None:
        """Take over the only completion, or the next one of the menu.

        prompt_toolkit completes in a task of its own, and forgets a Tab that comes while that task is at work.
        """
        if buffer.complete_state is None and buffer.completer:
            found = list(buffer.completer.get_completions(buffer.document, CompleteEvent(completion_requested=True)))
            if len(found) == 1:
                buffer.apply_completion(found[0])
            elif found:
                buffer.start_completion(insert_common_part=True)
        else:
            buffer.complete_next()

    def _hasten_escape(self) -> None:
        """Let a lone Esc act soon, and other beginnings of several keys (Ctrl-X, vi's d) wait for the next one."""
        app = self._prompt.app
        begun = [press.key for press in app.key_processor.key_buffer]
        app.timeoutlen = ESCAPE_S if begun == [Keys.Escape] else _CHORD_S

    def _interrupt(self, buffer: Buffer) -> None:
        """Ctrl-C: stop what runs, else clear the line, else say how to leave; twice leaves."""
        now = time.monotonic()
        if now - self._last_interrupt < TWICE_S:
            self._leave(130)
            return
        self._last_interrupt = now
        if self._stoppable:
            self._stop()
        elif buffer.text:
            buffer.append_to_history()
            buffer.reset()
            self._line_changed(buffer)
        else:
            self._painter.notice("Ctrl-C again or Ctrl-D leaves; /help lists what else there is.", style="dim")
        self._show()

    @property
    def _stoppable(self) -> bool:
        """Whether a command or a turn is at work."""
        return self._command is not None or self._session.kernel.busy

    def _stop(self) -> None:
        """Stop the command, or else the turn, that is at work."""
        if self._command:
            self._command.cancel()
        else:
            self._session.kernel.cancel()
            self._painter.enter("stopping")

    # --- recall as you type ----------------------------------------------------------------------------

    def _line_changed(self, buffer: Buffer) -> None:
        if self._recall and buffer.text != self._quoting.text:
            self._recall.typed(buffer.text)

    def _show_matches(self) -> None:
        """Print the best memories that fit the line above it."""
        finds, query = (self._recall.finds, self._recall.query) if self._recall else ((), "")
        if finds:
            self._commands.say(f'Remembered about "{clipped(query, 40, self._marks.more)}":', "bold")
        else:
            self._painter.notice("Nothing is remembered about the line you type.", style="dim")
        for find in finds[:MATCHES_SHOWN]:
            self._commands.say(find_line(find, query, "  "))
        if len(finds) > MATCHES_SHOWN:
            self._commands.say(f"  {self._marks.more} {len(finds) - MATCHES_SHOWN} more: /search finds them", "dim")
        self._show()

    def _quote(self) -> None:
        """Put the best memory that fits the line into it; in place of the one put there before, the next."""
        if not (self._recall and self._recall.finds):
            return
        buffer, finds, last = self._buffer, self._recall.finds, self._quoting
        again = bool(last.text) and buffer.text == last.text
        number = (last.number + 1) % len(finds) if again else 0
        line = last.line if again else buffer.document
        before, after = line.text_before_cursor, line.text_after_cursor
        blank = " " if before and not before[-1].isspace() else ""
        before += blank + quoted(finds[number], self._recall.query)
        self._quoting = _Quoting(line, number, before + after)
        buffer.document = Document(before + after, len(before))

    @property
    def _leaving(self) -> bool:
        return self._code is not None

    @property
    def _buffer(self) -> Buffer:
        return self._prompt.default_buffer

    # --- what was typed --------------------------------------------------------------------------------

    def _submit(self, text: str) -> None:
        """Take a line: at once, unless a command or an image came before it, which keeps its place."""
        if not text.strip():
            return
        text = with_dropped_path(text)
        if self._command or not self._typed.empty() or is_command(text) or mentions_images(text):
            self._typed.put_nowait(text)
        else:
            self._send(text)

    async def _work(self) -> None:
        """Run commands, and what was typed behind them, in order; a message with images has files to be read, too."""
        while True:
            text = await self._typed.get()
            if is_command(text):
                self._painter.user_line(text)
                self._running = text.split()[0]
                self._show()
                work = run_command(self._commands, text)
            elif mentions_images(text) and not self._session.read_only:
                work = self._send_images(text)
            else:
                self._send(text)
                continue
            self._command = asyncio.create_task(work)
            await asyncio.wait([self._command])
            finished, self._command, self._running = self._command, None, ""
            self._facts_wanted.set()
            if finished.cancelled():
                self._painter.notice("Stopped.")
            elif not finished.result() and (is_worth_keeping(text) or not is_command(text)):
                self._give_back(text)
            self._show()

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
        if isinstance(body, TurnDone):
            self._facts_wanted.set()
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
        if not app.is_running or self._leaving:
            return  # it is printed when the prompt stands, or is gone
        if app._running_in_terminal:  # an editor has the screen
            if not self._screen_is_lent:
                self._screen_is_lent = True
                asyncio.get_running_loop().call_later(TICK_S, self._show_when_back)
            return
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

    def _show_when_back(self) -> None:
        self._screen_is_lent = False
        self._show()

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
                yield Completion(path, start_position=-len(typed or ""), display=safe_line(path))
            return
        word = line if " " not in line else line.partition(" ")[2].lstrip()
        for text, meta in completions(line, self._session):
            yield Completion(text, start_position=-len(word), display=safe_line(text), display_meta=safe_line(meta))


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
