"""A real HTTP server with nothing but the wire in it: backends say what is answered, this carries and records it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from support.fake_openai import Request
from support.fake_rules import violations_of
from support.minds import Mind, everyday, in_form


@dataclass(frozen=True)
class Sent:
    """What is sent back; a body in pieces is sent piece by piece."""

    body: bytes | Iterable[bytes]
    status: int = 200
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(value: object, status: int = 200, **headers: str) -> Sent:
    """Return a JSON body."""
    return Sent(json.dumps(value).encode(), status, headers={k.replace("_", "-"): v for k, v in headers.items()})


def sse(events: Iterable[object]) -> Sent:
    """Return a stream of server-sent events: objects as JSON, text and bytes as they are."""

    def lines() -> Iterable[bytes]:
        for event in events:
            if isinstance(event, bytes):
                yield event
            else:
                yield f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()

    return Sent(lines(), kind="text/event-stream")


class WireServer:
    """One backend. Subclasses say what `get` and `post` answer; `asked` records a chat request in OpenAI's form."""

    models: Sequence[str] = ("fake-model",)
    base_path = "/v1"
    listens_at = 0
    """The port; 0 for any that is free."""

    def __init__(self, mind: Mind = everyday) -> None:
        self.mind = mind
        self.requests: list[Request] = []
        self.raw: list[dict[str, Any]] = []
        self.gets: list[str] = []
        self.violations: list[str] = []
        self.came = threading.Event()
        """Set once a chat request has come."""
        self._lock = threading.Lock()
        backend = self

        class Connection(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                backend.gets.append(self.path)
                self._send(backend.get(self.path.partition("?")[0].rstrip("/"), self._headers()))

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length") or 0))
                self._send(backend.post(self.path, self._headers(), json.loads(raw or b"{}")))

            def log_message(self, *_: object) -> None:
                pass

            def _headers(self) -> dict[str, str]:
                return {name.lower(): value for name, value in self.headers.items()}

            def _send(self, sent: Sent) -> None:
                self.send_response(sent.status)
                self.send_header("content-type", sent.kind)
                for name, value in sent.headers.items():
                    self.send_header(name, value)
                size = ("content-length", str(len(sent.body))) if isinstance(sent.body, bytes) else None
                self.send_header(*(size or ("transfer-encoding", "chunked")))
                self.end_headers()
                try:
                    if isinstance(sent.body, bytes):
                        self.wfile.write(sent.body)
                        return
                    for piece in sent.body:
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    self.wfile.write(b"0\r\n\r\n")
                except OSError:
                    self.close_connection = True  # the client left

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", self.listens_at), Connection)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def root(self) -> str:
        """The address without any path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """What a user gives as `api_base`."""
        return self.root + self.base_path

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def get(self, path: str, headers: Mapping[str, str]) -> Sent:
        """Answer a GET."""
        return self.lost(path)

    def post(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Sent:
        """Answer a POST."""
        return self.lost(path)

    def lost(self, path: str) -> Sent:
        """Answer where nothing is."""
        return as_json({"error": {"message": "Not Found", "type": "NotFoundError", "code": 404}}, 404)

    def asked(self, path: str, headers: Mapping[str, str], body: dict[str, Any], raw: dict[str, Any]) -> Request:
        """Record a chat request, `body` in OpenAI's form and `raw` as it came, and hold it against the rules."""
        with self._lock:
            request = Request(len(self.requests) + 1, path, headers, body, time.monotonic_ns(), 0)
            self.requests.append(request)
            self.raw.append(raw)
            self.violations += violations_of(body)
        self.came.set()
        return request

    def thought(self, request: Request) -> Any:
        """Return what the model makes of a request, written in the form that was asked for."""
        return in_form(request, self.mind(request))
