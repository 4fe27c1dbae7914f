"""One search for both tiers: words (FTS5) and meaning (vectors), fused; neighbours of a hit lend it weight.

The recipe is measured (`memos bench retrieval`, tests/benchmarks/bench_search_recipe.py): scores of both legs are
brought to 0..1 and averaged, which beats fusing ranks; a message gains by what was said around it and in its session.
What only asks the same (`echoes`) comes after what says something. SQLite has the last word on every hit: another
agent's rows, and rows that were taken back, never come out, whatever an index still holds.
"""

from __future__ import annotations

import heapq
import json
import math
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from memos.errors import DataDamaged, EmbeddingProblem
from memos.memory.echoes import is_echo, stems
from memos.memory.query_terms import STOP_WORDS, fts_query, search_terms, spaced
from memos.memory.scope import Scope, in_view
from memos.storage.database import Database
from memos.storage.tiers import TABLES, Tier

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from memos.memory.dense_leg import DenseLeg
    from memos.storage.vectors import Among, Nearest

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
RANKED_ROWS = 3_000
"""The rarest terms of a query that have so many rows together produce hits; further ones only add to their scores."""
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
    """The dense leg: the cosines of rows to the query, brought to 0..1; `near` are hits by themselves."""

    near: tuple[int, ...] = ()
    nearest: Nearest | None = None
    scores: dict[int, float] = field(default_factory=dict)
    """Of the rows it was told to `learn`: an agent may have a million, and a search needs hundreds."""

    def learn(self, seqs: Iterable[int]) -> None:
        """Have the scores of rows at hand, those that matter most first; a damaged index leaves them unknown."""
        new = [seq for seq in seqs if seq not in self.scores]
        if self.nearest is None or not new:
            return
        import numpy as np

        lowest, highest = self.nearest.lowest, float(self.nearest.cosines[0])
        with suppress(DataDamaged):
            scores = (self.nearest.of(np.array(new, dtype=np.int64)) - lowest) / max(highest - lowest, 1e-6)
            known = {seq: score for seq, score in zip(new, scores.tolist(), strict=True) if math.isfinite(score)}
            self.scores.update(known)

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
        meaning, degraded = self._meaning(agent_id, query, scope, lexical)
        scores = {seq: meaning.fused(seq, score) for seq, score in lexical.items()} if meaning.scores else dict(lexical)
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
        rare, further = self._rare(terms)
        scores = self._by_rare(agent_id, rare, further, scope) if rare else self._newest(agent_id, terms, scope)
        best = max(scores.values(), default=0.0)
        return {seq: score / best if best > 0 else 1.0 for seq, score in scores.items()}

    def _by_rare(self, agent_id: str, rare: list[str], further: Mapping[str, int], scope: Scope) -> dict[int, float]:
        """Return the score of every row with a rare term: its bm25, and about the part of further terms in it."""
        any_rare = " OR ".join(rare)
        found = self._database.query(
            f"SELECT r.seq, -bm25({self._table}_fts) AS score {self._matching(scope)}",
            scope.values | {"terms": any_rare, "agent_id": agent_id},
        )
        scores = {seq: score for seq, score in found}
        newest = self._newest_seq()
        both = f"SELECT rowid FROM {self._table}_fts WHERE {self._table}_fts MATCH ?"  # noqa: S608
        for term, rows in further.items():
            for (seq,) in self._database.query(both, (f"({any_rare}) AND {term}",)):
                if seq in scores:
                    scores[seq] += _weight(rows, newest)
        return scores

    def _newest(self, agent_id: str, terms: list[str], scope: Scope) -> dict[int, float]:
        """Return the scores of the newest rows with a common term: the terms they have, by how few of them do.

        This is bm25 without what costs a look at all rows of each term.
        """
        found = self._database.query(
            f"SELECT r.seq {self._matching(scope)} ORDER BY {self._table}_fts.rowid DESC LIMIT {CAPPED_HITS}",
            scope.values | {"terms": " OR ".join(terms), "agent_id": agent_id},
        )
        scores = {row["seq"]: 0.0 for row in found}
        having = (
            f"SELECT rowid FROM {self._table}_fts WHERE {self._table}_fts MATCH ? AND rowid >= ?"  # noqa: S608
            f" ORDER BY rowid DESC LIMIT {10 * CAPPED_HITS}"  # other agents' rows are among them
        )
        for term in terms if scores else ():
            rows = [seq for (seq,) in self._database.query(having, (term, min(scores))) if seq in scores]
            weight = _weight(len(rows), len(scores))
            for seq in rows:
                scores[seq] += weight
        return scores

    def _matching(self, scope: Scope) -> str:
        """Return FROM and WHERE of an agent's rows `r` in `scope` with any of `:terms`, whatever their role."""
        return (
            f"FROM {self._table}_fts"
            f" CROSS JOIN {self._table} r ON r.seq = {self._table}_fts.rowid"  # CROSS: from the words to the rows
            f" WHERE {self._table}_fts MATCH :terms AND r.agent_id = :agent_id"
            f" AND {scope.condition(self._tier, 'r', roles=False)}"
        )

    def _rare(self, terms: list[str]) -> tuple[list[str], dict[str, int]]:
        """Return the terms that produce hits, and further ones, each with its rows, that only add to their scores.

        Ranking a word of most of a million rows takes a second, and 5,000 rows of rarer ones 20 ms.
        """
        if self._newest_seq() <= COMMON_ROWS:
            return terms, {}
        count = (
            f"SELECT count(*) FROM (SELECT 1 FROM {self._table}_fts WHERE {self._table}_fts MATCH ?"  # noqa: S608
            f" LIMIT {COMMON_ROWS + 1})"
        )
        rows = {term: self._database.query(count, (term,))[0][0] for term in terms}
        rare: list[str] = []
        further: dict[str, int] = {}
        together = 0
        for term in sorted((term for term in terms if 0 < rows[term] <= COMMON_ROWS), key=rows.__getitem__):
            together += rows[term]
            if not rare or together <= RANKED_ROWS:
                rare.append(term)
            else:
                further[term] = rows[term]
        return rare, further

    def _newest_seq(self) -> int:
        """Return about how many rows the tier has, of all agents."""
        return self._database.query(f"SELECT max(seq) FROM {self._table}")[0][0] or 0  # noqa: S608

    # --- meaning -------------------------------------------------------------------------------------------

    def _meaning(
        self, agent_id: str, query: str, scope: Scope, lexical: Mapping[int, float]
    ) -> tuple[_Meaning, str | None]:
        """Return the dense leg, which has learned the hits by words, and the reason to tell where there is none though
        there should be."""
        if self._dense is None or not query.strip():
            return _Meaning(), None
        try:
            nearest = self._dense.nearest(agent_id, query, self._among(agent_id, scope))
            if nearest is None or not len(nearest.seqs):
                return _Meaning(), None
            near = nearest.seqs[:DENSE_HITS][nearest.cosines[:DENSE_HITS] >= DENSE_FLOOR]
            meaning = _Meaning(tuple(near.tolist()), nearest)
            meaning.learn(meaning.near)
            meaning.learn(sorted(lexical, key=lexical.__getitem__, reverse=True))
        except (EmbeddingProblem, DataDamaged) as problem:
            told, self._degraded_told = self._degraded_told, True
            return _Meaning(), None if told else str(problem)
        self._degraded_told = False
        return meaning, None

    def _among(self, agent_id: str, scope: Scope) -> Among:
        """Return which rows are in `scope`, whatever their role."""
        import numpy as np

        from memos.storage.vectors import Among

        def seqs(condition: str) -> Seqs:
            values = scope.values | {"agent_id": agent_id}
            found = self._database.query(
                f"SELECT r.seq FROM {self._table} r WHERE r.agent_id = :agent_id AND {condition}",  # noqa: S608
                values,
            )
            return np.array([row["seq"] for row in found], dtype=np.int64)

        if replace(scope, roles=()).narrowed:
            return Among(only=seqs(scope.condition(self._tier, "r", roles=False)))
        return Among() if scope.hidden_from is None else Among(without=seqs(in_view("r")))

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
        meaning.learn(rows)
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
        return {row["seq"] for row in self._those(agent_id, seqs, scope, "r.seq")}

    def _rows(self, agent_id: str, seqs: Iterable[int], scope: Scope) -> dict[int, _Row]:
        """Return those of `seqs` that are this agent's and in `scope`."""
        columns = "r.content AS text, '' AS speaker, '' AS sitting, NULL AS before, NULL AS after"
        if self._tier == "recall":
            before, after = self._beside("max", "<", scope), self._beside("min", ">", scope)
            sitting = "coalesce(r.session, '') || ' ' || substr(r.created_at, 1, 10)"
            columns = f"r.said AS text, r.speaker, {sitting} AS sitting, ({before}) AS before, ({after}) AS after"
        return {row["seq"]: _Row(**dict(row)) for row in self._those(agent_id, seqs, scope, f"r.seq, {columns}")}

    def _those(self, agent_id: str, seqs: Iterable[int], scope: Scope, columns: str) -> Sequence[sqlite3.Row]:
        """Return `columns` of those of `seqs`, as rows `r`, that are this agent's and in `scope`."""
        return self._database.query(
            f"SELECT {columns} FROM json_each(:seqs) given CROSS JOIN {self._table} r ON r.seq = given.value"  # noqa: S608
            f" WHERE r.agent_id = :agent_id AND {scope.condition(self._tier, 'r')}",
            scope.values | {"seqs": json.dumps(list(seqs)), "agent_id": agent_id},
        )

    def _beside(self, which: Literal["max", "min"], order: Literal["<", ">"], scope: Scope) -> str:
        return (
            f"SELECT {which}(n.seq) FROM messages n WHERE n.agent_id = r.agent_id AND n.session IS r.session"  # noqa: S608
            f" AND n.seq {order} r.seq AND {scope.condition(self._tier, 'n', roles=False)}"
        )


def _weight(rows: int, of_rows: int) -> float:
    """Return what a term counts that stands in `rows` of `of_rows`, as bm25 has it."""
    return max(math.log((of_rows - rows + 0.5) / (rows + 0.5)), 1e-6)


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
