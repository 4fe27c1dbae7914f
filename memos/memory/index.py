"""The derived index as one thing: embedder, vector tables, and the task that keeps them up with the rows."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memos.errors import EmbeddingProblem
from memos.memory.search import Search
from memos.storage.database import Database
from memos.storage.tiers import Tier

if TYPE_CHECKING:
    from memos.memory.dense_leg import DenseLeg
    from memos.memory.embedders import Embedder, MiniLmEmbedder
    from memos.memory.indexer import Indexer


@functools.cache
def builtin_embedder() -> MiniLmEmbedder:
    """Return the one built-in embedder of this process; its weights are read at the first text.

    Raises: EmbeddingProblem.
    """
    from memos.memory.embedders import builtin_embedder as make

    return make()


@dataclass(frozen=True, slots=True)
class Index:
    """What search needs. Without dense legs it finds by words alone; `problem` is then why, in one sentence.

    Without an indexer no vector is written, by nobody.
    """

    database: Database
    legs: Mapping[Tier, DenseLeg] | None = None
    indexer: Indexer | None = None
    problem: str = ""
    embedder: Embedder | None = None

    @classmethod
    def open(cls, folder: Path, database: Database, embedding: str) -> Index:
        """Return the index for an embedding without an endpoint: "builtin/minilm" or "none". Reads nothing yet."""
        if embedding == "none":
            return cls(database)
        try:
            return cls.of(folder, database, builtin_embedder())
        except EmbeddingProblem as problem:
            return cls(database, problem=str(problem))

    @classmethod
    def of(cls, folder: Path, database: Database, embedder: Embedder) -> Index:
        """Return the index of an embedder's vectors. Reads nothing yet."""
        from memos.memory.dense_leg import legs
        from memos.memory.indexer import Indexer
        from memos.storage.vectors import VectorTable

        tables: dict[Tier, VectorTable] = {
            tier: VectorTable(folder, tier, embedder.name, embedder.dims) for tier in ("recall", "archival")
        }
        found = legs(database, embedder, tables)
        return cls(database, found, Indexer(database, embedder, found), embedder=embedder)

    def search(self, tier: Tier) -> Search:
        """Return the search over one tier."""
        return Search(self.database, tier, self.legs[tier] if self.legs else None)

    def let_go(self) -> None:
        """Hold no text in memory any more; nothing is lost by it but time."""
        for leg in (self.legs or {}).values():
            leg.let_go()

    def close(self) -> None:
        """Let go of the vector tables, and of calls of the embedder that are under way."""
        if self.embedder is not None:
            self.embedder.close()
        for leg in (self.legs or {}).values():
            leg.table.close(keep_up=self.indexer is not None)


def known_dims(database: Database, space: str) -> int:
    """Return how long the vectors of an embedding space are; 0 where none was ever made."""
    rows = database.query("SELECT dims FROM embedding_spaces WHERE name = ?", (space,))
    return int(rows[0]["dims"]) if rows else 0
