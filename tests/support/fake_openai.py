"""A real HTTP server that speaks the OpenAI chat API, well or badly, for tests that use no mocks.

In a test:

    with FakeOpenAI(script=lambda request: Answer(calls=(Call("send_message", {"message": "Hello."}),))) as server:
        ...  # server.url is the API base; server.requests, server.violations tell what came

In a process of its own: `python -m support.fake_openai --port 0 --script chain:20`, which prints the API base on its
first line of output, and serves what it saw as JSON under `/requests` and `/violations`.

Every history that comes in is held against the pairing rules of OpenAI and of Anthropic; one that breaks them is
refused with 400 and kept in `violations`. Every quirk says where it was seen.
"""

from __future__ import annotations

import argparse
import json
import re
import select
import socket
import struct
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

STALL_LIMIT_S = 60.0
END_OF_BODY = b"0\r\n\r\n"
HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1><hr>nginx</body></html>"

# Each fault answers in place of, or spoils, the scripted answer.
FAULTS: dict[str, str] = {
    "401": "a wrong key, which the provider repeats in its text (BerriAI/litellm#20288)",
    "403": "a key without rights (openai/openai-python, src/openai/_exceptions.py: PermissionDeniedError)",
    "404": "an unknown model (the same file: NotFoundError)",
    "400": "a request the server does not accept (the same file: BadRequestError)",
    "400_overflow": "context_length_exceeded with OpenAI's sentence (letta#353 met it in a loop)",
    "400_overflow_llama_cpp": "exceed_context_size_error (ggml-org/llama.cpp#15780)",
    "400_overflow_anthropic": "'prompt is too long: N tokens > M maximum' (anthropics/claude-code#12186)",
    "400_filter": "Azure's content_filter code (openai/openai-python#331)",
    "429": "too many requests, with retry-after when the answer names one (openai-python: RateLimitError)",
    "500": "an internal server error (openai-python: InternalServerError)",
    "502_html": "a gateway's page in place of JSON, as nginx sends it (peers §4: every rival shows or hides it)",
    "503": "overloaded: LostRuins/koboldcpp 1.76 answers so while its queue is full",
    "stall_first": "sends headers, then nothing (MoonshotAI/kimi-code#2739: deaf for 16 minutes)",
    "stall_headers": "accepts the request and never answers (the same)",
    "stall_middle": "a part of the stream, then nothing (the same)",
    "cut_text": "the stream ends in its middle without finish_reason and [DONE] (BerriAI/litellm#40260)",
    "cut_call": "the same within a call's arguments, which litellm reports as 'stop' (BerriAI/litellm#42085)",
    "reset": "the connection is reset in the middle of the stream (CommandCodeAI/command-code#785)",
    "reset_first": "the connection is reset before any byte (openai-python: APIConnectionError)",
    "no_done": "finish_reason comes, [DONE] does not (NousResearch/hermes-agent#90848)",
    "non_json": "200 with a web page where a stream should be (peers §4: a silent empty reply elsewhere)",
    "empty_choices": "only chunks whose choices are [] (Azure's filter chunk: AbanteAI/archive-old-cli-mentat#429)",
    "empty_reply": "a finished reply without text or call (letta 0.6.15 is bricked by one, peers §4)",
    "null_content": "content and tool_calls are null where they are not used (letta#1572)",
    "same_index": "parallel calls that all have index 0 (BerriAI/litellm#33678, InternLM/lmdeploy#3412)",
    "index_minus_one": "the first call has index -1 (aws-samples/bedrock-access-gateway, src/api/models/bedrock.py)",
    "missing_ids": "calls without ids (sgl-project/sglang#7048, openai/openai-dotnet#428)",
    "empty_ids": "ids and names that are '' after the first fragment (anomalyco/opencode#37841)",
    "repeated_ids": "every call of every reply has the same id (models that write ids: LostRuins/koboldcpp#585)",
    "id_each_chunk": "a fresh id on every fragment of one call (vllm-project/vllm#23522)",
    "legacy_call": "delta.function_call of 2023's API (openai-python, types/chat: deprecated in favour of tool_calls)",
    "dict_arguments": "arguments as an object in place of text (ggml-org/llama.cpp#20198)",
    "bad_chunk": "a line of the stream that is not JSON (atomantic/PortOS#7558)",
    "error_frame": "a frame with an error in the middle of the stream (langchain-ai/langchainjs#11579)",
    "finish_error": "finish_reason 'error' with status 200 (LostRuins/koboldcpp 1.121)",
    "no_usage": "no usage in any chunk (LostRuins/koboldcpp#2480: none when tools are present)",
    "length": "finish_reason 'length' within the last call's arguments (peers §4)",
    "surrogate": "half of a surrogate pair in the text (Aider-AI/aider#3693, MoonshotAI/kimi-cli#994)",
    "keep_alive_comments": "': OPENROUTER PROCESSING' lines between the frames (openai/openai-go#227)",
}


