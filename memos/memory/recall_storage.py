"""Recall storage: every message ever, in order. The FIFO queue is a view on its newest rows.

Source: Packer et al. 2023, §2.2.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta

from memos.errors import FunctionFailed
from memos.functions.syscalls import Syscalls
from memos.functions.table import function
from memos.memory.message_rows import (
    INSERT,
    UPDATE,
    columns,
    message_of,
    overridden,
    override_of,
    spoken_words,
)
from memos.memory.pages import PAGE_SIZE, Line, page_text
from memos.memory.search import Search, index_text
from memos.messages import Event, EventKind, FunctionCall, Message, Notice, utc_now
from memos.storage.database import Database

DID_NOT_COMPLETE = "This call did not complete: memos was interrupted before its result was known."


class RecallStorage:
    """The messages of one agent. Methods that write are transactions; they return what is now stored."""

    def __init__(self, database: Database, agent_id: str, agent_name: str, search: Search, syscalls: Syscalls) -> None:
        self._database = database
        self._agent_id = agent_id
        self._agent_name = agent_name
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

    def counts(self) -> tuple[int, int]:
        """Return how many messages recall storage and how many passages archival storage hold, at a cost of O(1)."""
        row = self._database.query("SELECT recall, archival FROM counts WHERE agent_id = ?", (self._agent_id,))[0]
        return row["recall"], row["archival"]

    @function()
    def conversation_search(self, query: str, page: int = 0) -> str:
        """Search everything ever said here, including what has left the queue.

        Args:
            query: What to look for: words, a name, a question.
            page: The page of results, from 0.
        """
        found = self._search.find(
            self._agent_id,
            query,
            limit=PAGE_SIZE,
            offset=_checked_page(page) * PAGE_SIZE,
            exclude_from_seq=self._syscalls.turn_start,
        )
        if found.degraded:
            self._syscalls.publish(Notice(found.degraded))
        return page_text(self._lines([hit.seq for hit in found.hits]), found.total, page, query)

    @function(in_small_windows=False)
    def conversation_search_date(self, start_date: str, end_date: str, page: int = 0) -> str:
        """List what was said between two days, oldest first.

        Args:
            start_date: The first day, as YYYY-MM-DD, or today.
            end_date: The last day, included, as YYYY-MM-DD, or today.
            page: The page of results, from 0.
        """
        first, last = _day(start_date, "start_date"), _day(end_date, "end_date")
        span = (
            self._agent_id,
            _midnight(first).isoformat(),
            _midnight(last + timedelta(days=1)).isoformat(),
            self._syscalls.turn_start,
        )
        where = (
            "agent_id = ? AND said <> '' AND created_at >= ? AND created_at < ? AND seq < ? AND superseded_by IS NULL"
        )
        total = self._database.query(f"SELECT count(*) FROM messages WHERE {where}", span)[0][0]  # noqa: S608
        rows = self._database.query(
            f"SELECT seq FROM messages WHERE {where} ORDER BY created_at, seq LIMIT ? OFFSET ?",  # noqa: S608
            (*span, PAGE_SIZE, _checked_page(page) * PAGE_SIZE),
        )
        return page_text(self._lines([row["seq"] for row in rows]), total, page)

    def _lines(self, seqs: Sequence[int]) -> list[Line]:
        marks = ", ".join("?" * len(seqs))
        rows = self._database.query(
            f"SELECT seq, speaker, said, created_at FROM messages WHERE seq IN ({marks})",  # noqa: S608
            list(seqs),
        )
        by_seq = {row["seq"]: row for row in rows}
        return [
            Line(datetime.fromisoformat(by_seq[s]["created_at"]), by_seq[s]["said"], by_seq[s]["speaker"])
            for s in seqs
            if s in by_seq
        ]

    def _spoken(self, message: Message) -> dict[str, str]:
        said = spoken_words(message)
        speaker = self._agent_name if message.role == "assistant" else "user"
        text = index_text(message.created_at.astimezone(), speaker, said) if said else ""
        return {"said": said, "speaker": speaker if said else "", "search_text": text}


def _without_result(queue: Sequence[Message]) -> list[tuple[Message, FunctionCall]]:
    answered = {message.call_id for message in queue if message.role == "tool"}
    return [(message, call) for message in queue for call in message.calls if call.id not in answered]


def _checked_page(page: int) -> int:
    if not 0 <= page <= 1_000_000:
        raise FunctionFailed("page is a whole number from 0.")
    return page


def _day(text: str, name: str) -> date:
    if text.strip().lower() in ("today", "now"):
        return utc_now().astimezone().date()
    try:
        return datetime.fromisoformat(text.strip()).date()
    except ValueError as error:
        raise FunctionFailed(f'{name} is a day as YYYY-MM-DD, or "today".') from error


def _midnight(day: date) -> datetime:
    """Return the beginning of a local day, in UTC as the rows have it."""
    return datetime.combine(day, time()).astimezone().astimezone(utc_now().tzinfo)
