"""Vectors of rows that are gone, taken out of every table on disk, whichever embedder made it, with all old versions.

A delete of LanceDB's only marks rows, and merging leaves them in place where they are few among many: so a table that
holds a vector of a row that is gone is written anew. Broken off at any point, the next run does the rest.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from memos.errors import StorageProblem
from memos.storage.database import Database
from memos.storage.tiers import TABLE_NAMED

_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class VectorsGone:
    """How many vectors were taken out of how many tables; `remade` tables could not be read and are made again."""

    tables: int = 0
    vectors: int = 0
    remade: int = 0


@contextmanager
def nobody_indexes(folder: Path) -> Iterator[None]:
    """Keep every process from writing vectors until the end of the block. Raises: StorageProblem."""
    from filelock import FileLock, Timeout

    if not folder.is_dir():
        yield
        return
    with ExitStack() as held:
        try:
            for name in ("indexer.lock", *(f"{path.stem}.index.lock" for path in _paths(folder))):
                held.enter_context(FileLock(folder / name, timeout=_WAIT_S, mode=0o600))
        except Timeout as error:
            what = "Another memos is making vectors, for longer than a minute; nothing was erased."
            raise StorageProblem(what, "wait for its end, or end it, and try again") from error
        yield


def drop_vectors_of_gone_rows(folder: Path, database: Database) -> VectorsGone:
    """Take out what has no row with text any more, and every old version. Call it while `nobody_indexes`.

    Blocking: seconds for the import of LanceDB, then about what a copy of the tables takes.
    """
    paths = _paths(folder)
    if not paths:
        return VectorsGone()
    import lancedb

    connection, tables, vectors, remade = lancedb.connect(folder), 0, 0, 0
    for path in paths:
        try:
            gone = _cleaned(connection, path.stem, database)
        except Exception:  # LanceDB raises OSError, RuntimeError, ValueError alike; the database makes it again
            shutil.rmtree(path, ignore_errors=True)
            remade += 1
        else:
            tables, vectors = tables + bool(gone), vectors + gone
    return VectorsGone(tables, vectors, remade)


def _paths(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.lance") if path.name.partition("-")[0] in TABLE_NAMED)


def _cleaned(connection: Any, name: str, database: Database) -> int:
    """Return how many vectors a table lost."""
    import pyarrow as pa

    table, rows_of = connection.open_table(name), TABLE_NAMED[name.partition("-")[0]]
    gone: int = sum(
        batch.num_rows - sum(_kept(batch["id"].to_pylist(), rows_of, database))
        for batch in table.search().select(["id"]).to_batches()
    )
    if gone:
        schema = table.schema
        found = table.search().select(schema.names).to_batches()
        kept = (batch.filter(pa.array(_kept(batch["id"].to_pylist(), rows_of, database))) for batch in found)
        same = (pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in kept)
        table = connection.create_table(name, data=pa.RecordBatchReader.from_batches(schema, same), mode="overwrite")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that others may stand on an older version: they open the newest one again
        table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
    return gone


def _kept(ids: list[str], table: str, database: Database) -> list[bool]:
    rows = database.query(
        f"SELECT id FROM {table} WHERE id IN (SELECT value FROM json_each(?)) AND search_text <> ''",  # noqa: S608
        (json.dumps(ids),),
    )
    there = {row["id"] for row in rows}
    return [row_id in there for row_id in ids]
