"""One message, one answer, no screen: the reply alone on one stream, everything else on another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from memos.messages import (
    CallFinished,
    Event,
    EventKind,
    Evicted,
    MemoryEdited,
    Notice,
    OutputBody,
    Progress,
    ReplyStored,
    RetryIn,
    Said,
    StepStarted,
    Stopped,
)
from memos.safe_text import safe_line, safe_text, storable
from memos.terminal.amounts import counted
from memos.terminal.images import showing
from memos.terminal.session import KERNEL_ENDED, Session

if TYPE_CHECKING:
    from memos.kernel.outputs import Subscription


async def run_once(
    session: Session, text: str, out: TextIO, err: TextIO, show_progress: bool, images: Sequence[str] = ()
) -> int:
    """Send `text`, or obey it where it is a command; write what comes of it to `out`, and return the exit code.

    `images` are paths of files that the message shows; what `text` says is never taken for a path.

    `out` gets the words as they are where it is a file or a pipe, and harmless ones where it is a terminal. Notices
    and the reason of an early stop go to `err`; with `show_progress` also phases, steps, calls and core edits.

    Raises: MemosError, where a command cannot be obeyed, or an image not be shown.
    """
    kernel = session.kernel
    outputs = kernel.subscribe()
    if images:
        event, lines = await showing(kernel, text, images)
        for line in lines if show_progress else ():
            _write(err, line)
        kernel.post(event)
    elif not await _obeyed(session, text, out):
        kernel.post(Event(EventKind.USER_MESSAGE, text))
    report = asyncio.create_task(_report(outputs, out, err, show_progress))
    idle = asyncio.create_task(kernel.idle())
    try:
        await asyncio.wait([report, idle], return_when=asyncio.FIRST_COMPLETED)
        served = idle.done()
        outputs.close()  # what was published before is still read
        exit_code = await report
    finally:
        outputs.close()
        idle.cancel()
        report.cancel()
    if not served:
        _write(err, KERNEL_ENDED)
    return exit_code if served else exit_code or 1


async def _obeyed(session: Session, text: str, out: TextIO) -> bool:
    """Run `text` if it is one line that begins with a command's whole name; other words reach the agent as they are.

    Raises: MemosError.
    """
    if not text.startswith("/") or "\n" in text.strip():
        return False
    from memos.terminal.commands import COMMANDS, CommandContext, obey
    from memos.terminal.consoles import make_console
    from memos.terminal.marks import WORDS

    if text[1:].split(" ", 1)[0].strip() not in COMMANDS:
        return False
    console = make_console(out, colours=False, width_cells=100)
    await obey(CommandContext(session, console, WORDS, lambda code: None, session.kernel.post), text.strip())
    return True


async def _report(outputs: Subscription, out: TextIO, err: TextIO, show_progress: bool) -> int:
    """Write each output where it belongs, and return the exit code of the last stop (0: there was none)."""
    exit_code, phase = 0, ""
    async for output in outputs:
        body = output.body
        if isinstance(body, Stopped):
            exit_code = body.exit_code
        if spoken := _spoken(body):
            _write(out, safe_text(spoken) if out.isatty() else storable(spoken))
        if told := _told(body):
            _write(err, told)
        if show_progress:
            shown = _progress(body)
            if shown and shown != phase:
                _write(err, shown)
            phase = shown or phase
    return exit_code


def _spoken(body: OutputBody) -> str:
    """Return what the agent says to the user: by a call, or as a reply without any."""
    if isinstance(body, Said):
        return body.text
    return body.reply.text if isinstance(body, ReplyStored) and not body.reply.calls else ""


def _told(body: OutputBody) -> str:
    match body:
        case Notice():
            return safe_line(body.text)
        case Stopped():
            return safe_line(body.reason)
        case RetryIn():
            return f"{safe_line(body.reason)} Asking again in {body.seconds:.0f} s ({body.attempt}/{body.limit})."
    return ""


def _progress(body: OutputBody) -> str:
    match body:
        case Progress():
            return safe_line(body.phase)
        case StepStarted():
            return f"step {body.number} of {body.limit}"
        case CallFinished():
            return f"{safe_line(body.call.name)}: {'OK' if body.result.ok else 'failed'}"
        case MemoryEdited():
            return f"core memory: {safe_line(body.label)} {len(body.after)}/{body.limit_chars}"
        case Evicted():
            return f"paged out {counted(body.messages, 'message')} ({body.tokens:,} tokens) to recall storage"
    return ""


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    stream.flush()