@dataclass(frozen=True)
class Call:
    """A function call the model makes; `arguments` as an object, or raw text that may be broken."""

    name: str
    arguments: Mapping[str, Any] | str
    id: str | None = None

    @property
    def raw(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments, ensure_ascii=False)


@dataclass(frozen=True)
class Answer:
    """What the server says to one request. `delay_s` lies between chunks, `first_delay_s` before the first."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    reasoning: str = ""
    finish: str | None = None
    chunk_chars: int = 8
    delay_s: float = 0.0
    first_delay_s: float = 0.0
    fault: str | None = None
    retry_after: str | None = None
    usage: Mapping[str, Any] | None = field(
        default_factory=lambda: {"prompt_tokens": 111, "completion_tokens": 22, "total_tokens": 133}
    )


@dataclass(frozen=True)
class Request:
    """One request as it came; `received_ns` is `time.monotonic_ns()` when its body had arrived."""

    number: int
    path: str
    headers: Mapping[str, str]  # names in lower case
    body: Mapping[str, Any]
    received_ns: int
    connection: int

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self.body.get("messages") or [])

    def as_json(self) -> dict[str, Any]:
        return {"path": self.path, "body": self.body, "received_ns": self.received_ns, "connection": self.connection}

    def packets(self) -> list[dict[str, Any]]:
        """Return the JSON event packets among the user messages, in order."""
        return [packet for message in self.messages if (packet := packet_of(message))]

    def results_since(self, kind: str = "user_message") -> int:
        """Return how many function results came after the newest event of `kind`."""
        count = 0
        for message in reversed(self.messages):
            if (packet_of(message) or {}).get("type") == kind:
                return count
            count += message.get("role") == "tool"
        return count


Script = Callable[[Request], Answer]


def packet_of(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the JSON packet a user message carries, or None."""
    content = message.get("content")
    if message.get("role") != "user" or not isinstance(content, str):
        return None
    try:
        packet = json.loads(content[content.index('{"type"') :])
    except ValueError:
        return None
    return packet if isinstance(packet, dict) else None


# --- Scripts -------------------------------------------------------------------------------------------------


def say(text: str, **kwargs: Any) -> Answer:
    """Return an answer that calls `send_message`."""
    return Answer(text="I answer.", calls=(Call("send_message", {"message": text}),), **kwargs)


def echo(request: Request) -> Answer:
    """Repeat the newest user message by `send_message`, or greet where there is none."""
    packets = request.packets()
    newest = packets[-1] if packets else {}
    text = f"You said: {newest.get('message', '')}" if newest.get("type") == "user_message" else "Hello."
    return say(text) if request.body.get("tools") else Answer(text=text)


