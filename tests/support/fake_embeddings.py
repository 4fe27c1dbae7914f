"""A real HTTP server that speaks OpenAI's /v1/embeddings, well or badly, for tests that use no mocks.

The vectors are those of `WordCounts`: texts that share words are near each other. `fault` may be changed while it runs.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.search_home import WordCounts

FAULTS = ("", "nan", "null", "some_null", "zero", "500", "401", "too_long", "hang", "non_json", "one_missing")


@dataclass
class FakeEmbeddings:
    """The server. Use it as a context manager."""

    dims: int = 64
    fault: str = ""
    delay_s: float = 0.0
    usage: bool = True
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        connection = type("_Bound", (_Connection,), {"fake": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), connection)
        self._server.daemon_threads = True
        self._server.block_on_close = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def texts(self) -> list[str]:
        return [text for body in self.bodies for text in body["input"]]

    def __enter__(self) -> FakeEmbeddings:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeEmbeddings

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        fake = self.fake
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        fake.bodies.append(body)
        fake.keys.append(self.headers.get("authorization", "").removeprefix("Bearer "))
        if fake.fault == "hang":
            fake.stopping.wait(60)
            self.close_connection = True
            return
        time.sleep(fake.delay_s)
        if fake.fault in ("500", "401"):
            return self._answer(int(fake.fault), json.dumps({"error": {"message": "It does not work."}}))
        if fake.fault == "too_long" and any(len(text) > 600 for text in body["input"]):
            message = "input is too large to process. increase the physical batch size"
            return self._answer(500, json.dumps({"error": {"message": message}}))
        if fake.fault == "non_json":
            return self._answer(200, "<html><body>Sign in</body></html>")
        self._answer(200, json.dumps(self._vectors(body)))

    def _vectors(self, body: dict[str, Any]) -> dict[str, Any]:
        fake, texts = self.fake, body["input"]
        vectors: list[list[Any]] = WordCounts(dims=fake.dims).embed(texts).tolist()
        for row, vector in enumerate(vectors):
            if fake.fault in ("nan", "null") or (fake.fault == "some_null" and "poison" in texts[row]):
                vector[0] = float("nan") if fake.fault == "nan" else None
            if fake.fault == "zero":
                vector[:] = [0.0] * len(vector)
        data = [{"object": "embedding", "index": row, "embedding": vector} for row, vector in enumerate(vectors)]
        data = data[1:] if fake.fault == "one_missing" else data[::-1]  # the order is theirs, `index` tells
        spent = sum(len(text.split()) for text in texts)
        usage = {"usage": {"prompt_tokens": spent, "total_tokens": spent}} if fake.usage else {}
        return {"object": "list", "model": body["model"], "data": data, **usage}

    def _answer(self, status: int, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("content-type", "application/json" if text[0] == "{" else "text/html")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
