"""Amazon Bedrock's Converse and ConverseStream as a real HTTP server, the stream in AWS's binary event frames.

Source: docs.aws.amazon.com/bedrock/latest/APIReference, API_runtime_Converse and API_runtime_ConverseStream (fields,
events, ValidationException), smithy.io/2.0/aws/amazon-eventstream.html (the frames), docs.aws.amazon.com/bedrock
"Tool use" and "Extended thinking" (a signed reasoningContent goes back before its toolUse). The rules on messages:
the first is of the user, roles alternate, text is not blank, a toolUse has its toolResult in the next message, and
toolConfig must be there wherever the history holds one of them.
"""

from __future__ import annotations

import itertools
import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from support.fake_answers import Answer, new_call_id, pieces
from support.fake_rules import picture_part
from support.minds import Mind, everyday
from support.wire_server import Sent, WireServer, as_json

THOUGHTS, SIGNATURE = "They want something.", "c2lnbmVkLWJ5LWJlZHJvY2s="


def event_frame(kind: str, payload: Mapping[str, Any], message_type: str = "event") -> bytes:
    """Return one message of an AWS event stream: prelude, its checksum, headers, payload, checksum of all."""
    name = ":event-type" if message_type == "event" else ":exception-type"
    headers = b"".join(
        struct.pack("!B", len(key)) + key.encode() + b"\x07" + struct.pack("!H", len(value)) + value.encode()
        for key, value in ((name, kind), (":content-type", "application/json"), (":message-type", message_type))
    )
    body = json.dumps(payload).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + body
    return message + struct.pack("!I", zlib.crc32(message))


