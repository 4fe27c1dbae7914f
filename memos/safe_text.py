"""Text that may meet a terminal: model, memory, document and file text made harmless, character by character.

A per-character mapping has no state, so it does not matter where a chunk border falls: no escape sequence can be
split into parts that each look innocent. Nothing is dropped; a control character is shown as its picture.
"""

from __future__ import annotations

_KEPT = {0x09, 0x0A}
_CONTROL_PICTURES = {code: 0x2400 + code for code in range(0x20) if code not in _KEPT} | {0x7F: 0x2421}
_REPLACED = (
    *range(0x80, 0xA0),  # C1: 0x9b alone is CSI for some terminals
    0x061C,  # Arabic letter mark
    *range(0x200E, 0x2010),  # left-to-right and right-to-left marks
    *range(0x2028, 0x202F),  # line and paragraph separators, bidi embeddings and overrides
    *range(0x2066, 0x206A),  # bidi isolates
    *range(0xD800, 0xE000),  # lone surrogates: no encoder takes them
    *range(0xE0000, 0xE0080),  # tags: invisible text
)
_MAP = _CONTROL_PICTURES | dict.fromkeys(_REPLACED, 0xFFFD)


def safe_text(text: str) -> str:
    """Return `text` with every character that could steer a terminal replaced by a visible one.

    Newline and tab stay. The result has the same length, and `safe_text(a) + safe_text(b) == safe_text(a + b)`.
    """
    return text.translate(_MAP)


def safe_line(text: str) -> str:
    """Return `text` as `safe_text` does, and on one line: names, titles, labels, errors."""
    return " ".join(safe_text(text).split())


def storable(text: str) -> str:
    """Return `text` so that SQLite, LanceDB and HTTP all take it: surrogate pairs joined, lone ones and NUL replaced.

    Weak models and `json.loads` produce both; a database row must not fail because of them.
    """
    if text.isascii() and "\x00" not in text:
        return text
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return joined.replace("\x00", "�")


class StorablePieces:
    """Makes text storable that comes in pieces, with half of a surrogate pair held back until its other half comes."""

    def __init__(self) -> None:
        self._half = ""

    def add(self, piece: str) -> str:
        """Return what is certain once `piece` has come."""
        if not self._half and piece.isascii():
            return storable(piece)
        piece = self._half + piece
        self._half = piece[-1] if piece and "\ud800" <= piece[-1] <= "\udbff" else ""
        return storable(piece[: len(piece) - len(self._half)])

    def rest(self) -> str:
        """Return what was held back, as nothing follows."""
        half, self._half = self._half, ""
        return storable(half)


def _utf16(code: int) -> tuple[int, ...]:
    return (code,) if code < 0x10000 else (0xD800 + ((code - 0x10000) >> 10), 0xDC00 + ((code - 0x10000) & 0x3FF))


_ESCAPES = {code: "".join(f"\\u{unit:04x}" for unit in _utf16(code)) for code in (0x7F, *_REPLACED)}


def safe_json(text: str) -> str:
    """Return JSON text with what could steer a terminal, or what no encoder takes, escaped; it means the same."""
    return text if text.isascii() and "\x7f" not in text else text.translate(_ESCAPES)
