"""The file that is there while an erasure is under way: one that was broken off is known by it. It holds no words."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path


def intention_file(database: Path) -> Path:
    """Return its path, beside the database."""
    return database.with_name("memos.erasing")


def note_intention(mark: Path, at: datetime) -> None:
    """Let it be on disk, whatever happens next."""
    with mark.open("w", encoding="utf-8") as file:
        file.write(at.isoformat())
        file.flush()
        os.fsync(file.fileno())


def broken_off(mark: Path) -> datetime | None:
    """Return when the erasure began that this file was left by; None where there is no such file."""
    try:
        return datetime.fromisoformat(mark.read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return datetime.fromtimestamp(mark.stat().st_mtime, UTC)
