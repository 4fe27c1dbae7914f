"""An agent as JSON lines: a header, its rows table by table, and a footer with counts and checksums.

It is read in one transaction of a connection of its own: a chat that goes on meanwhile is neither stopped nor seen.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from memos import __version__
from memos.errors import AgentNotFound
from memos.messages import Image, utc_now
from memos.redaction import Redaction
from memos.safe_text import safe_json
from memos.storage.agent_tables import TABLES, AgentTable, Reference, content
from memos.storage.database import SCHEMA_VERSION, translated_errors
from memos.storage.tiers import TABLE_NAMED

EXPORT_FORMAT = 1
"""The form of the lines themselves; what stands in them is the schema of that version of the database."""

_BATCH = 256
_HASHES = """
SELECT DISTINCT value FROM messages, json_each(messages.attachments) WHERE agent_id = :agent AND {messages}
UNION SELECT json_extract(value, '$.hash') FROM messages, json_each(messages.payload, '$.images')
    WHERE agent_id = :agent AND {messages}
UNION SELECT json_extract(value, '$.hash') FROM inbox, json_each(inbox.payload, '$.images')
    WHERE agent_id = :agent
"""
_SINCE = """(CASE origin WHEN 'import' THEN created_at >= :since ELSE seq >= coalesce((
    SELECT min(seq) FROM messages WHERE agent_id = :agent AND origin = 'live' AND role = 'user' AND id = turn_id
    AND created_at >= :since), 9e18) END)"""
_ROW_OF = "(SELECT number FROM temp.number_{table} WHERE old_seq = o.{column})"
_UP_TO = "coalesce((SELECT max(number) FROM temp.number_{table} WHERE old_seq <= o.{column}), 0)"
_FROM = "1 + coalesce((SELECT max(number) FROM temp.number_{table} WHERE old_seq < o.{column}), 0)"
_ID_OF = "coalesce('@' || (SELECT number FROM temp.number_{table} WHERE old_id = o.{column}), o.{column})"
_WAYS = {"row": _ROW_OF, "up_to": _UP_TO, "from": _FROM, "id": _ID_OF}


class AgentSnapshot:
    """One agent as it was when the snapshot was taken. `redaction`, where there is one, has seen every text given out.

    Its methods block; rows are read as they are asked for.
    """

    def __init__(
        self, connection: sqlite3.Connection, name: str, since: datetime | None, redaction: Redaction | None
    ) -> None:
        self._connection = connection
        self.since = since
        self.redaction = redaction
        found = connection.execute("SELECT id, name FROM agents WHERE name = ?", (name,)).fetchone()
        if found is None:
            raise AgentNotFound(f'There is no agent named "{name}".', "memos list agents")
        self.name = str(found["name"])
        self._ids = {"agent": found["id"], "since": since.isoformat() if since else ""}
        for table in TABLES.values():
            if table.numbered:
                self._number(table)

    @property
    def agent(self) -> dict[str, Any]:
        """The agent's row of the register."""
        return next(self.rows("agents"))

    def count(self, *tables: str) -> int:
        """Return how many rows these tables have, all of them where none is named."""
        return sum(
            int(self._connection.execute(f"SELECT count(*) {self._source(table)}", self._ids).fetchone()[0])
            for table in map(TABLES.__getitem__, tables or TABLES)
        )

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a table in their order, as an export has them: numbered, JSON unpacked, bytes as base64."""
        table = TABLES[name]
        columns = [column for column in self._columns(name) if column not in {"agent_id", *table.left_out}]
        selected = ", ".join(f"{self._expression(table, column)} AS {column}" for column in columns)
        sql = f"SELECT {selected} {self._source(table)} ORDER BY o.{table.order}"
        cursor = self._connection.execute(sql, self._ids)
        cursor.arraysize = _BATCH
        for row in cursor:
            yield self._told(table, dict(row))

    def image(self, digest: str) -> Image | None:
        """Return the image of that hash."""
        row = self._connection.execute("SELECT * FROM attachments WHERE hash = ?", (digest,)).fetchone()
        if row is None:
            return None
        name = self.redaction.text(row["name"]) if self.redaction else row["name"]
        return Image(row["hash"], row["media_type"], row["width"], row["height"], name, bytes(row["bytes"]))

    def _told(self, table: AgentTable, row: dict[str, Any]) -> dict[str, Any]:
        for column in table.json:
            row[column] = json.loads(row[column]) if row[column] is not None else None
        if table.name == "attachments":
            return row | {"bytes": base64.b64encode(row["bytes"]).decode("ascii")}
        if table.name == "messages" and isinstance(found := row["payload"].get("found"), dict):
            row["payload"]["found"] = {
                tier: self._numbers(TABLE_NAMED[tier], seqs) for tier, seqs in found.items() if tier in TABLE_NAMED
            }
        return self.redaction.value(row) if self.redaction else row

    def _numbers(self, table: str, seqs: list[int]) -> list[int]:
        """Return the numbers of these rows, as far as they go along."""
        rows = self._connection.execute(
            f"SELECT old_seq, number FROM temp.number_{table}"  # noqa: S608
            " WHERE old_seq IN (SELECT value FROM json_each(?))",
            (json.dumps(seqs),),
        )
        numbers = {row["old_seq"]: row["number"] for row in rows}
        return [numbers[seq] for seq in seqs if seq in numbers]

    def _number(self, table: AgentTable) -> None:
        """Number the rows that go along, from 1."""
        has_id = "id" in self._columns(table.name)
        self._connection.execute(
            f"CREATE TEMP TABLE number_{table.name} (old_seq INTEGER PRIMARY KEY, number INTEGER, old_id TEXT)"
        )
        self._connection.execute(
            f"INSERT INTO temp.number_{table.name} SELECT seq, row_number() OVER (ORDER BY seq),"  # noqa: S608
            f" {'id' if has_id else 'NULL'} FROM {table.name} WHERE agent_id = :agent AND {self._condition(table)}",
            self._ids,
        )
        if has_id:
            self._connection.execute(f"CREATE INDEX temp.number_{table.name}_ids ON number_{table.name}(old_id)")

    def _condition(self, table: AgentTable) -> str:
        if table.name == "inbox":  # what was fetched already is a message
            return "id NOT IN (SELECT id FROM messages)"
        if self.since is None:
            return "TRUE"
        return _SINCE if table.name == "messages" else "created_at >= :since"

    def _source(self, table: AgentTable) -> str:
        """Return where a table's rows come from: FROM and WHERE of their SELECT."""
        if table.numbered:
            return f"FROM temp.number_{table.name} n JOIN {table.name} o ON o.seq = n.old_seq"
        if table.name == "agents":
            return "FROM agents o WHERE id = :agent"
        if table.name == "attachments":
            hashes = _HASHES.format(messages=self._condition(TABLES["messages"]))
            return f"FROM attachments o WHERE hash IN ({hashes})"
        going = (
            f" AND {column} IN (SELECT old_seq FROM temp.number_{reference.table})"  # noqa: S608
            for column, reference in table.references.items()
            if reference.way == "row"
        )
        return f"FROM {table.name} o WHERE agent_id = :agent{''.join(going)}"

    @staticmethod
    def _expression(table: AgentTable, column: str) -> str:
        reference: Reference | None = table.references.get(column)
        if reference is not None:
            return _WAYS[reference.way].format(table=reference.table, column=column)
        return "n.number" if table.numbered and column == "seq" else f"o.{column}"

    def _columns(self, table: str) -> list[str]:
        return [row["name"] for row in self._connection.execute(f"PRAGMA table_info({table})")]


