"""A database in memory alone, with what a file holds: reading it leaves no trace in the file's folder.

SQLite itself writes when it reads a database in WAL mode (the -shm file, and -wal where there is none), so both files
are read as bytes, and the write-ahead log is played into the copy here. Format: https://sqlite.org/fileformat2.html
"""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

from memos.errors import StorageProblem
from memos.storage.database import SCHEMA_VERSION, Database, too_new, translated_errors

_LOG_HEAD_BYTES, _FRAME_HEAD_BYTES = 32, 24
_LITTLE_ENDIAN_SUMS, _BIG_ENDIAN_SUMS = 0x377F0682, 0x377F0683
_TRIES = 10


def open_in_memory(path: Path) -> Database:
    """Return a copy of the database at `path`, or an empty one where there is none; nobody will see what is written.

    It takes as much memory as the file, and twice that while it is made.

    Raises: DataDamaged (not a database, or of a newer memos), StorageProblem.
    """
    with translated_errors(path):
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        if path.exists() and (image := database_image(path)):
            with closing(sqlite3.connect(":memory:")) as source:  # which may not grow beyond 1 GB, as another may
                source.deserialize(bytes(image))
                source.backup(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise too_new(path, version)
        if version < SCHEMA_VERSION:
            from memos.storage.migrations import apply_migrations

            apply_migrations(connection)
    return Database(path, connection)


def database_image(path: Path) -> bytearray:
    """Return the bytes of the database at `path` as its last commit left them, also while others write to it.

    Raises: StorageProblem, where others write so much that no two readings fit together; OSError.
    """
    log_path = path.with_name(f"{path.name}-wal")
    for _ in range(_TRIES):
        before, stamp = _read(log_path)[:_LOG_HEAD_BYTES], _stamp(path)
        image = bytearray(path.read_bytes())
        log = _read(log_path)
        # A checkpoint under way only writes into the file what stands in the log too, unless the log began anew.
        if log[:_LOG_HEAD_BYTES] == before and (log or _stamp(path) == stamp):
            _play(log, image)
            if image:
                image[18:20] = b"\x01\x01"  # no longer in WAL mode, which needs files
            return image
    raise StorageProblem(f"{path} is written to all the time, and cannot be copied.", "try again in a moment")


def _play(log: bytes, image: bytearray) -> None:
    """Write the pages of a write-ahead log into `image`, as far as they were committed."""
    if len(log) < _LOG_HEAD_BYTES:
        return
    magic, _, page_bytes, _ = struct.unpack(">4I", log[:16])
    if magic not in (_LITTLE_ENDIAN_SUMS, _BIG_ENDIAN_SUMS):
        return
    order, salts = "<" if magic == _LITTLE_ENDIAN_SUMS else ">", log[16:24]
    sums = _summed(order, log[:24], (0, 0))
    if struct.pack(">2I", *sums) != log[24:32]:
        return
    pending: dict[int, int] = {}
    for start in range(_LOG_HEAD_BYTES, len(log) - _FRAME_HEAD_BYTES - page_bytes + 1, _FRAME_HEAD_BYTES + page_bytes):
        page, head = start + _FRAME_HEAD_BYTES, log[start : start + _FRAME_HEAD_BYTES]
        sums = _summed(order, log[page : page + page_bytes], _summed(order, head[:8], sums))
        if head[8:16] != salts or struct.pack(">2I", *sums) != head[16:24]:
            return  # what is left of an earlier round, or not written to its end
        number, pages_after_commit = struct.unpack(">2I", head[:8])
        pending[number] = page
        if pages_after_commit:
            image.extend(bytes(max(0, pages_after_commit * page_bytes - len(image))))
            for each, place in pending.items():
                image[(each - 1) * page_bytes : each * page_bytes] = log[place : place + page_bytes]
            del image[pages_after_commit * page_bytes :]
            pending = {}


def _summed(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    """Return SQLite's running checksum after `data`."""
    first, second = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for one, two in zip(words, words, strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return first, second


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
