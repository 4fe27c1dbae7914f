"""Recall storage: every message ever, in order. The FIFO queue is a view on its newest rows.

Source: Packer et al. 2023, §2.2.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from memos.functions.syscalls import Syscalls
from memos.functions.table import function
from memos.memory.dates import between
from memos.memory.message_rows import (
    INSERT,
    UPDATE,
    columns,
    message_of,
    overridden,
    override_of,
    spoken_words,
)
from memos.memory.pages import NOTHING, PAGE_SIZE, Line, checked_page, page_text
from memos.memory.scope import Scope
from memos.memory.search import Search, index_text
from memos.messages import Event, EventKind, FunctionCall, Message, Notice, utc_now
from memos.storage.database import Database

DID_NOT_COMPLETE = "This call did not complete: memos was interrupted before its result was known."
NOTHING_ELSE = "No results besides what is in view."
AROUND_LIMIT = 3
_LAST_SAID = """
SELECT speaker, said, created_at FROM messages
WHERE agent_id = ? AND said <> '' AND superseded_by IS NULL ORDER BY seq DESC LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Words:
    """Something that was said; `at` is UTC."""

    speaker: str
    text: str
    at: datetime


def last_said(database: Database, agent_id: str, count: int) -> list[Words]:
    """Return the last `count` things that were said to an agent and by it, and still count, oldest first."""
    rows = database.query(_LAST_SAID, (agent_id, count))
    return [Words(row["speaker"], row["said"], datetime.fromisoformat(row["created_at"])) for row in reversed(rows)]


