"""The user's own editor, for a block or a long message: a private file in memos' own folder, gone afterwards."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from memos.errors import BadInput

_USUAL = ("nano", "vi", "notepad.exe")


def edited(text: str, name: str, folder: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Let the user change `text` in `$VISUAL` or `$EDITOR`, in a file called `name`, and return what was saved.

    Blocking, for as long as the editor is open; the terminal is the editor's. The file lies in a folder below `folder`
    that only its owner can look into, and goes with what the editor may have left beside it.

    Raises: BadInput (no editor, it failed, or saved something else than text).
    """
    command = editor_command(environ)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder) as private:
            path = Path(private) / name
            path.touch(0o600)
            path.write_text(text if text.endswith("\n") or not text else f"{text}\n", encoding="utf-8")
            code = subprocess.run([*command, str(path)], check=False).returncode
            if code:
                raise BadInput(f"{command[0]} ended with code {code}; nothing is changed.", "try again")
            return path.read_text(encoding="utf-8").rstrip("\n")
    except UnicodeDecodeError as error:
        raise BadInput(f"{command[0]} did not save UTF-8 text; nothing is changed.", "set its encoding") from error
    except OSError as error:
        raise BadInput(f"{command[0]} cannot be used: {error}.", "set VISUAL or EDITOR to your editor") from error


def editor_command(environ: Mapping[str, str]) -> list[str]:
    """Return the command of the user's editor, or of a usual one. Raises: BadInput."""
    wanted = environ.get("VISUAL", "").strip() or environ.get("EDITOR", "").strip()
    try:
        words = shlex.split(wanted, posix=os.name != "nt")
    except ValueError as error:
        raise BadInput(f"VISUAL or EDITOR cannot be read: {error}.", "correct its quotes") from error
    found = words or [path for name in _USUAL if (path := shutil.which(name))][:1]
    if not found:
        raise BadInput("No editor is known.", "set VISUAL or EDITOR to your editor")
    return found
