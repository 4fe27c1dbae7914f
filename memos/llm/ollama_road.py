"""The road to Ollama by its own API, `/api/chat`: the one that lets the caller say how large the window is.

Ollama loads a model with a small window unless a request names one, and what lies before it is dropped without a word:
so each request says `num_ctx`, the window memos reckons with, and asks for an error in place of a cut (`truncate`).
Source: ollama/ollama, docs/api.md and api/types.go (ChatRequest, ChatResponse, Options).
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from memos.llm.road import CallPiece, ChatRequest, Chunk, NoUsableAnswer, WireError
from memos.llm.wire_client import WireRoad
from memos.messages import TokenUsage

if TYPE_CHECKING:
    import httpx

_OPTIONS = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}
"""Sampling parameters that Ollama has under another name than OpenAI."""
_LINE_LIMIT_BYTES = 8 * 1024 * 1024
_DONE_WITHOUT_ANSWER = ("load", "unload")


class OllamaRoad(WireRoad):
    """One model, `name`, of the Ollama at `address`, such as `http://127.0.0.1:11434`."""

    def __init__(self, name: str, address: str, key: str | None = None, *, connect_timeout_s: float = 10.0) -> None:
        super().__init__(name, root_of(address), key, connect_timeout_s=connect_timeout_s)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk]:
        """Ask once, as `Road.stream` says. Raises: WireError, NoUsableAnswer, httpx.HTTPError."""
        body = json.dumps(self._body(request), ensure_ascii=False).encode("utf-8", "replace")
        async with self._client.here().stream("POST", f"{self._address}/api/chat", content=body) as response:
            headers = dict(response.headers)
            calls = 0
            async for line in _lines(response):
                value = _parsed(line)
                if response.status_code != 200:
                    raise _error(value, response.status_code, headers) or WireError(line, response.status_code, headers)
                if value is None:
                    raise NoUsableAnswer(line[:2000])
                if error := _error(value, None, headers):
                    raise error
                chunk = _chunk(value, calls)
                calls += len(chunk.calls)
                yield chunk
            if response.status_code != 200:
                raise WireError("it gave no reason", response.status_code, headers)

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        params = {name: value for name, value in request.params.items() if name not in request.without}
        effort = params.pop("reasoning_effort", None)
        options = {_OPTIONS.get(name, name): value for name, value in params.items()}
        if request.window_tokens:
            options["num_ctx"] = request.window_tokens
        body: dict[str, Any] = {
            "model": self._name,
            "messages": [_message(message) for message in _named_results(request.messages)],
            "stream": request.stream,
            "options": options,
            # A prompt that does not fit is refused, and then shortened here: older versions know neither field.
            "truncate": False,
            "shift": False,
        }
        if request.tools:  # no tool_choice: Ollama has none
            body["tools"] = list(request.tools)
        if request.schema is not None:
            body["format"] = request.schema
        if effort is not None:
            body["think"] = _think(self._name, str(effort))
        return body


def root_of(address: str) -> str:
    """Return the address of the server itself, where its OpenAI-compatible or its own API was named."""
    return address.rstrip("/").removesuffix("/v1").removesuffix("/api").rstrip("/")


def _think(name: str, effort: str) -> bool | str:
    """Return how much to think in Ollama's words: a degree for gpt-oss, which takes nothing else; else yes or no."""
    if "gpt-oss" in name and effort in ("low", "medium", "high"):
        return effort
    return effort not in ("none", "minimal")


def _named_results(messages: Any) -> Iterator[dict[str, Any]]:
    """Yield the messages with the function's name beside each result: Ollama's templates know no ids."""
    names: dict[str, str] = {}
    for message in messages:
        for call in message.get("tool_calls") or ():
            names[str(call.get("id"))] = call["function"]["name"]
        if message.get("role") == "tool":
            yield {**message, "tool_name": names.get(str(message.get("tool_call_id")), "")}
        else:
            yield dict(message)


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message in Ollama's form: content is text, images stand beside it, arguments are an object."""
    kept = {name: value for name, value in message.items() if name not in ("thinking_blocks", "content", "tool_calls")}
    calls = [
        {"id": call["id"], "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
        for call in message.get("tool_calls") or ()
    ]
    words, images = _words_and_images(message.get("content"))
    beside = {"images": images} if images else {}
    return {**kept, "content": words, **beside, **({"tool_calls": calls} if calls else {})}


def _words_and_images(content: Any) -> tuple[str, list[str]]:
    """Return a message's text, and its images as base64 without more: Ollama takes them beside the text."""
    if not isinstance(content, list):
        return content or "", []
    words = "\n".join(part["text"] for part in content if part.get("type") == "text")
    addresses = [part["image_url"]["url"] for part in content if part.get("type") == "image_url"]
    return words, [address.partition(",")[2] for address in addresses]


async def _lines(response: httpx.Response) -> AsyncIterator[str]:
    """Yield the lines of an answer, without empty ones. Raises: NoUsableAnswer where one does not end."""
    held = b""
    async for piece in response.aiter_bytes():
        *whole, held = (held + piece).split(b"\n")
        for line in whole:
            if line.strip():
                yield line.decode("utf-8", "replace")
        if len(held) > _LINE_LIMIT_BYTES:
            raise NoUsableAnswer(f"a line of its answer is longer than {_LINE_LIMIT_BYTES} bytes")
    if held.strip():
        yield held.decode("utf-8", "replace")


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _error(value: Mapping[str, Any] | None, status: int | None, headers: Mapping[str, str]) -> WireError | None:
    """Return the error of a line, None where it tells of none. llama.cpp's own comes as JSON within the text."""
    told = value.get("error") if value else None
    if not told:
        return None
    inner = _parsed(told) if isinstance(told, str) and told.startswith("{") else None
    entry = inner.get("error", inner) if inner else told
    words = entry.get("message") if isinstance(entry, dict) else entry
    return WireError(words if isinstance(words, str) else json.dumps(told, ensure_ascii=False), status, headers)


def _chunk(value: Mapping[str, Any], calls_before: int) -> Chunk:
    message = value.get("message")
    message = message if isinstance(message, dict) else {}
    found = message.get("tool_calls")
    pieces = [call for call in found if isinstance(call, dict)] if isinstance(found, list) else []
    done = value.get("done") is True
    return Chunk(
        _text(message.get("content")),
        _text(message.get("thinking")),
        # Each comes whole; their own numbers begin anew in each line.
        tuple(_piece(calls_before + place, call) for place, call in enumerate(pieces)),
        _finish(value) if done else None,
        _usage(value) if done else None,
    )


def _finish(value: Mapping[str, Any]) -> str:
    reason = value.get("done_reason")
    if reason in _DONE_WITHOUT_ANSWER:
        raise NoUsableAnswer(f"it only {reason}ed the model")
    return reason if isinstance(reason, str) and reason else "stop"  # versions before 0.2 gave no reason


def _piece(index: int, call: Mapping[str, Any]) -> CallPiece:
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    call_id, name = call.get("id"), function.get("name")
    return CallPiece(
        index,
        call_id if isinstance(call_id, str) and call_id else None,
        name if isinstance(name, str) else None,
        function.get("arguments"),
    )


def _usage(value: Mapping[str, Any]) -> TokenUsage:
    return TokenUsage(_count(value.get("prompt_eval_count")), _count(value.get("eval_count")))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None