class RecallStorage:
    """The messages of one agent. Methods that write are transactions; they return what is now stored."""

    def __init__(self, database: Database, agent_id: str, agent_name: str, search: Search, syscalls: Syscalls) -> None:
        self._database = database
        self._agent_id = agent_id
        self.agent_name = agent_name
        """The speaker of what the agent says from now on."""
        self._search = search
        self._syscalls = syscalls

    # --- writing, in the order of design: event, reply, result --------------------------------------------

    def append(self, message: Message) -> Message:
        """Store a new row and return it with its `seq`. A row whose id is there already is returned unchanged."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT seq FROM messages WHERE id = ?", (message.id,)).fetchone()
            if row:
                return replace(message, seq=row["seq"])
            values = columns(message) | self._spoken(message)
            cursor = connection.execute(INSERT, values)
            connection.execute("DELETE FROM inbox WHERE id = ?", (message.id,))
            return replace(message, seq=int(cursor.lastrowid or 0))

    def update(self, message: Message) -> Message:
        """Refresh a provisional row, or make it complete or incomplete; rows that are final stay as they are."""
        with self._database.transaction() as connection:
            connection.execute(UPDATE, columns(message) | self._spoken(message) | {"seq": message.seq})
        return message

    def defer(self, event: Event) -> None:
        """Keep an event that came while a turn was running until the kernel fetches it."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO inbox (id, agent_id, kind, text, payload, created_at) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    event.id,
                    self._agent_id,
                    event.kind,
                    event.text,
                    json.dumps(dict(event.payload)),
                    event.created_at.isoformat(),
                ),
            )

    def deferred(self) -> list[Event]:
        """Return the events that were acknowledged but never fetched, in order."""
        rows = self._database.query(
            "SELECT * FROM inbox WHERE agent_id = ? AND id NOT IN (SELECT id FROM messages) ORDER BY seq",
            (self._agent_id,),
        )
        return [
            Event(
                EventKind(row["kind"]),
                row["text"],
                json.loads(row["payload"]),
                row["id"],
                datetime.fromisoformat(row["created_at"]),
            )
            for row in rows
        ]

    def override(self, message: Message) -> None:
        """Let `message`, shortened, stand in the queue for the row of its `seq`, which stays as it is."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO overrides (message_seq, agent_id, content, created_at) VALUES (?, ?, ?, ?)",
                (message.seq, self._agent_id, override_of(message), utc_now().isoformat()),
            )

    def take_back(self, seqs: Sequence[int], by: str) -> None:
        """Let rows no longer count, nor be found; `by` names what took them back."""
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE messages SET superseded_by = ? WHERE seq = ? AND agent_id = ? AND superseded_by IS NULL",
                [(by, seq, self._agent_id) for seq in seqs],
            )

    def settle(self, queue_start: int) -> int:
        """Close what a crash or an interrupt left open; return how many rows that touched.

        A provisional row becomes incomplete; a call without a result gets a neutral one, placed after the rows
        that are there.
        """
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "UPDATE messages SET state = 'incomplete', calls = '[]' WHERE agent_id = ? AND state = 'provisional'",
                (self._agent_id,),
            )
            touched = cursor.rowcount
            open_calls = _without_result(self.queue(queue_start))
            for reply, call in open_calls:
                self.append(
                    Message(
                        role="tool",
                        content=DID_NOT_COMPLETE,
                        agent_id=self._agent_id,
                        turn_id=reply.turn_id,
                        name=call.name,
                        call_id=call.id,
                        ok=False,
                    )
                )
            return touched + len(open_calls)

    # --- reading -------------------------------------------------------------------------------------------

    def queue(self, queue_start: int) -> list[Message]:
        """Return the live rows from `queue_start` on, in order of `seq`: the FIFO queue."""
        rows = self._database.query(
            "SELECT m.*, o.content AS override FROM messages m LEFT JOIN overrides o ON o.message_seq = m.seq"
            " WHERE m.agent_id = ? AND m.seq >= ? AND m.origin = 'live' AND m.superseded_by IS NULL ORDER BY m.seq",
            (self._agent_id, queue_start),
        )
        return [overridden(message_of(row), row["override"]) for row in rows]

    def whole(self, seqs: Sequence[int]) -> list[Message]:
        """Return rows as they are stored, in order, not as they may stand in the queue shortened."""
        rows = self._database.query(
            "SELECT * FROM messages WHERE agent_id = ? AND seq IN (SELECT value FROM json_each(?)) ORDER BY seq",
            (self._agent_id, json.dumps(list(seqs))),
        )
        return [message_of(row) for row in rows]

    def last_said(self, count: int) -> list[Words]:
        """Return the last `count` things that were said, oldest first."""
        return last_said(self._database, self._agent_id, count)

    def counts(self) -> tuple[int, int]:
        """Return how many messages recall storage and how many passages archival storage hold, at a cost of O(1)."""
        row = self._database.query("SELECT recall, archival FROM counts WHERE agent_id = ?", (self._agent_id,))[0]
        return row["recall"], row["archival"]

    @function()
    def conversation_search(
        self,
        query: str,
        page: int = 0,
        roles: list[Literal["user", "assistant"]] | None = None,
        start: str = "",
        end: str = "",
        around: int = 0,
    ) -> str:
        """Search all that was said and is no longer in view.

        Args:
            query: Words, a name or a question.
            page: From 0.
            roles: Only theirs.
            start: Since when: 2026-05, last Tuesday, in May.
            end: Until when, included.
            around: Messages shown on both sides of each, up to 3.
        """
        scope = Scope(self._syscalls.seen_from, between(start, end), tuple(roles or ()))
        offset = checked_page(page) * PAGE_SIZE
        found = self._search.find(self._agent_id, query, limit=PAGE_SIZE, offset=offset, scope=scope)
        if found.degraded:
            self._syscalls.publish(Notice(found.degraded))
        lines = self._lines([hit.seq for hit in found.hits], min(max(around, 0), AROUND_LIMIT))
        return page_text(lines, found.total, page, query, self._nothing())

    @function(in_small_windows=False)
    def conversation_search_date(self, start_date: str, end_date: str, page: int = 0) -> str:
        """List by day what was said and is no longer in view, oldest first.

        Args:
            start_date: First day: 2026-05-17, last Tuesday.
            end_date: Last day, included.
            page: From 0.
        """
        scope = Scope(self._syscalls.seen_from, between(start_date, end_date))
        where = f"FROM messages r WHERE r.agent_id = :agent_id AND {scope.condition('recall', 'r')}"
        offset = checked_page(page) * PAGE_SIZE
        values = scope.values | {"agent_id": self._agent_id, "limit": PAGE_SIZE, "offset": offset}
        total = self._database.query(f"SELECT count(*) {where}", values)[0][0]
        rows = self._database.query(
            f"SELECT r.seq {where} ORDER BY r.created_at, r.seq LIMIT :limit OFFSET :offset", values
        )
        return page_text(self._lines([row["seq"] for row in rows]), total, page, nothing=self._nothing())

    def _nothing(self) -> str:
        return NOTHING_ELSE if self._syscalls.seen_from < self._syscalls.turn_start else NOTHING

    def _lines(self, seqs: Sequence[int], around: int = 0) -> list[Line]:
        """Return a line for each row, with those around it, each row once."""
        beside = {seq: self._around(seq, around) for seq in seqs} if around else {}
        wanted = {seq for pair in beside.values() for side in pair for seq in side} | set(seqs)
        rows = self._database.query(
            "SELECT seq, speaker, said, created_at FROM messages WHERE seq IN (SELECT value FROM json_each(?))",
            (json.dumps(sorted(wanted)),),
        )
        by_seq = {row["seq"]: row for row in rows}
        shown = dict.fromkeys(seqs)
        lines = []
        for hit in seqs:
            before, after = beside.get(hit, ([], []))
            for seq in [*before, hit, *after]:
                if seq in by_seq and (seq == hit or seq not in shown):
                    shown[seq] = None
                    row = by_seq[seq]
                    at = datetime.fromisoformat(row["created_at"])
                    lines.append(Line(at, row["said"], row["speaker"], beside=seq != hit))
        self._syscalls.found("recall", [seq for seq in shown if seq in by_seq])
        return lines

    def _around(self, seq: int, count: int) -> tuple[list[int], list[int]]:
        """Return what was said right before and after a row in its session, in order, as far as it is not in view."""
        scope = Scope(self._syscalls.seen_from)

        def side(order: str, direction: str) -> list[int]:
            rows = self._database.query(
                "SELECT n.seq FROM messages r JOIN messages n ON n.agent_id = r.agent_id AND n.session IS r.session"  # noqa: S608
                f" WHERE r.seq = :seq AND n.seq {order} r.seq AND {scope.condition('recall', 'n')}"
                f" ORDER BY n.seq {direction} LIMIT :count",
                scope.values | {"seq": seq, "count": count},
            )
            return sorted(row["seq"] for row in rows)

        return side("<", "DESC"), side(">", "ASC")

    def _spoken(self, message: Message) -> dict[str, str]:
        said = spoken_words(message)
        speaker = self.agent_name if message.role == "assistant" else "user"
        text = index_text(message.created_at.astimezone(), speaker, said) if said else ""
        return {"said": said, "speaker": speaker if said else "", "search_text": text}


def _without_result(queue: Sequence[Message]) -> list[tuple[Message, FunctionCall]]:
    answered = {message.call_id for message in queue if message.role == "tool"}
    return [(message, call) for message in queue for call in message.calls if call.id not in answered]
