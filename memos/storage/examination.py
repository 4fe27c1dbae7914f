"""A look at the database file as it lies there: nothing is created, migrated or written."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from memos.storage.database import SCHEMA_VERSION, damaged, too_new, translated_errors

_COUNTS = (
    "SELECT (SELECT count(*) FROM agents WHERE {}), (SELECT coalesce(sum(recall), 0) FROM counts),"
    " (SELECT coalesce(sum(archival), 0) FROM counts)"
)
_TRASH_SINCE_SCHEMA = 6


@dataclass(frozen=True, slots=True)
class Examination:
    """What a database holds: messages are those anybody said or heard. Agents in the trash are no agents."""

    schema: int
    size_bytes: int
    agents: int
    messages: int
    passages: int


def examine(path: Path) -> Examination:
    """Check every page of the database at `path` (seconds a gigabyte) and count what it holds.

    Raises: DataDamaged (not a database, damaged pages, or of a newer memos), StorageProblem.
    """
    with translated_errors(path):
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
            said = [str(row[0]) for row in connection.execute("PRAGMA quick_check(1)")]
            if said != ["ok"]:
                raise damaged(path, said[0])
            if schema > SCHEMA_VERSION:
                raise too_new(path, schema)
            listed = "deleted_at IS NULL" if schema >= _TRASH_SINCE_SCHEMA else "TRUE"
            counts = connection.execute(_COUNTS.format(listed)).fetchone() if schema else (0, 0, 0)
            return Examination(schema, path.stat().st_size, *map(int, counts))
        finally:
            connection.close()
