"""The rules a history must keep: OpenAI's and Anthropic's with tools, the chat templates' without."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

_FIRST_BYTES = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8", "image/gif": b"GIF8", "image/webp": b"RIFF"}


def violations_of(body: Mapping[str, Any]) -> list[str]:
    """Return how the history of a request breaks OpenAI's or Anthropic's rules, each as one sentence."""
    messages = [m for m in body.get("messages") or [] if m.get("role") != "system"]
    found = [*_order_violations(messages), *_pairing_violations(messages)]
    if not body.get("tools"):
        found += _plain_violations(messages)
    names = [tool.get("function", {}).get("name") for tool in body.get("tools") or []]
    if len(names) != len(set(names)):
        found.append("both: tool names must be unique")
    if "stream_options" in body and not body.get("stream"):
        found.append("OpenAI: stream_options is allowed only where stream is true (aliasrobotics/cai#77)")
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        found.append("both: half of a surrogate pair (anthropics/claude-code, CHANGELOG: no low surrogate)")
    return found


def _order_violations(messages: list[dict[str, Any]]) -> Iterator[str]:
    if not messages:
        yield "both: there is no message"
        return
    if messages[0].get("role") != "user":
        yield "Anthropic: the first message must be of the user"
    if messages[-1].get("role") == "assistant":
        yield "Anthropic: the last message must not be the assistant's"
    for message in messages:
        content, calls = message.get("content"), message.get("tool_calls")
        if message.get("role") not in ("user", "assistant", "tool"):
            yield f"both: role {message.get('role')!r} is unknown"
        if isinstance(content, list) and any(part.get("type") == "image_url" for part in content):
            yield from _picture_violations(message)
        elif content is not None and not isinstance(content, str):
            yield "bedrock-access-gateway: content must be text where there is no picture"
        words = text_of(message)
        if words and not words.strip():
            yield "Anthropic: text must not be white space only"
        if not content and not calls:
            yield f"both: a message of the {message.get('role')} is empty"


def text_of(message: Mapping[str, Any]) -> str:
    """Return the words of a message, whose content may come in parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text") or "") for part in content if part.get("type") == "text")


def pictures_of(message: Mapping[str, Any]) -> list[bytes]:
    """Return the pictures of a message: what the `data:` URLs of its parts hold. Raises: ValueError."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return [base64.b64decode(url.partition(";base64,")[2], validate=True) for url in urls if isinstance(url, str)]


def picture_part(data: str) -> dict[str, Any]:
    """Return a picture in base64, as another wire carries it, as a part of a content in OpenAI's form."""
    raw = base64.b64decode(data, validate=True)
    kind = next((kind for kind, first in _FIRST_BYTES.items() if raw.startswith(first)), "image/unknown")
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}


def _picture_violations(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield what breaks in a content with pictures: its parts, and the bytes behind each `data:` URL."""
    if message.get("role") != "user":
        yield "OpenAI: pictures stand in messages of the user alone"
    for part in message["content"]:
        kind = part.get("type")
        if kind == "text":
            if not isinstance(part.get("text"), str) or not part["text"].strip():
                yield "Anthropic: a part of text must not be empty"
        elif kind == "image_url":
            found = re.fullmatch(r"data:(image/\w+);base64,(.+)", str((part.get("image_url") or {}).get("url")))
            if not found:
                yield "OpenAI: a picture is a data: URL with its media type, in base64"
            elif not base64.b64decode(found[2], validate=True).startswith(_FIRST_BYTES.get(found[1], b"\0no such")):
                yield f"Anthropic: the picture is no {found[1]}"
            elif len(found[2]) > 5_000_000:
                yield "Anthropic: image exceeds 5 MB maximum"
        else:
            yield f"OpenAI: a part of the type {kind!r} is unknown"


def _plain_violations(messages: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what breaks in a request that offers no tools: the call formats that live in the content.

    Chat templates of open models (Gemma, Mistral, Llama 2) raise where roles do not alternate, and have no tool role.
    """
    if any(m.get("tool_calls") for m in messages):
        yield "Anthropic: the history holds calls, but the request names no tools"
    if any(m.get("role") == "tool" for m in messages):
        yield "chat templates: there is no tool role where no tools are offered"
    for one, other in itertools.pairwise(messages):
        if one.get("role") == other.get("role"):
            yield f"chat templates: roles must alternate, and two messages of the {one.get('role')} stand in a row"


def _pairing_violations(messages: list[dict[str, Any]]) -> Iterator[str]:
    seen: set[str] = set()
    open_ids: list[str] = []
    for message in messages:
        if message.get("role") == "tool":
            call_id = message.get("tool_call_id")
            if call_id not in open_ids:
                yield f"both: a result for {call_id!r} without its call before it"
            else:
                open_ids.remove(cast(str, call_id))
            continue
        if open_ids:
            yield f"both: calls {open_ids} have no result right after them"
        open_ids = []
        for call in message.get("tool_calls") or []:
            yield from _call_violations(call, seen)
            open_ids.append(str(call.get("id")))
    if open_ids:
        yield f"both: calls {open_ids} have no result"


def _call_violations(call: Mapping[str, Any], seen: set[str]) -> Iterator[str]:
    call_id, function = call.get("id"), call.get("function") or {}
    if not isinstance(call_id, str) or not call_id:
        yield "both: a call without an id"
    elif call_id in seen:
        yield f"Anthropic: call id {call_id!r} is not unique"
    elif not re.fullmatch(r"[A-Za-z0-9_-]+", call_id):
        yield f"Anthropic: call id {call_id!r} has signs that no id has (maximhq/bifrost#5097)"
    elif len(call_id) > 40:
        yield f"OpenAI: call id {call_id!r} is longer than 40 (microsoft/autogen#6377, langgenius/dify#28987)"
    seen.add(str(call_id))
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", str(function.get("name"))):
        yield f"OpenAI: the function name {function.get('name')!r} is not accepted"
    try:
        arguments = json.loads(str(function.get("arguments")), parse_constant=_refuse)
    except (TypeError, ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        yield f"Anthropic: the arguments of {call_id!r} are not a JSON object"


def _refuse(constant: str) -> None:
    raise ValueError(constant)
