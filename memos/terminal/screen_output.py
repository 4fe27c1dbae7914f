"""The terminal as prompt_toolkit writes to it, with what we know about terminals and it does not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from prompt_toolkit.layout import Window
from prompt_toolkit.layout.screen import Screen
from prompt_toolkit.output import ColorDepth, Output, create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Attrs

_NEVER_REFLOWING = {"linux", "vt100", "vt102", "vt220", "ansi", "cygwin"}


class ScreenOutput(Vt100_Output):
    """A terminal that can be given several drawing steps as one write, so that no half-drawn screen is ever seen."""

    _held = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within the block nothing reaches the terminal; all of it does at the end."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self.flush()

    def flush(self) -> None:
        """Hand the terminal what was written, unless it is held back."""
        if not self._held:
            super().flush()


class _Uncoloured(ScreenOutput):
    """Writes no colour and no other rendition: for `NO_COLOR`."""

    def set_attributes(self, attrs: Attrs, color_depth: ColorDepth) -> None:
        """Leave the text as it is."""

    def reset_attributes(self) -> None:
        """There is nothing to reset."""


def make_screen_output(stdout: TextIO, colours: bool) -> Output:
    """Return the output for a live screen.

    It never asks the terminal where its cursor is: the answer comes late over a slow line, and would land in the
    shell if memos left in between.
    """
    if sys.platform == "win32":
        return create_output(stdout)  # knows how to switch a console to escape sequences
    output = (ScreenOutput if colours else _Uncoloured).from_pty(stdout, term=os.environ.get("TERM"))
    output.enable_cpr = False
    return output


@contextmanager
def one_write(output: Output) -> Iterator[None]:
    """Let all drawing within the block reach the terminal at once, where `output` can do that."""
    if isinstance(output, ScreenOutput):
        with output.held():
            yield
    else:
        yield


def rows_pushed_down(screen: Screen, window: Window, columns: int) -> int:
    """Return by how many rows the cursor moved down when a narrower terminal broke the drawn rows anew.

    Most terminals do that; the ones known not to leave the rows as they are, cut.
    """
    if not _reflows():
        return 0
    cursor = screen.get_cursor_position(window)
    pushed = cursor.x // columns
    for y in range(cursor.y):
        used = max((x + 1 for x, cell in screen.data_buffer[y].items() if cell.char.strip()), default=1)
        pushed += (used - 1) // columns
    return pushed


def _reflows() -> bool:
    term = os.environ.get("TERM", "")
    in_gnu_screen = term.startswith("screen") and "TMUX" not in os.environ
    return "XTERM_VERSION" not in os.environ and term not in _NEVER_REFLOWING and not in_gnu_screen
