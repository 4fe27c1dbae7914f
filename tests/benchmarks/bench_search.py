"""Measure what search costs as the number of rows grows, whether it loses old rows, and what the embedder costs.

    python tests/benchmarks/bench_search.py latency               # 10k and 100k rows
    python tests/benchmarks/bench_search.py latency --million     # 1M rows too: some five minutes, 3 GB of disk
    python tests/benchmarks/bench_search.py embedder              # load, memory, milliseconds a text

Texts have 20 words of a Zipf vocabulary, vectors lie in 2,000 clusters; the 200 queries are the same at every size.
Each size is searched by a process of its own, so that its memory is that of searching. What search finds is measured
by `memos bench retrieval`.
"""

from __future__ import annotations

import itertools
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

import numpy as np

from memos.memory.archival_storage import insert_passages
from memos.memory.dense_leg import legs
from memos.memory.embedders import builtin_embedder
from memos.memory.search import Search, fts_query, index_text
from memos.messages import Provenance
from memos.storage import vector_index
from memos.storage.database import Database
from memos.storage.vectors import VectorRow, VectorTable

AGENT = "agent"
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


def build(folder: Path, size: int) -> None:
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
    print(f"{size:>9,} rows: written to SQLite in {rows:.0f} s, vectors to LanceDB in {vectors_took:.0f} s", flush=True)
    if table.needs_upkeep():
        start = time.perf_counter()
        building = vector_index.start(table.folder, table.name)
        building.wait()
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"{'':>15} index built in {time.perf_counter() - start:.0f} s by a process of {peak:.0f} MB", flush=True)
    table.close()
    database.close()


# --- searching -------------------------------------------------------------------------------------------------


def search_costs(folder: Path, size: int) -> None:
    database, table = opened(folder)
    embedder = GivenVectors(2)
    dense = legs(database, embedder, {"recall": table})["recall"]
    chance = random.Random(11)
    queries = [" ".join(chance.choices(WORDS, cum_weights=ZIPF, k=6)) for _ in range(QUERIES)]
    by_words, both = Search(database, "recall"), Search(database, "recall", dense)
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
        print(
            f"{size:>9,} rows, {mode:>7}: CPU p50 {statistics.median(spent):.1f} ms, p95 {p95(spent):.1f} ms;"
            f" waited p95 {p95(waited):.1f} ms; RSS {rss_mb():.0f} MB",
            flush=True,
        )
    found = gold_found(database, [by_words, both])
    print(f"{'':>15} gold in the oldest 1 %, of {GOLD}: {found[0]} uncapped, {found[1]} by words, {found[2]} hybrid")
    print(f"{'':>15} recall@10 of the nearest vectors: {nearest_recall(table):.3f}")


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


def archival_costs(folder: Path, size: int) -> None:
    """Insert passages into the same database: one a transaction, then many in one."""
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
    print(f"{size:>9,} rows: {single:.0f} passages/s singly, {bulk:.0f}/s in bulk; the counts take {counts:.2f} ms CPU")
    database.close()


def latency(sizes: Sequence[int]) -> None:
    """Print what each size costs; the lines of one mode below each other show the growth."""
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            for part in ("build", "search", "archival"):
                subprocess.run([sys.executable, __file__, part, folder, str(size)], check=True)


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


PARTS: dict[str, Callable[[Path, int], None]] = {
    "build": build,
    "search": search_costs,
    "archival": archival_costs,
}


def main() -> None:
    wanted = sys.argv[1:] or ["latency", "embedder"]
    if wanted[0] in PARTS:
        PARTS[wanted[0]](Path(wanted[1]), int(wanted[2]))
        return
    if "latency" in wanted:
        latency((10_000, 100_000, *([1_000_000] if "--million" in wanted else [])))
    if "embedder" in wanted:
        embedder_cost()


if __name__ == "__main__":
    main()
