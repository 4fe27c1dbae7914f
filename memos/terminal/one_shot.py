"""One message, one answer, no screen: the reply alone on one stream, everything else on another."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from memos.errors import BadInput, ProcessorUnreachable
from memos.messages import Event, EventKind, Question, Stopped, new_id
from memos.safe_text import storable
from memos.terminal.images import showing
from memos.terminal.report import Aside, Ending, Report, ending_of
from memos.terminal.session import KERNEL_ENDED, READ_ONLY, Session
from memos.terminal.signals import signals_handled

if TYPE_CHECKING:
    from memos.kernel.outputs import Subscription

_STOPPING_S = 5.0
"""How long a turn that was told to stop has to put away what it has."""
_INTERRUPTED = 130
_NEXT_STEP = "what came is kept; run it again, or go on with memos run"


@dataclass(frozen=True, slots=True)
class OneMessage:
    """What is said: words, and paths of images that it shows; what the words say is never taken for a path.

    `typed`: the user wrote all of it on the command line, so that it may be a command.
    """

    text: str
    images: Sequence[str] = ()
    typed: bool = True


async def run_once(
    session: Session, message: OneMessage, report: Report, aside: Aside, timeout_s: float | None = None
) -> int:
    """Send `message`, or obey it where it is a command; report what comes of it, and return the exit code.

    SIGINT, SIGTERM, SIGHUP and the end of `timeout_s` stop the turn; what was shown by then is kept, marked as
    incomplete.

    Raises: MemosError, where a command cannot be obeyed, or an image not be shown; BrokenPipeError, where nobody reads
    any more.
    """
    ending = await _Turn(session, report, aside).play(message, timeout_s)
    report.end(ending)
    return ending.exit_code


class _Turn:
    """One message on its way through a session."""

    def __init__(self, session: Session, report: Report, aside: Aside) -> None:
        self._session = session
        self._kernel = session.kernel
        self._report = report
        self._aside = aside
        self._turn_id = ""
        self._stopped: Stopped | None = None
        self._ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    async def play(self, message: OneMessage, timeout_s: float | None) -> Ending:
        """Send the message, and return how it ended."""
        outputs = self._kernel.subscribe()
        with signals_handled(self._leave, lambda: self._leave(_INTERRUPTED)):
            clock = asyncio.get_running_loop().call_later(timeout_s, self._time_out, timeout_s) if timeout_s else None
            reading = asyncio.create_task(self._read(outputs))
            idle = asyncio.create_task(self._send(message))
            try:
                ends: list[asyncio.Future[Any]] = [reading, idle, self._ended]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if self._ended.done():
                    await self._stop()
                elif idle.done():
                    idle.result()
                served = idle.done() or self._ended.done()
                outputs.close()  # what was published before is still read
                await reading
            finally:
                outputs.close()
                tasks = (idle, reading)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                if clock:
                    clock.cancel()
        return self._ending(served)

    async def _send(self, message: OneMessage) -> None:
        """Send the message or obey it, and return when all of it is done. Raises: MemosError."""
        command = message.typed and not message.images and is_one_command(message.text)
        self._turn_id = "" if command else new_id()  # what turns a command begins is its own affair
        self._report.begin(self._session.agent.name, self._kernel.processor.model, self._turn_id)
        self._aside.begin(self._turn_id)
        if command:
            await self._obey(message.text.strip())
        elif self._session.read_only:
            raise BadInput(READ_ONLY, "memos run without --read-only says something")
        else:
            self._kernel.post(replace(await self._event(message), id=self._turn_id))
        await self._kernel.idle()

    async def _event(self, message: OneMessage) -> Event:
        """Return the user's message, its images kept. Raises: BadInput."""
        if not message.images:
            return Event(EventKind.USER_MESSAGE, storable(message.text))
        event, lines = await showing(self._kernel, message.text, message.images)
        for line in lines:
            self._aside.remark(line)
        return event

    async def _obey(self, line: str) -> None:
        """Raises: MemosError."""
        from memos.terminal.commands import CommandContext, obey
        from memos.terminal.consoles import make_console
        from memos.terminal.marks import WORDS

        paper = io.StringIO()
        console = make_console(paper, colours=False, width_cells=100)
        try:
            await obey(CommandContext(self._session, console, WORDS, lambda code: None, self._kernel.post), line)
        finally:
            if paper.getvalue():
                self._report.shown(paper.getvalue())

    async def _read(self, outputs: Subscription) -> None:
        async for output in outputs:
            if isinstance(output.body, Stopped) and self._turn_id in ("", output.turn_id):
                self._stopped = output.body
            self._aside.take(output)
            self._report.take(output)
            if isinstance(output.body, Question):  # nobody is here to be asked
                self._kernel.post(Event(EventKind.ANSWER, "no", {"question": output.body.id}))

    async def _stop(self) -> None:
        over = asyncio.create_task(self._kernel.next_turn())
        await asyncio.sleep(0)  # it listens from here on
        if self._kernel.busy:
            self._kernel.cancel()
            await asyncio.wait([over], timeout=_STOPPING_S)
        over.cancel()

    def _leave(self, exit_code: int) -> None:
        self._end(Ending(exit_code, "Stopped.", _NEXT_STEP))

    def _time_out(self, timeout_s: float) -> None:
        what = f"There was no whole reply within {timeout_s:g} seconds."
        ending = Ending(ProcessorUnreachable.exit_code, what, f"{_NEXT_STEP}; --timeout gives it longer")
        self._aside.fail(str(ending))
        self._end(ending)

    def _end(self, ending: Ending) -> None:
        if not self._ended.done():
            self._ended.set_result(ending)

    def _ending(self, served: bool) -> Ending:
        if self._ended.done():
            return self._ended.result()
        if self._stopped and self._stopped.exit_code:
            return ending_of(self._stopped)
        if not served:
            self._aside.fail(KERNEL_ENDED)
            return ending_of(Stopped(KERNEL_ENDED, "error", 1))
        return Ending()


def is_one_command(text: str) -> bool:
    """Whether a text is one line that begins with a command's whole name; other words reach the agent as they are."""
    if not text.startswith("/") or "\n" in text.strip():
        return False
    from memos.terminal.commands import COMMANDS

    return text[1:].split(" ", 1)[0].strip() in COMMANDS
