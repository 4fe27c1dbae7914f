"""The outbox of the vector index: rows of SQLite whose vector is still to be written, worked off in full batches.

Rows that are too few for a batch are only read ahead: the dense leg holds their vectors until more have come. At least
once: a row is marked only after its vector is on disk, and writing a vector twice changes nothing. An index
that is missing, damaged, or of another embedder is made again from SQLite the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from sqlite3 import Row
from typing import TYPE_CHECKING

from memos.errors import DataDamaged
from memos.memory.dense_leg import DenseLeg
from memos.messages import utc_now
from memos.storage.database import Database
from memos.storage.tiers import TABLES, WAITING, Tier
from memos.storage.vectors import VectorRow, VectorTable

if TYPE_CHECKING:
    from memos.memory.embedders import Embedder

BATCH_ROWS = 128


class Indexer:
    """Writes the vectors of all agents' messages and passages. Blocking: `step` belongs in a worker thread."""

    def __init__(self, database: Database, embedder: Embedder, legs: Mapping[Tier, DenseLeg]) -> None:
        self._database = database
        self._embedder = embedder
        self._legs = legs
        self._made: set[Tier] = set()
        self._dims_kept = False
        self._claimed = False

    def pending(self) -> int:
        """Return how many rows wait for their vector."""
        return sum(
            int(self._database.query(f"SELECT count(*) FROM {TABLES[tier]} WHERE {WAITING[tier]}")[0][0])  # noqa: S608
            for tier in self._legs
        )

    def due(self, *, everything: bool = False) -> int:
        """Return how many rows would be embedded: those that wait; all where the vectors are another embedder's."""
        newest = self._database.query("SELECT name FROM embedding_spaces ORDER BY created_at DESC LIMIT 1")
        if not everything and newest and newest[0]["name"] == self._embedder.name:
            return self.pending()
        return sum(
            int(self._database.query(f"SELECT count(*) FROM {TABLES[tier]} WHERE {_CAN_WAIT[tier]}")[0][0])  # noqa: S608
            for tier in self._legs
        )

    def step(self, *, flush: bool = False) -> int:
        """Write the vectors of one batch and return how many rows it settled; 0: too few wait, or another process
        is at it. `flush`: one row is enough.

        Raises: EmbeddingProblem, DataDamaged, StorageProblem. The rows keep waiting then.
        """
        with self._alone() as alone:
            return self._step(flush) if alone else 0

    def claim(self) -> bool:
        """Let every row wait again if the vectors on disk are another embedder's; False: another process is at it."""
        with self._alone() as alone:
            return alone and self._claim_space()

    def start_over(self) -> bool:
        """Throw the vectors of this embedder away and let every row wait; False: another process is at it.

        The rows wait before a vector is thrown away: a crash in between loses nothing. Raises: DataDamaged.
        """
        with self._alone() as alone:
            if not alone:
                return False
            self._claim_space()
            self._dims_kept = False
            with self._database.transaction() as connection:
                connection.execute("UPDATE embedding_spaces SET dims = 0 WHERE name = ?", (self._embedder.name,))
                for tier in self._legs:
                    connection.execute(_ALL_WAIT_AGAIN[tier])
            for leg in self._legs.values():
                leg.table.clear()
            return True

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Yield whether no other process is at the outbox; until the end of the block none will be."""
        from filelock import FileLock, Timeout

        folder = next(iter(self._legs.values())).table.folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(folder / "indexer.lock", mode=0o600)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _step(self, flush: bool) -> int:
        if not self._claim_space():
            return 0
        for tier, leg in self._legs.items():
            enough = 1 if flush else BATCH_ROWS
            rows = self._next_batch(tier)
            if len(rows) >= enough:
                self._learn_dims(leg, rows)
            if self._is_lost(tier, leg.table, writes=len(rows) >= enough):
                self._make(tier, leg.table)
                rows = self._next_batch(tier)
            if len(rows) >= enough:
                self._write(leg, [row for row in rows if row["superseded_by"] is None])
                self._mark(tier, rows)
                leg.written(rows)
                return len(rows)
            if rows:
                leg.vectors(rows)
        for leg in self._legs.values():
            if leg.table.needs_upkeep():
                leg.table.keep_up()
        return 0

    def _claim_space(self) -> bool:
        """Let every row wait again if the vectors on disk are those of another embedder, and return whether they are
        ours now.

        Once in a process: where one with another embedder began later the rows are its own, or each would undo the
        other's work for ever.
        """
        with self._database.transaction() as connection:
            newest = connection.execute("SELECT name FROM embedding_spaces ORDER BY created_at DESC LIMIT 1").fetchone()
            if newest and newest["name"] == self._embedder.name:
                self._claimed = True
                return True
            if self._claimed:
                return False
            connection.execute(
                "INSERT INTO embedding_spaces (name, dims, created_at) VALUES (:name, :dims, :now)"
                " ON CONFLICT (name) DO UPDATE SET created_at = :now",
                {"name": self._embedder.name, "dims": self._embedder.dims, "now": utc_now().isoformat()},
            )
            for tier in self._legs:
                connection.execute(_ALL_WAIT_AGAIN[tier])
        self._claimed = True
        return True

    def _learn_dims(self, leg: DenseLeg, rows: Sequence[Row]) -> None:
        """Have the first vectors of a remote model made, and keep how long they are. Raises: EmbeddingProblem."""
        if self._dims_kept:
            return
        heard = [row for row in rows if row["superseded_by"] is None]
        if heard and not self._embedder.dims:
            leg.vectors(heard)
        if not self._embedder.dims:
            return
        for each in self._legs.values():
            each.table.dims = self._embedder.dims
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE embedding_spaces SET dims = ? WHERE name = ?", (self._embedder.dims, self._embedder.name)
            )
        self._dims_kept = True

    def _is_lost(self, tier: Tier, table: VectorTable, *, writes: bool) -> bool:
        """Return whether the table must be made; where nothing is to be written this costs no import of LanceDB."""
        if writes:
            return table.dims > 0 and not table.is_ready()
        indexed = f"SELECT 1 FROM {TABLES[tier]} WHERE indexed_at IS NOT NULL LIMIT 1"  # noqa: S608
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
            f"SELECT seq, id, agent_id, search_text, superseded_by FROM {TABLES[tier]}"  # noqa: S608
            f" WHERE {WAITING[tier]} ORDER BY seq LIMIT {BATCH_ROWS}"
        )

    def _write(self, leg: DenseLeg, rows: Sequence[Row]) -> None:
        import numpy as np

        if not rows:
            return
        vectors = leg.vectors(rows)
        usable = np.isfinite(vectors).all(axis=1) & (vectors != 0).any(axis=1)  # words alone find the others
        leg.table.upsert(
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
                f"UPDATE {TABLES[tier]} SET indexed_at = ? WHERE seq = ? AND search_text = ?",  # noqa: S608
                [(now, row["seq"], row["search_text"]) for row in rows],
            )


_ALL_WAIT_AGAIN: Mapping[Tier, str] = {
    tier: f"UPDATE {table} SET indexed_at = NULL WHERE indexed_at IS NOT NULL"  # noqa: S608
    for tier, table in TABLES.items()
}
_CAN_WAIT: Mapping[Tier, str] = {
    "recall": "search_text <> '' AND state <> 'provisional'",
    "archival": "TRUE",
}
