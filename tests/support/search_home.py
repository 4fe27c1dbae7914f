"""A database with vectors in a folder of its own, rows for search, and an embedder that needs no weights."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from memos.memory.dense_leg import DenseLeg, legs
from memos.memory.embedders import Embedder
from memos.memory.indexer import Indexer
from memos.memory.search import Search, index_text
from memos.messages import new_id
from memos.storage.database import Database
from memos.storage.tiers import Tier
from memos.storage.vectors import VectorTable

SAID_AT = datetime(2026, 11, 23, 14, 5, tzinfo=UTC)


class WordCounts:
    """An embedder by hashed words and letter triples: crude, exact, the same everywhere."""

    def __init__(self, name: str = "test/word-counts", dims: int = 64) -> None:
        self.name = name
        self.dims = dims
        self.embedded: list[str] = []

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.embedded += texts
        vectors = np.full((len(texts), self.dims), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.casefold()):
                for part in {word, *(word[i : i + 3] for i in range(len(word) - 2))}:
                    vectors[row, zlib.crc32(part.encode()) % self.dims] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def close(self) -> None:
        pass


@dataclass
class SearchHome:
    database: Database
    tables: dict[Tier, VectorTable]
    embedder: Embedder
    legs: Mapping[Tier, DenseLeg]
    indexer: Indexer

    def search(self, tier: Tier = "recall") -> Search:
        return Search(self.database, tier, self.legs[tier])

    def lexical(self, tier: Tier = "recall") -> Search:
        return Search(self.database, tier)

    def add_agent(self, agent_id: str) -> None:
        with self.database.transaction() as connection:
            connection.execute(
                "INSERT INTO agents (id, name, model, persona_name, human_name, created_at)"
                " VALUES (?, ?, '', '', '', ?)",
                (agent_id, agent_id, SAID_AT.isoformat()),
            )

    def say(
        self, text: str, agent_id: str = "a", speaker: str = "Ana", session: str | None = None, state: str = "complete"
    ) -> int:
        with self.database.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO messages (id, agent_id, content, session, created_at, speaker, said, search_text, turn_id,"
                " role, state, origin, provenance) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', 'user', ?, 'live', 'user')",
                (
                    *(new_id(), agent_id, text, session, SAID_AT.isoformat(), speaker, text),
                    index_text(SAID_AT, speaker, text) if text else "",
                    state,
                ),
            )
            return int(cursor.lastrowid or 0)

    def keep(self, text: str, agent_id: str = "a") -> int:
        with self.database.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO passages (id, agent_id, turn_id, content, search_text, provenance, created_at)"
                " VALUES (?, ?, '', ?, ?, 'agent', ?)",
                (new_id(), agent_id, text, index_text(SAID_AT, "", text), SAID_AT.isoformat()),
            )
            return int(cursor.lastrowid or 0)

    def take_back(self, seq: int) -> None:
        with self.database.transaction() as connection:
            connection.execute("UPDATE messages SET superseded_by = 'taken back' WHERE seq = ?", (seq,))

    def index_all(self) -> int:
        rows = 0
        while done := self.indexer.step(flush=True):
            rows += done
        return rows

    def reopened(self, embedder: Embedder | None = None) -> SearchHome:
        """Return what the next process would hold: the same files, opened anew."""
        folder = self.tables["recall"].folder
        self.database.close()
        return search_home(folder.parent, embedder or self.embedder)


def search_home(folder: Path, embedder: Embedder | None = None) -> SearchHome:
    database = Database.open(folder / "memos.db")
    chosen = embedder or WordCounts()
    tiers: tuple[Tier, ...] = ("recall", "archival")
    tables = {tier: VectorTable(folder / "lance", tier, chosen.name, chosen.dims) for tier in tiers}
    found = legs(database, chosen, tables)
    home = SearchHome(database, tables, chosen, found, Indexer(database, chosen, found))
    if not database.query("SELECT 1 FROM agents"):
        home.add_agent("a")
    return home
