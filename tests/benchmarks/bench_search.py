"""Measure what search costs as the number of rows grows, whether it loses old rows, and what the embedder costs.

    python tests/benchmarks/bench_search.py            # 10k and 100k rows, and the built-in embedder
    python tests/benchmarks/bench_search.py --full     # 1M rows too: some five minutes, 3 GB of disk

Texts have 20 words of a Zipf vocabulary, vectors lie in 2,000 clusters; the 200 queries are the same at every size.
Each size is searched by a process of its own, so that its memory is that of searching. What search finds is measured
by `memos bench retrieval`.
"""

from __future__ import annotations

import itertools
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from benchmarks.figures import Figure, Size, as_json, from_json, p95, run_alone

from memos.memory.archival_storage import insert_passages
from memos.memory.dense_leg import legs
from memos.memory.embedders import builtin_embedder
from memos.memory.search import Search, fts_query, index_text
from memos.messages import Provenance
from memos.storage import vector_index
from memos.storage.database import Database
from memos.storage.vectors import VectorRow, VectorTable

AGENT = "agent"
ROWS: dict[Size, tuple[int, ...]] = {
    "quick": (10_000,),
    "usual": (10_000, 100_000),
    "full": (10_000, 100_000, 1_000_000),
}
CPU_BOUNDS_MS = {("lexical", 1_000_000): 35, ("hybrid", 100_000): 40, ("hybrid", 1_000_000): 200}
MILLION = 1_000_000
"""Of so many rows memory, the nearest vectors and planted rows have bounds."""
QUERIES = 200
GOLD = 100
WORDS = [f"w{number}" for number in range(20_000)]
ZIPF = list(itertools.accumulate(1 / (rank + 1) for rank in range(len(WORDS))))


