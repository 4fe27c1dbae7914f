"""What was typed before the prompt stood there: shell habit, and nothing of it may be lost."""

from __future__ import annotations

import os
import re
import select
import sys
from typing import TextIO

_PASTED = re.compile(r"\x1b\[200~(.*?)(?:\x1b\[201~|\Z)", re.DOTALL)
_KEYS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|.)?|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_IN_PASTE = "\x0c"  # no key of the line, and taken out of what was typed
_READ_BYTES = 65_536


def typed_ahead(stdin: TextIO) -> tuple[list[str], str]:
    """Return the lines that were already ended by Enter, and the beginning of the one that was not.

    Call it with the terminal in raw mode: before that, Enter arrives as a newline and would look like Ctrl-J.
    """
    if sys.platform == "win32":
        return [], ""  # a console keeps its keys until they are asked for
    typed = b""
    while select.select([stdin], [], [], 0)[0] and (chunk := os.read(stdin.fileno(), _READ_BYTES)):
        typed += chunk
    return lines_of(typed.decode(stdin.encoding or "utf-8", "replace"))


def lines_of(typed: str) -> tuple[list[str], str]:
    """Return the lines of what a terminal sent, and the beginning of the next one; a paste is part of its line."""
    text = typed.replace("\r\n", "\n").replace("\r", "\n")
    parts = _PASTED.split(text)  # typed and pasted in turn
    shown = ""
    for number, part in enumerate(parts):
        words = _KEYS.sub("", part)
        shown += words.replace("\n", _IN_PASTE) if number % 2 else words
    *lines, rest = (line.replace(_IN_PASTE, "\n") for line in shown.split("\n"))
    return lines, rest
