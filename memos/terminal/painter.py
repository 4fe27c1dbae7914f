"""The painter: what a kernel publishes becomes lines in the scrollback, a live tail, and a phase.

A block is printed once, when it is finished; until then it is only in the tail, which the REPL redraws.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.text import Text

from memos.functions.table import SPEECH_FUNCTION
from memos.messages import (
    CallFinished,
    CallStarted,
    Evicted,
    MemoryEdited,
    MonologueDelta,
    Notice,
    OutputBody,
    Progress,
    Question,
    Reply,
    ReplyStored,
    RetryIn,
    Said,
    SpeechDelta,
    StepStarted,
    Stopped,
    TokenUsage,
    TurnDone,
)
from memos.safe_text import safe_line
from memos.terminal.amounts import counted
from memos.terminal.drawing import call_line, edit_lines
from memos.terminal.marks import Marks
from memos.terminal.tail import Kind, Tail
from memos.terminal.turn_details import FOLDED_ROWS, TurnDetails
from memos.terminal.wrapping import displayable, hung, wrap

if TYPE_CHECKING:
    from rich.console import Console

THOUGHT_STYLE = "dim italic"
_SIGN_CELLS = 2
_STOP_STYLES = {"cancelled": "yellow", "limit": "yellow", "error": "red"}


class Painter:
    """Draws one agent's outputs onto a console.

    `tail_limit_rows` tells how many rows the live tail may fill now: of a longer one the end is drawn. `width_cells`
    tells the width to wrap at, None for not at all. With `markdown` a message is drawn, block by block, instead of
    printed as it is. `details` keeps what is not shown, and says how much of a thought is.
    """

    def __init__(
        self,
        console: Console,
        agent_name: str,
        marks: Marks,
        *,
        width_cells: Callable[[], int | None],
        tail_limit_rows: Callable[[], int],
        markdown: bool = False,
        details: TurnDetails | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._name = safe_line(agent_name)
        self._marks = marks
        self._width_cells = width_cells
        self._tail_limit_rows = tail_limit_rows
        self._markdown = markdown
        self._details = details or TurnDetails()
        self._clock = clock
        self._tail = Tail()
        self._edits: list[MemoryEdited] = []
        self._step = StepStarted(0, 0)
        self._speech_open = False
        self._phase = ""
        self._phase_since = 0.0
        self._phase_ends: float | None = None
        self._share = ""

    # --- what the REPL reads ---------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a turn is known to run, or to be about to."""
        return bool(self._phase)

    @property
    def phase(self) -> str:
        """What is going on, in a word or two; "" when nothing is."""
        return self._phase

    def phase_line(self) -> str:
        """Return what is going on and for how long, or how long it still lasts, or "" when nothing is."""
        if not self._phase:
            return ""
        passed_s = self._clock() - self._phase_since
        seconds = max(0.0, passed_s if self._phase_ends is None else self._phase_ends - self._clock())
        step = f"  step {self._step.number}/{self._step.limit}" if self._step.number > 1 else ""
        return f"{self._phase}{self._share} {seconds:.1f} s{step}"

    def tail_rows(self) -> list[tuple[str, str]]:
        """Return the rows of the live tail as (kind, text); a kind is "thought", "name" or "speech"."""
        limit_rows, width_cells = self._tail_limit_rows(), self._width_cells() or 80
        rows: list[tuple[str, str]] = []
        widths: dict[Kind, int] = {"thought": width_cells - len(self._marks.thought), "speech": width_cells}
        for kind, text in self._tail.last_rows(widths, limit_rows):
            if kind == "thought" and self._details.thoughts == "none":
                continue
            if kind == "speech" and not self._speech_open and not any(seen == "speech" for seen, _ in rows):
                rows += [("name", "")] * (not self._marks.speech_inline)
                rows.append(("name", self._marks.speech.format(name=self._name)))
            rows.append((kind, f"{self._marks.thought}{text}" if kind == "thought" else text))
        return rows

    def enter(
        self, phase: str, fraction: float | None = None, detail: str = "", *, lasts_s: float | None = None
    ) -> None:
        """Begin a phase; its clock starts anew unless it is the same one. With `lasts_s` it counts down."""
        self._share = "" if fraction is None else f" {fraction:.0%}"
        self._share += f" · {detail} ·" if detail else ""
        self._phase_ends = None if lasts_s is None else self._clock() + lasts_s
        if phase != self._phase:
            self._phase, self._phase_since = phase, self._clock()

    def call_agent(self, name: str) -> None:
        """Name the agent so from now on."""
        self._name = safe_line(name)

    # --- what the person typed -------------------------------------------------------------------------

    def user_line(self, text: str) -> None:
        """Print what the person sent."""
        self._console.print()
        indent = " " * len(self._marks.user)
        for number, row in enumerate(self._rows(text, len(indent))):
            self._print(Text((indent if number else self._marks.user) + row, style="bold"))

    # --- what the kernel publishes ---------------------------------------------------------------------

    def consume(self, body: OutputBody) -> None:  # noqa: PLR0912 (one case per kind of output)
        """Draw one output."""
        match body:
            case StepStarted():
                self._step_started(body)
            case Progress():
                self.enter(safe_line(body.phase), body.fraction, safe_line(body.detail))
            case MonologueDelta():
                self.enter("thinking")
                self._tail.add("thought", body.text)
            case SpeechDelta():
                self._speech_delta(body.text)
            case ReplyStored():
                self._reply_stored(body.reply)
            case Said():
                self._said(body.text)
            case CallStarted():
                if body.call.name != SPEECH_FUNCTION:
                    self.enter(f"running {safe_line(body.call.name)}")
            case MemoryEdited():
                self._edits.append(body)
            case CallFinished():
                self._call_finished(body)
            case RetryIn():
                self._retry(body)
            case Stopped():
                self._stopped(body)
            case TurnDone():
                self._turn_done()
            case Notice():
                self.notice(body.text)
            case Evicted():
                self._evicted(body)
            case Question():
                self.notice(f"{body.text} ({' / '.join(body.choices)})")
            case TokenUsage():
                pass  # shown by the status bar once there is one

    def notice(self, text: str, style: str = "yellow") -> None:
        """Print one sentence of memos itself."""
        self._print_hung(Text(f"{self._marks.notice}{safe_line(text)}", style=style))

    def _step_started(self, step: StepStarted) -> None:
        self.leave_tail()
        if step.number == 1:
            self._details.begin()
        self._step = step
        self._phase = ""
        self.enter("thinking")
        if step.number > 1:
            self._print(Text(self._marks.step.format(number=step.number, limit=step.limit), style="dim"))

    def _speech_delta(self, text: str) -> None:
        self.enter("speaking")
        if self._tail.begins_with_thought and not self._tail.pending("speech"):
            self._thought(self._tail.take_thought())
        self._tail.add("speech", text)
        if self._markdown:
            if finished := self._tail.take_finished_blocks():
                self._speech_blocks(finished)
        else:
            self._speech_rows(self._tail.take_finished_rows(self._width_cells()))

    def _reply_stored(self, reply: Reply) -> None:
        message = "" if reply.calls else reply.text
        self._thought(self._tail.settle_thought(reply.monologue, message))
        if message.strip():
            self._said(message)
            self._tail.drop("speech")

    def _said(self, text: str) -> None:
        self._speech(self._tail.settle_speech(text))
        self._close_speech()

    def _call_finished(self, body: CallFinished) -> None:
        self._details.call(body)
        # That of a message is not drawn where it succeeded: the message itself is.
        if body.call.name != SPEECH_FUNCTION or not body.result.ok:
            self._print_hung(call_line(body.call, body.result, body.elapsed_s, self._marks))
        self._print_edits()
        self.enter("thinking")

    def _print_edits(self) -> None:
        for edit in self._edits:
            for line in edit_lines(edit, self._marks):
                self._print_hung(line)
        self._edits.clear()

    def _retry(self, body: RetryIn) -> None:
        if self._tail.has_left("speech"):
            self._close_speech()
        self._tail.clear()
        self.notice(f"{body.reason} Asking again in {body.seconds:.0f} s ({body.attempt}/{body.limit}).")
        self.enter("asking again in", lasts_s=body.seconds)

    def _stopped(self, body: Stopped) -> None:
        self.leave_tail()
        self._print_hung(Text(f"{self._marks.stopped}{safe_line(body.reason)}", style=_STOP_STYLES[body.code]))

    def _evicted(self, body: Evicted) -> None:
        what = f"{counted(body.messages, 'message')} ({body.tokens:,} tokens)"
        self._print_hung(Text(f"{self._marks.evicted}paged out {what} to recall storage", style="dim"))

    def _turn_done(self) -> None:
        self.leave_tail()
        self._phase = ""

    def leave_tail(self) -> None:
        """Print what nobody settled, as it stands: the turn is over, or nobody will look on."""
        for kind, text in self._tail.take_all():
            if kind == "thought":
                self._thought(text)
            else:
                self._speech(text)
        self._close_speech()
        self._print_edits()

    # --- printing --------------------------------------------------------------------------------------

    def _thought(self, text: str) -> None:
        self._details.thought(text)
        if self._details.thoughts == "none":
            return
        rows = self._rows(text.strip(), len(self._marks.thought))
        folded = len(rows) - FOLDED_ROWS if self._details.thoughts == "short" else 0
        if folded > 1:  # one row more takes no more room than to say so
            rows[FOLDED_ROWS:] = [f"{self._marks.more} {folded} more lines: Ctrl-O"]
        for row in rows:
            self._print(Text(self._marks.thought + row, style=THOUGHT_STYLE))

    def _speech(self, text: str) -> None:
        if self._markdown:
            self._speech_blocks(text)
        else:
            self._speech_rows(self._rows(text.rstrip(), 0))

    def _speech_rows(self, rows: list[str]) -> None:
        for row in rows:
            self._print((Text() if self._speech_open else self._speech_begins()).append(row.rstrip()))

    def _speech_blocks(self, text: str) -> None:
        from rich.segment import Segment, Segments

        from memos.terminal.markdown import markdown_rows  # loads a parser: before the first words, not at the start

        if not text.strip():
            return
        if self._speech_open:
            self._console.print()
        else:
            self._speech_begins()
        rows = markdown_rows(displayable(text), self._console, self._width_cells() or 80)
        self._console.print(Segments(piece for row in rows for piece in (*row, Segment.line())), end="")

    def _speech_begins(self) -> Text:
        """Print who speaks, in a line above; return what stands before the first words."""
        self._speech_open = True
        name = Text(self._marks.speech.format(name=self._name), style="bold green")
        if self._marks.speech_inline:
            return name
        self._console.print()
        self._print(name)
        return Text()

    def _close_speech(self) -> None:
        self._speech_open = False

    def _rows(self, text: str, indent_cells: int) -> list[str]:
        width_cells = self._width_cells()
        rows = wrap(displayable(text), None if width_cells is None else width_cells - indent_cells)
        return [row.rstrip() for row in rows]

    def _print_hung(self, line: Text) -> None:
        """Print a line that begins with a sign, its further rows behind the sign."""
        blanks = len(line.plain) - len(line.plain.lstrip(" "))
        for row in hung(line, self._width_cells(), blanks + _SIGN_CELLS):
            self._print(row)

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=self._width_cells() is None)
