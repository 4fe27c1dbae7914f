"""The outbox of the vector index: rows of SQLite whose vector is still to be written, worked off in batches.

At least once: a row is marked only after its vector is on disk, and writing a vector twice changes nothing. An index
that is missing, damaged, or of another embedder is made again from SQLite the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from sqlite3 import Row
from typing import TYPE_CHECKING

from memos.errors import DataDamaged
from memos.memory.search import Tier
from memos.messages import utc_now
from memos.storage.database import Database
from memos.storage.vectors import VectorRow, VectorTable

if TYPE_CHECKING:
    from memos.memory.embedders import Embedder

BATCH_ROWS = 64

_TABLES: Mapping[Tier, str] = {"recall": "messages", "archival": "passages"}
_WAITING: Mapping[Tier, str] = {
    "recall": "indexed_at IS NULL AND search_text <> '' AND state <> 'provisional'",
    "archival": "indexed_at IS NULL",
}


class Indexer:
    """Writes the vectors of all agents' messages and passages. Blocking: `step` belongs in a worker thread."""

    def __init__(self, database: Database, embedder: Embedder, tables: Mapping[Tier, VectorTable]) -> None:
        self._database = database
        self._embedder = embedder
        self._tables = tables
        self._made: set[Tier] = set()

    def pending(self) -> int:
        """Return how many rows wait for their vector."""
        return sum(
            int(self._database.query(f"SELECT count(*) FROM {_TABLES[tier]} WHERE {_WAITING[tier]}")[0][0])  # noqa: S608
            for tier in self._tables
        )

    def step(self) -> int:
        """Write the vectors of one batch and return how many rows it settled; 0: nothing waits, or another
        process is at it.

        Raises: EmbeddingProblem, DataDamaged, StorageProblem. The rows keep waiting then.
        """
        from filelock import FileLock, Timeout

        folder = next(iter(self._tables.values())).folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with FileLock(folder / "indexer.lock", timeout=0, mode=0o600):
                return self._step()
        except Timeout:
            return 0

    def _step(self) -> int:
        self._claim_space()
        for tier, table in self._tables.items():
            rows = self._next_batch(tier)
            if self._is_lost(tier, table, rows):
                self._make(tier, table)
                rows = self._next_batch(tier)
            if rows:
                self._write(table, [row for row in rows if row["superseded_by"] is None])
                self._mark(tier, rows)
                return len(rows)
        for table in self._tables.values():
            if table.needs_compaction():
                table.compact()
        return 0

    def _claim_space(self) -> None:
        """Let every row wait again if the vectors on disk are those of another embedder."""
        with self._database.transaction() as connection:
            newest = connection.execute("SELECT name FROM embedding_spaces ORDER BY created_at DESC LIMIT 1").fetchone()
            if newest and newest["name"] == self._embedder.name:
                return
            connection.execute(
                "INSERT OR REPLACE INTO embedding_spaces (name, dims, created_at) VALUES (?, ?, ?)",
                (self._embedder.name, self._embedder.dims, utc_now().isoformat()),
            )
            for tier in self._tables:
                connection.execute(_ALL_WAIT_AGAIN[tier])

    def _is_lost(self, tier: Tier, table: VectorTable, waiting: Sequence[Row]) -> bool:
        """Return whether the table must be made; where nothing waits this costs no import of LanceDB."""
        if waiting:
            return not table.is_ready()
        indexed = f"SELECT 1 FROM {_TABLES[tier]} WHERE indexed_at IS NOT NULL LIMIT 1"  # noqa: S608
        return not table.exists() and bool(self._database.query(indexed))

    def _make(self, tier: Tier, table: VectorTable) -> None:
        """Make a table that is missing or damaged, once in a process: what breaks again is not ours to mend.

        The rows wait again before the table is made: a crash in between loses nothing.
        """
        if tier in self._made:
            raise DataDamaged(
                f"The vector index {table.name} breaks as soon as it is made.",
                "check free space and permissions of its folder; search goes on by words",
            )
        with self._database.transaction() as connection:
            connection.execute(_ALL_WAIT_AGAIN[tier])
        table.create()
        self._made.add(tier)

    def _next_batch(self, tier: Tier) -> Sequence[Row]:
        return self._database.query(
            f"SELECT seq, id, agent_id, search_text, superseded_by FROM {_TABLES[tier]}"  # noqa: S608
            f" WHERE {_WAITING[tier]} ORDER BY seq LIMIT {BATCH_ROWS}"
        )

    def _write(self, table: VectorTable, rows: Sequence[Row]) -> None:
        import numpy as np

        vectors = self._embedder.embed([row["search_text"] for row in rows])
        usable = np.isfinite(vectors).all(axis=1) & (vectors != 0).any(axis=1)  # words alone find the others
        table.upsert(
            [
                VectorRow(row["id"], row["agent_id"], row["seq"], vector)
                for row, vector, fit in zip(rows, vectors, usable.tolist(), strict=True)
                if fit
            ]
        )

    def _mark(self, tier: Tier, rows: Sequence[Row]) -> None:
        """Mark rows as indexed, but for those whose text has changed meanwhile."""
        now = utc_now().isoformat()
        with self._database.transaction() as connection:
            connection.executemany(
                f"UPDATE {_TABLES[tier]} SET indexed_at = ? WHERE seq = ? AND search_text = ?",  # noqa: S608
                [(now, row["seq"], row["search_text"]) for row in rows],
            )


_ALL_WAIT_AGAIN: Mapping[Tier, str] = {
    tier: f"UPDATE {table} SET indexed_at = NULL WHERE indexed_at IS NOT NULL"  # noqa: S608
    for tier, table in _TABLES.items()
}
