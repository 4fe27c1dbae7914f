"""A real pseudo-terminal with a screen: what a person would see of the real program."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pyte

TIMEOUT_S = 30.0
"""Generous: several tests and other work share two cores."""


class Screen:
    """A program, begun in `folder`, in a pseudo-terminal: its screen, its scrollback and its raw bytes."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 80,
        rows: int = 24,
        env: Mapping[str, str],
        typed_ahead: str = "",
        folder: Path | None = None,
    ) -> None:
        self.raw = b""
        self._screen = pyte.HistoryScreen(columns, rows, history=5000, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)
        self._child = pexpect.spawn(
            command[0],
            list(command[1:]),
            env=dict(env),
            dimensions=(rows, columns),
            timeout=TIMEOUT_S,
            cwd=str(folder) if folder else None,
        )
        self._child.delaybeforesend = None
        if typed_ahead:
            self.type(typed_ahead)

    # --- what is seen ----------------------------------------------------------------------------------

    @property
    def lines(self) -> list[str]:
        """The screen's rows, without trailing spaces."""
        return [row.rstrip() for row in self._screen.display]

    @property
    def scrollback(self) -> list[str]:
        """Every row there ever was, the screen's included."""
        past = ["".join(row[x].data for x in range(self._screen.columns)).rstrip() for row in self._screen.history.top]
        return past + self.lines

    @property
    def text(self) -> str:
        """All rows as one text."""
        return "\n".join(self.scrollback)

    @property
    def pid(self) -> int:
        """The program's process."""
        return int(self._child.pid)

    def count(self, words: str) -> int:
        """Return in how many rows `words` stand."""
        return sum(words in row for row in self.scrollback)

    @property
    def prompt_line(self) -> str:
        """The row of the cursor."""
        return self.lines[self._screen.cursor.y]

    def style_of(self, words: str) -> pyte.screens.Char:
        """Return the first cell of `words` on the screen, with its colours."""
        for y, row in enumerate(self.lines):
            if words in row:
                return self._screen.buffer[y][row.index(words)]
        raise AssertionError(f"{words!r} is not on the screen:\n{self.text}")

    def cells_from(self, beginning: str, until: str) -> list[list[pyte.screens.Char]]:
        """Return the cells of the rows from the one that begins so to the one that is `until`, '' is the last.

        Rows of the scrollback count as well; `until` itself and empty rows at the end do not.
        """
        columns = range(self._screen.columns)
        rows = [*self._screen.history.top, *(self._screen.buffer[y] for y in range(self._screen.lines))]
        cells = [[row[x] for x in columns] for row in rows]
        words = ["".join(cell.data for cell in row).rstrip() for row in cells]
        start = next(place for place, row in enumerate(words) if row.startswith(beginning))
        end = next((place for place in range(start, len(words)) if until and words[place] == until), len(words))
        while not words[end - 1]:
            end -= 1
        return cells[start:end]

    # --- what is done ----------------------------------------------------------------------------------

    def type(self, keys: str) -> None:
        """Press keys."""
        self._child.send(keys)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        self._screen.resize(rows, columns)
        self._child.setwinsize(rows, columns)

    def kill(self, signal_number: int) -> None:
        """Send the program a signal."""
        self._child.kill(signal_number)

    def read(self, seconds: float = 0.05) -> None:
        """Take in what arrives within `seconds`."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                data = self._child.read_nonblocking(65_536, timeout=left)
            except pexpect.TIMEOUT:
                return
            except pexpect.EOF:
                return
            self.raw += data
            self._stream.feed(data)

    def until(self, condition: Callable[[], bool] | str, timeout_s: float = TIMEOUT_S) -> None:
        """Read until `condition` holds, or until those words stand somewhere."""
        words = condition if isinstance(condition, str) else ""
        deadline = time.monotonic() + timeout_s
        while not (words in self.text if words else condition()):  # type: ignore[operator]
            assert time.monotonic() < deadline, f"waited in vain for {words or condition}:\n{self.text}"
            self.read()
            if not self._child.isalive():
                self.read()
                held = words in self.text if words else condition()  # type: ignore[operator]
                assert held, f"it ended before {words or condition}:\n{self.text}"
                return

    def until_quiet(self, seconds: float = 0.4, timeout_s: float = TIMEOUT_S) -> None:
        """Read until nothing has arrived for `seconds`."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            before = len(self.raw)
            self.read(seconds)
            if len(self.raw) == before:
                return
        raise AssertionError(f"it never became quiet:\n{self.text}")

    def exit_code(self, timeout_s: float = TIMEOUT_S) -> int:
        """Wait for the end of the program and return its exit code."""
        deadline = time.monotonic() + timeout_s
        while self._child.isalive():
            assert time.monotonic() < deadline, f"it did not end:\n{self.text}"
            self.read()
        self.read()
        self._child.close()
        code = self._child.exitstatus
        return code if code is not None else -self._child.signalstatus

    def hang_up(self) -> int:
        """Close the terminal under the program, as one closes a window, and return its exit code."""
        os.close(self._child.fileno())
        status = os.waitstatus_to_exitcode(os.waitpid(self._child.pid, 0)[1])
        self._child.ptyproc.closed = self._child.closed = True
        self._child.terminated = self._child.ptyproc.terminated = True
        return status

    def close(self) -> None:
        """End the program, however it is."""
        self._child.close(force=True)


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a program under test: nothing of the developer's own settings and keys."""
    kept = {
        name: os.environ[name] for name in ("PATH", "PYTHONPATH", "MEMOS_CACHE", "SYSTEMROOT") if name in os.environ
    }
    root = str(Path(__file__).parents[2])
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH")))),
        "HOME": str(home),
        "MEMOS_HOME": str(home),
        "TERM": "xterm-256color",
        "XTERM_VERSION": "XTerm(390)",  # like pyte, xterm never breaks rows anew
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        **more,
    }


def write_script(path: Path, replies: Sequence[Mapping[str, Any]]) -> str:
    """Write a script of replies and return its model string."""
    path.write_text(json.dumps(list(replies)), encoding="utf-8")
    return f"scripted:{path}"


def saying(message: str, **more: Any) -> dict[str, Any]:
    """Return a scripted reply that says `message` to the user."""
    return {"calls": [{"name": "send_message", "arguments": {"message": message}}], **more}


@contextmanager
def memos_screen(
    home: Path,
    replies: Sequence[Mapping[str, Any]],
    *arguments: str,
    columns: int = 80,
    rows: int = 24,
    typed_ahead: str = "",
    **env: str,
) -> Iterator[Screen]:
    """Run `memos run` with a scripted model on a screen."""
    model = write_script(home / "script.json", replies)
    command = [sys.executable, "-m", "memos", "run", "--model", model, "--set", "memory.embedding=none", *arguments]
    screen = Screen(command, columns=columns, rows=rows, env=environment(home, **env), typed_ahead=typed_ahead)
    try:
        yield screen
    finally:
        screen.close()
