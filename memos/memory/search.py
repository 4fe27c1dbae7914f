"""One search for both tiers: words (FTS5) and meaning (vectors), fused; neighbours of a hit lend it weight.

The recipe is measured (`memos bench retrieval`): scores of both legs are brought to 0..1 and averaged, which
beats fusing ranks; a message gains by what was said right before and after it. SQLite has the last word on every
hit: another agent's rows, and rows that were taken back, never come out, whatever an index still holds.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from memos.errors import DataDamaged, EmbeddingProblem
from memos.memory.query_terms import STOP_WORDS, fts_query, search_terms
from memos.memory.tiers import TABLES, Tier
from memos.storage.database import Database

if TYPE_CHECKING:
    from memos.memory.dense_leg import DenseLeg

__all__ = ["Hit", "Search", "SearchResult", "fts_query", "index_text"]

DENSE_WEIGHT = 0.5
NEIGHBOUR_WEIGHT = 0.4
SPEAKER_BONUS = 0.1
DENSE_HITS = 200
"""So many rows near in meaning are hits although they share no word with the query."""
DENSE_FLOOR = 0.2
"""Cosine below which a row that shares no word with the query is no hit."""
SMOOTHED_HITS = 200
"""So many of the best hits are looked at together with their neighbours; the order of the rest is by their score."""
COMMON_ROWS = 5_000
"""A term in more rows than this produces no hits while the query has a rarer one."""
CAPPED_HITS = 5_000
"""A query of common terms alone is answered from so many of its newest rows."""

_ANY_SEQ = 2**62
_WORD = re.compile(r"\w+")
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


@dataclass(frozen=True, slots=True)
class Hit:
    """A row found: its `seq` in `messages` or `passages`, and how well it fits (comparable within one result)."""

    seq: int
    score: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One page of hits, best first, of `total`. `degraded`: why meaning was not searched, told once."""

    total: int
    hits: tuple[Hit, ...]
    degraded: str | None = None


