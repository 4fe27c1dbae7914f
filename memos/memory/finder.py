"""What the user looks for in an agent's memory: hits with their time, speaker and words, from all three places."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from sqlite3 import Row
from typing import Literal

from memos.memory.dates import Span
from memos.memory.index import Index
from memos.memory.scope import Scope
from memos.memory.search import Hit, Search
from memos.memory.word_forms import coverage, word_patterns
from memos.storage.agents import Agent
from memos.storage.tiers import Tier

Place = Literal["recall", "archival", "core"]

_ROWS: Mapping[Tier, str] = {
    "recall": "SELECT seq, id, created_at, speaker, said AS text FROM messages"
    " WHERE seq IN (SELECT value FROM json_each(?))",
    "archival": "SELECT seq, id, created_at, '' AS speaker, content AS text FROM passages"
    " WHERE seq IN (SELECT value FROM json_each(?))",
}
_BLOCKS = """
SELECT label, value, coalesce(
    (SELECT max(created_at) FROM revisions r WHERE r.agent_id = b.agent_id AND r.label = b.label), :created_at
) AS created_at
FROM blocks b WHERE agent_id = :agent_id ORDER BY rowid
"""


@dataclass(frozen=True, slots=True)
class Find:
    """A message, a passage or a line of a block that was found.

    `at` is UTC: when it was said or stored, or the block last edited. `speaker` is who spoke, or the block's label;
    '' in archival storage. `score` compares within one place of one agent.
    """

    agent: str
    place: Place
    at: datetime
    speaker: str
    text: str
    score: float
    id: str


@dataclass(frozen=True, slots=True)
class Finds:
    """The best finds of `total`, best first. `degraded`: why meaning was not searched, told once."""

    total: int
    finds: tuple[Find, ...]
    degraded: str | None = None


_ANY_TIME = Span()


class Finder:
    """Finds in the memory of any agent of one database. Blocking: coroutines call it in a worker thread."""

    def __init__(self, index: Index) -> None:
        self._database = index.database
        self._searches: Mapping[Tier, Search] = {"recall": index.search("recall"), "archival": index.search("archival")}

    def find(self, agent: Agent, place: Place, query: str, limit: int, span: Span = _ANY_TIME) -> Finds:
        """Return at most `limit` finds for `query` in one place of an agent's memory, best first."""
        return (
            self._in_core(agent, query, limit, span) if place == "core" else self._in(agent, place, query, limit, span)
        )

    def _in(self, agent: Agent, tier: Tier, query: str, limit: int, span: Span) -> Finds:
        found = self._searches[tier].find(agent.id, query, limit=limit, scope=Scope(span=span))
        rows = self._rows(tier, found.hits)
        finds = [_find(agent, tier, rows[hit.seq], hit.score) for hit in found.hits if hit.seq in rows]
        return Finds(found.total, tuple(finds), found.degraded)

    def _rows(self, tier: Tier, hits: Sequence[Hit]) -> dict[int, Row]:
        seqs = json.dumps([hit.seq for hit in hits])
        rows = self._database.query(_ROWS[tier], (seqs,))
        return {row["seq"]: row for row in rows}

    def _in_core(self, agent: Agent, query: str, limit: int, span: Span) -> Finds:
        """Search the blocks line by line, by words alone: a line is the better the more of the words it has."""
        patterns = word_patterns(query)
        blocks = self._database.query(_BLOCKS, {"agent_id": agent.id, "created_at": agent.created_at.isoformat()})
        finds = []
        for block in blocks:
            at = datetime.fromisoformat(block["created_at"])
            for number, line in enumerate(block["value"].split("\n"), start=1):
                score, label = coverage(line, patterns), block["label"]
                if score and _holds(span, at):
                    finds.append(Find(agent.name, "core", at, label, line.strip(), score, f"{label}:{number}"))
        finds.sort(key=lambda find: -find.score)
        return Finds(len(finds), tuple(finds[:limit]))


def merged(groups: Iterable[Finds], query: str, limit: int) -> list[Find]:
    """Return the first `limit` finds of several places or agents; the order within each is kept.

    Scores of different places do not compare, so that place comes next whose best has the most words of `query`.
    """
    patterns = word_patterns(query)

    def key(find: Find) -> tuple[float, float]:
        return -coverage(find.text, patterns), -find.score

    waiting = [(key(group.finds[0]), number, 0, group.finds) for number, group in enumerate(groups) if group.finds]
    heapq.heapify(waiting)
    chosen: list[Find] = []
    while waiting and len(chosen) < limit:
        _, number, place, finds = heapq.heappop(waiting)
        chosen.append(finds[place])
        if place + 1 < len(finds):
            heapq.heappush(waiting, (key(finds[place + 1]), number, place + 1, finds))
    return chosen


def _holds(span: Span, at: datetime) -> bool:
    return (span.start is None or at >= span.start) and (span.end is None or at < span.end)


def _find(agent: Agent, tier: Tier, row: Row, score: float) -> Find:
    at = datetime.fromisoformat(row["created_at"])
    return Find(agent.name, tier, at, row["speaker"], row["text"], score, row["id"])
