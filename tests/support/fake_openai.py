"""A real HTTP server that speaks the OpenAI chat API, well or badly, for tests that use no mocks.

In a test:

    with FakeOpenAI(script=lambda request: Answer(calls=(Call("send_message", {"message": "Hello."}),))) as server:
        ...  # server.url is the API base; server.requests, server.violations tell what came

In a process of its own: `python -m support.fake_openai --port 0 --script chain:20`, which prints the API base on its
first line of output, and serves what it saw as JSON under `/requests` and `/violations`.

Every history that comes in is held against the pairing rules of OpenAI and of Anthropic; one that breaks them is
refused with 400 and kept in `violations`. What it says is in `fake_answers`, how that is spoilt in `fake_faults` (the
list, each with its source), `fake_mistakes` (by the model) and `fake_wire` (on the way), the rules in `fake_rules`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import select
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.fake_answers import Answer, Call
from support.fake_faults import FAULTS
from support.fake_mistakes import written
from support.fake_rules import pictures_of, text_of, violations_of
from support.fake_wire import (
    BLIND,
    ENDLESS,
    HTML,
    completion,
    endless_body,
    event,
    frames,
    headers_of,
    refusal_of,
)

STALL_LIMIT_S = 60.0
ENDLESS_LIMIT_BYTES = 32 * 1024 * 1024
"""Where endless replies do end, with a reset, lest a test hang: far beyond what any client should take."""
ENDLESS_LIMIT_S = 20.0
"""The same for those that are slow."""
TRICKLE_S = 0.05
_SEND_BUFFER_BYTES = 64 * 1024
END_OF_BODY = b"0\r\n\r\n"
_BEFORE_ANY_ANSWER = {"502_html", "empty_body", "error_200", "non_json", "reset_first", "stall_headers"}
_PART_OF_A_BODY = {"cut_text", "reset", "stall_first", "stall_middle"}
_WITHOUT_END = {"reset", "stall_middle"}


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

    @property
    def pictures(self) -> list[bytes]:
        """Return the pictures of all messages, in order."""
        return [picture for message in self.messages if message["role"] == "user" for picture in pictures_of(message)]

    def as_json(self) -> dict[str, Any]:
        return {"path": self.path, "body": self.body, "received_ns": self.received_ns, "connection": self.connection}

    def packets(self) -> list[dict[str, Any]]:
        """Return the JSON event packets among the user messages, in order."""
        return [packet for message in self.messages for packet in packets_of(message)]

    def results_since(self, kind: str = "user_message") -> int:
        """Return how many function results came after the newest event of `kind`, as tools' messages or as packets."""
        count = 0
        for message in reversed(self.messages):
            count += message.get("role") == "tool"
            for packet in reversed(packets_of(message)):
                if packet["type"] == kind:
                    return count
                count += packet["type"] == "function_result"
        return count


Script = Callable[[Request], Answer]


