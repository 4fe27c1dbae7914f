"""Paths as they are completed: folders, and the files of one kind."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

_SCANNED, _OFFERED = 5_000, 100


def files(typed: str, ending: str) -> Iterator[str]:
    """Yield the folders, and the files that end with `ending`, that a path as typed may become, by name."""
    folder, slash, beginning = typed.rpartition("/")
    try:
        with os.scandir(Path(f"{folder}{slash}" or ".").expanduser()) as entries:
            found = sorted(
                entry.name + "/" * entry.is_dir()
                for entry in itertools.islice(entries, _SCANNED)
                if _fits(entry.name, beginning) and (entry.is_dir() or entry.name.endswith(ending))
            )
    except (OSError, ValueError, RuntimeError):  # no such folder, a NUL in it, no such user
        return
    for name in found[:_OFFERED]:
        yield f"{folder}{slash}{name}"


def _fits(name: str, beginning: str) -> bool:
    return name.startswith(beginning) and (not name.startswith(".") or beginning.startswith("."))
