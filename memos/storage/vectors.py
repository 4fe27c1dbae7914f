"""The vectors of messages and passages in LanceDB: an index derived from SQLite, which may be lost at any time.

One table a tier and embedding space, keyed by the id of the row it was made from. LanceDB is imported at the first
use (it costs two seconds of CPU), and asked only with expression objects, never with strings built from text.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memos.errors import DataDamaged, EmbeddingProblem

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Seqs = npt.NDArray[np.int64]

MATRIX_LIMIT_ROWS = 100_000
"""Up to so many rows an agent's vectors are held in memory (150 MB at 384 dimensions), ten times faster to search."""

_FRAGMENTS_BEFORE_COMPACTION = 100
_KEPT_VERSIONS = timedelta(days=1)  # a reader in another process may still stand on an older version


@dataclass(frozen=True, slots=True)
class VectorRow:
    """The vector (dims,) float32 of the message or passage `id`, number `seq`, of an agent."""

    id: str
    agent_id: str
    seq: int
    vector: Floats


@dataclass(frozen=True, slots=True)
class Nearest:
    """Rows by falling cosine: `seqs` (n,) int64 and `cosines` (n,) float32."""

    seqs: Seqs
    cosines: Floats


@dataclass(frozen=True, slots=True)
class _Matrix:
    """All vectors of one agent at one version of the table."""

    agent_id: str
    version: int
    seqs: Seqs
    vectors: Floats


