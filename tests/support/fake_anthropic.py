"""A real HTTP server that speaks Anthropic's messages API, streamed: it keeps what came and says "Hi." to all of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"input_tokens": 30, "cache_creation_input_tokens": 70, "cache_read_input_tokens": 900, "output_tokens": 1}
STREAM: tuple[dict[str, Any], ...] = (
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-x",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": USAGE,
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi."}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 5},
    },
    {"type": "message_stop"},
)


@dataclass
class FakeAnthropic:
    """Where it listens, and the bodies that came."""

    url: str
    bodies: list[dict[str, Any]] = field(default_factory=list)


def thinking(thoughts: Sequence[str], signature: str) -> tuple[dict[str, Any], ...]:
    """Return the stream with a signed block of thought before the words, and one that is redacted."""
    start = {"type": "thinking", "thinking": "", "signature": ""}
    deltas = [{"type": "thinking_delta", "thinking": piece} for piece in thoughts]
    deltas.append({"type": "signature_delta", "signature": signature})
    redacted = {"type": "redacted_thinking", "data": "opaque"}
    return (
        STREAM[0],
        {"type": "content_block_start", "index": 0, "content_block": start},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": redacted},
        {"type": "content_block_stop", "index": 1},
        *({**event, "index": 2} if "index" in event else event for event in STREAM[1:]),
    )


@contextmanager
def fake_anthropic(stream: Sequence[dict[str, Any]] = STREAM) -> Iterator[FakeAnthropic]:
    """Serve for the length of a block."""

    class Connection(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            found = self.path.endswith("/v1/messages")
            fake.bodies.append(body)
            self.send_response(200 if found else 404)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            for event in stream if found else ():
                self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Connection) as server:
        fake = FakeAnthropic(f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield fake
        finally:
            server.shutdown()
