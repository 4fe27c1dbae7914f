"""A copy of an agent with all it remembers: rows are copied, with ids of their own, in one transaction.

Copying and not referring: each agent's rows stay its own, so that no search, count or erasure has to know of another
agent. It costs the disk space of the texts once more, and their vectors are made anew from the outbox.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memos.errors import BadInput
from memos.messages import new_id, utc_now
from memos.storage.agents import Agent, Agents, usable_name
from memos.storage.database import Database
from memos.storage.tiers import TABLE_NAMED


@dataclass(frozen=True, slots=True)
class Fork:
    """A copy of an agent, and what was copied; `size_bytes` is by how much the database grew."""

    agent: Agent
    messages: int
    passages: int
    edits: int
    size_bytes: int


def fork_agent(database: Database, source: Agent, name: str) -> Fork:
    """Copy an agent under another name: blocks with their edits, queue, summary, settings, recall and archival storage.

    What was taken back is not copied, nor what its model calls used. Blocking. Raises: BadInput.
    """
    agents, wanted = Agents(database), usable_name(name)
    if taken := agents.find(wanted):
        raise BadInput(f'There is already an agent named "{taken.name}".', "choose another name")
    with database.transaction() as connection:
        before = _size_bytes(connection)
        copied = _Copy(connection, source.id, new_id())
        try:
            counts = copied.all(wanted)
        finally:
            copied.clean()
        grown = _size_bytes(connection) - before
    return Fork(agents.get(wanted), *counts, max(0, grown))


class _Copy:
    """One copy under way. Temporary tables hold which row became which, by old `seq` and old id."""

    def __init__(self, connection: sqlite3.Connection, old: str, new: str) -> None:
        self._connection = connection
        self._ids = {"old": old, "new": new, "now": utc_now().isoformat()}

    def all(self, name: str) -> tuple[int, int, int]:
        """Copy everything; return how many messages, passages and edits that were."""
        for table, condition in (
            ("messages", "superseded_by IS NULL AND state <> 'provisional'"),
            ("passages", "superseded_by IS NULL"),
            ("revisions", "TRUE"),
            ("summaries", "TRUE"),
        ):
            self._number(table, condition)
        self._copy_agent(name)
        self._insert("blocks", {}, order="rowid")
        turn = "coalesce((SELECT t.new_id FROM fork_messages t WHERE t.old_id = o.turn_id), o.turn_id)"
        anew = {"seq": "f.new_seq", "id": "f.new_id", "turn_id": turn, "indexed_at": "NULL"}
        self._insert_numbered("messages", anew)
        self._insert_numbered("passages", anew)
        self._insert_numbered("revisions", {"seq": "f.new_seq", "turn_id": turn})
        self._insert_numbered("summaries", {"seq": "f.new_seq", "last_seq": _last("messages", "o.last_seq")})
        self._copy_overrides_and_prompts()
        self._renumber_what_was_found()
        count = self._connection.execute
        return (
            count("SELECT count(*) FROM fork_messages").fetchone()[0],
            count("SELECT count(*) FROM fork_passages").fetchone()[0],
            count("SELECT count(*) FROM fork_revisions").fetchone()[0],
        )

    def clean(self) -> None:
        """Drop the temporary tables."""
        for table in ("messages", "passages", "revisions", "summaries"):
            self._connection.execute(f"DROP TABLE IF EXISTS temp.fork_{table}")

    def _number(self, table: str, condition: str) -> None:
        """Give each row to be copied its new number, in the old order, and its new id."""
        old_id = "id" if table in ("messages", "passages") else "NULL"
        self._connection.execute(
            f"CREATE TEMP TABLE fork_{table} (old_seq INTEGER PRIMARY KEY, new_seq INTEGER, old_id TEXT, new_id TEXT)"
        )
        self._run(
            f"INSERT INTO fork_{table} SELECT seq, (SELECT coalesce(max(seq), 0) FROM sqlite_sequence"  # noqa: S608
            f" WHERE name = '{table}') + row_number() OVER (ORDER BY seq), {old_id}, lower(hex(randomblob(16)))"
            f" FROM {table} WHERE agent_id = :old AND {condition}"
        )
        if old_id == "id":
            self._connection.execute(f"CREATE INDEX temp.fork_{table}_ids ON fork_{table}(old_id)")

    def _copy_agent(self, name: str) -> None:
        queue_start = (
            "coalesce((SELECT min(new_seq) FROM fork_messages WHERE old_seq >= o.queue_start),"
            " (SELECT max(new_seq) + 1 FROM fork_messages), 0)"
        )
        self._ids["name"] = name
        changed = {
            "id": ":new",
            "name": ":name",
            "queue_start": queue_start,
            "flushed_at": _last("messages", "o.flushed_at"),
            "created_at": ":now",
            "paused_until": "NULL",
        }
        columns = self._columns("agents")
        values = ", ".join(changed.get(column, f"o.{column}") for column in columns)
        self._run(f"INSERT INTO agents ({', '.join(columns)}) SELECT {values} FROM agents o WHERE id = :old")  # noqa: S608

    def _insert(self, table: str, changed: Mapping[str, str], order: str) -> None:
        columns = self._columns(table)
        self._run(
            f"INSERT INTO {table} ({', '.join(columns)})"  # noqa: S608
            f" SELECT {', '.join(self._value(column, changed) for column in columns)}"
            f" FROM {table} o WHERE o.agent_id = :old ORDER BY o.{order}"
        )

    def _insert_numbered(self, table: str, changed: Mapping[str, str]) -> None:
        columns = self._columns(table)
        self._run(
            f"INSERT INTO {table} ({', '.join(columns)})"  # noqa: S608
            f" SELECT {', '.join(self._value(column, changed) for column in columns)}"
            f" FROM fork_{table} f JOIN {table} o ON o.seq = f.old_seq ORDER BY f.old_seq"
        )

    def _copy_overrides_and_prompts(self) -> None:
        self._run(
            "INSERT INTO overrides (message_seq, agent_id, content, created_at)"
            " SELECT f.new_seq, :new, o.content, o.created_at"
            " FROM overrides o JOIN fork_messages f ON f.old_seq = o.message_seq WHERE o.agent_id = :old"
        )
        first = "(SELECT min(new_seq) FROM fork_messages WHERE old_seq >= o.first_seq)"
        self._run(
            "INSERT INTO prompts (reply_seq, agent_id, first_seq, last_seq, revision_seq, summary_seq)"  # noqa: S608
            f" SELECT f.new_seq, :new, {first}, {_last('messages', 'o.last_seq')},"
            f" {_last('revisions', 'o.revision_seq')}, {_last('summaries', 'o.summary_seq')}"
            " FROM prompts o JOIN fork_messages f ON f.old_seq = o.reply_seq WHERE o.agent_id = :old"
        )

    def _renumber_what_was_found(self) -> None:
        """Let the results of searches name the copies of the rows they showed."""
        rows = self._connection.execute(
            "SELECT m.seq, m.payload FROM messages m WHERE m.agent_id = :new AND m.role = 'tool'"
            " AND json_extract(m.payload, '$.found') IS NOT NULL",
            self._ids,
        ).fetchall()
        for row in rows:
            payload = json.loads(row["payload"])
            payload["found"] = {
                tier: self._new_seqs(TABLE_NAMED[tier], seqs)
                for tier, seqs in payload["found"].items()
                if tier in TABLE_NAMED
            }
            self._connection.execute("UPDATE messages SET payload = ? WHERE seq = ?", (json.dumps(payload), row["seq"]))

    def _new_seqs(self, table: str, seqs: Sequence[int]) -> list[int]:
        rows = self._connection.execute(
            f"SELECT old_seq, new_seq FROM fork_{table} WHERE old_seq IN (SELECT value FROM json_each(?))",  # noqa: S608
            (json.dumps(list(seqs)),),
        )
        new = {row["old_seq"]: row["new_seq"] for row in rows}
        return [new[seq] for seq in seqs if seq in new]

    def _columns(self, table: str) -> list[str]:
        """Return the columns of a table that are written; a `seq` that nobody names is given by SQLite."""
        return [row["name"] for row in self._connection.execute(f"PRAGMA table_info({table})")]

    @staticmethod
    def _value(column: str, changed: Mapping[str, str]) -> str:
        return ":new" if column == "agent_id" else changed.get(column, f"o.{column}")

    def _run(self, sql: str) -> None:
        self._connection.execute(sql, self._ids)


def _last(table: str, seq: str) -> str:
    """Return the SQL of the copy of the row `seq`, or of the newest one before it; 0 where there is none."""
    return f"coalesce((SELECT max(new_seq) FROM fork_{table} WHERE old_seq <= {seq}), 0)"  # noqa: S608


def _size_bytes(connection: sqlite3.Connection) -> int:
    def pragma(name: str) -> int:
        return int(connection.execute(f"PRAGMA {name}").fetchone()[0])

    return (pragma("page_count") - pragma("freelist_count")) * pragma("page_size")
