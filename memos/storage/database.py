"""The one database file: opened safely, written by one thread, migrated before anything else reads it.

SQLite in WAL mode with synchronous=FULL is the truth of everything local: what was committed survives kill -9 and a
power cut.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from memos.errors import DataDamaged, MemosError, StorageProblem

T = TypeVar("T")

SCHEMA_VERSION = 6
"""`PRAGMA user_version` of a database this memos writes: the number of the newest migration."""

# trusted_schema stays at its default: with it off, SQLite 3.40 refuses FTS5 tables in our own triggers.
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA busy_timeout=10000",
    "PRAGMA foreign_keys=ON",
)

_WRITE_ANEW = (
    # Merging all segments is what drops the terms of deleted rows from a full-text index.
    "INSERT INTO messages_fts(messages_fts) VALUES ('optimize')",
    "INSERT INTO passages_fts(passages_fts) VALUES ('optimize')",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "VACUUM",
)


class Database:
    """An open database. Its methods may be called from any thread; one transaction runs at a time.

    Coroutines use `run`, so that no fsync happens on the event loop.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()
        self._depth = 0
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="memos-disk")

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open, create or migrate the database at `path`.

        Raises: DataDamaged (not a database, or of a newer memos), StorageProblem (may not be written).
        """
        with translated_errors(path):
            connection = _connect(path)
            _migrate(path, connection)
        return cls(path, connection)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a block as one transaction; inside another one it is a savepoint, undone alone if it raises.

        Raises: StorageProblem (disk full, not writable), DataDamaged.
        """
        with self._lock, translated_errors(self.path):
            name = f"level_{self._depth}"
            self._connection.execute(f"SAVEPOINT {name}" if self._depth else "BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield self._connection
            except BaseException:
                self._undo(name)
                raise
            else:
                self._commit(name)

    def query(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[sqlite3.Row]:
        """Return all rows of a SELECT with bound `parameters`."""
        with self._lock, translated_errors(self.path):
            return self._connection.execute(sql, parameters).fetchall()

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in the disk thread and return its result. Once begun, it is not cancelled half-way."""
        import asyncio  # `memos list` needs no event loop, and this import is a fifth of its start

        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._disk, work))

    def write_anew(self) -> None:
        """Let the file, its full-text index and its log hold nothing of what was deleted. It costs what a copy does.

        Raises: StorageProblem (disk full, or another process reads for long: what is deleted stays deleted).
        """
        with self._lock, translated_errors(self.path):
            for statement in _WRITE_ANEW:
                self._connection.execute(statement)
            if self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                raise StorageProblem(
                    f"Another process reads {self.path}, so its log could not be emptied.", "close it, and try again"
                )

    def close(self) -> None:
        """Wait for writes under way, then close. Closing twice is allowed."""
        self._disk.shutdown(wait=True)
        with self._lock:
            self._connection.close()

    def _commit(self, name: str) -> None:
        self._depth -= 1
        try:
            self._connection.execute(f"RELEASE {name}" if self._depth else "COMMIT")
        except sqlite3.Error:
            if not self._depth and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _undo(self, name: str) -> None:
        self._depth -= 1
        if not self._connection.in_transaction:
            return  # SQLite has already rolled back by itself, as it does when the disk is full
        if self._depth:
            self._connection.execute(f"ROLLBACK TO {name}")
            self._connection.execute(f"RELEASE {name}")
        else:
            self._connection.execute("ROLLBACK")


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives -wal and -shm the same mode
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.row_factory = sqlite3.Row
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    return connection


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == SCHEMA_VERSION:
        return  # the usual case: sqlite_utils need not be imported
    if version > SCHEMA_VERSION:
        raise too_new(path, version)
    from memos.storage.migrations import migrate

    migrate(path, connection)


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into memos' own errors, with the path and a next step."""
    try:
        yield
    except MemosError:
        raise
    except (sqlite3.OperationalError, OSError) as error:
        text = str(error)
        if isinstance(error, sqlite3.OperationalError) and not _about_the_disk(text):
            raise  # a wrong statement is a bug and shows itself
        raise StorageProblem(
            f"{path} cannot be read or written: {text}.",
            "check free space and permissions of that folder; what was confirmed before is safe",
        ) from error
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error) or "malformed" in str(error):
            raise damaged(path, str(error)) from error
        raise


def damaged(path: Path, how: str) -> DataDamaged:
    """Return the error for a database file whose content is not as SQLite wrote it."""
    step = "move it aside together with its -wal and -shm files, and restore a copy"
    return DataDamaged(f"{path} is damaged: {how}.", step)


def too_new(path: Path, version: int) -> DataDamaged:
    """Return the error for a database whose schema this memos does not know yet."""
    what = f"{path} was written by a newer memos (schema {version}; this one knows {SCHEMA_VERSION})."
    return DataDamaged(what, "upgrade memos: pip install -U memos-chat")


def _about_the_disk(text: str) -> bool:
    words = ("disk", "readonly", "read-only", "unable to open", "locked", "full")
    return any(word in text for word in words)