class FakeConverse(WireServer):
    """`thinks`: it thinks wherever the request enables that, and wants its signed thoughts back."""

    models = ("anthropic.claude-3-sonnet-20240229-v1:0",)
    base_path = ""

    def __init__(self, mind: Mind = everyday, *, thinks: bool = False) -> None:
        super().__init__(mind)
        self.thinks = thinks

    def lost(self, path: str) -> Sent:
        return as_json({"message": "UnknownOperationException"}, 404)

    def post(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Sent:
        found = re.fullmatch(r"/model/(.+)/(converse|converse-stream)", unquote(path))
        if found is None:
            return self.lost(path)
        if found[1] not in self.models:
            return _refused("The provided model identifier is invalid.")
        if not headers.get("authorization", "").startswith(("AWS4-HMAC-SHA256", "Bearer ")):
            return as_json({"message": "Missing Authentication Token"}, 403)
        if broken := [*_broken_rules(body, thinks=self.thinks)]:
            self.violations += broken
            return _refused(broken[0])
        request = self.asked(path, headers, _in_openais_form(body, found[1]), body)
        answer = self.thought(request)
        blocks = _blocks(answer, self.thinks)
        reason = "tool_use" if answer.calls else "end_turn"
        tokens = len(json.dumps(body)) // 4
        usage = {"inputTokens": tokens, "outputTokens": 20, "totalTokens": tokens + 20}
        if found[2] == "converse":
            message = {"role": "assistant", "content": blocks}
            told = {"output": {"message": message}, "stopReason": reason, "usage": usage, "metrics": {"latencyMs": 1}}
            return as_json(told)
        return Sent(_stream(blocks, reason, usage), kind="application/vnd.amazon.eventstream")


def _refused(words: str) -> Sent:
    return as_json({"message": words}, 400, x_amzn_ErrorType="ValidationException")


def _broken_rules(body: Mapping[str, Any], *, thinks: bool) -> Iterator[str]:
    messages = body.get("messages") or []
    blocks = [block for message in messages for block in message["content"]]
    if not messages or messages[0]["role"] != "user":
        yield "A conversation must start with a user message. Try again with a conversation that starts with one."
    if any(one["role"] == other["role"] for one, other in itertools.pairwise(messages)):
        yield "A conversation must alternate between user and assistant roles."
    if any("toolUse" in block or "toolResult" in block for block in blocks) and not body.get("toolConfig"):
        yield "The toolConfig field must be defined when using toolUse and toolResult content blocks."
    for text in (block["text"] for block in [*blocks, *(body.get("system") or [])] if "text" in block):
        if not text.strip():
            yield "The text field in the ContentBlock object is blank. Add text to the text field, and try again."
    yield from _unpaired(messages)
    if thinks and _thinking(body):
        for message in messages:
            kinds = [next(iter(block)) for block in message["content"]]
            if "toolUse" in kinds and kinds[0] != "reasoningContent":
                yield "Expected `thinking` or `redacted_thinking`, but found `tool_use`."
        for block in blocks:
            signature = block.get("reasoningContent", {}).get("reasoningText", {}).get("signature", SIGNATURE)
            if signature != SIGNATURE:
                yield "Invalid `signature` in `thinking` block"


def _thinking(body: Mapping[str, Any]) -> bool:
    return bool((body.get("additionalModelRequestFields") or {}).get("thinking"))


def _unpaired(messages: list[dict[str, Any]]) -> Iterator[str]:
    waiting: set[str] = set()
    for message in [*messages, {"role": "user", "content": []}]:
        results = {b["toolResult"]["toolUseId"] for b in message["content"] if "toolResult" in b}
        if results != waiting:
            yield f"The number of toolResult blocks does not fit the toolUse blocks of the turn before: {waiting}"
        waiting = {b["toolUse"]["toolUseId"] for b in message["content"] if "toolUse" in b}


def _in_openais_form(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    texts = [block["text"] for block in body.get("system") or [] if "text" in block]
    messages: list[dict[str, Any]] = [{"role": "system", "content": "\n".join(texts)}]
    for message in body["messages"]:
        text = "\n".join(block["text"] for block in message["content"] if "text" in block)
        calls = [_call(block["toolUse"]) for block in message["content"] if "toolUse" in block]
        for result in (block["toolResult"] for block in message["content"] if "toolResult" in block):
            words = "".join(part.get("text", json.dumps(part.get("json"))) for part in result["content"])
            messages.append({"role": "tool", "tool_call_id": result["toolUseId"], "content": words})
        images = [picture_part(block["image"]["source"]["bytes"]) for block in message["content"] if "image" in block]
        if text or calls:
            told = {"tool_calls": calls} if calls else {}
            content = [{"type": "text", "text": text}, *images] if images else text or None
            messages.append({"role": message["role"], "content": content, **told})
    tools = [
        {"function": {"name": t["toolSpec"]["name"]}}
        for t in (body.get("toolConfig") or {}).get("tools", ())
        if "toolSpec" in t
    ]
    return {"model": model, "messages": messages, **({"tools": tools} if tools else {})}


def _call(use: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": use["name"], "arguments": json.dumps(use["input"])}
    return {"id": use["toolUseId"], "type": "function", "function": function}


def _blocks(answer: Answer, thinks: bool) -> list[dict[str, Any]]:
    thought = {"reasoningContent": {"reasoningText": {"text": THOUGHTS, "signature": SIGNATURE}}}
    uses = [
        {"toolUse": {"toolUseId": f"tooluse_{new_call_id()}", "name": call.name, "input": json.loads(call.raw)}}
        for call in answer.calls
    ]
    return [*([thought] if thinks else []), *([{"text": answer.text}] if answer.text else []), *uses]


def _stream(blocks: list[dict[str, Any]], reason: str, usage: Mapping[str, Any]) -> Iterator[bytes]:
    yield event_frame("messageStart", {"role": "assistant", "p": "abcd"})
    for index, block in enumerate(blocks):
        if "toolUse" in block:
            use = {key: block["toolUse"][key] for key in ("toolUseId", "name")}
            yield event_frame("contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": use}})
        for delta in _deltas(block):
            yield event_frame("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})
        yield event_frame("contentBlockStop", {"contentBlockIndex": index})
    yield event_frame("messageStop", {"stopReason": reason})
    yield event_frame("metadata", {"usage": usage, "metrics": {"latencyMs": 1}})


def _deltas(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if "toolUse" in block:
        yield from ({"toolUse": {"input": piece}} for piece in pieces(json.dumps(block["toolUse"]["input"]), 9))
    elif "text" in block:
        yield from ({"text": piece} for piece in pieces(block["text"], 9))
    else:
        thought = block["reasoningContent"]["reasoningText"]
        yield from ({"reasoningContent": {"text": piece}} for piece in pieces(thought["text"], 7))
        yield {"reasoningContent": {"signature": thought["signature"]}}