class GivenVectors:
    """An embedder whose vectors cost nothing, so that search itself is measured: clusters plus noise."""

    name, dims = "bench/clusters", 384

    def __init__(self, seed: int) -> None:
        self._centres = np.random.default_rng(7).standard_normal((2_000, self.dims), dtype=np.float32)
        self._random = np.random.default_rng(seed)
        self.spent = 0.0

    def embed(self, texts: Sequence[str]):  # type: ignore[no-untyped-def]
        start = time.process_time()
        picked = self._centres[self._random.integers(0, len(self._centres), len(texts))]
        vectors = picked + 0.7 * self._random.standard_normal(picked.shape, dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self.spent += time.process_time() - start
        return vectors

    def close(self) -> None: ...


def opened(folder: Path) -> tuple[Database, VectorTable]:
    return Database.open(folder / "memos.db"), VectorTable(folder / "lance", "recall", GivenVectors.name, 384)


# --- making the rows -------------------------------------------------------------------------------------------


def text_rows(size: int) -> Iterator[tuple[str, ...]]:
    """Yield messages; spread over the oldest 1 % are GOLD ones, each with a word that stands nowhere else."""
    chance, start = random.Random(3), datetime(2020, 1, 1, tzinfo=UTC)
    every = max(size // 100 // GOLD, 1)
    for n in range(size):
        text = " ".join(chance.choices(WORDS, cum_weights=ZIPF, k=20))
        if n % every == 0 and n // every < GOLD:
            text += f" gold{n // every}"
        at, speaker = start + timedelta(minutes=n), "Ana" if n % 2 else "Bob"
        values = (f"{AGENT}/{n}", AGENT, text, f"s{n // 40}", at.isoformat(), speaker, text)
        yield (*values, index_text(at, speaker, text))


def build(folder: Path, size: int) -> list[Figure]:
    database, table = opened(folder)
    start = time.perf_counter()
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO agents (id, name, model, persona_name, human_name, created_at) VALUES (?, ?, '', '', '', ?)",
            (AGENT, AGENT, datetime.now(UTC).isoformat()),
        )
        connection.executemany(
            "INSERT INTO messages (id, agent_id, content, session, created_at, speaker, said, search_text,"
            " turn_id, role, state, origin, provenance, indexed_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', 'user', 'complete', 'import', 'user', '-')",
            text_rows(size),
        )
    rows = time.perf_counter() - start
    embedder, start = GivenVectors(1), time.perf_counter()
    table.create()
    for first in range(0, size, 10_000):
        count = min(10_000, size - first)
        vectors = embedder.embed([""] * count)
        part = [VectorRow(f"{AGENT}/{first + n}", AGENT, first + n + 1, vectors[n]) for n in range(count)]
        table._required().add(table._batch(part))  # upsert would look for each id among all rows
    vectors_took = time.perf_counter() - start
    found = [
        Figure(5, f"{size:,} rows: written to SQLite", rows, "s", baseline="of the clock, in one transaction"),
        Figure(5, f"{size:,} rows: vectors written to LanceDB", vectors_took, "s", baseline="of the clock"),
    ]
    if table.needs_upkeep():
        start = time.perf_counter()
        building = vector_index.start(table.folder, table.name)
        building.wait()
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        how = f"by a process of {peak:.0f} MB"
        found.append(Figure(5, f"{size:,} rows: index built", time.perf_counter() - start, "s", baseline=how))
    table.close()
    database.close()
    return found


# --- searching -------------------------------------------------------------------------------------------------


def search_costs(folder: Path, size: int) -> list[Figure]:
    database, table = opened(folder)
    embedder = GivenVectors(2)
    dense = legs(database, embedder, {"recall": table})["recall"]
    chance = random.Random(11)
    queries = [" ".join(chance.choices(WORDS, cum_weights=ZIPF, k=6)) for _ in range(QUERIES)]
    by_words, both = Search(database, "recall"), Search(database, "recall", dense)
    whole, name, found = size == MILLION, f"{size:,} rows", []
    for mode, search in (("lexical", by_words), ("hybrid", both)):
        search.find(AGENT, "warm up", limit=10)
        embedder.spent = 0.0
        spent, waited = [], []
        for query in queries:
            start, before = time.perf_counter(), embedder.spent
            spent.append(
                cpu_ms(lambda q=query, s=search: s.find(AGENT, q, limit=10)) - 1000 * (embedder.spent - before)
            )
            waited.append(1000 * (time.perf_counter() - start))
        how = f"{QUERIES} queries, their embedding not counted; median {statistics.median(spent):.1f} ms, waited p95"
        found.append(
            Figure(
                *(5, f"{name}: {mode} search, CPU p95", p95(spent), "ms", CPU_BOUNDS_MS.get((mode, size))),
                baseline=f"{how} {p95(waited):.1f} ms",
            )
        )
    found.append(
        Figure(5, f"{name}: memory of searching", rss_mb(), "MB", 700 if whole else None, baseline="RSS at most")
    )
    uncapped, *capped = gold_found(database, [by_words, both])
    for mode, gold in zip(("lexical", "hybrid"), capped, strict=True):
        how = f"of {GOLD} planted; the uncapped query finds {uncapped}"
        bound = uncapped if whole and mode == "lexical" else None  # the vectors have nothing to do with words
        found.append(Figure(5, f"{name}: {mode}, found in the oldest 1 %", gold, "", bound, "higher", baseline=how))
    nearest = nearest_recall(table)
    bound = 0.95 if whole else None
    found.append(
        Figure(5, f"{name}: recall@10 of the nearest vectors", nearest, "", bound, "higher", baseline="all rows read")
    )
    return found


def gold_found(database: Database, searches: Sequence[Search]) -> list[int]:
    """Return how many gold messages are among the ten best rows of a query for their word and three others: of the
    query that ranks every row with any of its words, then of each search. (Vectors have nothing to do with words.)"""
    chance, found = random.Random(5), [0] * (1 + len(searches))
    uncapped = "SELECT rowid FROM messages_fts WHERE messages_fts MATCH ? ORDER BY bm25(messages_fts) LIMIT 10"
    for number in range(GOLD):
        word = f"gold{number}"
        (gold,) = database.query("SELECT rowid FROM messages_fts WHERE messages_fts MATCH ?", (word,))[0]
        query = " ".join([word, *chance.choices(WORDS, cum_weights=ZIPF, k=3)])
        found[0] += gold in {seq for (seq,) in database.query(uncapped, (fts_query(query),))}
        for place, search in enumerate(searches, 1):
            found[place] += gold in {hit.seq for hit in search.find(AGENT, query, limit=10).hits}
    return found


def nearest_recall(table: VectorTable) -> float:
    """Return how many of the ten nearest rows are found, compared with all rows read one batch after the other."""
    queries = GivenVectors(4).embed([""] * 100)
    best: list[tuple[float, int, int]] = []
    for batch in table._latest().search().select(["seq", "vector"]).to_batches():
        vectors = batch["vector"].flatten().to_numpy(zero_copy_only=False).reshape(-1, GivenVectors.dims)
        cosines, seqs = vectors @ queries.T, batch["seq"].to_numpy()
        for place in range(len(queries)):
            top = np.argpartition(-cosines[:, place], min(10, len(seqs) - 1))[:10]
            best += [(float(cosines[n, place]), int(seqs[n]), place) for n in top]
    shares = []
    for place, query in enumerate(queries):
        exact = {seq for _, seq, _ in sorted((row for row in best if row[2] == place), reverse=True)[:10]}
        shares.append(len(exact & set(table.nearest(AGENT, query, limit=10).seqs.tolist())) / 10)
    return statistics.mean(shares)


# --- archival storage ------------------------------------------------------------------------------------------


def archival_costs(folder: Path, size: int) -> list[Figure]:
    """Return how fast passages go into the same database, one a transaction and many in one, and what counts cost."""
    database, _ = opened(folder)
    texts = [row[2] for row in itertools.islice(text_rows(5_500), 5_500)]
    start = time.perf_counter()
    for text in texts[:500]:
        insert_passages(database, AGENT, [text], Provenance.AGENT)
    single = 500 / (time.perf_counter() - start)
    start = time.perf_counter()
    insert_passages(database, AGENT, texts[500:], Provenance.AGENT)
    bulk = 5_000 / (time.perf_counter() - start)
    counts = statistics.median(
        cpu_ms(lambda: database.query("SELECT recall, archival FROM counts WHERE agent_id = ?", (AGENT,)))
        for _ in range(100)
    )
    database.close()
    return [
        Figure(5, f"{size:,} rows: archival inserts, single", single, "/s", 300, "higher", "no embedding; 500"),
        Figure(5, f"{size:,} rows: archival inserts, bulk", bulk, "/s", 3_000, "higher", "no embedding; 5,000 in one"),
        Figure(5, f"{size:,} rows: counts shown to the agent", counts, "ms", baseline="CPU, median of 100"),
    ]


def embedder_costs(texts_count: int = 128) -> list[Figure]:
    """Return what loading and asking the built-in embedder takes, and of memory."""
    texts = [
        f"Ana: number {n}, I keep bees on the roof and my sister comes every Sunday to help."
        for n in range(texts_count)
    ]
    before_mb = rss_mb()
    embedder = builtin_embedder()
    first = cpu_ms(lambda: embedder.embed(texts[:1]))
    one = statistics.median(cpu_ms(lambda t=t: embedder.embed([t])) for t in texts[:32])
    many = cpu_ms(lambda: embedder.embed(texts)) / len(texts)
    long = cpu_ms(lambda: embedder.embed([" ".join(texts[:40])] * 8)) / 8
    return [
        Figure(5, "embedder: load and first text", first, "ms", baseline="CPU, once"),
        Figure(5, "embedder: one text", one, "ms", baseline="CPU, median of 32 short ones"),
        Figure(5, "embedder: a text in a batch", many, "ms", baseline=f"CPU, {len(texts)} short ones"),
        Figure(5, "embedder: 256 tokens", long, "ms", baseline="CPU, mean of 8"),
        Figure(5, "embedder: memory at most", rss_mb(), "MB", baseline=f"RSS; {before_mb:.0f} MB before it was loaded"),
    ]


def cpu_ms(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


PARTS: dict[str, Callable[[Path, int], list[Figure]]] = {
    "build": build,
    "search": search_costs,
    "archival": archival_costs,
}


def figures(size: Size) -> list[Figure]:
    """Return what each number of rows costs, so that the growth can be seen, and the embedder."""
    found = []
    for rows in ROWS[size]:
        with tempfile.TemporaryDirectory() as folder:
            for part in PARTS:
                command = [sys.executable, __file__, part, folder, str(rows)]
                run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                found += from_json(json.loads(run.stdout))
    return [*found, *embedder_costs()]


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in PARTS:
        print(json.dumps(as_json(PARTS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3])))))
    else:
        sys.exit(run_alone(figures))
