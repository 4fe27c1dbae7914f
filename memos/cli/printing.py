"""How `list` and `show` print: a table or headed text for a person, aligned text for a pipe, JSON for a program."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from memos.safe_text import safe_line, safe_text
from memos.terminal.consoles import colours_wanted, make_console

if TYPE_CHECKING:
    from rich.text import Text


def print_json(value: object) -> None:
    """Print JSON; on a terminal made harmless, in a pipe exact."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    _write((safe_text(text) if sys.stdout.isatty() else text) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text under their columns; drawn on a terminal, aligned by blanks in a pipe."""
    safe_rows = [[safe_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw_table(columns, safe_rows)
        return
    widths = [max(len(line[number]) for line in [columns, *safe_rows]) for number in range(len(columns))]
    for line in [columns, *safe_rows]:
        _write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n")


def print_heading(text: str) -> None:
    """Print one line that stands out on a terminal with colours."""
    bold = sys.stdout.isatty() and colours_wanted()
    line = safe_line(text)
    _write(f"\x1b[1m{line}\x1b[0m\n" if bold else f"{line}\n")


def print_text(text: str, indent: str = "") -> None:
    """Print text of any origin, each of its lines after `indent`."""
    _write("".join(f"{indent}{line}\n" for line in safe_text(text).split("\n")))


def print_styled(text: Text) -> None:
    """Print one line of styled text that is harmless already; in a pipe, or without colours, the words alone."""
    if not (sys.stdout.isatty() and colours_wanted()):
        _write(f"{text.plain}\n")
        return
    console = make_console(io.StringIO(), colours=True)
    with console.capture() as drawn:
        console.print(text, soft_wrap=True)
    _write(drawn.get())


def note(text: str) -> None:
    """Write one sentence to stderr, where it does not disturb what a program reads."""
    line = safe_line(text)
    if sys.stderr.isatty():
        from memos.terminal.wrapping import wrap

        line = "\n".join(row.rstrip() for row in wrap(line, shutil.get_terminal_size().columns - 1))
    sys.stderr.write(line + "\n")


def confirmed(question: str) -> bool:
    """Ask on the terminal, where no is what Enter alone says."""
    sys.stderr.write(f"{safe_line(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def local_time(moment: datetime | None) -> str:
    """Return a moment as the user's own clock shows it; empty for None."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}" if moment else ""


def _draw_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    make_console(sys.stdout, colours=colours_wanted()).print(table)


def _write(text: str) -> None:
    """Write to stdout; what its encoding lacks is shown as `?` rather than raised about."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