def chain(steps: int, **kwargs: Any) -> Script:
    """Return a script of `steps` calls that each ask for a heartbeat, then a `send_message`.

    The position is read from the history, so a client that was killed goes on where its history stands.
    """

    def script(request: Request) -> Answer:
        done = request.results_since()
        if (request.packets() or [{}])[-1].get("type") == "login":
            return say("Hello.", **kwargs)
        if done >= steps:
            return say(f"Done after {steps} steps.", **kwargs)
        number = done + 1
        if number % 2:
            arguments = {"name": "human", "content": f"Fact {number}.", "request_heartbeat": True}
            call = Call("core_memory_append", arguments)
        else:
            call = Call("conversation_search", {"query": f"fact {number}", "request_heartbeat": True})
        return Answer(text=f"Step {number} of {steps}.", calls=(call,), **kwargs)

    return script


def in_turn(answers: Iterable[Answer]) -> Script:
    """Return a script that gives `answers` one after another, and echoes when they are used up."""
    waiting = iter(answers)
    lock = threading.Lock()

    def script(request: Request) -> Answer:
        with lock:
            answer = next(waiting, None)
        return answer if answer is not None else echo(request)

    return script


def answer_from_json(entry: Mapping[str, Any]) -> Answer:
    """Return the answer a JSON object describes: the fields of `Answer`, its calls as objects."""
    fields = dict(entry)
    fields["calls"] = tuple(Call(**call) for call in fields.get("calls", ()))
    return Answer(**fields)


SCRIPTS = "echo, chain:STEPS[:DELAY_S], say:TEXT, chars:CHUNK_CHARS:TEXT, fault:NAME"


def script_from(name: str) -> Script:
    """Return the script called `name`: see `SCRIPTS`; anything else is a JSON file with a list of answers."""
    kind, _, rest = name.partition(":")
    if kind == "echo":
        return echo
    if kind == "chain":
        steps, _, delay_s = rest.partition(":")
        return chain(int(steps), delay_s=float(delay_s or 0))
    if kind == "say":
        return lambda request: say(rest)
    if kind == "chars":
        chunk_chars, _, text = rest.partition(":")
        return lambda request: say(text, chunk_chars=int(chunk_chars))
    if kind == "fault":
        return lambda request: Answer(text="A few words that are spoilt.", fault=rest)
    return in_turn(answer_from_json(entry) for entry in json.loads(Path(name).read_text(encoding="utf-8")))


# --- The rules a history must keep ---------------------------------------------------------------------------


def violations_of(body: Mapping[str, Any]) -> list[str]:
    """Return how the history of a request breaks OpenAI's or Anthropic's rules, each as one sentence."""
    messages = [m for m in body.get("messages") or [] if m.get("role") != "system"]
    found = [*_order_violations(messages), *_pairing_violations(messages)]
    if messages and any(m.get("tool_calls") for m in messages) and not body.get("tools"):
        found.append("Anthropic: the history holds calls, but the request names no tools")
    names = [tool.get("function", {}).get("name") for tool in body.get("tools") or []]
    if len(names) != len(set(names)):
        found.append("both: tool names must be unique")
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
        if content is not None and not isinstance(content, str):
            yield "bedrock-access-gateway: content must be text"
        if isinstance(content, str) and content and not content.strip():
            yield "Anthropic: text must not be white space only"
        if not content and not calls:
            yield f"both: a message of the {message.get('role')} is empty"


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


# --- The stream ----------------------------------------------------------------------------------------------


def new_call_id() -> str:
    """Return an id as OpenAI writes them."""
    return f"call_{uuid.uuid4().hex[:12]}"


def pieces(text: str, size: int) -> list[str]:
    """Return `text` in pieces of at most `size` characters."""
    return [text[i : i + size] for i in range(0, len(text), max(size, 1))]


def deltas(answer: Answer) -> Iterator[dict[str, Any]]:
    """Yield the deltas of an answer as OpenAI streams them, or as its fault wants them."""
    null = {"content": None, "tool_calls": None} if answer.fault == "null_content" else {}
    yield {"role": "assistant", **null}
    if answer.fault == "empty_reply":
        return
    for piece in pieces(answer.reasoning, answer.chunk_chars):
        yield {"reasoning_content": piece}
    for piece in pieces(answer.text, answer.chunk_chars):
        yield {"content": piece}
    for position, call in enumerate(answer.calls):
        yield from _call_deltas(answer, position, call)


