"""Archival storage: passages the agent keeps for itself, without bound, found by search.

Source: Packer et al. 2023, §2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from memos.errors import FunctionFailed
from memos.functions.syscalls import Syscalls
from memos.functions.table import function
from memos.memory.pages import PAGE_SIZE, Line, page_text
from memos.memory.search import Search, index_text
from memos.messages import Notice, Provenance, new_id, utc_now
from memos.storage.database import Database


class ArchivalStorage:
    """The passages of one agent."""

    def __init__(self, database: Database, agent_id: str, search: Search, syscalls: Syscalls) -> None:
        self._database = database
        self._agent_id = agent_id
        self._search = search
        self._syscalls = syscalls

    @function()
    def archival_memory_insert(self, content: str) -> str:
        """Keep a passage in archival memory, for things too long or too special for core memory.

        Args:
            content: The passage, understandable on its own: names, dates, no "he" or "yesterday".
        """
        text = content.strip()
        if not text:
            raise FunctionFailed("The passage is empty; nothing was stored.")
        insert_passages(self._database, self._agent_id, [text], Provenance.AGENT, turn_id=self._syscalls.turn_id)
        return "Stored in archival memory."

    @function()
    def archival_memory_search(self, query: str, page: int = 0) -> str:
        """Search the passages in archival memory.

        Args:
            query: What to look for: words, a name, a question.
            page: The page of results, from 0.
        """
        if page < 0:
            raise FunctionFailed("page is a whole number from 0.")
        found = self._search.find(self._agent_id, query, limit=PAGE_SIZE, offset=page * PAGE_SIZE)
        if found.degraded:
            self._syscalls.publish(Notice(found.degraded))
        return page_text(self._lines([hit.seq for hit in found.hits]), found.total, page, query)

    def take_back(self, turn_id: str, by: str) -> int:
        """Let the passages that a turn stored no longer count; return how many. `by` names what took them back."""
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "UPDATE passages SET superseded_by = ? WHERE agent_id = ? AND turn_id = ? AND superseded_by IS NULL",
                (by, self._agent_id, turn_id),
            )
            return cursor.rowcount

    def _lines(self, seqs: Sequence[int]) -> list[Line]:
        marks = ", ".join("?" * len(seqs))
        rows = self._database.query(
            f"SELECT seq, content, created_at FROM passages WHERE seq IN ({marks})",  # noqa: S608
            list(seqs),
        )
        by_seq = {row["seq"]: row for row in rows}
        return [
            Line(datetime.fromisoformat(by_seq[s]["created_at"]), by_seq[s]["content"]) for s in seqs if s in by_seq
        ]


def insert_passages(
    database: Database, agent_id: str, texts: Sequence[str], provenance: Provenance, *, turn_id: str = ""
) -> None:
    """Store passages in one transaction, in order; `turn_id` is empty where no turn put them there. Blocking."""
    now = utc_now()
    with database.transaction() as connection:
        connection.executemany(
            "INSERT INTO passages (id, agent_id, turn_id, content, search_text, provenance, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (new_id(), agent_id, turn_id, text, index_text(now.astimezone(), "", text), provenance, now.isoformat())
                for text in texts
            ],
        )
