"""Server-sent events of a chat endpoint, from bytes in any split to the data of each.

Ours and not a library's: those at hand split lines wherever Python's `splitlines` does, and a JSON text may hold
U+2028 or U+0085 as it is. Source: WHATWG HTML, "Server-sent events"; each line of data is an event here, for chat
endpoints write one JSON text a line, and some leave out the empty line between two of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_LINE_LIMIT_BYTES = 4 * 1024 * 1024
_MARK = b"\xef\xbb\xbf"


class EventStream:
    """Takes bytes as they come and gives the data of every line that is whole."""

    def __init__(self) -> None:
        self._pending = b""
        self._begun = False

    def feed(self, piece: bytes) -> Iterator[str]:
        """Take the next bytes and yield what they complete. A line beyond 4 MiB is dropped."""
        text = self._pending + piece
        if not self._begun and text:
            if len(text) < len(_MARK) and _MARK.startswith(text):
                self._pending = text
                return
            text = text.removeprefix(_MARK)
            self._begun = True
        for line in self._lines(text):
            if line.startswith(b"data:"):
                yield _words(line)

    def rest(self) -> Iterator[str]:
        """Yield what the end of the stream completes: some servers leave out the last line end."""
        line, self._pending = self._pending.rstrip(b"\r"), b""
        if line.startswith(b"data:"):
            yield _words(line)

    def _lines(self, text: bytes) -> Sequence[bytes]:
        """Return the whole lines of `text` and keep the rest; a line ends with LF, CR LF or CR."""
        held = b""
        if b"\r" in text:
            if text.endswith(b"\r"):
                text, held = text[:-1], b"\r"  # its LF may come with the next piece
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = text.split(b"\n")
        self._pending = lines.pop() + held
        if len(self._pending) > _LINE_LIMIT_BYTES:
            self._pending = b""
        return lines


def _words(line: bytes) -> str:
    return line[5:].strip().decode("utf-8", "replace")
