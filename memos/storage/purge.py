"""Erasing an agent for good: its rows, words, vectors with their old versions, images, and what older files hold.

It is marked first, and its row goes last. An erasure that was broken off, by kill -9 too, finds the agent in the trash
with its time over: the next start completes it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from memos.errors import AgentNotFound
from memos.storage.database import Database, translated_errors
from memos.storage.home_files import clean_history
from memos.storage.kept_vectors import drop_vectors_of_gone_rows, nobody_indexes

BEGUN = datetime.fromtimestamp(0, UTC)
"""When an agent was deleted whose erasure has begun."""

_IMAGES = """
SELECT used.hash FROM (
    SELECT agent_id, value AS hash FROM messages, json_each(messages.attachments)
    UNION ALL SELECT agent_id, json_extract(value, '$.hash') FROM messages, json_each(messages.payload, '$.images')
    UNION ALL SELECT agent_id, json_extract(value, '$.hash') FROM inbox, json_each(inbox.payload, '$.images')
) used
"""
_ERASE_IMAGES = f"""
DELETE FROM attachments
WHERE hash IN (SELECT value FROM json_each(?)) AND hash NOT IN ({_IMAGES} WHERE hash IS NOT NULL)
"""  # noqa: S608
_TYPED = "SELECT DISTINCT content FROM messages WHERE agent_id = ? AND role = 'user'"
_CHILDREN = (
    "SELECT m.name FROM sqlite_master m, pragma_foreign_key_list(m.name) k WHERE m.type = 'table'"
    " AND k.\"table\" = 'agents' AND k.on_delete = 'CASCADE' AND m.name <> 'counts'"
)


@dataclass(frozen=True, slots=True)
class Purged:
    """What is no more; `images` are those that nobody else shows, `typed` entries of the typed history."""

    messages: int
    passages: int
    images: int
    typed: int

    def __str__(self) -> str:
        parts = [f"{self.messages:,} messages", f"{self.passages:,} passages"]
        parts += [f"{self.images:,} images"] * bool(self.images)
        parts += [f"{self.typed:,} lines of the typed history"] * bool(self.typed)
        return f"{', '.join(parts)}, their words and vectors"


def purge(database: Database, agent_id: str, vectors: Path, history: Path) -> Purged:
    """Erase an agent that is held, whether it lies in the trash or not, from every file.

    What its model calls cost stays in the ledger, as nobody's. Blocking: it costs what a copy of the files does.

    Raises: AgentNotFound, StorageProblem (disk full, another process reads or makes vectors for long; to be repeated).
    """
    counts, typed = _begin(database, agent_id)
    with nobody_indexes(vectors):
        images = _erase_rows(database, agent_id)
        drop_vectors_of_gone_rows(vectors, database)
    _erase_from_snapshots(database.path.parent, agent_id)
    lines = clean_history(history, lambda entry: entry.strip() in typed) if typed else 0
    database.write_anew()
    with database.transaction() as connection:
        connection.execute("DELETE FROM agents WHERE id = ?", (agent_id,))
    database.query("PRAGMA wal_checkpoint(TRUNCATE)")
    return Purged(counts["recall"], counts["archival"], images, lines)


def _begin(database: Database, agent_id: str) -> tuple[sqlite3.Row, Collection[str]]:
    """Mark an agent as one whose time in the trash is over; return its counts, and what was said to it."""
    database.query("PRAGMA secure_delete = ON")
    with database.transaction() as connection:
        counts = connection.execute("SELECT recall, archival FROM counts WHERE agent_id = ?", (agent_id,)).fetchone()
        if counts is None:
            raise AgentNotFound("That agent is erased already.", "memos list")
        connection.execute(
            "UPDATE agents SET deleted_name = coalesce(deleted_name, name), name = '-' || id, deleted_at = ?,"
            " summary = '' WHERE id = ?",
            (BEGUN.isoformat(), agent_id),
        )
        return counts, {row["content"].strip() for row in connection.execute(_TYPED, (agent_id,))}


def _erase_rows(database: Database, agent_id: str) -> int:
    """Delete all that belongs to an agent but its own row and the ledger; return how many images that was."""
    with database.transaction() as connection:
        images = json.dumps([row["hash"] for row in connection.execute(f"{_IMAGES} WHERE agent_id = ?", (agent_id,))])
        for (table,) in connection.execute(_CHILDREN).fetchall():
            connection.execute(f"DELETE FROM {table} WHERE agent_id = ?", (agent_id,))  # noqa: S608
        return connection.execute(_ERASE_IMAGES, (images,)).rowcount if images != "[]" else 0


def _erase_from_snapshots(folder: Path, agent_id: str) -> None:
    """Erase an agent from the copies that migrations left beside the database."""
    for path in sorted(folder.glob("memos.before-schema-*.db")):
        with translated_errors(path), closing(sqlite3.connect(path, isolation_level=None)) as snapshot:
            snapshot.execute("PRAGMA foreign_keys = ON")
            snapshot.execute("PRAGMA journal_mode = DELETE")
            if snapshot.execute("DELETE FROM agents WHERE id = ?", (agent_id,)).rowcount:
                for index in ("messages_fts", "passages_fts"):
                    snapshot.execute(f"INSERT INTO {index}({index}) VALUES ('optimize')")  # noqa: S608
                snapshot.execute("VACUUM")
