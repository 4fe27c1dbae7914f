"""Lines from a pipe, a file or a dumb terminal, read by a thread because any of them may block."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import threading
from typing import TextIO

_READ_BYTES = 65_536


class TypedLines:
    """Hands out the lines of one stream. It reads no further than it is asked to: an editor may want the rest."""

    def __init__(self, stdin: TextIO) -> None:
        self.is_terminal = stdin.isatty()
        self._stdin = stdin
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._wanted = threading.Semaphore(0)
        self._asked = False
        self._thread: threading.Thread | None = None

    async def next(self) -> str | None:
        """Return the next line, or None at the end. One that nobody waited for any more is kept."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, args=(asyncio.get_running_loop(),), daemon=True)
            self._thread.start()
        if self._lines.empty() and not self._asked:
            self._asked = True
            self._wanted.release()
        return await self._lines.get()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        decoder = codecs.getincrementaldecoder(self._stdin.encoding or "utf-8")("replace")
        rest, data = "", b"x"
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody listens any more
            while data:
                self._wanted.acquire()
                lines: list[str] = []
                while data and not lines:
                    data = self._some()
                    *lines, rest = (rest + decoder.decode(data, final=not data)).split("\n")
                ended = [rest or None, None] if not data else []
                loop.call_soon_threadsafe(self._hand_over, [*(line.removesuffix("\r") for line in lines), *ended])

    def _some(self) -> bytes:
        try:
            return os.read(self._stdin.fileno(), _READ_BYTES)
        except OSError:
            return b""  # a terminal that is gone

    def _hand_over(self, lines: list[str | None]) -> None:
        self._asked = False
        for line in lines:
            self._lines.put_nowait(line)