class VectorTable:
    """The vectors of one tier in one embedding space. It may be used from any thread, and by several processes.

    `dims` is 0 while nobody knows how long a vector of that space is; whoever learns it sets it.
    """

    def __init__(self, folder: Path, tier: str, space: str, dims: int) -> None:
        self.name = f"{tier}-{_slug(space)}"
        self.dims = dims
        self._space = space
        self.folder = folder
        self._path = folder / f"{self.name}.lance"
        self._lock = threading.Lock()
        self._table: Any = None
        self._matrix: _Matrix | None = None
        self._damaged = False

    def exists(self) -> bool:
        """Return whether there is a table that has not been found damaged, without opening it."""
        return not self._damaged and self._path.is_dir()

    def is_ready(self) -> bool:
        """Return whether the table is there and can be opened; if not, its owner makes it anew."""
        try:
            return self.exists() and self._opened() is not None
        except DataDamaged:
            return False

    def create(self, dims: int | None = None) -> None:
        """Make the table new and empty, for vectors of `dims`, whatever was there before.

        Raises: DataDamaged when that is not possible either.
        """
        with self._lock, self._translated():
            self._table = self._matrix = None
            connection, schema = self._connection(), self._schema(dims or self.dims)
            try:  # as a new version of the old table, so that other processes see it
                self._table = connection.create_table(self.name, schema=schema, mode="overwrite")
            except Exception:
                shutil.rmtree(self._path, ignore_errors=True)
                self._table = connection.create_table(self.name, schema=schema, mode="overwrite")
            self._damaged = False

    def clear(self) -> None:
        """Empty the table, where there is one. Raises: DataDamaged."""
        if self._path.is_dir():
            self.create(self.dims or 1)  # where nobody knows yet how long a vector will be, it is made again then
            self._forget_handle()

    def upsert(self, rows: Sequence[VectorRow]) -> None:
        """Write vectors; those of an id that is there already take its place, from whichever process.

        Raises: EmbeddingProblem (wrong dimension, NaN: nothing is written), DataDamaged.
        """
        if not rows:
            return
        batch = self._batch(rows)
        try:
            with self._translated():
                merge = self._required().merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
                merge.execute(batch)
        except DataDamaged:
            self._damaged = True
            raise

    def delete(self, ids: Sequence[str]) -> None:
        """Remove the vectors of these ids; those that are not there are no error. Raises: DataDamaged."""
        if not ids:
            return
        with self._translated():
            from lancedb.expr import col

            self._required().delete(col("id").isin(list(ids)))

    def count(self) -> int:
        """Return how many vectors there are. Raises: DataDamaged."""
        table = self._latest()
        with self._translated():
            return int(table.count_rows()) if table is not None else 0

    def nearest(self, agent_id: str, vector: Floats, limit: int | None = None) -> Nearest:
        """Return an agent's rows by falling cosine to `vector` (dims,), exactly; `limit` None means all of them.

        Without a table there are none. Raises: EmbeddingProblem (wrong dimension, NaN), DataDamaged.
        """
        import numpy as np

        query = _unit(np.asarray(vector, dtype=np.float32).reshape(1, -1), self.dims)[0]
        for attempt in (1, 2):
            table = self._latest()
            if table is None:
                break
            try:
                with self._translated():
                    return self._searched(table, agent_id, query, limit)
            except DataDamaged:
                self._forget_handle()  # another process may have made the table anew
                if attempt == 2:
                    self._damaged = True
                    raise
        return Nearest(np.empty(0, np.int64), np.empty(0, np.float32))

    def needs_compaction(self) -> bool:
        """Return whether so many small writes have gathered that reading suffers; a look of 1 ms at an open table."""
        table = self._table
        if table is None:
            return False
        with self._translated():
            fragments = table.stats()["fragment_stats"]["num_fragments"]
            return bool(fragments > _FRAGMENTS_BEFORE_COMPACTION)

    def compact(self) -> None:
        """Merge small writes and drop versions older than a day; readers and writers go on meanwhile.

        Raises: DataDamaged. Losing a race against another process is none: the next time will do.
        """
        table = self._latest()
        if table is None:
            return
        try:
            table.optimize(cleanup_older_than=_KEPT_VERSIONS)
        except Exception as error:
            if "onflict" not in str(error):
                with self._translated():
                    raise

    def close(self) -> None:
        """Compact if many writes have gathered, then let go of the table and its matrix."""
        if not self._damaged and self.needs_compaction():
            self.compact()
        self._forget_handle()

    # --- opening -------------------------------------------------------------------------------------------

    def _latest(self) -> Any:
        """Return the table as all processes have written it so far, or None where there is none."""
        table = self._opened()
        if table is None:
            return None
        try:
            table.checkout_latest()
            return table
        except Exception:  # another process made the table anew: the old handle points nowhere
            self._forget_handle()
            return self._opened()

    def _forget_handle(self) -> None:
        with self._lock:
            self._table = self._matrix = None

    def _opened(self) -> Any:
        with self._lock:
            if self._table is not None or not self._path.is_dir():
                return self._table
            with self._translated():
                table = self._connection().open_table(self.name)
                if table.schema.field("vector").type.list_size != self.dims:
                    raise ValueError(f"its vectors are not of {self.dims} dimensions")
                self._table = table
                return table

    def _required(self) -> Any:
        table = self._opened()
        if table is None:
            raise FileNotFoundError(f"there is no table {self.name}")
        return table

    def _connection(self) -> Any:
        os.environ.setdefault("LANCEDB_LOG", "error")  # read at import; warnings would be drawn over the prompt
        import lancedb

        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return lancedb.connect(self.folder)

    def _schema(self, dims: int) -> Any:
        import pyarrow as pa

        key = {b"lance-schema:unenforced-primary-key": b"true"}  # without it two processes insert the same id twice
        return pa.schema(
            [
                pa.field("id", pa.string(), nullable=False, metadata=key),
                pa.field("agent_id", pa.string(), nullable=False),
                pa.field("seq", pa.int64(), nullable=False),
                pa.field("vector", pa.list_(pa.float32(), dims), nullable=False),
            ],
            metadata={b"memos:space": self._space.encode(), b"memos:dims": str(dims).encode()},
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (DataDamaged, EmbeddingProblem):
            raise
        except Exception as error:  # LanceDB raises OSError, RuntimeError, ValueError alike
            raise DataDamaged(
                f"The vector index {self._path} cannot be used: {error}.",
                "nothing is lost: search goes on by words, and the index is made again from the database",
            ) from error

    # --- data ----------------------------------------------------------------------------------------------

    def _batch(self, rows: Sequence[VectorRow]) -> Any:
        import numpy as np
        import pyarrow as pa

        unique = {row.id: row for row in rows}.values()
        if any(np.shape(row.vector) != (self.dims,) for row in unique):
            raise EmbeddingProblem(f"A vector is not of {self.dims} dimensions; it was not stored.")
        vectors = _unit(np.stack([row.vector for row in unique]).astype(np.float32), self.dims)
        columns = {
            "id": [row.id for row in unique],
            "agent_id": [row.agent_id for row in unique],
            "seq": [row.seq for row in unique],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), self.dims),
        }
        return pa.table(columns, schema=self._schema(self.dims))

    def _searched(self, table: Any, agent_id: str, query: Floats, limit: int | None) -> Nearest:
        if table.count_rows() <= MATRIX_LIMIT_ROWS:
            return _ranked(self._matrix_of(table, agent_id), query, limit)
        return _scanned(table, agent_id, query, limit)

    def _matrix_of(self, table: Any, agent_id: str) -> _Matrix:
        from lancedb.expr import col, lit

        with self._lock:
            matrix, version = self._matrix, int(table.version)
            if matrix is not None and (matrix.agent_id, matrix.version) == (agent_id, version):
                return matrix
            rows = table.search().where(col("agent_id") == lit(agent_id)).select(["seq", "vector"]).to_arrow()
            vectors = rows["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            matrix = _Matrix(agent_id, version, rows["seq"].to_numpy(), vectors.reshape(-1, self.dims))
            self._matrix = matrix
            return matrix


def _ranked(matrix: _Matrix, query: Floats, limit: int | None) -> Nearest:
    import numpy as np

    cosines = matrix.vectors @ query
    order = np.lexsort((-matrix.seqs, -cosines))[:limit]  # of equals the newest first, at every call
    return Nearest(matrix.seqs[order], cosines[order])


def _scanned(table: Any, agent_id: str, query: Floats, limit: int | None) -> Nearest:
    from lancedb.expr import col, lit

    search = table.search(query).distance_type("cosine").where(col("agent_id") == lit(agent_id))
    rows = search.select(["seq", "_distance"]).limit(limit or table.count_rows()).to_arrow()
    return Nearest(rows["seq"].to_numpy(), 1 - rows["_distance"].to_numpy())


def _unit(vectors: Floats, dims: int) -> Floats:
    """Return `vectors` (n, dims) with unit length. Raises: EmbeddingProblem."""
    import numpy as np

    if vectors.shape[1] != dims:
        raise EmbeddingProblem(f"A vector has {vectors.shape[1]} dimensions and not {dims}.")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise EmbeddingProblem("A vector is zero or not a number.")
    unit: Floats = (vectors / lengths).astype(np.float32)
    return unit


def _slug(space: str) -> str:
    """Return a name LanceDB and every file system take, different for different spaces."""
    digest = hashlib.sha256(space.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^a-z0-9]+', '-', space.lower())[:40]}-{digest}"