def _call_deltas(answer: Answer, position: int, call: Call) -> Iterator[dict[str, Any]]:
    fault = answer.fault
    if fault == "legacy_call":
        yield {"function_call": {"name": call.name, "arguments": ""}}
        for piece in pieces(call.raw, answer.chunk_chars):
            yield {"function_call": {"arguments": piece}}
        return
    index = {"same_index": 0, "index_minus_one": position - 1}.get(fault or "", position)
    first: dict[str, Any] = {"index": index, "type": "function", "function": {"name": call.name, "arguments": ""}}
    if fault != "missing_ids":
        first["id"] = "call_0" if fault == "repeated_ids" else call.id or new_call_id()
    if fault == "dict_arguments" or (fault == "missing_ids" and answer.chunk_chars > len(call.raw)):
        first["function"]["arguments"] = call.arguments if fault == "dict_arguments" else call.raw
        yield {"tool_calls": [first]}
        return
    yield {"tool_calls": [first], **({"content": None} if fault == "null_content" else {})}
    for piece in pieces(call.raw, answer.chunk_chars):
        fragment: dict[str, Any] = {"index": index, "type": "function", "function": {"arguments": piece}}
        if fault == "id_each_chunk":
            fragment["id"] = new_call_id()
        if fault == "empty_ids":
            fragment["id"] = fragment["function"]["name"] = ""
        yield {"tool_calls": [fragment]}


