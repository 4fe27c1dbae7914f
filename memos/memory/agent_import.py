"""An exported agent comes back: every line is checked before the first row is written, and all rows come at once.

A checksum tells of an accident, not of malice: what a line says is held to the schema, to the file's own numbers, and
to what a message can be.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, BinaryIO, NoReturn

from memos.errors import BadInput
from memos.memory.message_rows import message_of, overridden
from memos.messages import EventKind, new_id
from memos.storage.agent_export import EXPORT_FORMAT, canonical
from memos.storage.agent_tables import TABLES, AgentTable
from memos.storage.agents import Agent, Agents, usable_name
from memos.storage.database import SCHEMA_VERSION, Database
from memos.storage.tiers import TABLE_NAMED

LINE_LIMIT_BYTES = 64 * 1024 * 1024
_COPY = "export the agent again, or use an unchanged copy; nothing was imported"
_UPGRADE = "upgrade memos: pip install -U memos-chat"
_ID = re.compile(r"[0-9a-f]{32}")
_ID_LIMIT_CHARS = 200
_HASH = re.compile(r"[0-9a-f]{64}")
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_LARGEST = 2**53

Report = Callable[[int], None]
"""Told after each line how many bytes have been read."""


@dataclass(frozen=True, slots=True)
class AgentFile:
    """A file that was read to its end and holds one agent. `settings` are the agent's own, by dotted name.

    `redacted`: secrets were left out of it.
    """

    name: str
    settings: Mapping[str, Any]
    model: str
    counts: Mapping[str, int]
    content_sha256: str
    redacted: bool
    since: str | None


@dataclass(frozen=True, slots=True)
class ImportedAgent:
    """An agent that came back, and the rows it came with, by table."""

    agent: Agent
    counts: Mapping[str, int]


class Fault(ValueError):
    """What is wrong with one line, as half a sentence."""


def check_file(database: Database, source: BinaryIO, shown: str, report: Report = lambda read: None) -> AgentFile:
    """Read an export to its end and return what it holds; `shown` names it in errors. Nothing is written.

    Raises: BadInput.
    """
    lines = _Lines(source, shown, report)
    agent: dict[str, Any] = {}
    columns = _Columns(database)
    for table, row in lines:
        _checked(lines, partial(columns.values, TABLES[table], row))
        if table == "agents":
            agent = row
    if lines.counts["agents"] != 1:
        lines.refuse("holds no agent")
    since = lines.header.get("since")
    return AgentFile(
        str(lines.header.get("agent", "")),
        agent["settings"],
        agent["model"],
        dict(lines.counts),
        lines.content_sha256,
        lines.redacted,
        since if isinstance(since, str) else None,
    )


def import_agent(
    database: Database,
    source: BinaryIO,
    shown: str,
    file: AgentFile,
    name: str,
    report: Report = lambda read: None,
) -> ImportedAgent:
    """Store the agent of a file that `check_file` has read, under `name`, in one transaction. Blocking.

    Ids are kept where they are free. Vectors are made later, from the outbox. Raises: BadInput, StorageProblem.
    """
    wanted, agents = usable_name(name), Agents(database)
    source.seek(0)
    lines = _Lines(source, shown, report)
    with database.transaction() as connection:
        if taken := agents.find(wanted):
            raise BadInput(f'There is already an agent named "{taken.name}".', "add --as NAME, with another name")
        rows = _Rows(connection, _Columns(database), wanted, file.counts)
        for table, row in lines:
            _checked(lines, partial(rows.insert, TABLES[table], row))
        if lines.content_sha256 != file.content_sha256:
            lines.refuse("was changed while it was read")
        _checked(lines, rows.finish)
        return ImportedAgent(agents.get(wanted), dict(lines.counts))


def _checked(lines: _Lines, work: Callable[[], object]) -> None:
    """Do what may find a line at fault, or not to fit the schema. Raises: BadInput."""
    try:
        work()
    except Fault as fault:
        lines.refuse_line(str(fault))
    except sqlite3.IntegrityError as error:
        lines.refuse_line(f"the row does not fit the database ({error})")
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:  # no message can be like that
        lines.refuse_line(f"the row means nothing ({type(error).__name__})")


class _Lines:
    """The rows of an export, one line at a time, in order, until the footer has been found right."""

    def __init__(self, source: BinaryIO, shown: str, report: Report) -> None:
        self._source = source
        self._shown = shown
        self._report = report
        self._number = self._read_bytes = 0
        self._checksum, self._content = hashlib.sha256(), hashlib.sha256()
        self.counts: Counter[str] = Counter()
        self.header: dict[str, Any] = {}
        self.redacted = False

    @property
    def content_sha256(self) -> str:
        """The checksum of the content so far."""
        return self._content.hexdigest()

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield table and row of each line. Raises: BadInput."""
        self.header = self._header()
        order = list(TABLES)
        at = 0
        while True:
            checksum = self._checksum.hexdigest()
            value = self._next()
            if "end" in value:
                self._check_end(value["end"], checksum)
                return
            table = value.pop("table", None)
            if not isinstance(table, str) or table not in order[at:]:
                self.refuse_line("it belongs to no table, or stands in the wrong place")
            at = order.index(table)
            self.counts[table] += 1
            if TABLES[table].numbered and value.get("seq") != self.counts[table]:
                self.refuse_line("its number is not the next one")
            self._content.update(canonical(table, value))
            yield table, value

    def refuse(self, fault: str) -> NoReturn:
        """Raise for what the file as a whole is not. Raises: BadInput."""
        raise BadInput(f"{self._shown} {fault}.", _COPY)

    def refuse_line(self, fault: str) -> NoReturn:
        """Raise for what is wrong with the line read last. Raises: BadInput."""
        raise BadInput(f"{self._shown}, line {self._number}: {fault}.", _COPY)

    def _header(self) -> dict[str, Any]:
        try:
            header = self._next()
        except BadInput as problem:
            raise self._no_export() from problem
        form, schema = header.get("memos_export"), header.get("schema_version")
        if type(form) is not int or type(schema) is not int:
            raise self._no_export()
        if form > EXPORT_FORMAT or schema > SCHEMA_VERSION:
            raise BadInput(f"{self._shown} was exported by a newer memos.", _UPGRADE)
        if form < 1 or schema < 1 or not isinstance(header.get("agent"), str):
            raise self._no_export()
        return header

    def _no_export(self) -> BadInput:
        return BadInput(
            f"{self._shown} is no export of an agent.",
            "memos export AGENT -o FILE makes one; memos import messages takes other chats",
        )

    def _next(self) -> dict[str, Any]:
        line = self._source.readline(LINE_LIMIT_BYTES + 1)
        self._number += 1
        if not line.endswith(b"\n"):
            if len(line) > LINE_LIMIT_BYTES:
                self.refuse_line(f"the line is longer than {LINE_LIMIT_BYTES // 1024**2} MB")
            self.refuse("is cut off: its last line is missing")
        self._checksum.update(line)
        self._read_bytes += len(line)
        self._report(self._read_bytes)
        try:
            value = json.loads(line.decode("utf-8"), parse_constant=_no_number)
        except (ValueError, RecursionError):
            self.refuse_line("no JSON, or not UTF-8")
        if not isinstance(value, dict):
            self.refuse_line("no JSON object")
        return value

    def _check_end(self, end: object, checksum: str) -> None:
        if not isinstance(end, dict) or self._source.read(1):
            self.refuse("has more after its end, or no proper end")
        if end.get("sha256") != checksum or end.get("counts") != dict(self.counts):
            self.refuse("was changed or damaged after it was exported: its checksum does not fit")
        self.redacted = bool(end.get("redacted"))
        if end.get("content_sha256") != self.content_sha256:
            self.refuse("was changed after it was exported: the checksum of its content does not fit")