def packets_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the JSON packets a user message carries: one, or several where neighbours were made one message."""
    content, packets = text_of(message), []
    place = content.find('{"type"') if message.get("role") == "user" else -1
    while place >= 0:
        try:
            packet, end = json.JSONDecoder().raw_decode(content, place)
            packets.append(packet)
        except ValueError:
            end = place + 1
        place = content.find('{"type"', end)
    return packets


# --- Scripts -------------------------------------------------------------------------------------------------


def say(text: str, **kwargs: Any) -> Answer:
    """Return an answer that calls `send_message`."""
    return Answer(text="I answer.", calls=(Call("send_message", {"message": text}),), **kwargs)


def spoken(request: Request, text: str, thoughts: str = "I answer.") -> Answer:
    """Return an answer that says `text` in the form that is asked for: a call, an object by a schema, plain words."""
    if request.body.get("tools"):
        return Answer(thoughts, (Call("send_message", {"message": text}),))
    if request.body.get("response_format"):
        call = {"name": "send_message", "arguments": {"message": text}}
        return Answer(json.dumps({"thoughts": thoughts, "function": call}, ensure_ascii=False))
    return Answer(text)


def echo(request: Request) -> Answer:
    """Repeat the newest user message, or greet where there is none."""
    packets = request.packets()
    newest = packets[-1] if packets else {}
    return spoken(request, f"You said: {newest['message']}" if newest.get("type") == "user_message" else "Hello.")


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
        if rest not in FAULTS:
            raise ValueError(f"there is no fault {rest!r}; there are: {', '.join(FAULTS)}")
        return lambda request: Answer(text="A few words that are spoilt.", fault=rest)
    return in_turn(answer_from_json(entry) for entry in json.loads(Path(name).read_text(encoding="utf-8")))


class _Connection(BaseHTTPRequestHandler):
    """One connection of a client, kept open between requests as HTTP/1.1 does."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fake: FakeOpenAI  # set on the subclass the server makes

    def setup(self) -> None:
        # Little is under way between us and a client, so what we sent is about what it read.
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        super().setup()
        self._sent, self._began = 0, time.monotonic()
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
        if self.fake.blind and request.pictures:
            status, error = BLIND[self.fake.blind]
            return self._json(status, {"error": error})
        try:
            self._answer(request, self.fake.script(request))
        except (BrokenPipeError, ConnectionResetError):
            self._client_left()
        finally:
            self.fake.answered_ns.append(time.monotonic_ns())

    def _answer(self, request: Request, answer: Answer) -> None:
        self._sent, self._began = 0, time.monotonic()
        answer = written(answer, request.results_since())
        fault = answer.fault or ""
        self._pause(answer.first_delay_s)
        if refusal := refusal_of(fault, request.body):
            return self._refuse(request, answer, *refusal)
        if fault in _BEFORE_ANY_ANSWER:
            return self._before_any_answer(fault)
        streams = bool(request.body.get("stream"))
        if fault == "plain_for_stream" or (not streams and fault != "sse_for_plain"):
            return self._plain(request, answer)
        self._stream(request, answer)

    def _before_any_answer(self, fault: str) -> None:
        """Do what does not depend on what would have been said."""
        if fault == "reset_first":
            return self._reset()
        if fault == "stall_headers":
            return self._stall()
        if fault == "error_200":
            return self._json(200, {"error": {"message": "Provider returned error", "code": 502}})
        if fault == "empty_body":
            return self._body(200, b"", "application/json")
        page = HTML if fault == "502_html" else HTML.replace("502 Bad Gateway", "Sign in")
        self._body(502 if fault == "502_html" else 200, page.encode(), "text/html")

    def _refuse(self, request: Request, answer: Answer, status: int, error: dict[str, Any] | str) -> None:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if isinstance(error, dict):
            message = error["message"].replace("{key}", key).replace("{model}", str(request.body.get("model")))
            error = {**error, "message": message}
        self._body(status, json.dumps({"error": error}).encode(), "application/json", headers_of(answer))

    # --- A whole body ---

    def _plain(self, request: Request, answer: Answer) -> None:
        fault, model = answer.fault or "", str(request.body.get("model"))
        if fault in ENDLESS:
            return self._endless_plain(fault, model)
        body = json.dumps(completion(answer, model)).encode()
        if fault == "bom":
            body = b"\xef\xbb\xbf" + body
        if fault == "json_as_sse":
            return self._body(200, body + b"\n\ndata: [DONE]\n\n", "text/event-stream")
        if fault == "gzip":
            return self._body(200, gzip.compress(body), "application/json", {"content-encoding": "gzip"})
        if fault == "cut_call":  # as a proxy passes it on that took what it got for all there is
            return self._body(200, body[: body.rindex(b'"message')], "application/json")
        if fault in _PART_OF_A_BODY:
            self._head(200, "application/json", {"content-length": str(len(body) + 100)})
            if fault != "stall_first":
                self._write(body[: len(body) * 2 // 3])
            return self._leave(fault)
        self._body(200, body, "application/json")

    def _endless_plain(self, fault: str, model: str) -> None:
        self._head(200, "application/json", {"transfer-encoding": "chunked"})
        for piece in endless_body(fault, model):
            self._chunk(piece)
            self._pause(TRICKLE_S if fault == "endless_trickle" else 0)
            if self._is_enough():
                return self._reset()

    # --- A stream ---

    def _stream(self, request: Request, answer: Answer) -> None:
        fault = answer.fault or ""
        kind = "application/json" if fault == "sse_as_json" else "text/event-stream"
        encoding = {"content-encoding": "gzip"} if fault == "gzip" else {}
        self._head(200, kind, {"transfer-encoding": "chunked", **encoding})
        if fault == "stall_first":
            return self._stall()
        include_usage = bool((request.body.get("stream_options") or {}).get("include_usage"))
        waiting = frames(answer, str(request.body.get("model")), include_usage)
        press = zlib.compressobj(wbits=31)
        frame, number = next(waiting, None), 0
        while frame is not None:
            following = next(waiting, None)
            data = event(fault, frame, first=number == 0)
            if fault == "gzip":
                data = press.compress(data) + press.flush(zlib.Z_FINISH if following is None else zlib.Z_SYNC_FLUSH)
            # The end of the body in the packet of [DONE]: the openai client closes a connection where it comes later.
            ends = following is None and fault not in _WITHOUT_END
            self._pieces(data, fault, ends)
            if fault == "endless_comments":
                self._comment_for_ever()
            if fault.startswith("endless") and self._is_enough():
                return self._reset()
            frame, number = following, number + 1
            if frame is not None:
                self._pause(TRICKLE_S if fault == "endless_trickle" else answer.delay_s)
        if fault in _WITHOUT_END:
            self._leave(fault)

    def _pieces(self, data: bytes, fault: str, ends: bool) -> None:
        """Send an event, in one packet or, where its fault wants it, a few bytes at a time."""
        if fault != "split_utf8":
            return self._chunk(data, ends)
        for place in range(0, len(data), 5):
            self._chunk(data[place : place + 5], ends and place + 5 >= len(data))

    def _comment_for_ever(self) -> None:
        while not self.fake.stopping.is_set() and not self._is_enough():
            self._chunk(b": OPENROUTER PROCESSING\n\n")
            self._pause(0.01)

    def _leave(self, fault: str) -> None:
        """End in the way of a fault what has been begun."""
        if fault.startswith("stall"):
            return self._stall()
        if fault == "reset":
            return self._reset()
        self.close_connection = True

    # --- Bytes ---

    def _is_enough(self) -> bool:
        too_long = time.monotonic() - self._began > ENDLESS_LIMIT_S
        return too_long or self._sent > ENDLESS_LIMIT_BYTES or self.fake.stopping.is_set()

    def _write(self, data: bytes) -> None:
        self.wfile.write(data)
        self._sent += len(data)
        self.fake.most_sent = max(self.fake.most_sent, self._sent)
        self.fake.last_byte_ns = time.monotonic_ns()

    def _chunk(self, data: bytes, ends: bool = False) -> None:
        self._write(b"%x\r\n%b\r\n" % (len(data), data) + (END_OF_BODY if ends else b""))

    def _json(self, status: int, body: Mapping[str, Any]) -> None:
        self._body(status, json.dumps(body).encode(), "application/json")

    def _body(self, status: int, body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        self._head(status, kind, {"content-length": str(len(body)), **(headers or {})})
        self._write(body)

    def _head(self, status: int, kind: str, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

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
        self.blind = ""
        """How it refuses every request with a picture, by a name of `fake_wire.BLIND`; empty: it takes them."""
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.answered_ns: list[int] = []
        self.client_left_ns: list[int] = []
        self.last_byte_ns = 0
        self.most_sent = 0
        """The bytes of the longest reply so far, its headers not counted."""
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
