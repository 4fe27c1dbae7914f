"""Measure search: what it finds on LoCoMo's dev half, and how its latency grows with the number of rows.

    python tests/benchmarks/bench_search.py recall      # recall@10 of each mode
    python tests/benchmarks/bench_search.py latency     # 1k, 10k, 100k rows
    python tests/benchmarks/bench_search.py embedder    # load, memory, milliseconds a text

LoCoMo (CC BY-NC 4.0) is read from $MEMOS_SHARED/data or ../shared/data, for evaluation only, and is no part of memos.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from memos.errors import EmbeddingProblem
from memos.memory.dense_leg import legs
from memos.memory.embedders import Embedder, builtin_embedder
from memos.memory.indexer import Indexer
from memos.memory.search import Search, index_text
from memos.storage.database import Database
from memos.storage.vectors import VectorTable

SHARED = Path(os.environ.get("MEMOS_SHARED") or Path(__file__).resolve().parents[3] / "shared")
CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}


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


def locomo_turns(conversation: dict[str, object]) -> list[Turn]:
    turns: list[Turn] = []
    for key in sorted((k for k in conversation if re.fullmatch(r"session_\d+", k)), key=lambda k: int(k[8:])):
        at = datetime.strptime(str(conversation[f"{key}_date_time"]), "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
        for turn in conversation[key]:  # type: ignore[attr-defined]
            picture = f" [shares {turn['blip_caption']}]" if turn.get("blip_caption") else ""
            turns.append(Turn(turn["dia_id"], key, turn["speaker"], turn["text"] + picture, at))
    return turns


def recall(modes: dict[str, Embedder | None]) -> None:
    path = SHARED / "data" / "locomo5-dev.json"
    if not path.is_file():
        print(f"skipped: {path} is not there (set MEMOS_SHARED to the folder that holds data/)")
        return
    samples = json.loads(path.read_text(encoding="utf-8"))
    for mode, embedder in modes.items():
        found: dict[int, list[float]] = defaultdict(list)
        by_conversation: list[float] = []
        totals: list[int] = []
        for sample in samples:
            with home(embedder) as here:
                scores = ask_all(here, sample, found, totals)
                by_conversation.append(statistics.mean(scores))
        everything = [score for scores in found.values() for score in scores]
        parts = ", ".join(f"{CATEGORIES[c]} {100 * statistics.mean(found[c]):.1f}" for c in sorted(found))
        conversations = " ".join(f"{100 * score:.1f}" for score in by_conversation)
        print(
            f"{mode}: recall@10 {100 * statistics.mean(everything):.1f} of {len(everything)} questions"
            f" ({parts}); by conversation {conversations}; median total {statistics.median(totals):.0f}"
        )


def ask_all(here: Home, sample: dict[str, object], found: dict[int, list[float]], totals: list[int]) -> list[float]:
    ids = store(here.database, "agent", locomo_turns(sample["conversation"]))  # type: ignore[arg-type]
    while here.indexer and here.indexer.step(flush=True):
        pass
    scores = []
    for question in sample["qa"]:  # type: ignore[attr-defined]
        gold = {i for e in question.get("evidence", []) for i in re.findall(r"D\d+:\d+", e)} & set(ids.values())
        if question["category"] not in CATEGORIES or not gold:
            continue
        result = here.search.find("agent", question["question"], limit=10)
        score = len(gold & {ids[hit.seq] for hit in result.hits}) / len(gold)
        found[question["category"]].append(score)
        totals.append(result.total)
        scores.append(score)
    return scores


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
    wanted = sys.argv[1:] or ["recall", "latency", "embedder"]
    if "recall" in wanted:
        try:
            recall({"lexical": None, "hybrid": builtin_embedder()})
        except EmbeddingProblem as problem:
            print(f"hybrid skipped: {problem}")
    if "latency" in wanted:
        latency((1_000, 10_000, 100_000))
    if "embedder" in wanted:
        embedder_cost()


if __name__ == "__main__":
    main()
