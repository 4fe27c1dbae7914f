"""Where the blocks of a message end while it streams; light, for it is asked with each piece that arrives."""

from __future__ import annotations

_FENCES = ("```", "~~~")


def finished_end(text: str) -> int:
    """Return where the last block of `text` ends that can change no more, however the text goes on; 0: none does.

    A block ends at an empty line before a line that is not indented, and with a fence that closes.
    """
    end = start = 0
    fence, empty = "", False
    for line in text.splitlines(keepends=True):
        words = line.strip()
        begins = bool(words) and not line[0].isspace()
        if fence:
            if words.startswith(fence) and not words.strip(fence[0]) and line.endswith("\n"):
                fence = ""
                end = start + len(line) if begins else end
        else:
            if empty and begins:
                end = start
            if words.startswith(_FENCES):
                fence = words[:3]
        empty = not words
        start += len(line)
    return end
