"""One search for both tiers: words (FTS5) and meaning (vectors), fused; neighbours of a hit lend it weight.

The recipe is measured (`memos bench retrieval`, tests/benchmarks/bench_search_recipe.py): scores of both legs are
brought to 0..1 and averaged, which beats fusing ranks; a message gains by what was said around it and in its session.
What only asks the same (`echoes`) comes after what says something. SQLite has the last word on every hit: another
agent's rows, and rows that were taken back, never come out, whatever an index still holds.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from memos.errors import DataDamaged, EmbeddingProblem
from memos.memory.echoes import is_echo, stems
from memos.memory.query_terms import STOP_WORDS, fts_query, search_terms, spaced
from memos.memory.scope import Scope, in_view
from memos.memory.tiers import TABLES, Tier
from memos.storage.database import Database

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from memos.memory.dense_leg import DenseLeg

    Seqs = npt.NDArray[np.int64]

__all__ = ["Hit", "Search", "SearchResult", "fts_query", "index_text"]

DENSE_WEIGHT = 0.5
NEIGHBOUR_WEIGHT = 0.4
SECOND_NEIGHBOUR_WEIGHT = 0.3
"""Of the better one of the row before the row before, and the row after the row after."""
SITTING_WEIGHT = 0.4
"""Of the best row of the same session and day: what was said there belongs together."""
ANSWER_WEIGHT = 0.2
"""Of the row before, where that one asks something: it is found by the words of its question."""
SPEAKER_BONUS = 0.3
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
    """A row that may be shown, and the `seq` of what was said right before and after it in the same session.

    `sitting` names its session and day.
    """

    seq: int
    text: str
    speaker: str
    sitting: str
    before: int | None
    after: int | None


class _Surroundings:
    """What a row gains by the scores of the rows around it."""

    def __init__(self, rows: Mapping[int, _Row], score: Callable[[int], float]) -> None:
        self._rows = rows
        self._score = score
        self._sittings: dict[str, float] = {}
        for row in rows.values():
            self._sittings[row.sitting] = max(score(row.seq), self._sittings.get(row.sitting, 0.0))

    def score(self, seq: int | None) -> float:
        """Return the score of a row by itself; 0 where there is none."""
        return 0.0 if seq is None else self._score(seq)

    def added(self, row: _Row) -> float:
        """Return what is added to a row's own score."""
        before, after = self._row(row.before), self._row(row.after)
        second = max(self.score(before.before if before else None), self.score(after.after if after else None))
        asked = self.score(row.before) if before and "?" in before.text else 0.0
        return (
            NEIGHBOUR_WEIGHT * max(self.score(row.before), self.score(row.after))
            + SECOND_NEIGHBOUR_WEIGHT * second
            + SITTING_WEIGHT * self._sittings[row.sitting]
            + ANSWER_WEIGHT * asked
        )

    def _row(self, seq: int | None) -> _Row | None:
        return None if seq is None else self._rows.get(seq)


