"""Main context in the OpenAI chat form: one system message, then the queue, each call with its result.

What never changes comes first, so that a provider's or an engine's prefix cache keeps what it has read: the
instructions, then what changes seldom (blocks, summary), then the queue, whose old rows render to the same bytes for
ever. Clock, counters and the use of the blocks stand in the newest event only.

Source: Packer et al. 2023, §2.1 (main context), §2.3 (events); design: "Prompt order".
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

from memos.errors import MemosError
from memos.messages import (
    Block,
    Counters,
    EventKind,
    FunctionCall,
    FunctionSchema,
    Image,
    Message,
    MessageState,
    Prompt,
)
from memos.safe_text import storable
from memos.storage.attachments import IMAGES_KEY, image_names

ChatMessage = dict[str, Any]

CUT_OFF = "[The reply was cut off here.]"
_OFFSET_KEY = "utc_offset_min"
_TEXT_KEYS = {EventKind.HEARTBEAT: "reason"}
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]")
_SENDABLE_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")


def chat_messages(prompt: Prompt, *, signed: bool = False) -> list[ChatMessage]:
    """Return `prompt` as chat messages: the system message, then the queue in order.

    Its profile `small` puts the blocks beside the newest event in place of the system message: an edit then costs an
    engine without much speed a few dozen tokens to read again, not the whole queue. `signed`: a provider's blocks of
    thought go back to it beside the calls they led to.

    Raises: MemosError (a bug) when a call lacks its one result, a result its call, or two calls share an id.
    """
    return laid_out(prompt, _signed_row_messages if signed else row_messages)


def laid_out(prompt: Prompt, row_in_chat: Callable[[Message], list[ChatMessage]], told: str = "") -> list[ChatMessage]:
    """Return `prompt` in its order, each row but the newest event by `row_in_chat`; `told` follows the instructions.

    Raises: MemosError (a bug) as `chat_messages` does.
    """
    check_pairing(prompt.queue)
    if prompt.purpose == "summarise":  # plain text to work on, and no packet: nothing happened
        texts = [{"role": "user", "content": row.content} for row in prompt.queue]
        return [{"role": "system", "content": prompt.instructions}, *texts]
    blocks = blocks_text(prompt.blocks)
    system = [prompt.instructions, told, blocks if prompt.profile == "full" else "", summary_text(prompt.summary)]
    messages = [{"role": "system", "content": "\n\n".join(filter(None, system))}]
    newest = next((m.id for m in reversed(prompt.queue) if m.role == "user"), None)
    for row in prompt.queue:
        if row.id != newest or row.role != "user":
            messages += _with_images(row_in_chat(row), row, prompt.images)
        else:
            packet = event_packet(row, newest_state(prompt.counters, prompt.blocks))
            content = f"{blocks}\n\n{packet}" if prompt.profile == "small" and blocks else packet
            messages += _with_images([{"role": "user", "content": content}], row, prompt.images)
    return messages


def blind(prompt: Prompt) -> Prompt:
    """Return `prompt` for a model that sees no images: names and sizes stand in their place."""
    queue = tuple(replace(row, attachments=()) if row.attachments else row for row in prompt.queue)
    return replace(prompt, queue=queue, images={})


def _with_images(messages: list[ChatMessage], row: Message, images: Mapping[str, Image]) -> list[ChatMessage]:
    """Return the one message of an event with its pictures before its words; without any its content stays a string,
    which is all that some gateways take."""
    pictures = [_picture_part(images[hash_]) for hash_ in row.attachments if hash_ in images]
    if not pictures:
        return messages
    return [{**message, "content": content_parts([*pictures, message["content"]])} for message in messages]


def content_parts(contents: Iterable[Any]) -> list[dict[str, Any]]:
    """Return contents (text, a part, or parts) as the parts of one content."""
    parts: list[dict[str, Any]] = []
    for content in contents:
        if isinstance(content, str):
            parts.append({"type": "text", "text": content})
        else:
            parts += [content] if isinstance(content, dict) else content
    return parts


def _picture_part(image: Image) -> dict[str, Any]:
    data = base64.b64encode(image.data).decode()
    return {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{data}"}}


def row_messages(row: Message) -> list[ChatMessage]:
    """Return a row of the queue as chat messages, an event without the newest event's state; [] for a reply of nothing.

    The text depends on the stored row alone.
    """
    return _reply_or_result(row) if row.role != "user" else [{"role": "user", "content": event_packet(row)}]


def _signed_row_messages(row: Message) -> list[ChatMessage]:
    blocks = (row.reasoning or {}).get("signed")
    messages = row_messages(row)
    return [{**m, "thinking_blocks": blocks} if blocks and m.get("tool_calls") else m for m in messages]


def tools(functions: Iterable[FunctionSchema]) -> list[dict[str, Any]]:
    """Return the functions as the chat API's `tools`."""
    return [{"type": "function", "function": _described(f)} for f in functions]


def _described(function: FunctionSchema) -> dict[str, Any]:
    description = {"description": function.description} if function.description else {}
    return {"name": function.name, **description, "parameters": dict(function.parameters)}


def event_packet(event: Message, state: Mapping[str, Any] | None = None) -> str:
    """Return the JSON packet of an event: type, words, time, and what else its payload says.

    `state` is what only the newest event carries. Without it the text depends on the stored row alone; a row without
    a stored `utc_offset_min` takes the zone of this machine.
    """
    kind = event.kind or EventKind.USER_MESSAGE
    packet: dict[str, Any] = {"type": str(kind)}
    if event.content:
        packet[_TEXT_KEYS.get(kind, "message")] = event.content
    for key in sorted(event.payload):
        if key == IMAGES_KEY:
            packet[key] = [name if event.attachments else f"[{name}: not in view]" for name in image_names(event)]
        elif key != _OFFSET_KEY and key not in packet:
            packet[key] = event.payload[key]
    offset_min = event.payload.get(_OFFSET_KEY)
    packet["time"] = local_time(event.created_at, offset_min if isinstance(offset_min, int) else None)
    return _json({**packet, **(state or {})})


