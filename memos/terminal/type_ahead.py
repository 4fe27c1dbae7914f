"""What was typed before the prompt stood there: shell habit, and nothing of it may be lost."""

from __future__ import annotations

import os
import re
import select
import sys
from typing import TextIO

_KEYS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|.)?|[\x00-\x08\x0b-\x1f\x7f]")
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
    text = typed.decode(stdin.encoding or "utf-8", "replace").replace("\r", "\n")
    *lines, rest = _KEYS.sub("", text).split("\n")
    return lines, rest
