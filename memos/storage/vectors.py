"""The vectors of messages and passages in LanceDB: an index derived from SQLite, which may be lost at any time.

One table a tier and embedding space, keyed by the id of the row it was made from. LanceDB is imported at the first
use (it costs two seconds of CPU), and asked only with expression objects, never with strings built from text. The rows
of an agent are all compared while that is cheap; beyond that an approximate index (`vector_index`) picks candidates.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memos.errors import DataDamaged, EmbeddingProblem
from memos.storage import vector_index

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Seqs = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]

MATRIX_LIMIT_ROWS = 100_000
"""Up to so many rows an agent's vectors are held in memory (150 MB at 384 dimensions) and all compared; a table of
more rows gets an approximate index."""
CANDIDATES = 500
"""So many of the nearest rows are found where an agent has too many to compare all."""
LOOKED_UP_ROWS = 400
"""So many rows of such an agent get their true cosine by their `seq`: 15 ms."""

_NARROW_ROWS = 2_000  # among so few rows, those of such an agent are all compared too
_SAMPLE_ROWS = 2_000  # they tell what cosines an agent's rows have
_PROBES = 20  # partitions of the index that are looked at, of 2,000 rows each

_FRAGMENTS_BEFORE_COMPACTION = 100
_ROWS_PER_FURTHER_FRAGMENT = 4_000  # merging a big table costs more


@dataclass(frozen=True, slots=True)
class VectorRow:
    """The vector (dims,) float32 of the message or passage `id`, number `seq`, of an agent."""

    id: str
    agent_id: str
    seq: int
    vector: Floats


@dataclass(frozen=True, slots=True)
class Among:
    """Which rows may be found: `only` these, and none of those in `without`; None is no bound."""

    only: Seqs | None = None
    without: Seqs | None = None

    def kept(self, seqs: Seqs) -> Mask:
        """Return which of `seqs` (n,) may be found."""
        import numpy as np

        kept = np.ones(len(seqs), dtype=np.bool_) if self.only is None else np.isin(seqs, self.only)
        return kept if self.without is None else kept & np.isin(seqs, self.without, invert=True)


@dataclass(frozen=True, slots=True)
class Nearest:
    """Rows by falling cosine: `seqs` (n,) int64 and `cosines` (n,) float32, with what is known of the other rows.

    `lowest` is the cosine of the farthest row. `of` gives the cosines of any rows, NaN for those that have no vector.
    Where an agent has too many rows to compare all, `lowest` is that of a sample, and rows after the first
    LOOKED_UP_ROWS given to `of` get the sample's mean. `of` raises DataDamaged.
    """

    seqs: Seqs
    cosines: Floats
    lowest: float
    of: Callable[[Seqs], Floats]


@dataclass(frozen=True, slots=True)
class _Matrix:
    """All vectors of one agent at one version of the table, in the order of `seqs`."""

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
        self._rows_at: tuple[str, int, int] | None = None  # agent, version of the table, rows
        self._sample: tuple[str, Floats] | None = None
        self._damaged = False
        self._upkeep: subprocess.Popen[bytes] | None = None

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

    def nearest(self, agent_id: str, vector: Floats, limit: int | None = None, among: Among = Among()) -> Nearest:
        """Return an agent's rows by falling cosine to `vector` (dims,), at most `limit`.

        Up to MATRIX_LIMIT_ROWS rows of the agent all are compared, and without a limit all are returned. Beyond that
        the nearest CANDIDATES are found by the approximate index, where it is built, and rows it lacks are compared;
        their cosines are true ones. Without a table there are none. Raises: EmbeddingProblem (wrong dimension, NaN),
        DataDamaged.
        """
        import numpy as np

        query = _unit(np.asarray(vector, dtype=np.float32).reshape(1, -1), self.dims)[0]
        for attempt in (1, 2):
            table = self._latest()
            if table is None:
                break
            try:
                with self._translated():
                    return self._searched(table, agent_id, query, limit, among)
            except DataDamaged:
                self._forget_handle()  # another process may have made the table anew
                if attempt == 2:
                    self._damaged = True
                    raise
        return _ranked(np.empty(0, np.int64), np.empty((0, self.dims), np.float32), query, limit, among)

    def needs_upkeep(self) -> bool:
        """Return whether so many small writes have gathered that reading suffers, or a big table lacks its index.

        That is a look of 2 ms at an open table. While its index is built, and after that has failed, it needs nothing.
        """
        if self._table is None or (self._upkeep is not None and self._upkeep.poll() != 0):
            return False
        table = self._latest()
        if table is None:
            return False
        with self._translated():
            fragments, rows = table.stats()["fragment_stats"]["num_fragments"], table.count_rows()
            if fragments > _FRAGMENTS_BEFORE_COMPACTION + rows // _ROWS_PER_FURTHER_FRAGMENT:
                return True
            return bool(rows > MATRIX_LIMIT_ROWS and not vector_index.has_index(table))

    def keep_up(self) -> None:
        """Merge small writes and drop versions older than a day; of a big table this and its index are left to a
        process of its own. Readers and writers go on meanwhile.

        Raises: DataDamaged. Losing a race against another process is none: the next time will do.
        """
        table = self._latest()
        if table is None:
            return
        try:
            if table.count_rows() > MATRIX_LIMIT_ROWS:
                self._upkeep = vector_index.start(self.folder, self.name)
            else:
                table.optimize(cleanup_older_than=vector_index.KEPT_VERSIONS)
        except Exception as error:
            if "onflict" not in str(error):
                with self._translated():
                    raise

    def close(self, *, keep_up: bool = True) -> None:
        """Keep the table up if it needs that and is ours to write, then let go of it and of its matrix."""
        if keep_up and not self._damaged and self.needs_upkeep():
            self.keep_up()
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
            self._table = self._matrix = self._rows_at = self._sample = None

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
        table = self._latest()  # an erasure may have written it anew, and its old files are gone
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

    def _searched(self, table: Any, agent_id: str, query: Floats, limit: int | None, among: Among) -> Nearest:
        rows = self._rows_of(table, agent_id)
        if rows > MATRIX_LIMIT_ROWS:
            return self._picked(table, agent_id, query, limit or CANDIDATES, among)
        matrix = self._matrix_of(table, agent_id, rows)
        return _ranked(matrix.seqs, matrix.vectors, query, limit, among)

    def _rows_of(self, table: Any, agent_id: str) -> int:
        """Return how many rows an agent has; in a table that is small itself, the rows of all."""
        from lancedb.expr import col, lit

        version = int(table.version)
        if self._rows_at is None or self._rows_at[:2] != (agent_id, version):
            rows = int(table.count_rows())
            if rows > MATRIX_LIMIT_ROWS:
                rows = int(table.count_rows((col("agent_id") == lit(agent_id)).to_sql()))
            self._rows_at = (agent_id, version, rows)
        return self._rows_at[2]

    def _matrix_of(self, table: Any, agent_id: str, rows: int) -> _Matrix:
        from lancedb.expr import col, lit

        with self._lock:
            matrix, version = self._matrix, int(table.version)
            if matrix is not None and (matrix.agent_id, matrix.version) == (agent_id, version):
                return matrix
            self._matrix = matrix = None  # two of them need not be held at once
            seqs, vectors = _read(table.search().where(col("agent_id") == lit(agent_id)), rows, self.dims)
            if (seqs[1:] < seqs[:-1]).any():
                order = seqs.argsort()
                seqs, vectors = seqs[order], vectors[order]
            self._matrix = _Matrix(agent_id, version, seqs, vectors)
            return self._matrix

    def _picked(self, table: Any, agent_id: str, query: Floats, limit: int, among: Among) -> Nearest:
        """Return the nearest of very many rows. LanceDB compares all where it has no index."""
        import numpy as np
        from lancedb.expr import col, lit

        sample = _cosines(self._sample_of(table, agent_id), query)

        def of(seqs: Seqs) -> Floats:
            found, vectors = self._looked_up(table, agent_id, seqs[:LOOKED_UP_ROWS])
            cosines = np.full(len(seqs), sample.mean(), np.float32)
            cosines[:LOOKED_UP_ROWS] = _cosines_of(seqs[:LOOKED_UP_ROWS], found, _cosines(vectors, query))
            return cosines

        if among.only is not None and len(among.only) <= _NARROW_ROWS:
            return _ranked(*self._looked_up(table, agent_id, among.only), query, limit, among)
        where = col("agent_id") == lit(agent_id)
        if among.only is not None:  # most often a span of time, so of `seq`
            where = where & (col("seq") >= lit(int(among.only.min()))) & (col("seq") <= lit(int(among.only.max())))
        search = table.search(query).distance_type("cosine").where(where).nprobes(_PROBES).refine_factor(1)
        rows = (
            search.select(["seq", "_distance"]).limit(max(limit, CANDIDATES)).to_arrow()
        )  # more than wanted: the index errs
        picked, near = rows["seq"].to_numpy(), 1 - rows["_distance"].to_numpy()
        by_seq = picked.argsort()

        def known_or_looked_up(seqs: Seqs) -> Floats:
            cosines = _cosines_of(seqs, picked[by_seq], near[by_seq])
            unknown = np.isnan(cosines)
            if unknown.any():
                cosines[unknown] = of(seqs[unknown])
            return cosines

        kept = among.kept(picked)
        order = np.lexsort((-picked[kept], -near[kept]))[:limit]
        lowest = float(min(sample.min(), near.min(initial=1.0)))
        return Nearest(picked[kept][order], near[kept][order], lowest, known_or_looked_up)

    def _sample_of(self, table: Any, agent_id: str) -> Floats:
        from lancedb.expr import col, lit

        if self._sample is None or self._sample[0] != agent_id:
            _, vectors = _read(
                table.search().where(col("agent_id") == lit(agent_id)).limit(_SAMPLE_ROWS), _SAMPLE_ROWS, self.dims
            )
            self._sample = (agent_id, vectors)
        return self._sample[1]

    def _looked_up(self, table: Any, agent_id: str, seqs: Seqs) -> tuple[Seqs, Floats]:
        """Return those of `seqs` that the agent has, in order, and their vectors. Raises: DataDamaged."""
        from lancedb.expr import col, lit

        where = col("seq").isin([int(seq) for seq in seqs] or [-1]) & (col("agent_id") == lit(agent_id))
        with self._translated():
            found, vectors = _read(table.search().where(where), len(seqs), self.dims)
        order = found.argsort()
        return found[order], vectors[order]


def _read(search: Any, rows: int, dims: int) -> tuple[Seqs, Floats]:
    """Return the `seq` and the vectors of what a query without a vector finds: at most `rows`, held once."""
    import numpy as np

    seqs, vectors = np.empty(rows, np.int64), np.empty((rows, dims), np.float32)
    end = 0
    for batch in search.select(["seq", "vector"]).to_batches():
        start, end = end, end + batch.num_rows
        if end > len(seqs):  # written meanwhile
            raise ValueError("more rows than there were")
        seqs[start:end] = batch["seq"].to_numpy()
        vectors[start:end] = batch["vector"].flatten().to_numpy(zero_copy_only=False).reshape(-1, dims)
    return seqs[:end], vectors[:end]


def _ranked(seqs: Seqs, vectors: Floats, query: Floats, limit: int | None, among: Among) -> Nearest:
    """Return the rows `seqs`, which are in order, by falling cosine of their vectors; all of them are compared."""
    import numpy as np

    cosines = _cosines(vectors, query)
    kept = among.kept(seqs)
    near_seqs, near = seqs[kept], cosines[kept]
    lowest = float(near.min(initial=1.0))
    if limit is not None and limit < len(near):
        enough = near >= np.partition(near, -limit)[-limit]
        near_seqs, near = near_seqs[enough], near[enough]
    order = np.lexsort((-near_seqs, -near))[:limit]  # of equals the newest first, at every call
    return Nearest(near_seqs[order], near[order], lowest, lambda wanted: _cosines_of(wanted, seqs, cosines))


def _cosines(vectors: Floats, query: Floats) -> Floats:
    """Return the cosines (n,) of unit `vectors` (n, dims) and a unit `query`."""
    import numpy as np

    cosines: Floats = np.einsum("ij,j->i", vectors, query)  # half of what @ costs, which has threads spin
    return cosines


def _cosines_of(wanted: Seqs, seqs: Seqs, cosines: Floats) -> Floats:
    """Return the cosines of the `wanted` among `seqs`, which are in order; NaN where there is none."""
    import numpy as np

    if not len(seqs):
        return np.full(len(wanted), np.nan, np.float32)
    place = np.searchsorted(seqs, wanted).clip(max=len(seqs) - 1)
    return np.where(seqs[place] == wanted, cosines[place], np.float32(np.nan)).astype(np.float32)


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
