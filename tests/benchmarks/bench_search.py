"""Measure how the latency of search grows with the number of rows, and what the embedder costs.

    python tests/benchmarks/bench_search.py latency     # 1k, 10k, 100k rows
    python tests/benchmarks/bench_search.py embedder    # load, memory, milliseconds a text

What search finds is measured by `memos bench retrieval`.
"""

from __future__ import annotations

import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from memos.memory.dense_leg import legs
from memos.memory.embedders import Embedder, builtin_embedder
from memos.memory.indexer import Indexer
from memos.memory.search import Search, index_text
from memos.storage.database import Database
from memos.storage.vectors import VectorTable


@dataclass(frozen=True, slots=True)
class Turn:
    id: str
    session: str
    speaker: str
    text: str
    at: datetime


@dataclass
class Home:
    """A database with vectors in a folder of its own."""

    database: Database
    table: VectorTable
    indexer: Indexer | None
    search: Search


@contextmanager
def home(embedder: Embedder | None) -> Iterator[Home]:
    with tempfile.TemporaryDirectory() as folder:
        database = Database.open(Path(folder) / "memos.db")
        name, dims = (embedder.name, embedder.dims) if embedder else ("none", 1)
        table = VectorTable(Path(folder) / "lance", "recall", name, dims)
        found = legs(database, embedder, {"recall": table}) if embedder else {}
        indexer = Indexer(database, embedder, found) if embedder else None
        try:
            yield Home(database, table, indexer, Search(database, "recall", found.get("recall")))
        finally:
            table.close()
            database.close()


def store(database: Database, agent_id: str, turns: Sequence[Turn]) -> dict[int, str]:
    """Store turns as messages of an agent; return the id of each `seq`."""
    ids: dict[int, str] = {}
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO agents (id, name, model, persona_name, human_name, created_at) VALUES (?, ?, '', '', '', ?)",
            (agent_id, agent_id, datetime.now(UTC).isoformat()),
        )
        for turn in turns:
            values = (f"{agent_id}/{turn.id}", agent_id, turn.text, turn.session, turn.at.isoformat(), turn.speaker)
            cursor = connection.execute(
                "INSERT INTO messages (id, agent_id, content, session, created_at, speaker, said, search_text,"
                " turn_id, role, state, origin, provenance)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', 'user', 'complete', 'import', 'user')",
                (values[0], values[1], *values[2:], turn.text, index_text(turn.at, turn.speaker, turn.text)),
            )
            ids[int(cursor.lastrowid or 0)] = turn.id
    return ids


class GivenVectors:
    """An embedder whose vectors cost nothing, so that search itself is measured: clusters plus noise."""

    name, dims = "bench/clusters", 384

    def __init__(self) -> None:
        import numpy as np

        self._random = np.random.default_rng(7)
        self._centres = self._random.standard_normal((2_000, self.dims), dtype=np.float32)

    def embed(self, texts: Sequence[str]):  # type: ignore[no-untyped-def]
        import numpy as np

        picked = self._centres[self._random.integers(0, len(self._centres), len(texts))]
        vectors = picked + 0.7 * self._random.standard_normal(picked.shape, dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def latency(sizes: Sequence[int]) -> None:
    words = [f"w{number}" for number in range(20_000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    chance = random.Random(3)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    queries = [" ".join(chance.choices(words, weights, k=6)) for _ in range(100)]
    for size in sizes:
        turns = [
            Turn(str(n), f"s{n // 40}", "Ana" if n % 2 else "Bob", " ".join(chance.choices(words, weights, k=20)), at)
            for n, at in ((n, start + timedelta(minutes=n)) for n in range(size))
        ]
        with home(GivenVectors()) as here:
            store(here.database, "agent", turns)
            index_in_bulk(here)
            by_words = Search(here.database, "recall")
            for mode, search in (("lexical", by_words), ("hybrid", here.search)):
                search.find("agent", "warm up", limit=10)
                spent = [cpu_ms(lambda q=q, s=search: s.find("agent", q, limit=10)) for q in queries]
                print(
                    f"{size:>7} rows, {mode:>7}: median {statistics.median(spent):.1f} ms, p95 {p95(spent):.1f} ms CPU"
                )


def index_in_bulk(here: Home) -> None:
    from memos.storage.vectors import VectorRow

    embedder = GivenVectors()
    here.table.create()
    rows = here.database.query("SELECT id, agent_id, seq FROM messages")
    for first in range(0, len(rows), 10_000):
        part = rows[first : first + 10_000]
        vectors = embedder.embed([""] * len(part))
        here.table.upsert([VectorRow(*row, vector) for row, vector in zip(part, vectors, strict=True)])
    here.table.compact()


def embedder_cost() -> None:
    texts = [f"Ana: number {n}, I keep bees on the roof and my sister comes every Sunday to help." for n in range(128)]
    before_mb = rss_mb()
    embedder = builtin_embedder()
    first = cpu_ms(lambda: embedder.embed(texts[:1]))
    one = statistics.median(cpu_ms(lambda t=t: embedder.embed([t])) for t in texts[:32])
    many = cpu_ms(lambda: embedder.embed(texts)) / len(texts)
    long = cpu_ms(lambda: embedder.embed([" ".join(texts[:40])] * 8)) / 8
    print(
        f"load and first text {first:.0f} ms CPU; one text {one:.1f} ms; in batches {many:.1f} ms a text;"
        f" 256 tokens {long:.0f} ms; memory {before_mb:.0f} -> {rss_mb():.0f} MB at most"
    )


def cpu_ms(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def p95(values: Sequence[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]


def rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    wanted = sys.argv[1:] or ["latency", "embedder"]
    if "latency" in wanted:
        latency((1_000, 10_000, 100_000))
    if "embedder" in wanted:
        embedder_cost()


if __name__ == "__main__":
    main()
