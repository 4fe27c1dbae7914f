"""Rich consoles for each kind of reader: a terminal with colours, one without, a pipe."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

from memos.terminal.marks import DRAWN, WORDS, Marks

if TYPE_CHECKING:
    from rich.console import Console


def colours_wanted() -> bool:
    """Return whether colours may be used at all (https://no-color.org, and dumb terminals)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def interactive(stdin: TextIO, stdout: TextIO) -> bool:
    """Return whether a person sits at a terminal that can move its cursor."""
    return stdin.isatty() and stdout.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}


def make_console(file: TextIO, *, colours: bool, width_cells: int | None = None) -> Console:
    """Return a console that writes to `file`, and never reads markup, emoji codes or numbers out of text."""
    from rich.console import Console

    return Console(
        file=file,
        force_terminal=colours,
        color_system="standard" if colours else None,
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
        width=width_cells,
    )


def marks_for(file: TextIO) -> Marks:
    """Return the drawn signs for a terminal that can show them, else words."""
    encoding = (getattr(file, "encoding", None) or "ascii").lower().replace("-", "")
    return DRAWN if file.isatty() and encoding == "utf8" and os.environ.get("TERM") != "dumb" else WORDS
