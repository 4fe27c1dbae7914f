"""Rich consoles for each kind of reader: a terminal with colours, one without, a pipe."""

from __future__ import annotations

import os
import sys
from dataclasses import astuple
from typing import TYPE_CHECKING, TextIO

from memos.terminal.marks import DRAWN, WORDS, Marks

if TYPE_CHECKING:
    from rich.console import Console


def colours_wanted(theme: str = "auto") -> bool:
    """Return whether colours may be used at all (https://no-color.org, dumb terminals, the theme "none")."""
    return theme != "none" and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def interactive(stdin: TextIO, stdout: TextIO) -> bool:
    """Return whether a person sits at a terminal that can move its cursor."""
    unnamed = "windows" if sys.platform == "win32" else "dumb"  # a Windows console has no TERM
    return stdin.isatty() and stdout.isatty() and os.environ.get("TERM", unnamed) not in {"dumb", "unknown"}


def make_console(file: TextIO, *, colours: bool, width_cells: int | None = None, theme: str = "auto") -> Console:
    """Return a console that writes to `file`, and never reads markup, emoji codes or numbers out of text."""
    from memos.terminal.themes import ThemedConsole, many_colours, palette

    named = palette(theme) if colours else {}
    return ThemedConsole(
        colours=named,
        file=file,
        force_terminal=colours,
        color_system=("256" if named and many_colours() else "standard") if colours else None,
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
        width=width_cells,
    )


def marks_for(file: TextIO, *, plain_ascii: bool = False) -> Marks:
    """Return the drawn signs for a terminal that can show them, else words."""
    drawn = file.isatty() and os.environ.get("TERM") != "dumb" and not plain_ascii and _can_draw(file)
    return DRAWN if drawn else WORDS


def _can_draw(file: TextIO) -> bool:
    """Return whether the encoding of `file` has all of the drawn signs."""
    try:
        "".join(str(sign) for sign in astuple(DRAWN)).encode(getattr(file, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
