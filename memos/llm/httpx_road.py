"""The road to OpenAI-compatible endpoints, over httpx: OpenAI, Groq, llama.cpp, vLLM, LM Studio, koboldcpp, gateways.

What an endpoint sends is taken as it comes and told apart here, once: deltas or a whole message, calls in three
spellings, usage in a chunk of its own, an error in the middle of a stream.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from memos.errors import ProcessorUnreachable
from memos.llm.api_paths import api_path_beside, is_wrong_path
from memos.llm.event_stream import EventStream
from memos.llm.road import AddressMended, CallPiece, ChatRequest, Chunk, NoUsableAnswer, WireError
from memos.llm.wire_client import WireRoad
from memos.messages import TokenUsage

if TYPE_CHECKING:
    import httpx

_DONE = "[DONE]"
_MARK = b"\xef\xbb\xbf"
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""How a line of a stream begins."""
_LINES_OF_A_TEXT = 1_000
_STATUS = re.compile(r"([45]\d\d): ")
_BODY_LIMIT_BYTES = 8 * 1024 * 1024
_AFTERWORD_S = 0.05


class HttpxRoad(WireRoad):
    """One model, `name`, at one address such as `http://127.0.0.1:8080/v1`."""

    def __init__(
        self,
        name: str,
        address: str,
        key: str | None = None,
        *,
        connect_timeout_s: float = 10.0,
        mends_address: bool = False,
    ) -> None:
        """`mends_address`: the address was typed by a person, so that its path may not be the one that is meant."""
        super().__init__(name, address, key, connect_timeout_s=connect_timeout_s)
        self._may_mend = mends_address

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk]:
        """Ask once, as `Road.stream` says. Raises: WireError, NoUsableAnswer, AddressMended, httpx.HTTPError."""
        try:
            async with aclosing(self._asked(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except WireError as error:
            if self._may_mend and is_wrong_path(error):
                self._may_mend = False
                await self._mend(error)
            raise

    async def _asked(self, request: ChatRequest) -> AsyncGenerator[Chunk]:
        body = json.dumps(self._body(request), ensure_ascii=False).encode("utf-8", "replace")
        async with self._client.here().stream("POST", f"{self._address}/chat/completions", content=body) as response:
            if response.status_code != 200:
                text = (await _bounded_body(response)).decode("utf-8", "replace")
                headers = dict(response.headers)
                error = error_of(_parsed(text), response.status_code, headers)
                yield _written_call(error or WireError(text, response.status_code, headers))
                return
            async for chunk in _answer(response):
                yield chunk

    async def _mend(self, error: WireError) -> None:
        """Look for the path of the chat API at the same server. Raises: AddressMended where it was found."""
        found = await api_path_beside(self._client.here(), self._address)
        if found:
            before, self._address = self._address, found
            raise AddressMended(
                f"Nothing answers chats at {before}; {found} does, and is used. Set api_base to it to spare the search."
            ) from error

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._name, "messages": list(request.messages), **request.params}
        if "max_tokens" in body and urlsplit(self._address).hostname == "api.openai.com":
            body["max_completion_tokens"] = body.pop("max_tokens")
        if request.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if request.tools:
            # koboldcpp offers the functions to its model only when tool_choice is there.
            body |= {"tools": list(request.tools), "tool_choice": "auto"}
        if request.schema is not None:
            schema = {"name": "call", "strict": True, "schema": request.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request.grammar:
            body["grammar"] = request.grammar
        return {name: value for name, value in body.items() if name not in request.without}


async def _answer(response: httpx.Response) -> AsyncGenerator[Chunk]:
    """Yield the chunks of an answer, a stream or one JSON text: what it is its first bytes say, not its headers."""
    pieces = response.aiter_bytes()
    begun = b""
    async for piece in pieces:
        begun += piece
        if begun.removeprefix(_MARK).strip():
            break
    told = "text/event-stream" in response.headers.get("content-type", "")
    first = begun.removeprefix(_MARK).lstrip()
    if first.startswith(_FIELDS) or (told and not first.startswith((b"{", b"<"))):
        async for chunk in _streamed(begun, pieces):
            yield chunk
    else:
        yield _whole(await _bounded(begun, pieces))


async def _bounded_body(response: httpx.Response) -> bytes:
    return await _bounded(b"", response.aiter_bytes())


async def _bounded(begun: bytes, pieces: AsyncIterator[bytes]) -> bytes:
    """Return a body whole. Raises: ProcessorUnreachable where it is too long for one: it would be no shorter again."""
    body = bytearray(begun)
    async for piece in pieces:
        body += piece
        if len(body) > _BODY_LIMIT_BYTES:
            what = f"The server's answer is longer than {_BODY_LIMIT_BYTES // 2**20} MiB; it was not read to its end."
            raise ProcessorUnreachable(what, "try again, or choose another model.")
    return bytes(body)


async def _streamed(begun: bytes, pieces: AsyncIterator[bytes]) -> AsyncGenerator[Chunk]:
    events, texts, finished, said_something = EventStream(), _Texts(), False, False
    piece: bytes | None = begun
    while piece is not None:
        for data in events.feed(piece):
            if data == _DONE:
                if said_something and not finished:
                    yield Chunk(finish="stop")
                await _read_to_the_end(pieces)
                return
            if (value := texts.feed(data)) is not None:
                chunk = _event(value)
                finished = finished or chunk.finish is not None
                said_something = said_something or bool(chunk.content or chunk.reasoning or chunk.calls)
                yield chunk
        piece = await anext(pieces, None)
    for data in events.rest():
        if data != _DONE and (value := texts.feed(data)) is not None:
            yield _event(value)
    texts.finish()


async def _read_to_the_end(pieces: AsyncIterator[bytes]) -> None:
    """Read what follows the last event, if it comes at once: only then can the connection serve the next request."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_AFTERWORD_S):
            async for _ in pieces:
                pass


class _Texts:
    """Puts JSON texts together that stand on several lines of data, as some servers print them."""

    def __init__(self) -> None:
        self._held: list[str] = []

    def feed(self, data: str) -> dict[str, Any] | None:
        """Take a line and return the text it completes, parsed. Raises: NoUsableAnswer where it is none."""
        value = _parsed(data) if not self._held or data.startswith("{") else None
        if isinstance(value, dict) and ("choices" in value or not self._held):
            self.finish()  # whatever was held, it is no beginning of this one
            return value
        self._held.append(data)
        if not self._held[0].startswith("{") or len(self._held) > _LINES_OF_A_TEXT:
            self.finish()
        if len(self._held) > 1 and data.endswith("}"):
            value = _parsed("\n".join(self._held))
        if not isinstance(value, dict):
            return None
        self._held = []
        return value

    def finish(self) -> None:
        """Take it that nothing more comes. Raises: NoUsableAnswer where a text is not whole."""
        if self._held:
            raise _no_json(self._held[0])


def _no_json(data: str) -> NoUsableAnswer:
    return NoUsableAnswer(f"a line of its stream is not JSON: {data[:80]}")


def _event(value: dict[str, Any]) -> Chunk:
    """Return the chunk of one event. Raises: WireError."""
    if error := error_of(value, None, {}):
        return _written_call(error)
    return chunk_of(value)


def _written_call(error: WireError) -> Chunk:
    """Return what the model wrote where the endpoint could make no call of it. Raises: `error`, for any other."""
    if not error.failed_generation:
        raise error
    return Chunk(content=error.failed_generation, finish="stop")


def _whole(body: bytes) -> Chunk:
    """Return the chunk of a reply that came in one piece: a whole one, for its JSON is. Raises: as `_event`."""
    text = body.decode("utf-8-sig", "replace").strip()
    text = text.removesuffix(_DONE).rstrip().removesuffix("data:") if text.endswith(_DONE) else text
    value = _parsed(text)
    if not isinstance(value, dict):
        raise NoUsableAnswer(text[:2000] or "its answer is empty")
    chunk = _event(value)
    has_choices = isinstance(value.get("choices"), list) and bool(value["choices"])
    return replace(chunk, finish="stop") if chunk.finish is None and has_choices else chunk


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def error_of(value: Any, status: int | None, headers: Mapping[str, str]) -> WireError | None:
    """Return the error that an answer reports, None where it reports none."""
    if not isinstance(value, dict):
        return None
    told = value.get("error")
    if told in (None, "", {}) and status is None:
        return None
    entry = told if isinstance(told, dict) else value
    words = entry.get("message") or entry.get("detail") or (told if isinstance(told, str) else None)
    if isinstance(words, dict):  # koboldcpp: {"detail": {"msg": …, "type": …}}
        words = words.get("msg") or words
    kinds = [str(entry[key]) for key in ("code", "type") if isinstance(entry.get(key), str)]
    text = words if isinstance(words, str) else json.dumps(words if words is not None else entry, ensure_ascii=False)
    text += _of_the_provider(entry.get("metadata"))
    number = status if status is not None else _status_within(entry.get("code"), text)
    failed = entry.get("failed_generation")
    return WireError(
        text if not kinds else f"{text} ({', '.join(dict.fromkeys(kinds))})",
        number,
        headers,
        failed_generation=failed if isinstance(failed, str) else "",
    )


def _status_within(code: Any, text: str) -> int | None:
    """Return the status that an error with status 200 names: as its code, or before its words, as Bedrock's gateway."""
    if type(code) is int and 400 <= code < 600:
        return code
    said = _STATUS.match(text)
    return int(said[1]) if said else None


def _of_the_provider(metadata: Any) -> str:
    """Return who failed behind a router, and its words (OpenRouter: `metadata`); empty where nobody is named."""
    if not isinstance(metadata, dict) or not metadata.get("provider_name"):
        return ""
    raw = metadata.get("raw")
    return f" ({metadata['provider_name']}{f': {raw}' if raw else ''})"


def chunk_of(value: Mapping[str, Any]) -> Chunk:
    """Return what one JSON object of an answer says; fields of the wrong type say nothing."""
    usage = _usage(value["usage"]) if value.get("usage") else None
    choices = value.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        return Chunk(usage=usage)
    finish = choice.get("finish_reason")
    message = choice.get("delta") or choice.get("message")
    if not isinstance(message, dict):
        text = choice.get("text")
        return Chunk(text if isinstance(text, str) else "", "", (), _word(finish), usage)
    content = message.get("content")
    thought = message.get("reasoning_content") or message.get("reasoning")
    words, inner = (content, "") if isinstance(content, str) else _parts(content)
    reasoning = thought if isinstance(thought, str) else inner
    has_calls = message.get("tool_calls") or message.get("function_call")
    calls = tuple(_pieces(message)) if has_calls else ()
    return Chunk(words, reasoning, calls, _word(finish), usage)


def _word(finish: Any) -> str | None:
    return finish if isinstance(finish, str) and finish else None


def _parts(content: Any) -> tuple[str, str]:
    """Return the words and the thoughts of a content that comes in parts, as Mistral's does."""
    words: list[str] = []
    thoughts: list[str] = []
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        if isinstance(part.get("text"), str):
            words.append(part["text"])
        elif part.get("thinking"):
            inner = part["thinking"]
            thoughts.append(inner if isinstance(inner, str) else _parts(inner)[0])
    return "".join(words), "".join(thoughts)


def _pieces(message: Mapping[str, Any]) -> Iterator[CallPiece]:
    calls = message.get("tool_calls")
    for place, call in enumerate(calls if isinstance(calls, list) else ()):
        if isinstance(call, dict):
            index = call.get("index", place)
            yield _piece(index if isinstance(index, int) else place, call.get("id"), call.get("function"))
    if isinstance(message.get("function_call"), dict):
        yield _piece(0, None, message["function_call"])


def _piece(index: int, call_id: Any, function: Any) -> CallPiece:
    function = function if isinstance(function, dict) else {}
    name, arguments = function.get("name"), function.get("arguments")
    return CallPiece(
        index, str(call_id) if call_id is not None else None, name if isinstance(name, str) else None, arguments
    )


def _usage(value: Any) -> TokenUsage | None:
    if not isinstance(value, dict):
        return None
    details = value.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    prompt, reply = (_count(value.get(f"{way}_tokens")) for way in ("prompt", "completion"))
    return TokenUsage(prompt, reply, _count(cached))


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