@dataclass(frozen=True, slots=True)
class _Meaning:
    """The dense leg: for every row its cosine to the query, brought to 0..1; `near` are hits by themselves."""

    scores: Mapping[int, float] = field(default_factory=dict)
    near: tuple[int, ...] = ()

    def fused(self, seq: int, lexical: float) -> float:
        """Return the score of a row; while its vector is not written yet, its words speak for its meaning too."""
        return (1 - DENSE_WEIGHT) * lexical + DENSE_WEIGHT * self.scores.get(seq, lexical)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row that may be shown, and the `seq` of what was said right before and after it in the same session."""

    seq: int
    speaker: str
    before: int | None
    after: int | None


class Search:
    """Finds rows of one tier. Blocking: coroutines call it in a worker thread."""

    def __init__(self, database: Database, tier: Tier, dense: DenseLeg | None = None) -> None:
        self._database = database
        self._tier = tier
        self._dense = dense
        self._table = TABLES[tier]
        self._degraded_told = False

    def find(
        self, agent_id: str, query: str, *, limit: int, offset: int = 0, exclude_from_seq: int | None = None
    ) -> SearchResult:
        """Return hits `offset` to `offset + limit` of all hits for `query`, best first.

        The order is the same at every call while nothing is written, so pages neither repeat nor lose a hit. Rows
        with `seq >= exclude_from_seq` (what the agent sees anyway, the question itself) are no hits.
        """
        end = _ANY_SEQ if exclude_from_seq is None else exclude_from_seq
        lexical = self._lexical(agent_id, search_terms(query), end)
        meaning, degraded = self._meaning(agent_id, query, end)
        scores = {seq: meaning.fused(seq, score) for seq, score in lexical.items()}
        for seq in meaning.near:
            scores.setdefault(seq, meaning.fused(seq, 0.0))
        best, others = self._ranked(agent_id, query, scores, meaning, end)
        if offset + limit > len(best):
            best += _sorted([Hit(seq, scores[seq]) for seq in others])
            others = set()
        return SearchResult(len(best) + len(others), tuple(best[offset : offset + limit]), degraded)

    # --- words ---------------------------------------------------------------------------------------------

    def _lexical(self, agent_id: str, terms: list[str], end: int) -> dict[int, float]:
        """Return for each row with a term how well its words fit, from above 0 to 1."""
        if not terms:
            return {}
        rare = self._rare(terms)
        sql = (
            f"SELECT r.seq, -bm25({self._table}_fts) AS score FROM {self._table}_fts"  # noqa: S608
            f" CROSS JOIN {self._table} r ON r.seq = {self._table}_fts.rowid"  # CROSS: from the words to the rows
            f" WHERE {self._table}_fts MATCH ? AND {self._shown('r')} AND r.agent_id = ? AND r.seq < ?"
        )
        if not rare:
            sql += f" ORDER BY {self._table}_fts.rowid DESC LIMIT {CAPPED_HITS}"
        found = self._database.query(sql, (" OR ".join(rare or terms), agent_id, end))
        best = max((score for _, score in found), default=0.0)
        return {seq: score / best if best > 0 else 1.0 for seq, score in found}

    def _rare(self, terms: list[str]) -> list[str]:
        """Return the terms that are cheap to rank: ranking a word of most of a million rows takes a second."""
        newest = self._database.query(f"SELECT max(seq) FROM {self._table}")[0][0] or 0  # noqa: S608
        if newest <= COMMON_ROWS:
            return terms
        count = (
            f"SELECT count(*) FROM (SELECT 1 FROM {self._table}_fts WHERE {self._table}_fts MATCH ?"  # noqa: S608
            f" LIMIT {COMMON_ROWS + 1})"
        )
        return [term for term in terms if self._database.query(count, (term,))[0][0] <= COMMON_ROWS]

    def _shown(self, row: str) -> str:
        heard = f"{row}.said <> '' AND " if self._tier == "recall" else ""
        return f"{heard}{row}.superseded_by IS NULL"

    # --- meaning -------------------------------------------------------------------------------------------

    def _meaning(self, agent_id: str, query: str, end: int) -> tuple[_Meaning, str | None]:
        """Return the dense leg, and the reason to tell where there is none though there should be."""
        if self._dense is None or not query.strip():
            return _Meaning(), None
        try:
            nearest = self._dense.nearest(agent_id, query)
        except (EmbeddingProblem, DataDamaged) as problem:
            told, self._degraded_told = self._degraded_told, True
            return _Meaning(), None if told else str(problem)
        self._degraded_told = False
        if nearest is None:
            return _Meaning(), None
        wanted = nearest.seqs < end
        seqs, cosines = nearest.seqs[wanted], nearest.cosines[wanted]
        if not len(seqs):
            return _Meaning(), None
        lowest, span = cosines[-1], max(float(cosines[0] - cosines[-1]), 1e-6)
        scores = dict(zip(seqs.tolist(), ((cosines - lowest) / span).tolist(), strict=True))
        near = seqs[:DENSE_HITS][cosines[:DENSE_HITS] >= DENSE_FLOOR]
        return _Meaning(scores, tuple(near.tolist())), None

    # --- ranking -------------------------------------------------------------------------------------------

    def _ranked(
        self, agent_id: str, query: str, scores: dict[int, float], meaning: _Meaning, end: int
    ) -> tuple[list[Hit], set[int]]:
        """Return the best hits with what their neighbours add, in order, and the others, which all come after."""
        best = heapq.nlargest(SMOOTHED_HITS, scores, key=lambda seq: (scores[seq], seq))
        rows = self._rows(agent_id, best, end)
        beside = {seq for row in rows.values() for seq in (row.before, row.after) if seq is not None}
        rows |= self._rows(agent_id, beside - rows.keys(), end)
        speaker = _named_speaker(query, {row.speaker for row in rows.values()})

        def score(seq: int | None) -> float:
            return 0.0 if seq is None else scores.get(seq, meaning.fused(seq, 0.0))

        def final(row: _Row) -> float:
            bonus = SPEAKER_BONUS if speaker and row.speaker == speaker else 0.0
            return score(row.seq) + NEIGHBOUR_WEIGHT * max(score(row.before), score(row.after)) + bonus

        others = scores.keys() - rows.keys() - set(best)
        return _sorted([Hit(row.seq, final(row)) for row in rows.values()]), others

    def _rows(self, agent_id: str, seqs: Iterable[int], end: int) -> dict[int, _Row]:
        """Return those of `seqs` that are this agent's, may be shown, and come before `end`."""
        columns = "'' AS speaker, NULL AS before, NULL AS after"
        if self._tier == "recall":
            columns = f"r.speaker, ({self._beside('max', '<')}) AS before, ({self._beside('min', '>')}) AS after"
        found = self._database.query(
            f"SELECT r.seq, {columns} FROM json_each(:seqs) given CROSS JOIN {self._table} r ON r.seq = given.value"  # noqa: S608
            f" WHERE r.agent_id = :agent_id AND r.seq < :end AND {self._shown('r')}",
            {"seqs": json.dumps(list(seqs)), "agent_id": agent_id, "end": end},
        )
        return {row["seq"]: _Row(**dict(row)) for row in found}

    def _beside(self, which: Literal["max", "min"], order: Literal["<", ">"]) -> str:
        return (
            f"SELECT {which}(n.seq) FROM messages n WHERE n.agent_id = r.agent_id AND n.session IS r.session"  # noqa: S608
            f" AND n.seq {order} r.seq AND n.seq < :end AND {self._shown('n')}"
        )


def _named_speaker(query: str, speakers: Iterable[str]) -> str | None:
    """Return the speaker whom the query names, if it names exactly one."""
    words = set(_WORD.findall(query.casefold())) - STOP_WORDS
    named = [speaker for speaker in speakers if words & set(_WORD.findall(speaker.casefold()))]
    return named[0] if len(named) == 1 else None


def _sorted(hits: list[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.score, -hit.seq))


def index_text(created_at_local: datetime, speaker: str, text: str) -> str:
    """Return what both legs index: `[2026-11-23 14:05, Monday November] Ana: text`; no speaker in archival storage."""
    weekday, month = _WEEKDAYS[created_at_local.weekday()], _MONTHS[created_at_local.month - 1]
    head = f"[{created_at_local:%Y-%m-%d %H:%M}, {weekday} {month}]"
    return f"{head} {speaker}: {text}" if speaker else f"{head} {text}"
