"""A screen of a real session as an SVG: what a pseudo-terminal showed, cell by cell, with its colours."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from itertools import groupby

import pyte
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

_WITHOUT_FONTS = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
"""Rich's frame, but that whoever looks at it asks no server for a font."""
_NAMES = {"brown": "yellow"}
Change = tuple[str, str]


def svg(rows: Sequence[Sequence[pyte.screens.Char]], title: str, changes: Sequence[Change] = ()) -> str:
    """Return the picture of some rows; `changes` are what a clock or a temporary folder wrote, and what stands for it.

    The same rows give the same picture.
    """
    columns = max(len(row) for row in rows)
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for row in rows:
        console.print(_text(row, changes), no_wrap=True, overflow="crop")
    return console.export_svg(title=title, theme=MONOKAI, unique_id="memos", code_format=_WITHOUT_FONTS)


def _text(row: Sequence[pyte.screens.Char], changes: Sequence[Change]) -> Text:
    text = Text()
    for style, cells in groupby(row, _style):
        text.append("".join(cell.data for cell in cells), style)
    text.rstrip()
    changed = text.plain
    for pattern, words in changes:
        changed = re.sub(pattern, words, changed)
    if changed == text.plain:
        return text
    return Text(changed, text.spans[0].style if text.spans else "")


def _style(cell: pyte.screens.Char) -> Style:
    return Style(
        color=_colour(cell.fg), bgcolor=_colour(cell.bg), bold=cell.bold, italic=cell.italics, underline=cell.underscore
    )


def _colour(name: str) -> str | None:
    if name == "default":
        return None
    if re.fullmatch("[0-9a-f]{6}", name):
        return f"#{name}"
    bright, name = name.startswith("bright"), name.removeprefix("bright")
    return f"{'bright_' if bright else ''}{_NAMES.get(name, name)}"
