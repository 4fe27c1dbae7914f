"""What becomes of a typed line: a message is sent at once; commands and what stands behind them keep their order."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from memos.errors import MemosError
from memos.messages import Event, EventKind
from memos.safe_text import storable
from memos.terminal.commands import CommandContext, as_message, is_command, is_worth_keeping, run_command
from memos.terminal.images import showing
from memos.terminal.mentions import mentions_images, read_mentions, with_dropped_path
from memos.terminal.session import READ_ONLY

if TYPE_CHECKING:
    from memos.terminal.painter import Painter


@dataclass(frozen=True, slots=True)
class Sent:
    """A message as it is printed: what was typed, and a line on each of its images."""

    text: str
    image_lines: tuple[str, ...] = ()


class Desk(Protocol):
    """The screen, as far as typed lines concern it."""

    @property
    def leaving(self) -> bool:
        """Whether the conversation is about to end."""

    def show(self) -> None:
        """Draw what has changed."""

    def post(self, event: Event) -> None:
        """Hand the kernel an event."""

    def give_back(self, text: str) -> None:
        """Put a line that could not be used where it was typed."""

    def command_ended(self) -> None:
        """Take note that a command may have changed what the screen knows."""


class LineQueue:
    """Takes the lines of one conversation; `waiting` are messages that a turn before them keeps waiting."""

    def __init__(self, context: CommandContext, painter: Painter, desk: Desk) -> None:
        self._context = context
        self._session = context.session
        self._painter = painter
        self._desk = desk
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        self._later: list[str] = []
        self._command: asyncio.Task[bool] | None = None
        self.running = ""
        """The command at work, as it was typed."""
        self.waiting: deque[Sent] = deque()

    def submit(self, text: str) -> None:
        """Take a line: at once, unless a command or an image came before it, which keeps its place, or has left."""
        if not text.strip():
            return
        text = with_dropped_path(text)
        waits = self._command or not self._lines.empty() or self._desk.leaving
        if waits or is_command(text) or mentions_images(text):
            self._lines.put_nowait(text)
        else:
            self.send(text)

    async def run(self) -> None:
        """Run commands, and what was typed behind them, in order; a message with images has files to be read, too."""
        while True:
            text = await self._lines.get()
            if self._desk.leaving:
                self._later.append(text)
            elif is_command(text):
                self._painter.user_line(text)
                self.running = text.split()[0]
                self._desk.show()
                await self._work_on(text)
            elif mentions_images(text) and not self._session.read_only:
                await self._work_on(text)
            else:
                self.send(text)

    def cancel_command(self) -> bool:
        """Stop the command that is at work; return whether there is one."""
        return self._command is not None and self._command.cancel()

    @property
    def at_work(self) -> bool:
        """Whether a command is at work."""
        return self._command is not None

    def unread(self) -> list[str]:
        """Return the lines that were typed behind the command that left: they are for whoever comes next."""
        waiting = [self._lines.get_nowait() for _ in range(self._lines.qsize())]
        return [*self._later, *waiting]

    def send(self, text: str) -> None:
        """Say something to the agent."""
        message = storable(as_message(text))
        if self._session.read_only:
            self._painter.user_line(message)
            self._painter.notice(READ_ONLY)
            self._desk.show()
        else:
            self._post(Event(EventKind.USER_MESSAGE, message), Sent(message))

    def print_next(self) -> None:
        """Print the message whose turn it is now, if one waits."""
        if self.waiting:
            self._print(self.waiting.popleft())
            self._painter.enter("sending")

    async def _work_on(self, text: str) -> None:
        work = run_command(self._context, text) if is_command(text) else self._send_images(text)
        self._command = asyncio.create_task(work)
        await asyncio.wait([self._command])
        finished, self._command, self.running = self._command, None, ""
        self._desk.command_ended()
        if finished.cancelled():
            self._painter.notice("Stopped.")
        elif not finished.result() and (is_worth_keeping(text) or not is_command(text)):
            self._desk.give_back(text)
        self._painter.call_agent(self._session.agent.name)
        self._desk.show()

    async def _send_images(self, text: str) -> bool:
        """Send a message with the images it names; return whether that was possible."""
        typed = read_mentions(as_message(text))
        try:
            event, lines = await showing(self._session.kernel, typed.words, typed.paths)
        except MemosError as error:
            self._painter.notice(str(error), style="red")
            return False
        self._post(event, Sent(storable(as_message(text)), tuple(lines)))
        return True

    def _post(self, event: Event, sent: Sent) -> None:
        waits = self._painter.busy
        self._desk.post(event)
        if waits:
            self.waiting.append(sent)  # printed when its turn comes, not in the middle of a reply
        else:
            self._print(sent)

    def _print(self, sent: Sent) -> None:
        self._painter.user_line(sent.text)
        for line in sent.image_lines:
            self._painter.notice(line, style="dim")
