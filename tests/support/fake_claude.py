"""Anthropic's messages API with a mind behind it; `fake_anthropic` plays one recorded stream.

Source: docs.anthropic.com/en/api/messages and …/messages-streaming (events), …/tool-use (a tool_use has its
tool_result at the beginning of the next message; tools must be named wherever the history holds one).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from support.fake_answers import Answer, new_call_id, pieces
from support.fake_rules import picture_part
from support.wire_server import Sent, WireServer, as_json


class FakeClaude(WireServer):
    """One model, streamed or whole."""

    models = ("claude-x",)
    base_path = ""

    def lost(self, path: str) -> Sent:
        return as_json({"type": "error", "error": {"type": "not_found_error", "message": path}}, 404)

    def post(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Sent:
        if not path.endswith("/v1/messages"):
            return self.lost(path)
        if broken := [*_broken_rules(body)]:
            self.violations += broken
            return as_json({"type": "error", "error": {"type": "invalid_request_error", "message": broken[0]}}, 400)
        request = self.asked(path, headers, _in_openais_form(body), body)
        answer = self.thought(request)
        blocks = _blocks(answer)
        reason = "tool_use" if answer.calls else "end_turn"
        usage = {"input_tokens": len(json.dumps(body)) // 4, "output_tokens": 1}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "usage": usage}
        if not body.get("stream"):
            return as_json({**message, "content": blocks, "stop_reason": reason, "stop_sequence": None})
        return Sent(_stream(message, blocks, reason), kind="text/event-stream")


def _broken_rules(body: Mapping[str, Any]) -> Iterator[str]:
    waiting: set[str] = set()
    if "max_tokens" not in body:
        yield "max_tokens: Field required"
    for number, message in enumerate(body["messages"]):
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if number == 0 and message["role"] != "user":
            yield 'messages: first message must use the "user" role'
        results = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        if results != waiting:
            yield f"messages.{number}: `tool_use` ids were found without `tool_result` blocks immediately after"
        waiting = {block["id"] for block in blocks if block["type"] == "tool_use"}
        if (waiting or results) and not body.get("tools"):
            yield "Requests which include `tool_use` or `tool_result` blocks must define tools"
        if any(block["type"] == "text" and not block["text"].strip() for block in blocks):
            yield "messages: text content blocks must be non-empty"


def _in_openais_form(body: Mapping[str, Any]) -> dict[str, Any]:
    system = body.get("system") or ""
    system = system if isinstance(system, str) else "\n".join(block["text"] for block in system)
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}]
    for message in body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for block in blocks:
            if block["type"] == "tool_result":
                inner = block.get("content") or ""
                words = inner if isinstance(inner, str) else "".join(part.get("text", "") for part in inner)
                messages.append({"role": "tool", "tool_call_id": block["tool_use_id"], "content": words})
        text = "\n".join(block["text"] for block in blocks if block["type"] == "text")
        calls = [
            {"id": b["id"], "type": "function", "function": {"name": b["name"], "arguments": json.dumps(b["input"])}}
            for b in blocks
            if b["type"] == "tool_use"
        ]
        images = [picture_part(block["source"]["data"]) for block in blocks if block["type"] == "image"]
        if text or calls:
            told = {"tool_calls": calls} if calls else {}
            content = [{"type": "text", "text": text}, *images] if images else text or None
            messages.append({"role": message["role"], "content": content, **told})
    tools = [{"function": {"name": tool["name"]}} for tool in body.get("tools") or ()]
    return {"model": body["model"], "messages": messages, **({"tools": tools} if tools else {})}


def _blocks(answer: Answer) -> list[dict[str, Any]]:
    uses = [
        {"type": "tool_use", "id": f"toolu_{new_call_id()}", "name": call.name, "input": json.loads(call.raw)}
        for call in answer.calls
    ]
    return [*([{"type": "text", "text": answer.text}] if answer.text else []), *uses]


def _stream(message: Mapping[str, Any], blocks: list[dict[str, Any]], reason: str) -> Iterator[bytes]:
    def event(kind: str, **fields: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()

    yield event("message_start", message={**message, "content": [], "stop_reason": None, "stop_sequence": None})
    for index, block in enumerate(blocks):
        uses = block["type"] == "tool_use"
        empty = {**block, "input": {}} if uses else {**block, "text": ""}
        yield event("content_block_start", index=index, content_block=empty)
        for piece in pieces(json.dumps(block["input"]) if uses else block["text"], 9):
            delta = (
                {"type": "input_json_delta", "partial_json": piece} if uses else {"type": "text_delta", "text": piece}
            )
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    yield event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage={"output_tokens": 20})
    yield event("message_stop")
