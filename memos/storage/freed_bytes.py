"""What was deleted is still in the files until they are written anew: this does so, and leaves nothing behind."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path
from sqlite3 import connect

from memos.errors import DataDamaged
from memos.storage.database import Database, translated_errors

_INDEXES = ("messages_fts", "passages_fts")


def make_unreadable(database: Database) -> bool:
    """Write the database anew without what was deleted; return whether its old pages are gone from all its files.

    They stay in the write-ahead log, until it is written over, where another process has the database open. Seconds a
    gigabyte. Raises: StorageProblem.
    """
    for index in _INDEXES:
        database.query(f"INSERT INTO {index}({index}) VALUES ('optimize')")  # noqa: S608  # words of deleted rows
    database.query("VACUUM")
    return not database.query("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]


def erase_from_snapshots(folder: Path, agent_id: str) -> int:
    """Erase an agent from the snapshots that migrations left beside the database; return from how many."""
    found = 0
    for path in sorted(folder.glob("memos.before-schema-*.db")):
        with translated_errors(path), closing(connect(path, isolation_level=None)) as snapshot:
            snapshot.execute("PRAGMA foreign_keys = ON")
            snapshot.execute("PRAGMA secure_delete = ON")
            snapshot.execute("PRAGMA journal_mode = DELETE")
            if not snapshot.execute("DELETE FROM agents WHERE id = ?", (agent_id,)).rowcount:
                continue
            for index in _INDEXES:
                snapshot.execute(f"INSERT INTO {index}({index}) VALUES ('optimize')")  # noqa: S608
            snapshot.execute("VACUUM")
            found += 1
    return found


def erase_vectors(folder: Path, agent_id: str) -> int:
    """Write each vector table anew without an agent's rows, and remove all older versions; return how many rows.

    Whoever calls holds the lock of the indexer. Raises: DataDamaged.
    """
    paths = sorted(folder.glob("*.lance")) if folder.is_dir() else []
    if not paths:
        return 0
    import lancedb
    from lancedb.expr import col, lit

    erased = 0
    for path in paths:
        try:
            connection = lancedb.connect(folder)
            table = connection.open_table(path.stem)
            others = (col("agent_id") != lit(agent_id)).to_sql()
            before, kept = table.count_rows(), table.count_rows(others)
            rows = table.search().where(others).to_batches() if kept else None
            anew = connection.create_table(path.stem, data=rows, schema=table.schema, mode="overwrite")
            anew.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
            erased += before - kept
        except Exception as error:  # LanceDB raises OSError, RuntimeError, ValueError alike
            raise DataDamaged(
                f"The vectors in {path} cannot be erased: {error}.",
                "remove that folder, then again; memos reindex makes the vectors of the others anew",
            ) from error
    return erased