def frames(answer: Answer, model: str, include_usage: bool) -> list[str]:
    """Return the `data:` frames of a streamed answer, its fault worked in."""
    common = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": int(time.time()), "model": model}

    def frame(delta: Mapping[str, Any], finish: str | None = None) -> str:
        return json.dumps({**common, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    fault = answer.fault
    if fault == "empty_choices":
        return [json.dumps({**common, "choices": []}), "[DONE]"]
    out = [frame(delta) for delta in deltas(answer)]
    if fault == "surrogate":
        out.append(frame({"content": " half \ud83d pair"}))
    if fault in ("cut_text", "cut_call", "reset", "stall_middle", "length", "bad_chunk", "error_frame"):
        out = out[: max(2, len(out) - 2)]
    if fault in ("cut_text", "cut_call", "reset", "stall_middle"):
        return out
    if fault == "bad_chunk":
        return [*out, '{"choices": [{"delta": {"content": "bro']
    if fault == "error_frame":
        return [*out, json.dumps({"error": {"message": "The upstream model failed.", "code": 500}})]
    finish = answer.finish or ("tool_calls" if answer.calls else "stop")
    by_fault = {"length": "length", "finish_error": "error", "legacy_call": "function_call", "empty_reply": "stop"}
    finish = by_fault.get(fault or "", finish)
    out.append(frame({}, finish))
    if include_usage and answer.usage and fault != "no_usage":
        out.append(json.dumps({**common, "choices": [], "usage": dict(answer.usage)}))
    return out if fault == "no_done" else [*out, "[DONE]"]


def completion(answer: Answer, model: str) -> dict[str, Any]:
    """Return a whole answer as the API gives it without streaming."""
    calls = [
        {"id": c.id or new_call_id(), "type": "function", "function": {"name": c.name, "arguments": c.raw}}
        for c in answer.calls
    ]
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if calls:
        message["tool_calls"] = calls
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    finish = answer.finish or ("tool_calls" if calls else "stop")
    body = {"id": "chatcmpl-fake", "object": "chat.completion", "created": int(time.time()), "model": model}
    choices = [] if answer.fault == "empty_choices" else [{"index": 0, "message": message, "finish_reason": finish}]
    return {**body, "choices": choices, **({"usage": dict(answer.usage)} if answer.usage else {})}


_REFUSALS: dict[str, tuple[int, dict[str, Any]]] = {
    "401": (401, {"message": "Incorrect API key provided: {key}.", "code": "invalid_api_key"}),
    "403": (403, {"message": "You are not allowed to sample from this model.", "code": "permission_denied"}),
    "404": (404, {"message": "The model `{model}` does not exist.", "code": "model_not_found"}),
    "400": (400, {"message": "Unknown parameter.", "type": "invalid_request_error", "code": None}),
    "400_overflow": (
        400,
        {
            "message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000.",
            "type": "invalid_request_error",
            "code": "context_length_exceeded",
        },
    ),
    "400_overflow_llama_cpp": (
        400,
        {
            "message": "the request exceeds the available context size, try increasing it",
            "type": "exceed_context_size_error",
            "code": 400,
        },
    ),
    "400_overflow_anthropic": (400, {"message": "prompt is too long: 209000 tokens > 200000 maximum", "code": None}),
    "400_filter": (
        400,
        {"message": "The response was filtered due to Azure's content management policy.", "code": "content_filter"},
    ),
    "429": (429, {"message": "Rate limit reached for requests.", "code": "rate_limit_exceeded"}),
    "500": (500, {"message": "The server had an error while processing your request.", "code": None}),
    "503": (503, {"message": "Server is busy; please try again later.", "code": "overloaded"}),
}


class _Connection(BaseHTTPRequestHandler):
    """One connection of a client, kept open between requests as HTTP/1.1 does."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fake: FakeOpenAI  # set on the subclass the server makes

    def setup(self) -> None:
        super().setup()
        self.number = self.fake.next_connection()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.rstrip("/")
        if path.endswith("/models"):
            data = [{"id": model, "object": "model", "owned_by": "fake"} for model in self.fake.models]
            self._json(200, {"object": "list", "data": data})
        elif path == "/requests":
            self._json(200, {"requests": [r.as_json() for r in self.fake.requests]})
        elif path == "/violations":
            self._json(200, {"violations": self.fake.violations})
        else:
            self._json(404, {"error": {"message": f"Nothing is at {path}."}})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        received_ns = time.monotonic_ns()
        try:
            body = json.loads(raw)
        except ValueError:
            return self._json(400, {"error": {"message": "The body is not JSON."}})
        if not self.path.endswith("/chat/completions"):
            return self._json(404, {"error": {"message": f"Nothing is at {self.path}."}})
        request = self.fake.record(
            self.path, {name.lower(): value for name, value in self.headers.items()}, body, received_ns, self.number
        )
        if broken := violations_of(body):
            self.fake.violations.extend(broken)
            return self._json(400, {"error": {"message": "; ".join(broken), "type": "invalid_request_error"}})
        try:
            self._answer(request, self.fake.script(request))
        except (BrokenPipeError, ConnectionResetError):
            self._client_left()
        finally:
            self.fake.answered_ns.append(time.monotonic_ns())

    def _answer(self, request: Request, answer: Answer) -> None:
        fault = answer.fault
        if fault in _REFUSALS:
            return self._refuse(request, answer)
        if fault == "502_html":
            return self._body(502, HTML.encode(), "text/html")
        if fault == "non_json":
            return self._body(200, HTML.replace("502 Bad Gateway", "Sign in").encode(), "text/html")
        if fault == "reset_first":
            return self._reset()
        if fault == "stall_headers":
            return self._stall()
        self._pause(answer.first_delay_s)
        if not request.body.get("stream"):
            return self._json(200, completion(answer, str(request.body.get("model"))))
        self._stream(request, answer)

    def _refuse(self, request: Request, answer: Answer) -> None:
        status, error = _REFUSALS[answer.fault or ""]
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        message = error["message"].replace("{key}", key).replace("{model}", str(request.body.get("model")))
        headers = {"retry-after": answer.retry_after} if answer.retry_after else {}
        self._body(status, json.dumps({"error": {**error, "message": message}}).encode(), "application/json", headers)

    def _stream(self, request: Request, answer: Answer) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if answer.fault == "stall_first":
            return self._stall()
        include_usage = bool((request.body.get("stream_options") or {}).get("include_usage"))
        whole = list(frames(answer, str(request.body.get("model")), include_usage))
        for number, frame in enumerate(whole, 1):
            if number > 1:
                self._pause(answer.delay_s)
            if answer.fault == "keep_alive_comments":
                self._chunk(b": OPENROUTER PROCESSING\n\n")
            # The end of the body in the packet of [DONE]: the openai client closes a connection where it comes later.
            ends = number == len(whole) and answer.fault not in ("stall_middle", "reset")
            self._chunk(f"data: {frame}\n\n".encode(), ends=ends)
        if answer.fault == "stall_middle":
            return self._stall()
        if answer.fault == "reset":
            return self._reset()
        if not whole:
            self.wfile.write(END_OF_BODY)

    def _chunk(self, data: bytes, ends: bool = False) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) + (END_OF_BODY if ends else b""))
        self.fake.last_byte_ns = time.monotonic_ns()

    def _json(self, status: int, body: Mapping[str, Any]) -> None:
        self._body(status, json.dumps(body).encode(), "application/json")

    def _body(self, status: int, body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _pause(self, seconds: float) -> None:
        """Wait, but notice a client that leaves."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.fake.stopping.is_set():
            readable, _, _ = select.select([self.connection], [], [], min(left, 0.05))
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                raise ConnectionResetError("the client left")

    def _stall(self) -> None:
        self._pause(STALL_LIMIT_S)
        self.close_connection = True

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _client_left(self) -> None:
        self.close_connection = True
        self.fake.client_left_ns.append(time.monotonic_ns())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class FakeOpenAI:
    """The server. Use it as a context manager; `script` may be changed while it runs."""

    def __init__(self, script: Script = echo, models: Iterable[str] = ("fake-model",), port: int = 0) -> None:
        self.script = script
        self.models = tuple(models)
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.answered_ns: list[int] = []
        self.client_left_ns: list[int] = []
        self.last_byte_ns = 0
        self.connections = 0
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        connection = type("_BoundConnection", (_Connection,), {"fake": self})
        self._server = _Server(("127.0.0.1", port), connection)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The API base, such as `http://127.0.0.1:40001/v1`."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> FakeOpenAI:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def next_connection(self) -> int:
        with self._lock:
            self.connections += 1
            return self.connections

    def record(
        self, path: str, headers: Mapping[str, str], body: Mapping[str, Any], received_ns: int, connection: int
    ) -> Request:
        with self._lock:
            request = Request(len(self.requests) + 1, path, headers, body, received_ns, connection)
            self.requests.append(request)
        return request

    def wait_for_requests(self, count: int, timeout_s: float = 10.0) -> None:
        """Wait until `count` requests have come. Raises: TimeoutError."""
        self._wait(lambda: len(self.requests) >= count, timeout_s, f"{count} requests")

    def wait_for_client_to_leave(self, timeout_s: float = 5.0) -> None:
        """Wait until a client has closed its connection under an answer. Raises: TimeoutError."""
        self._wait(lambda: bool(self.client_left_ns), timeout_s, "a client to leave")

    @staticmethod
    def _wait(happened: Callable[[], bool], timeout_s: float, what: str) -> None:
        end = time.monotonic() + timeout_s
        while not happened():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {timeout_s} s for {what}")
            time.sleep(0.005)


def refused_url() -> str:
    """Return an API base on loopback where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="A fake OpenAI-compatible server.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", default="echo", help=f"{SCRIPTS}, or a JSON file")
    parser.add_argument("--model", action="append", help="a model that /v1/models lists")
    arguments = parser.parse_args()
    models = arguments.model or ["fake-model"]
    with FakeOpenAI(script_from(arguments.script), models, arguments.port) as server:
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
