"""From messages to rows of the table `messages` and back, and what of a row was said aloud."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from memos.functions.arguments import parsed_leniently
from memos.functions.table import SPEECH_FUNCTION
from memos.messages import Event, EventKind, FunctionCall, Message, MessageState, Origin, Provenance, Reply, utc_now
from memos.safe_text import storable
from memos.storage.attachments import attached, words_and_images


def event_message(event: Event, agent_id: str, turn_id: str) -> Message:
    """Return the row that an event becomes; it keeps the event's id, so storing it twice stores it once."""
    return Message(
        role="user",
        content=event.text,
        agent_id=agent_id,
        turn_id=turn_id,
        kind=event.kind,
        payload=dict(event.payload) | local_offset(event.created_at),
        attachments=attached(event.payload),
        provenance=Provenance.USER if event.kind is EventKind.USER_MESSAGE else Provenance.SYSTEM,
        id=event.id,
        created_at=event.created_at,
    )


def local_offset(at: datetime) -> dict[str, int]:
    """Return what a row keeps of the user's time zone: its packet must read the same for ever, wherever it is read."""
    offset = at.astimezone().utcoffset() or timedelta()
    return {"utc_offset_min": int(offset.total_seconds() // 60)}


def reply_message(reply: Reply, draft: Message) -> Message:
    """Return `draft` as the complete row of `reply`: monologue or plain text as content, calls pending.

    Words beside calls were shown of a call that broke off at the length limit, while the calls before it are whole.
    """
    payload = {"speech": reply.text} if reply.calls else {"spoken": True}
    return replace(
        draft,
        content=reply.monologue if reply.calls else reply.text or reply.monologue,
        payload=payload if reply.text else {},
        calls=reply.calls,
        reasoning=reply.reasoning,
        state=MessageState.COMPLETE,
        created_at=utc_now(),
    )


def spoken_words(message: Message) -> str:
    """Return what user and agent said to each other in this row; empty for monologue, packets and results.

    An image is said by its name, so that it is found and summarised by it.
    """
    if message.role == "user":
        return words_and_images(message) if message.kind is EventKind.USER_MESSAGE else ""
    if message.role == "tool":
        return ""
    if message.state is not MessageState.COMPLETE:
        return str(message.payload.get("speech", ""))
    if message.payload.get("spoken"):
        return message.content
    arguments = (parsed_leniently(call.arguments) for call in message.calls if call.name == SPEECH_FUNCTION)
    said = [str(given["message"]) for given in arguments if given.get("message")]
    # Half of a surrogate pair may be escaped in the arguments: only now it shows.
    return storable("\n".join([*said, *filter(None, [str(message.payload.get("speech", ""))])]))


def thought_of(message: Message) -> str:
    """Return the inner monologue of a reply."""
    return "" if message.payload.get("spoken") else message.content


def rethought(message: Message, text: str) -> Message:
    """Return a reply whose inner monologue reads `text`; what its provider signed of the old one goes."""
    return replace(message, content=text, reasoning=None)


def reworded(message: Message, text: str) -> Message:
    """Return a reply whose message to the user, the last one where it has several, reads `text`."""
    if message.payload.get("spoken"):
        return replace(message, content=text)
    if message.payload.get("speech"):
        return replace(message, payload={**message.payload, "speech": text})
    calls = list(message.calls)
    for place in reversed(range(len(calls))):
        given = parsed_leniently(calls[place].arguments)
        if calls[place].name == SPEECH_FUNCTION and given.get("message"):
            arguments = json.dumps({**given, "message": text}, ensure_ascii=False)
            calls[place] = replace(calls[place], arguments=arguments)
            break
    return replace(message, calls=tuple(calls))


def message_of(row: sqlite3.Row) -> Message:
    """Return the message in a row of the table `messages`."""
    return Message(
        role=row["role"],
        content=row["content"],
        agent_id=row["agent_id"],
        turn_id=row["turn_id"],
        kind=EventKind(row["kind"]) if row["kind"] else None,
        payload=json.loads(row["payload"]),
        name=row["name"],
        calls=tuple(FunctionCall(**call) for call in json.loads(row["calls"])),
        call_id=row["call_id"],
        ok=None if row["ok"] is None else bool(row["ok"]),
        reasoning=json.loads(row["reasoning"]) if row["reasoning"] else None,
        attachments=tuple(json.loads(row["attachments"])),
        state=MessageState(row["state"]),
        origin=Origin(row["origin"]),
        provenance=Provenance(row["provenance"]),
        session=row["session"],
        superseded_by=row["superseded_by"],
        id=row["id"],
        seq=row["seq"],
        created_at=datetime.fromisoformat(row["created_at"]),
    )


def override_of(message: Message) -> str:
    """Return a shortened message as the table `overrides` keeps it."""
    kept = {"content": message.content, "arguments": [call.arguments for call in message.calls]}
    return json.dumps({**kept, "attachments": list(message.attachments)})


def overridden(message: Message, override: str | None) -> Message:
    """Return a message as it stands in the queue."""
    if override is None:
        return message
    kept = json.loads(override)
    calls = tuple(replace(call, arguments=text) for call, text in zip(message.calls, kept["arguments"], strict=True))
    attachments = tuple(kept.get("attachments", message.attachments))  # rows of older versions have none
    return replace(message, content=kept["content"], calls=calls, attachments=attachments)


_FIELDS: Mapping[str, Callable[[Message], Any]] = {
    "id": lambda m: m.id,
    "agent_id": lambda m: m.agent_id,
    "turn_id": lambda m: m.turn_id,
    "role": lambda m: m.role,
    "kind": lambda m: m.kind,
    "name": lambda m: m.name,
    "content": lambda m: m.content,
    "payload": lambda m: json.dumps(dict(m.payload)),
    "calls": lambda m: json.dumps([{"id": c.id, "name": c.name, "arguments": c.arguments} for c in m.calls]),
    "call_id": lambda m: m.call_id,
    "ok": lambda m: m.ok,
    "reasoning": lambda m: json.dumps(dict(m.reasoning)) if m.reasoning else None,
    "attachments": lambda m: json.dumps(list(m.attachments)),
    "state": lambda m: m.state,
    "origin": lambda m: m.origin,
    "provenance": lambda m: m.provenance,
    "session": lambda m: m.session,
    "created_at": lambda m: m.created_at.isoformat(),
}
_STORED = (*_FIELDS, "said", "speaker", "search_text")
INSERT = f"INSERT INTO messages ({', '.join(_STORED)}) VALUES ({', '.join(':' + name for name in _STORED)})"  # noqa: S608
UPDATE = (
    f"UPDATE messages SET {', '.join(f'{name} = :{name}' for name in _STORED if name != 'id')}"  # noqa: S608
    " WHERE seq = :seq AND state = 'provisional'"
)


def columns(message: Message) -> dict[str, Any]:
    """Return the values of all columns that hold the message itself."""
    return {name: value(message) for name, value in _FIELDS.items()}
