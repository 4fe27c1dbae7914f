"""Words into rows of a given width, so that joining the rows gives the words back."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len
from rich.text import Text

from memos.safe_text import safe_text

_GLUE = "\u00a0"
"""The no-break space: a row never ends at it."""
_WIDE = "\u2e80-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uff60"
"""Chinese and Japanese: written without spaces, so a row may end after each character that closes nothing."""
_OPENING, _CLOSING = "「『（【〈《", "、。，．：；！？」』）】〉》ー・"
_WORDS = re.compile(rf"(?:[{_OPENING}]*[{_WIDE}][{_CLOSING}]*|(?:[^\s{_WIDE}]|{_GLUE})+[{_CLOSING}]*)[^\S{_GLUE}]*|\s+")
_UNIT = re.compile(r"(?<=\d) (?=m?s$)")


def displayable(text: str) -> str:
    """Return `text` harmless for a terminal, with tabs as four spaces (their width depends on where they stand)."""
    return safe_text(text).replace("\t", "    ")


def wrap(text: str, width_cells: int | None) -> list[str]:
    """Return the rows of `text`; each but the last ends with a newline or at a word's end.

    `"".join(wrap(text, n)) == text`. A row is at most `width_cells` wide, not counting spaces at its end.
    None as the width keeps the lines as they are.
    """
    rows: list[str] = []
    for line in _lines(text):
        rows.extend([line] if width_cells is None else _wrap_line(line, max(1, width_cells)))
    return rows


def hung(line: Text, width_cells: int | None, hang_cells: int) -> list[Text]:
    """Return a line as rows of at most that width; all but the first stand `hang_cells` blanks to the right.

    A duration at its end stays in one piece.
    """
    if width_cells is None or width_cells <= 2 * hang_cells or cell_len(line.plain) <= width_cells:
        return [line]
    text = _UNIT.sub(_GLUE, line.plain)
    head = hang_cells if cell_len(text[:hang_cells]) == hang_cells else 0
    ends, place = [], head
    for words in wrap(text[head:], width_cells - hang_cells):
        place += len(words)
        ends.append(place)
    first, *rest = line.divide(ends[:-1])
    rows = [first, *(Text(" " * hang_cells).append_text(row) for row in rest)]
    for row in rows:
        row.rstrip()
    return rows


def _lines(text: str) -> Iterator[str]:
    """Split at newlines only: `str.splitlines` knows separators that no terminal does."""
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start : end + 1]
        start = end + 1
    if start < len(text):
        yield text[start:]


def _wrap_line(line: str, width_cells: int) -> list[str]:
    if line.isascii() and len(line.rstrip()) <= width_cells:
        return [line]
    if line.isascii():
        return _wrap_ascii(line, width_cells)
    rows: list[str] = []
    row, row_cells = "", 0
    for word in _WORDS.findall(line):
        bare_cells = _cells(word.rstrip())
        if row and row_cells + bare_cells > width_cells:
            rows.append(row)
            row, row_cells = "", 0
        if bare_cells > width_cells:
            *full, rest = _split_word(word, width_cells)
            rows.extend(full)
            row, row_cells = rest, _cells(rest)
            continue
        row += word
        row_cells += _cells(word)
    if row:
        rows.append(row)
    return rows


def _wrap_ascii(line: str, width_cells: int) -> list[str]:
    """Do the same where every character is one cell wide: of a reply that streams it is done twenty times a second."""
    rows: list[str] = []
    while len(line.rstrip()) > width_cells:
        end = next((place for place in range(width_cells, 0, -1) if line[place].isspace()), width_cells)
        while line[end].isspace():  # a row's blanks stay with it; something follows them, or it would fit
            end += 1
        rows.append(line[:end])
        line = line[end:]
    return [*rows, line] if line else rows


def _split_word(word: str, width_cells: int) -> list[str]:
    pieces: list[str] = []
    piece, piece_cells = "", 0
    for character in word:
        cells = 0 if character.isspace() and character != _GLUE else _cells(character)
        if piece and piece_cells + cells > width_cells:
            pieces.append(piece)
            piece, piece_cells = "", 0
        piece += character
        piece_cells += cells
    return [*pieces, piece]


def _cells(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)