class Search:
    """Finds rows of one tier. Blocking: coroutines call it in a worker thread."""

    def __init__(self, database: Database, tier: Tier, dense: DenseLeg | None = None) -> None:
        self._database = database
        self._tier = tier
        self._dense = dense
        self._table = TABLES[tier]
        self._degraded_told = False

    def find(self, agent_id: str, query: str, *, limit: int, offset: int = 0, scope: Scope = Scope()) -> SearchResult:
        """Return hits `offset` to `offset + limit` of all hits for `query` in `scope`, best first.

        The order is the same at every call while nothing is written, so pages neither repeat nor lose a hit. Without
        any query a narrowed scope is listed, the newest first.
        """
        if not query.strip(" *") and scope.narrowed:
            return self._listed(agent_id, limit, offset, scope)
        lexical = self._lexical(agent_id, search_terms(query), scope)
        meaning, degraded = self._meaning(agent_id, query, scope)
        scores = {seq: meaning.fused(seq, score) for seq, score in lexical.items()}
        for seq in meaning.near:
            scores.setdefault(seq, meaning.fused(seq, 0.0))
        doubtful = scores.keys() if scope.roles else scores.keys() - lexical.keys()
        hits = (scores.keys() - doubtful) | self._in_scope(agent_id, doubtful, scope)
        best, others = self._ranked(agent_id, query, scores, meaning, hits, scope)
        if offset + limit > len(best):
            best += _sorted([Hit(seq, scores[seq]) for seq in others])
            others = set()
        return SearchResult(len(best) + len(others), tuple(best[offset : offset + limit]), degraded)

    def _listed(self, agent_id: str, limit: int, offset: int, scope: Scope) -> SearchResult:
        where = f"FROM {self._table} r WHERE r.agent_id = :agent_id AND {scope.condition(self._tier, 'r')}"
        values = scope.values | {"agent_id": agent_id, "limit": limit, "offset": offset}
        total = self._database.query(f"SELECT count(*) {where}", values)[0][0]
        found = self._database.query(
            f"SELECT r.seq {where} ORDER BY r.created_at DESC, r.seq DESC LIMIT :limit OFFSET :offset", values
        )
        return SearchResult(total, tuple(Hit(row["seq"], 0.0) for row in found))

    # --- words ---------------------------------------------------------------------------------------------

    def _lexical(self, agent_id: str, words: list[str], scope: Scope) -> dict[int, float]:
        """Return for each row with a term how well its words fit, from above 0 to 1; the rows of all roles."""
        if not words:
            return {}
        terms = [spaced(word) for word in words]
        rare = self._rare(terms)
        sql = (
            f"SELECT r.seq, -bm25({self._table}_fts) AS score FROM {self._table}_fts"  # noqa: S608
            f" CROSS JOIN {self._table} r ON r.seq = {self._table}_fts.rowid"  # CROSS: from the words to the rows
            f" WHERE {self._table}_fts MATCH :terms AND r.agent_id = :agent_id"
            f" AND {scope.condition(self._tier, 'r', roles=False)}"
        )
        if not rare:
            sql += f" ORDER BY {self._table}_fts.rowid DESC LIMIT {CAPPED_HITS}"
        values = scope.values | {"terms": " OR ".join(rare or terms), "agent_id": agent_id}
        found = self._database.query(sql, values)
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
        return [term for term in terms if 0 < self._database.query(count, (term,))[0][0] <= COMMON_ROWS]

    # --- meaning -------------------------------------------------------------------------------------------

    def _meaning(self, agent_id: str, query: str, scope: Scope) -> tuple[_Meaning, str | None]:
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
        wanted = self._wanted(agent_id, nearest.seqs, scope)
        seqs, cosines = nearest.seqs[wanted], nearest.cosines[wanted]
        if not len(seqs):
            return _Meaning(), None
        lowest, span = cosines[-1], max(float(cosines[0] - cosines[-1]), 1e-6)
        scores = dict(zip(seqs.tolist(), ((cosines - lowest) / span).tolist(), strict=True))
        near = seqs[:DENSE_HITS][cosines[:DENSE_HITS] >= DENSE_FLOOR]
        return _Meaning(scores, tuple(near.tolist())), None

    def _wanted(self, agent_id: str, seqs: Seqs, scope: Scope) -> npt.NDArray[np.bool_]:
        """Return which of many rows are in `scope`, whatever their role."""
        import numpy as np

        values = scope.values | {"agent_id": agent_id}
        of_agent = f"SELECT r.seq FROM {self._table} r WHERE r.agent_id = :agent_id"  # noqa: S608
        if replace(scope, roles=()).narrowed:
            condition = scope.condition(self._tier, "r", roles=False)
            inside = self._database.query(f"{of_agent} AND {condition}", values)
            return np.isin(seqs, [row["seq"] for row in inside])
        if scope.hidden_from is None:
            return np.ones(len(seqs), dtype=np.bool_)
        outside = self._database.query(f"{of_agent} AND {in_view('r')}", values)
        return np.isin(seqs, [row["seq"] for row in outside], invert=True)

    # --- ranking -------------------------------------------------------------------------------------------

    def _ranked(
        self,
        agent_id: str,
        query: str,
        scores: dict[int, float],
        meaning: _Meaning,
        hits: Set[int],
        scope: Scope,
    ) -> tuple[list[Hit], set[int]]:
        """Return the best hits with what their neighbours add, in order, and the others, which all come after.

        What only asks the query again stands behind the rest of the best.
        """
        best = heapq.nlargest(SMOOTHED_HITS, hits, key=lambda seq: (scores[seq], seq))
        rows = self._rows(agent_id, best, scope)
        beside = {seq for row in rows.values() for seq in (row.before, row.after) if seq is not None}
        rows |= self._rows(agent_id, beside - rows.keys(), scope)
        speaker = _named_speaker(query, {row.speaker for row in rows.values()})

        surroundings = _Surroundings(rows, lambda seq: scores.get(seq, meaning.fused(seq, 0.0)))

        def final(row: _Row) -> float:
            bonus = SPEAKER_BONUS if speaker and row.speaker == speaker else 0.0
            return surroundings.score(row.seq) + surroundings.added(row) + bonus

        others = set(hits - rows.keys() - set(best))
        asked = stems(query)
        echoes = {row.seq for row in rows.values() if is_echo(row.text, asked)}
        ranked = _sorted([Hit(row.seq, final(row)) for row in rows.values()])
        return sorted(ranked, key=lambda hit: hit.seq in echoes), others

    def _in_scope(self, agent_id: str, seqs: Iterable[int], scope: Scope) -> set[int]:
        found = self._database.query(
            f"SELECT r.seq FROM json_each(:seqs) given CROSS JOIN {self._table} r ON r.seq = given.value"  # noqa: S608
            f" WHERE r.agent_id = :agent_id AND {scope.condition(self._tier, 'r')}",
            scope.values | {"seqs": json.dumps(list(seqs)), "agent_id": agent_id},
        )
        return {row["seq"] for row in found}

    def _rows(self, agent_id: str, seqs: Iterable[int], scope: Scope) -> dict[int, _Row]:
        """Return those of `seqs` that are this agent's and in `scope`."""
        columns = "r.content AS text, '' AS speaker, '' AS sitting, NULL AS before, NULL AS after"
        if self._tier == "recall":
            before, after = self._beside("max", "<", scope), self._beside("min", ">", scope)
            sitting = "coalesce(r.session, '') || ' ' || substr(r.created_at, 1, 10)"
            columns = f"r.said AS text, r.speaker, {sitting} AS sitting, ({before}) AS before, ({after}) AS after"
        found = self._database.query(
            f"SELECT r.seq, {columns} FROM json_each(:seqs) given CROSS JOIN {self._table} r ON r.seq = given.value"  # noqa: S608
            f" WHERE r.agent_id = :agent_id AND {scope.condition(self._tier, 'r')}",
            scope.values | {"seqs": json.dumps(list(seqs)), "agent_id": agent_id},
        )
        return {row["seq"]: _Row(**dict(row)) for row in found}

    def _beside(self, which: Literal["max", "min"], order: Literal["<", ">"], scope: Scope) -> str:
        return (
            f"SELECT {which}(n.seq) FROM messages n WHERE n.agent_id = r.agent_id AND n.session IS r.session"  # noqa: S608
            f" AND n.seq {order} r.seq AND {scope.condition(self._tier, 'n', roles=False)}"
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
    return spaced(f"{head} {speaker}: {text}" if speaker else f"{head} {text}")
