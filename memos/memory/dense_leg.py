"""The dense leg of one tier: rows by meaning, those in the vector index and those that still wait for it.

A row is found by its meaning as soon as it is stored. Until enough rows wait for a batch their vectors are held in
memory: LanceDB then need not be opened for them, which costs seconds of CPU and 110 MB.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Row
from typing import TYPE_CHECKING

from memos.errors import EmbeddingProblem
from memos.memory.embedders import PAYER
from memos.storage.database import Database
from memos.storage.tiers import TABLES, WAITING, Tier
from memos.storage.vectors import CANDIDATES, Among, Nearest, VectorTable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from memos.memory.embedders import Embedder

    Floats = npt.NDArray[np.float32]
    Seqs = npt.NDArray[np.int64]

SEEN_WAITING = 256
"""So many of an agent's newest waiting rows are seen by meaning; beyond that (an import) words find them meanwhile."""


@dataclass(slots=True)
class Outage:
    """Whether the user knows that the embedder fails: told once, whichever tier is searched."""

    told: bool = False


class DenseLeg:
    """Finds rows of one tier by meaning. Blocking; may be used from any thread."""

    def __init__(
        self, database: Database, tier: Tier, embedder: Embedder, table: VectorTable, outage: Outage | None = None
    ) -> None:
        self.table = table
        self._outage = outage or Outage()
        self._database = database
        self._tier = tier
        self._embedder = embedder
        self._read: dict[int, tuple[str, Floats]] = {}
        self._lock = threading.Lock()

    def nearest(self, agent_id: str, query: str, among: Among = Among()) -> Nearest | None:
        """Return an agent's nearest rows by falling cosine to `query`; None where there is nothing to compare it with.

        Raises: EmbeddingProblem (once an outage: the next searches get None), DataDamaged.
        """
        try:
            return self._nearest(agent_id, query, among)
        except EmbeddingProblem:
            if self._outage.told:
                return None
            self._outage.told = True
            raise

    def _nearest(self, agent_id: str, query: str, among: Among) -> Nearest | None:
        import numpy as np

        waiting = self._waiting(agent_id)
        if not waiting and not self.table.exists():
            return None  # the embedder need not be loaded for it
        vector = self._embedded(agent_id, [query])[0]
        indexed = self.table.nearest(agent_id, vector, CANDIDATES, among)
        if not waiting:
            return indexed
        vectors = self.vectors(waiting)
        usable = np.isfinite(vectors).all(axis=1)
        seqs = np.array([row["seq"] for row in waiting], dtype=np.int64)
        return _together(indexed, seqs, seqs[usable], vectors[usable] @ vector, among)

    def vectors(self, rows: Sequence[Row]) -> Floats:
        """Return the vectors (n, dims) of rows (`seq`, `agent_id`, `search_text`), each computed once in a process.

        Raises: EmbeddingProblem.
        """
        import numpy as np

        with self._lock:
            new = [row for row in rows if self._read.get(row["seq"], ("",))[0] != row["search_text"]]
            for agent_id, own in itertools.groupby(sorted(new, key=_agent_of), key=_agent_of):
                texts = {row["seq"]: row["search_text"] for row in own}
                found = self._embedded(agent_id, list(texts.values()))
                self._read |= {seq: (text, v) for (seq, text), v in zip(texts.items(), found, strict=True)}
            return np.stack([self._read[row["seq"]][1] for row in rows])

    def written(self, rows: Sequence[Row]) -> None:
        """Let go of the vectors of rows that are in the index now."""
        with self._lock:
            for row in rows:
                self._read.pop(row["seq"], None)

    def let_go(self) -> None:
        """Forget every text and vector that is held in memory."""
        with self._lock:
            self._read.clear()

    def _embedded(self, agent_id: str, texts: Sequence[str]) -> Floats:
        """Embed texts of one agent, and let the table know how long a vector is. Raises: EmbeddingProblem."""
        token = PAYER.set(agent_id)
        try:
            vectors = self._embedder.embed(texts)
        finally:
            PAYER.reset(token)
        self._outage.told = False
        self.table.dims = self.table.dims or self._embedder.dims
        return vectors

    def _waiting(self, agent_id: str) -> Sequence[Row]:
        # The plus: by the index of the outbox, and not through all that the agent has.
        return self._database.query(
            f"SELECT seq, agent_id, search_text FROM {TABLES[self._tier]} WHERE {WAITING[self._tier]}"  # noqa: S608
            f" AND superseded_by IS NULL AND +agent_id = ? ORDER BY seq DESC LIMIT {SEEN_WAITING}",
            (agent_id,),
        )


def legs(database: Database, embedder: Embedder, tables: Mapping[Tier, VectorTable]) -> Mapping[Tier, DenseLeg]:
    """Return the dense leg of each tier."""
    outage = Outage()
    return {tier: DenseLeg(database, tier, embedder, table, outage) for tier, table in tables.items()}


def _together(indexed: Nearest, waiting: Seqs, seqs: Seqs, cosines: Floats, among: Among) -> Nearest:
    """Return what is nearest in the index and among waiting rows, of which `seqs` have `cosines`."""
    import numpy as np

    other = ~np.isin(indexed.seqs, waiting)  # a row that waits again has other words now
    kept = among.kept(seqs)
    near_seqs = np.concatenate([indexed.seqs[other], seqs[kept]])
    near = np.concatenate([indexed.cosines[other], cosines[kept]])
    order = np.lexsort((-near_seqs, -near))
    known = dict(zip(seqs.tolist(), cosines.tolist(), strict=True))

    def of(wanted: Seqs) -> Floats:
        found = indexed.of(wanted)
        for place in np.flatnonzero(np.isin(wanted, waiting)):
            found[place] = known.get(int(wanted[place]), np.nan)
        return found

    return Nearest(near_seqs[order], near[order], min(indexed.lowest, float(cosines[kept].min(initial=1.0))), of)


def _agent_of(row: Row) -> str:
    return str(row["agent_id"])
