"""Chats held elsewhere, as rows of recall storage: one JSON object a line in, rows that can be found out.

Imported rows are never in the FIFO queue. Their ids follow from the agent and the file, so that a line stored twice is
stored once; where the file gives no id, the same role, moment, words and session are the same message.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

from memos.memory.message_rows import INSERT, columns
from memos.memory.search import index_text
from memos.messages import EventKind, Message, Origin, Provenance, utc_now
from memos.safe_text import storable
from memos.storage.agents import Agent
from memos.storage.database import Database

LINE_LIMIT_BYTES = 16 * 1024 * 1024
_NAME_LIMIT_CHARS = 64
_ID_LIMIT_CHARS = 500
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_BOM = b"\xef\xbb\xbf"
_TIME_EXAMPLE = "such as 2024-03-01T14:05:00+01:00"


@dataclass(frozen=True, slots=True)
class ImportedMessage:
    """One message of a file. `id` and `session` are the file's own, '' where it gives none; `created_at` is UTC.

    `written_at` is that time as the file has it: the same line is the same message in whatever time zone it is read.
    """

    role: str
    content: str
    created_at: datetime
    name: str = ""
    session: str = ""
    id: str = ""
    written_at: str = ""


@dataclass(frozen=True, slots=True)
class BadLine:
    """Why line `number` (from 1) is no message, and what to mend: "role is missing; user or assistant is meant"."""

    number: int
    fault: str


class Fault(ValueError):
    """What is wrong with one line, as half a sentence."""


def read_messages(file: BinaryIO) -> Iterator[ImportedMessage | BadLine]:
    """Yield what each line of a JSONL file holds, in order; empty lines yield nothing. One line is held at a time."""
    number = 0
    while line := file.readline(LINE_LIMIT_BYTES + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(_BOM)
        if len(line) > LINE_LIMIT_BYTES and not line.endswith(b"\n"):
            _skip_line(file)
            yield BadLine(number, f"the line is longer than {LINE_LIMIT_BYTES // 1024**2} MB; split it")
        elif line.strip():
            try:
                yield message_of_line(line)
            except Fault as fault:
                yield BadLine(number, str(fault))


def message_of_line(line: bytes) -> ImportedMessage:
    """Return the message in one line. Raises: Fault."""
    given = _json_object(line)
    if "memos_export" in given:
        raise Fault("it begins an exported agent; memos import agent FILE brings that back")
    role = given.get("role")
    if role not in ("user", "assistant"):
        what = f"role is {_shown(role)}" if "role" in given else "role is missing"
        raise Fault(f'{what}; "user" or "assistant" is meant')
    return ImportedMessage(
        role=str(role),
        content=_content(given),
        created_at=_moment(given),
        name=_label(given, "name", _NAME_LIMIT_CHARS),
        session=_label(given, "session", _ID_LIMIT_CHARS),
        id=_label(given, "id", _ID_LIMIT_CHARS),
        written_at=str(given["created_at"]).strip(),
    )


def store(database: Database, agent: Agent, messages: Sequence[ImportedMessage]) -> int:
    """Store messages as rows of recall storage, in order and in one transaction; return how many were new. Blocking."""
    rows = [_row(agent, message) for message in messages]
    stored = 0
    with database.transaction() as connection:
        for row in rows:
            stored += connection.execute(f"{INSERT} ON CONFLICT (id) DO NOTHING", row).rowcount
    return stored


def _row(agent: Agent, message: ImportedMessage) -> dict[str, object]:
    by_user = message.role == "user"
    speaker = message.name or ("user" if by_user else agent.name)
    row = Message(
        role="user" if by_user else "assistant",
        content=message.content,
        agent_id=agent.id,
        turn_id="",
        kind=EventKind.USER_MESSAGE if by_user else None,
        payload={} if by_user else {"spoken": True},
        origin=Origin.IMPORT,
        provenance=Provenance.USER if by_user else Provenance.AGENT,
        session=f"import:{message.session}",
        id=_row_id(agent, message),
        created_at=message.created_at,
    )
    text = index_text(message.created_at.astimezone(), speaker, message.content)
    return columns(row) | {"said": message.content, "speaker": speaker, "search_text": text}


def _row_id(agent: Agent, message: ImportedMessage) -> str:
    """Return an id of 32 hexadecimal digits, the same for the same message of the same agent."""
    written_at = message.written_at or message.created_at.isoformat()
    own = [message.role, written_at, message.content, message.session]
    parts = [agent.id, message.id] if message.id else [agent.id, *own]
    return hashlib.sha256(json.dumps(["import", *parts]).encode()).hexdigest()[:32]


# --- one line ----------------------------------------------------------------------------------------------------


def _json_object(line: bytes) -> dict[str, object]:
    try:
        given = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Fault(f"byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise Fault(f"no JSON ({error.msg} at character {error.pos + 1}); one object a line is meant") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets in brackets
        raise Fault(
            "nested too deep, or a number with too many digits; role, content and created_at are enough"
        ) from error
    if not isinstance(given, dict):
        raise Fault('no JSON object; {"role": …, "content": …, "created_at": …} is meant')
    return given


def _content(given: dict[str, object]) -> str:
    content = given.get("content")
    if content is None:
        raise Fault("content is missing; the words of the message are meant")
    if not isinstance(content, str):
        raise Fault(f"content is {_shown(content)}; text is meant")
    if not content.strip():
        raise Fault("content is empty; take the line out, or let --skip-bad leave it out")
    return storable(content)


def _label(given: dict[str, object], field: str, limit_chars: int) -> str:
    """Return a short text, or number, on one line; '' where there is none."""
    value = given.get(field)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Fault(f"{field} is {_shown(value)}; text is meant")
    text = " ".join(storable(str(value)).split())
    if len(text) > limit_chars:
        raise Fault(f"{field} has {len(text)} characters; at most {limit_chars} are meant")
    return text


def _moment(given: dict[str, object]) -> datetime:
    """Return `created_at` in UTC; without a zone it is local time."""
    if given.get("created_at") is None:
        raise Fault(f"created_at is missing; a time is meant, {_TIME_EXAMPLE}")
    value = given["created_at"]
    try:
        moment = datetime.fromisoformat(value.strip() if isinstance(value, str) else "").astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise Fault(f"created_at is {_shown(value)}; a time is meant, {_TIME_EXAMPLE}") from error
    if not _EARLIEST <= moment <= utc_now() + timedelta(days=1):
        raise Fault(f"created_at is {_shown(value)}; a time between 1970 and now is meant")
    return moment


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _skip_line(file: BinaryIO) -> None:
    while (rest := file.readline(LINE_LIMIT_BYTES)) and not rest.endswith(b"\n"):
        pass