@contextmanager
def agent_snapshot(
    path: Path, name: str, *, since: datetime | None = None, redaction: Redaction | None = None
) -> Iterator[AgentSnapshot]:
    """Open the agent of that name in the database at `path`, which has the newest schema, for reading as it is now.

    With `since` (UTC) of turns, passages and edits only what began then or later. Raises: AgentNotFound,
    StorageProblem, DataDamaged.
    """
    with translated_errors(path):
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=10, check_same_thread=False
        )
        with closing(connection):
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")
            yield AgentSnapshot(connection, name, since, redaction)


class JsonLines:
    """The lines of an export as they are written, with what its footer says of them."""

    def __init__(self, snapshot: AgentSnapshot) -> None:
        self._snapshot = snapshot
        self._checksum = hashlib.sha256()
        self._content = hashlib.sha256()
        self._counts: Counter[str] = Counter()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines, each with its end."""
        yield self._line(self._header())
        for table in TABLES:
            for row in self._snapshot.rows(table):
                self._counts[table] += 1
                self._content.update(canonical(table, row))
                yield self._line({"table": table, **row})
        yield self._line({"end": self._footer()})

    def _line(self, value: Mapping[str, Any]) -> bytes:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        line = safe_json(text).encode() + b"\n"
        self._checksum.update(line)
        return line

    def _header(self) -> dict[str, Any]:
        since = self._snapshot.since
        return {
            "memos_export": EXPORT_FORMAT,
            "schema_version": SCHEMA_VERSION,
            "memos": __version__,
            "agent": self._snapshot.name,
            "exported_at": utc_now().isoformat(timespec="seconds"),
            "since": since.isoformat() if since else None,
            "redacted": self._snapshot.redaction is not None,
        }

    def _footer(self) -> dict[str, Any]:
        redaction = self._snapshot.redaction
        return {
            "counts": dict(self._counts),
            "redacted": dict(redaction.counts) if redaction else {},
            "content_sha256": self._content.hexdigest(),
            "sha256": self._checksum.hexdigest(),
        }


def canonical(table: str, row: Mapping[str, object]) -> bytes:
    """Return the bytes by which a row's content is compared."""
    return json.dumps([table, content(table, row)], sort_keys=True, separators=(",", ":")).encode()
