"""What `memos bench retrieval` has measured so far: the quality of rankings, with intervals, and how long they took.

recall@n   the share of the messages that answer which stand among the first n hits
hit@k      whether any of them does
mrr        one divided by the place of the first of them, 0 where none was fetched
ndcg@k     the gain of those found, discounted by the logarithm of their place, of what an ideal order would gain
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

CUTS = (5, 10, 20)
RESAMPLES = 2_000
_RESAMPLES_AT_ONCE = 100
_SEED = 1


def measures(ranked: Sequence[str], gold: AbstractSet[str], k: int) -> dict[str, float]:
    """Return what one ranking is worth, each from 0 to 1."""
    hits = [each in gold for each in ranked]
    gains = [hit / math.log2(place + 2) for place, hit in enumerate(hits[:k])]
    ideal = sum(1 / math.log2(place + 2) for place in range(min(len(gold), k)))
    return {
        **{f"recall@{cut}": sum(hits[:cut]) / len(gold) for cut in sorted({*CUTS, k})},
        f"hit@{k}": float(any(hits[:k])),
        "mrr": 1 / (hits.index(True) + 1) if any(hits) else 0.0,
        f"ndcg@{k}": sum(gains) / ideal,
    }


@dataclass(slots=True)
class RetrievalTally:
    """The numbers of one run. `embedding` is the setting, `baseline` whether BM25 ranked instead."""

    embedding: str
    baseline: bool
    k: int
    queries_wanted: int
    left_out: int
    conversations: int = 0
    messages: int = 0
    by_category: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    """The measures of each question."""
    latency_ms: list[float] = field(default_factory=list)
    stopped: str = ""

    @property
    def judged(self) -> bool:
        """Whether anything has been counted yet."""
        return bool(self.by_category)

    @property
    def depth(self) -> int:
        """How many hits are fetched for a question."""
        return max(*CUTS, self.k)

    def count(self, category: str, ranked: Sequence[str], gold: AbstractSet[str], took_ms: float) -> None:
        """Count one question."""
        self.by_category.setdefault(category, []).append(measures(ranked, gold, self.k))
        self.latency_ms.append(took_ms)

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints. Intervals are 95 %, of means over questions drawn anew with a fixed seed."""
        everything = [each for category in sorted(self.by_category) for each in self.by_category[category]]
        return {
            "embedding": self.embedding,
            "baseline": self.baseline,
            "k": self.k,
            "stopped": self.stopped or None,
            "conversations": self.conversations,
            "messages": self.messages,
            "queries_wanted": self.queries_wanted,
            "left_out": self.left_out,
            **_summary(everything),
            "categories": {name: _summary(self.by_category[name]) for name in sorted(self.by_category)},
            "latency_ms": self._latency(),
        }

    def _latency(self) -> dict[str, float] | None:
        import numpy as np

        if not self.latency_ms:
            return None
        p50, p95 = np.percentile(self.latency_ms, [50, 95]).tolist()
        return {"p50": round(p50, 2), "p95": round(p95, 2)}


def _summary(values: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return the number of questions, the mean of each measure, and its 95 % interval."""
    import numpy as np

    if not values:
        return {"queries": 0}
    names = list(values[0])
    table = np.array([[each[name] for name in names] for each in values])
    low, high = np.percentile(_resampled_means(table), [2.5, 97.5], axis=0)
    return {
        "queries": len(values),
        **{name: round(mean, 4) for name, mean in zip(names, table.mean(axis=0).tolist(), strict=True)},
        "intervals": {
            name: [round(from_, 4), round(to, 4)]
            for name, from_, to in zip(names, low.tolist(), high.tolist(), strict=True)
        },
    }


def _resampled_means(table: Any) -> Any:
    """Return the means of `RESAMPLES` samples, with replacement, of the rows of `table` (n, measures)."""
    import numpy as np

    chance = np.random.default_rng(_SEED)
    evenly = np.full(len(table), 1 / len(table))
    parts = [
        chance.multinomial(len(table), evenly, size=_RESAMPLES_AT_ONCE) @ table / len(table)
        for _ in range(RESAMPLES // _RESAMPLES_AT_ONCE)
    ]
    return np.concatenate(parts)
