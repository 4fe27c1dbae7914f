"""The computer under memos: versions, the folders and who may read them, room on the disk."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sqlite3
import sys
from pathlib import Path

import memos
from memos.cli.checks.finding import Finding, Findings, failure, ok, warning
from memos.config import Places
from memos.errors import NotConfigured, StorageProblem

_SCARCE_BYTES, _LITTLE_BYTES = 100_000_000, 1_000_000_000


def versions() -> Findings:
    """Look at memos, Python, SQLite and litellm."""
    yield ok("memos", f"{memos.__version__}, Python {sys.version.split()[0]}, {sys.platform}")
    yield _sqlite()
    yield _litellm()


def _sqlite() -> Finding:
    try:
        sqlite3.connect(":memory:").execute("CREATE VIRTUAL TABLE t USING fts5(x)")
    except sqlite3.Error as error:
        what = f"SQLite {sqlite3.sqlite_version} of this Python has no full-text search (FTS5): {error}."
        return failure("sqlite", StorageProblem(what, "install a Python from python.org, uv or your distribution"))
    return ok("sqlite", f"SQLite {sqlite3.sqlite_version} with full-text search")


def _litellm() -> Finding:
    from memos.llm.quiet_litellm import REFUSED_VERSIONS

    try:
        version = importlib.metadata.version("litellm")
    except importlib.metadata.PackageNotFoundError:
        return failure(
            "litellm", NotConfigured("The package litellm is missing.", "pip install 'litellm>=1.98,<1.106'")
        )
    if version in REFUSED_VERSIONS:
        what = f"The installed litellm {version} {REFUSED_VERSIONS[version]}."
        return failure("litellm", NotConfigured(what, "install another: pip install 'litellm>=1.98,<1.106'"))
    return ok("litellm", f"litellm {version}")


def folders(places: Places, *, fix: bool) -> Findings:
    """Look at where things lie: writable, and open to the user alone; `fix` closes what others can read."""
    for folder in (places.config_file.parent, places.data, places.state, places.cache):
        there = _nearest(folder)
        if not os.access(there, os.W_OK | os.X_OK):
            step = "change its owner or permissions, or name other folders by MEMOS_HOME and MEMOS_CACHE"
            yield failure("folders", StorageProblem(f"{there} cannot be written.", step))
            return
    wide = _open_to_others(places) if os.name == "posix" else []
    left = [path for path in wide if not (fix and _closed(path))]
    closed = f"; {len(wide) - len(left)} closed to others" if len(left) < len(wide) else ""
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        step = "change their owner: chown" if fix else "memos doctor --fix"
        yield warning("folders", f"Others on this computer can look into {left[0]}{more}{closed}.", step)
    else:
        yield ok("folders", f"memory in {places.data}, settings in {places.config_file.parent}, yours alone{closed}")


def _open_to_others(places: Places) -> list[Path]:
    """Return the folders and files of memos that more than their owner may use; weights are no secret."""
    folders = [places.config_file.parent, places.data, places.state, places.locks, places.logs, places.vectors]
    files = [places.config_file, places.keys_file, places.history_file, *places.data.glob("*.db*")]
    return [path for path in (*folders, *files) if path.exists() and path.stat().st_mode & 0o077]


def _closed(path: Path) -> bool:
    """Close a folder or file to all but its owner; return whether that went."""
    try:
        path.chmod(0o700 if path.is_dir() else 0o600)
    except OSError:
        return False
    return not path.stat().st_mode & 0o077


def disk(places: Places) -> Findings:
    """Look at the room for memory and for weights."""
    disks = {folder.stat().st_dev: folder for folder in (_nearest(places.cache), _nearest(places.data))}
    for folder in disks.values():
        free = shutil.disk_usage(folder).free
        text = f"{free / 1e9:,.1f} GB free for {folder}"
        if free < _SCARCE_BYTES:
            yield failure("disk", StorageProblem(f"Only {free / 1e6:,.0f} MB are free for {folder}.", "make room"))
        elif free < _LITTLE_BYTES:
            yield warning("disk", text, "make room: weights and the vectors of long chats take hundreds of megabytes")
        else:
            yield ok("disk", text)


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())