def result_packet(result: Message, head: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Return the JSON packet of a result: `head`, how it went, its words, time; of the stored row alone."""
    status = "Failed" if result.ok is False else "OK"
    offset_min = result.payload.get(_OFFSET_KEY)
    time = local_time(result.created_at, offset_min if isinstance(offset_min, int) else None)
    return _json({**head, "status": status, "message": result.content, "time": time})


def local_time(moment: datetime, utc_offset_min: int | None = None) -> str:
    """Return a moment as the packets write it, such as `2026-11-23 02:05:09 PM UTC+0100`.

    The offset is minutes east of UTC; None means the zone of this machine.
    """
    zone = None if utc_offset_min is None else timezone(timedelta(minutes=utc_offset_min))
    local = moment.astimezone(zone)
    # Not %p: it follows the locale, and a packet must not.
    half = "AM" if local.hour < 12 else "PM"
    return f"{local:%Y-%m-%d} {local.hour % 12 or 12:02d}:{local:%M:%S} {half} UTC{local:%z}"


def check_pairing(queue: Sequence[Message]) -> None:
    """Check that every call has exactly one result, right after the reply that made it.

    Raises: MemosError (a bug): one broken pair and a provider refuses the history for ever.
    """
    seen: set[str] = set()
    waiting: list[str] = []
    for row in queue:
        if row.role == "tool":
            if row.call_id not in waiting:
                raise _broken(f"a result for call {row.call_id!r} stands without its call")
            waiting.remove(row.call_id)
            continue
        if waiting:
            raise _broken(f"call {waiting[0]!r} has no result")
        waiting = [call.id for call in _calls(row)]
        if len(set(waiting)) < len(waiting) or not seen.isdisjoint(waiting):
            raise _broken(f"two calls share an id among {waiting}")
        seen.update(waiting)
    if waiting:
        raise _broken(f"call {waiting[0]!r} has no result")


def sendable_arguments(raw: str) -> str:
    """Return a call's raw arguments as text every provider takes back: a JSON object, whatever the model wrote."""
    if not raw.strip():
        return "{}"
    try:
        value = json.loads(raw, parse_constant=_refuse_constant)
        if not isinstance(value, dict):
            raise ValueError("not an object")
        # An escaped lone surrogate is valid here, and breaks the client that decodes and encodes it again.
        return storable(_json(value)) if "\\u" in raw else storable(raw)
    except (ValueError, RecursionError):
        return _json({"malformed_arguments": storable(raw)})


def sendable_id(call_id: str) -> str:
    """Return a call's id as every provider takes it: one server's own may be too long or too odd for the next."""
    if _SENDABLE_ID.fullmatch(call_id):
        return call_id
    return f"call_{hashlib.sha256(call_id.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _broken(what: str) -> MemosError:
    return MemosError(f"A bug in memos: in the prompt {what}.", "Please report it, with what you did before.")


def _calls(row: Message) -> tuple[FunctionCall, ...]:
    """Return the calls of a row that a model may see: a reply that broke off has none."""
    return row.calls if row.state is MessageState.COMPLETE else ()


def _reply_or_result(row: Message) -> list[ChatMessage]:
    if row.role == "tool":
        return [{"role": "tool", "tool_call_id": sendable_id(row.call_id or ""), "content": result_packet(row)}]
    calls = _calls(row)
    cut_short = str(row.payload.get("speech") or "")
    words = [row.content, cut_short]
    if (row.state is not MessageState.COMPLETE and any(words)) or (calls and cut_short):
        words.append(CUT_OFF)
    content = "\n".join(word for word in words if word.strip())
    if calls:
        return [{"role": "assistant", "content": content or None, "tool_calls": [_tool_call(call) for call in calls]}]
    # A reply without words and calls is left out: providers refuse an empty message.
    return [{"role": "assistant", "content": content}] if content else []


def _tool_call(call: FunctionCall) -> dict[str, Any]:
    # A model may have called something no provider accepts as a name; the result told it so.
    name = _NOT_IN_A_NAME.sub("_", call.name)[:64] or "unnamed"
    arguments = sendable_arguments(call.arguments)
    return {"id": sendable_id(call.id), "type": "function", "function": {"name": name, "arguments": arguments}}


def blocks_text(blocks: Sequence[Block]) -> str:
    """Return the blocks as the LLM reads them; empty where there are none."""
    if not blocks:
        return ""
    parts = ["### Core memory (always in view; change it with the core_memory functions)"]
    for block in blocks:
        description = f" ({block.description})" if block.description else ""
        locked = " (read-only)" if block.read_only else ""
        parts.append(f"<{block.label}>{description}{locked}\n{block.value}\n</{block.label}>")
    return "\n".join(parts)


def summary_text(summary: str) -> str:
    """Return the summary as the LLM reads it; empty where there is none."""
    if not summary:
        return ""
    return f"### Summary of what is no longer in view (conversation_search finds the words themselves)\n{summary}"


def newest_state(counters: Counters, blocks: Sequence[Block]) -> dict[str, Any]:
    """Return what only the newest event's packet carries, for it changes at every step."""
    return {
        "now": local_time(counters.now),
        "messages_in_recall_storage": counters.recall_count,
        "passages_in_archival_storage": counters.archival_count,
        "core_memory_characters": {b.label: f"{len(b.value)} of {b.limit_chars}" for b in blocks},
    }


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