class _Columns:
    """What the columns of the tables may hold, by the schema."""

    def __init__(self, database: Database) -> None:
        self._kinds = {
            table: {row["name"]: row["type"] for row in database.query(f"PRAGMA table_info({table})")}
            for table in TABLES
        }

    def values(self, table: AgentTable, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row as SQLite takes it. Raises: Fault."""
        values = {name: self._value(table, name, value) for name, value in row.items()}
        _check_meaning(table.name, row, values)
        return values

    def _value(self, table: AgentTable, name: str, value: Any) -> Any:
        kind = self._kinds[table.name].get(name)
        if kind is None or name == "agent_id" or name in table.left_out:
            raise Fault(f'{table.name} has no "{name:.60}" to be imported')
        if value is None:
            return None  # where it must not be missing, SQLite says so
        if name in table.json:
            return _packed(name, value)
        return _fitting(name, kind, value)


class _Rows:
    """The rows of one agent on their way into the database, within a transaction."""

    def __init__(self, connection: sqlite3.Connection, columns: _Columns, name: str, counts: Mapping[str, int]) -> None:
        self._connection = connection
        self._columns = columns
        self._name = name
        self._counts = counts
        self._agent_id = ""
        self._before = {
            table.name: _one(
                connection, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?", (table.name,)
            )
            for table in TABLES.values()
            if table.numbered
        }

    def insert(self, table: AgentTable, row: dict[str, Any]) -> None:
        """Store one row under numbers of this database. Raises: Fault, sqlite3.IntegrityError."""
        if table.name == "messages" and "found" in row["payload"]:
            row["payload"]["found"] = self._found(row["payload"]["found"])
        values = self._columns.values(table, row)
        for column, reference in table.references.items():
            if reference.way == "id":
                self._check_id_reference(values.get(column), reference.table)
            else:
                values[column] = self._seq(values[column], reference.way, reference.table)
        if table.numbered:
            values["seq"] += self._before[table.name]
        if "id" in table.own:
            values["id"] = self._free_id(table.name, values["id"])
        if table.name == "agents":
            self._agent_id = values["id"]
            values["name"] = self._name
        elif table.name != "attachments":
            values["agent_id"] = self._agent_id
        again = " OR IGNORE" if table.name == "attachments" else ""  # the same hash is the same picture
        self._connection.execute(
            f"INSERT{again} INTO {table.name} ({', '.join(values)})"  # names that the schema has
            f" VALUES ({', '.join(':' + name for name in values)})",
            values,
        )
        if table.name == "overrides":
            self._check_override(values["message_seq"], values["content"])

    def finish(self) -> None:
        """Let numbers of rows become their ids, and count anew. Raises: Fault, sqlite3.IntegrityError."""
        for table in TABLES.values():
            for column, reference in table.references.items():
                if reference.way == "id":
                    self._connection.execute(
                        f"UPDATE {table.name} SET {column} = (SELECT t.id FROM {reference.table} t"  # noqa: S608
                        f" WHERE t.seq = :before + CAST(substr({table.name}.{column}, 2) AS INTEGER))"
                        f" WHERE agent_id = :agent AND {column} LIKE '@%'",
                        {"before": self._before[reference.table], "agent": self._agent_id},
                    )
        self._connection.execute(
            "UPDATE counts SET (recall, archival) = ("
            " (SELECT count(*) FROM messages WHERE agent_id = :agent AND said <> '' AND superseded_by IS NULL),"
            " (SELECT count(*) FROM passages WHERE agent_id = :agent AND superseded_by IS NULL))"
            " WHERE agent_id = :agent",
            {"agent": self._agent_id},
        )

    def _seq(self, number: object, way: str, table: str) -> int:
        """Return the `seq` of the row with that number in the file. Raises: Fault."""
        rows = self._counts.get(table, 0)
        least, most = {"row": (1, rows), "up_to": (0, rows), "from": (1, rows + 1)}[way]
        if not isinstance(number, int) or not least <= number <= most:
            raise Fault("it refers to a row that the file does not have")
        return number + self._before[table] if number else 0

    def _check_id_reference(self, value: object, table: str) -> None:
        if isinstance(value, str) and value.startswith("@"):
            number = value[1:]
            self._seq(int(number) if number.isdecimal() and number.isascii() else None, "row", table)

    def _found(self, found: object) -> dict[str, list[int]]:
        if not isinstance(found, dict) or set(found) - set(TABLE_NAMED):
            raise Fault("what a search found is in no tier")
        return {
            tier: [self._seq(number, "row", TABLE_NAMED[tier]) for number in numbers] for tier, numbers in found.items()
        }

    def _check_override(self, seq: int, content: str) -> None:
        """Refuse what cannot stand for its message in the queue. Raises: Fault, KeyError, TypeError, ValueError."""
        row = self._connection.execute("SELECT * FROM messages WHERE seq = ?", (seq,)).fetchone()
        short = overridden(message_of(row), content)
        parts = [short.content, *(call.arguments for call in short.calls), *short.attachments]
        if not all(isinstance(part, str) for part in parts):
            raise Fault("a shortened message is of the wrong kind")

    def _free_id(self, table: str, wanted: object) -> str:
        """Return the id as it was, or a new one where it is taken or none. Raises: Fault."""
        if not isinstance(wanted, str) or not 0 < len(wanted) <= _ID_LIMIT_CHARS:
            raise Fault("its id is none")
        if table == "agents" and not _ID.fullmatch(wanted):  # it names a lock file
            return new_id()
        found = self._connection.execute(f"SELECT 1 FROM {table} WHERE id = ?", (wanted,)).fetchone()  # noqa: S608
        return new_id() if found else wanted


def _check_meaning(table: str, row: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Refuse what an agent could not be opened with. Raises: Fault, KeyError, TypeError, ValueError."""
    match table:
        case "messages":
            message = message_of({"agent_id": "", **values})  # type: ignore[arg-type]  # it only looks columns up
            if not all(
                isinstance(text, str) for call in message.calls for text in (call.id, call.name, call.arguments)
            ):
                raise Fault("a call is of the wrong kind")
            _check_images(row)
        case "inbox":
            EventKind(row["kind"])
            _check_images(row)
        case "attachments":
            data = values["bytes"]
            if hashlib.sha256(data).hexdigest() != row["hash"] or len(data) != row["size_bytes"]:
                raise Fault("an image is not the one its hash names")
            if row["media_type"] not in _PICTURES or row["width"] < 1 or row["height"] < 1:
                raise Fault("an image is of no kind that memos keeps")
        case "agents":
            if not all(isinstance(row[name], str) for name in ("id", "name", "model")):
                raise Fault("its name or model is none")
        case "passages":
            if not all(isinstance(tag, str) for tag in row["tags"]):
                raise Fault("a tag is of the wrong kind")


def _check_images(row: Mapping[str, Any]) -> None:
    for image in row["payload"].get("images", ()):
        sizes = (image["width"], image["height"])
        if not _HASH.fullmatch(image["hash"]) or not isinstance(image["name"], str) or set(map(type, sizes)) != {int}:
            raise Fault("what it says of an image is of the wrong kind")
    if type(row["payload"].get("utc_offset_min", 0)) is not int:
        raise Fault("a time zone is of the wrong kind")
    if not all(_HASH.fullmatch(digest) for digest in row.get("attachments", ())):
        raise Fault("an image is named by no hash")


def _fitting(name: str, kind: str, value: object) -> object:
    """Return a value as a column of that type takes it. Raises: Fault, ValueError."""
    if kind in ("TEXT", "BLOB") and isinstance(value, str):
        if kind == "BLOB":
            return _bytes(value)
        value.encode()  # raises for half of a surrogate pair
        if name.endswith("_at") and datetime.fromisoformat(value).utcoffset() is None:
            raise Fault(f"{name} is a time without a zone")
        return value
    number = int if kind == "INTEGER" else int | float
    if kind in ("INTEGER", "REAL") and isinstance(value, number) and not isinstance(value, bool):
        if not abs(value) < _LARGEST:
            raise Fault(f"{name} is too large")
        return value
    raise Fault(f"{name} is of the wrong kind")


def _packed(name: str, value: Any) -> str:
    expected = list if name in ("calls", "attachments", "tags") else dict
    if not isinstance(value, expected):
        raise Fault(f"{name} is of the wrong kind")
    return json.dumps(value)


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Fault("an image is no base64") from error


def _one(connection: sqlite3.Connection, sql: str, parameters: tuple[object, ...]) -> int:
    return int(connection.execute(sql, parameters).fetchone()[0])


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")
