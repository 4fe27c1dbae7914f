"""Ollama's own API as a real HTTP server: `/api/chat` in lines of JSON, `/api/show`, `/api/ps`, `/api/tags`.

Source: ollama/ollama, docs/api.md (chat, streaming, structured outputs, tools), api/types.go (ChatRequest: truncate,
shift, think; Message: thinking, tool_calls, tool_name; Options: num_ctx, num_predict), server/routes.go (400 "does not
support tools", 404 "model … not found"), server/prompt.go (what does not fit is dropped from the front, the system
message kept); 0.12.6 and later refuse it where truncate is false ("the input length exceeds the context length"),
later still in llama.cpp's words as JSON within the text. tool_choice: litellm, llms/ollama/chat/transformation.py
("causes ollama requests to hang").
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from support.fake_answers import Answer, pieces
from support.fake_rules import picture_part
from support.minds import Mind, everyday
from support.wire_server import Sent, WireServer, as_json

DEFAULT_NUM_CTX = 4_096


class FakeOllama(WireServer):
    """One model with a window of its own; `tools`: its template has them; `thinks`: it can."""

    models = ("llama3.2:latest",)
    base_path = ""

    def __init__(
        self, mind: Mind = everyday, *, tools: bool = True, thinks: bool = True, trained_tokens: int = 131_072
    ) -> None:
        super().__init__(mind)
        self.tools = tools
        self.thinks = thinks
        self.trained_tokens = trained_tokens
        self.loaded_tokens = 0
        self.parameters = ""
        self.breaks = ""
        """An error that ends the next streams in the middle."""

    def get(self, path: str, headers: Mapping[str, str]) -> Sent:
        if path == "/api/tags":
            return as_json({"models": [{"name": name, "model": name, "size": 1} for name in self.models]})
        if path == "/api/ps":
            name = self.models[0]
            loaded = [{"name": name, "model": name, "context_length": self.loaded_tokens}] if self.loaded_tokens else []
            return as_json({"models": loaded})
        return self.lost(path)

    def lost(self, path: str) -> Sent:
        return Sent(b"404 page not found", 404, "text/plain")

    def post(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Sent:
        if path == "/api/show":
            return as_json({"parameters": self.parameters, "model_info": {"llama.context_length": self.trained_tokens}})
        if path != "/api/chat":
            return self.lost(path)
        if (refusal := self._refusal(body)) is not None:
            return refusal
        request = self.asked(path, headers, self._in_openais_form(body), body)
        window = int((body.get("options") or {}).get("num_ctx") or DEFAULT_NUM_CTX)
        self.loaded_tokens = min(window, self.trained_tokens)
        tokens = len(json.dumps(body["messages"])) // 4 + len(json.dumps(body.get("tools") or [])) // 4
        if tokens > self.loaded_tokens:
            if body.get("truncate") is False:
                return as_json({"error": "the input length exceeds the context length"}, 400)
            self.violations.append(f"ollama: {tokens - self.loaded_tokens} tokens are dropped without a word")
        answer = self.thought(request)
        lines = list(self._lines(answer, bool(body.get("think", self.thinks)) and self.thinks, tokens))
        if body.get("stream") is False:
            return Sent(self._whole(lines), kind="application/json; charset=utf-8")
        return Sent(self._stream(lines), kind="application/x-ndjson")

    def _refusal(self, body: Mapping[str, Any]) -> Sent | None:
        name = str(body.get("model"))
        if name not in self.models and f"{name}:latest" not in self.models:
            return as_json({"error": f"model '{name}' not found"}, 404)
        if body.get("tools") and not self.tools:
            return as_json({"error": f"registry.ollama.ai/library/{name} does not support tools"}, 400)
        if body.get("think") and not self.thinks:
            return as_json({"error": f'"{name}" does not support thinking'}, 400)
        if "tool_choice" in body:
            self.violations.append("ollama: tool_choice makes it hang")
        for message in body.get("messages") or ():
            if not isinstance(message.get("content"), str):
                return as_json(
                    {"error": "json: cannot unmarshal into Go struct field ChatRequest.messages.content"}, 400
                )
            for call in message.get("tool_calls") or ():
                if not isinstance(call["function"]["arguments"], dict):
                    words = "Value looks like object, but can't find closing '}' symbol"
                    return as_json({"error": words}, 400)
        return None

    def _in_openais_form(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request as it would be in OpenAI's form, to hold its history against the rules of all."""
        messages = []
        for message in body["messages"]:
            calls = [
                {**c, "function": {**c["function"], "arguments": json.dumps(c["function"]["arguments"])}}
                for c in message.get("tool_calls") or ()
            ]
            if message["role"] == "tool" and not message.get("tool_name"):
                self.violations.append("ollama: a result without the name of its function")
            images = [picture_part(image) for image in message.get("images") or ()]
            content = [{"type": "text", "text": message["content"]}, *images] if images else message["content"]
            messages.append({**message, "content": content, **({"tool_calls": calls} if calls else {})})
        told = {"tools": body["tools"]} if body.get("tools") else {}
        told |= {"response_format": body["format"]} if body.get("format") else {}
        return {"model": body["model"], "messages": messages, "stream": body.get("stream", True), **told}

    def _lines(self, answer: Answer, thinks: bool, tokens: int) -> Iterator[dict[str, Any]]:
        common = {"model": self.models[0], "created_at": "2026-11-24T12:00:00.000000Z"}

        def line(message: Mapping[str, Any]) -> dict[str, Any]:
            return {**common, "message": {"role": "assistant", "content": "", **message}, "done": False}

        for piece in pieces("They want something.", 6) if thinks else ():
            yield line({"thinking": piece})
        for piece in pieces(answer.text, answer.chunk_chars):
            yield line({"content": piece})
        for call in answer.calls:  # each whole, its number beginning anew
            yield line(
                {"tool_calls": [{"function": {"index": 0, "name": call.name, "arguments": json.loads(call.raw)}}]}
            )
        counts = {"prompt_eval_count": tokens, "eval_count": 20, "total_duration": 1, "load_duration": 1}
        yield {**line({}), "done_reason": "stop", "done": True, **counts}

    def _stream(self, lines: list[dict[str, Any]]) -> Iterator[bytes]:
        for number, value in enumerate(lines):
            if self.breaks and number == len(lines) // 2:
                yield json.dumps({"error": self.breaks}).encode() + b"\n"
                return
            yield json.dumps(value).encode() + b"\n"

    def _whole(self, lines: list[dict[str, Any]]) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": ""}
        for value in lines:
            for key, part in value["message"].items():
                if key != "role":
                    message[key] = message[key] + part if key in message else part
        return json.dumps({**lines[-1], "message": message}).encode()
