"""What becomes of one message: where a reply goes and where all else does, and how the program ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TextIO

from memos.errors import EXIT_CODES, MemosError, StorageProblem
from memos.messages import (
    CallFinished,
    Evicted,
    MemoryEdited,
    Notice,
    Output,
    OutputBody,
    Progress,
    Question,
    ReplyStored,
    RetryIn,
    Said,
    StepStarted,
    Stopped,
)
from memos.safe_text import safe_line, safe_text, storable

_NEXT = " Next: "


@dataclass(frozen=True, slots=True)
class Ending:
    """How it ended: an exit code, and, where that is not 0, one sentence with a next step."""

    exit_code: int = 0
    message: str = ""
    next_step: str = ""

    @property
    def word(self) -> str:
        """The exit code as a word for programs."""
        return EXIT_CODES[self.exit_code if self.exit_code in EXIT_CODES else 1][0]

    def __str__(self) -> str:
        return f"{self.message}{_NEXT}{self.next_step}" if self.next_step else self.message


def ending_of(stopped: Stopped) -> Ending:
    """Return the ending that a turn which was stopped makes."""
    message, _, next_step = stopped.reason.partition(_NEXT)
    return Ending(stopped.exit_code, message, next_step)


def ending_by(error: BaseException) -> Ending | None:
    """Return the ending that an exception makes on its way out; None where nobody reads any more."""
    match error:
        case MemosError():
            return Ending(error.exit_code, error.what, error.next_step)
        case BrokenPipeError():
            return None
        case KeyboardInterrupt():
            return Ending(130, "Stopped.", "run it again")
        case SystemExit():
            code = error.code if isinstance(error.code, int) else 1
            return Ending(code, "Stopped.", "run it again") if code else Ending()
    what = f"A bug in memos stopped it ({type(error).__name__}); what was confirmed is safe."
    return Ending(1, what, "run it again with memos --debug for the details")


class Report(Protocol):
    """What goes to standard output of one message and its reply."""

    def begin(self, agent: str, model: str, turn_id: str) -> None:
        """Begin: `agent` was opened, `model` will answer; the turn is `turn_id`, or any where that is ''."""
        ...

    def take(self, output: Output) -> None:
        """Take one thing that the kernel published."""
        ...

    def shown(self, text: str) -> None:
        """Take what a command printed."""
        ...

    def end(self, ending: Ending) -> None:
        """End, once; whatever is told after the first time counts no more."""
        ...


class ReplyText:
    """The words of the reply alone, each message whole, as soon as it is stored."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._turn_id = ""

    def begin(self, agent: str, model: str, turn_id: str) -> None:
        """Begin."""
        self._turn_id = turn_id

    def take(self, output: Output) -> None:
        """Write what the agent says in reply. Raises: BrokenPipeError."""
        if (spoken := spoken_in(output.body)) and self._turn_id in ("", output.turn_id):
            self.shown(spoken + "\n")

    def shown(self, text: str) -> None:
        """Write text: as it is into a file or a pipe, harmless on a terminal. Raises: BrokenPipeError."""
        write(self._out, safe_text(text) if self._out.isatty() else storable(text))

    def end(self, ending: Ending) -> None:
        """End; the reason of a failure is for standard error."""


class Aside:
    """What a person is told on standard error while a reply is waited for.

    `quiet`: only why it ended early. `progress`: phases, steps, calls and core edits too.
    """

    def __init__(self, err: TextIO, *, progress: bool = False, quiet: bool = False) -> None:
        self._err = err
        self._progress = progress and not quiet
        self._quiet = quiet
        self._turn_id = ""
        self._phase = ""

    def begin(self, turn_id: str) -> None:
        """Begin; what is said in other turns is no reply, and told here."""
        self._turn_id = turn_id

    def take(self, output: Output) -> None:
        """Tell of one thing that the kernel published."""
        body = output.body
        if isinstance(body, Stopped):
            self.fail(body.reason)
            return
        if told := _told(body, to_another=self._turn_id not in ("", output.turn_id)):
            self.tell(told)
        shown = _progress(body) if self._progress else ""
        if shown and shown != self._phase:
            self.tell(shown)
        self._phase = shown or self._phase

    def tell(self, text: str) -> None:
        """Tell one sentence, unless only failures are wanted."""
        if not self._quiet:
            self.fail(text)

    def remark(self, text: str) -> None:
        """Tell one sentence where progress is shown."""
        if self._progress:
            self.tell(text)

    def fail(self, text: str) -> None:
        """Tell why it ended early."""
        write(self._err, safe_line(text) + "\n")


def spoken_in(body: OutputBody) -> str:
    """Return what the agent says to the user: by a call, or as a reply without any."""
    if isinstance(body, Said):
        return body.text
    return body.reply.text if isinstance(body, ReplyStored) and not body.reply.calls else ""


def _told(body: OutputBody, *, to_another: bool) -> str:
    match body:
        case Notice():
            return body.text
        case RetryIn():
            return f"{body.reason} Asking again in {body.seconds:.0f} s ({body.attempt}/{body.limit})."
        case Question():
            return f"{body.text} Nobody is here to be asked: no."
    spoken = spoken_in(body) if to_another else ""
    return f"To an earlier message it said: {spoken}" if spoken else ""


def _progress(body: OutputBody) -> str:
    match body:
        case Progress():
            return body.phase
        case StepStarted():
            return f"step {body.number} of {body.limit}"
        case CallFinished():
            return f"{body.call.name}: {'OK' if body.result.ok else 'failed'}"
        case MemoryEdited():
            return f"core memory: {body.label} {len(body.after)}/{body.limit_chars}"
        case Evicted():
            return f"paged out {body.messages} messages ({body.tokens} tokens) to recall storage"
    return ""


def write(stream: TextIO, text: str) -> None:
    """Write text at once; what the stream's encoding lacks becomes `?`. Raises: BrokenPipeError, StorageProblem."""
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "replace").decode(encoding))
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        what = f"The output could not be written: {error.strerror}."
        raise StorageProblem(what, "free the disk, or write elsewhere") from error
