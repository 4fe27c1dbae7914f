"""A model hub on loopback that speaks the hub's HTTP: /REPOSITORY/resolve/REVISION/FILE, answered by a redirect.

As https://huggingface.co does for a large file: HEAD and GET say the file's sha256 in X-Linked-Etag, its size in
X-Linked-Size and the commit in X-Repo-Commit, and send to a store on another host, which knows ranges.
"""

from __future__ import annotations

import hashlib
import http.server
import threading
import time
from dataclasses import dataclass, field

from memos.llm.hub_weights import HubModel

REPOSITORY, REVISION, FILE = "Someone/Small-GGUF", "0123456789abcdef0123456789abcdef01234567", "small.gguf"
PAYLOAD = b"GGUF" + bytes(range(256)) * 12_000  # 3 MB
MODEL = HubModel(
    title="small", licence="Apache-2.0", repository=REPOSITORY, revision=REVISION, file_name=FILE,
    size_bytes=len(PAYLOAD), sha256=hashlib.sha256(PAYLOAD).hexdigest(), memory_bytes=1_600_000_000,
)  # fmt: skip


@dataclass
class Asked:
    """One request: what was asked of which host, from which byte on, by which token."""

    method: str
    host: str
    path: str
    first_byte: int
    token: str
    agent: str


@dataclass
class FakeHub:
    """The hub; its attributes may be changed between requests."""

    payload: bytes = PAYLOAD
    etag: str = MODEL.sha256
    cuts_at: list[int] = field(default_factory=list)
    """For each of the coming answers of the store: after how many bytes the line goes dead."""
    status: int = 200
    """What the hub itself answers with."""
    knows_ranges: bool = True
    chunk_pause_s: float = 0.0
    asked: list[Asked] = field(default_factory=list)

    def __enter__(self) -> FakeHub:
        hub = self

        class Pages(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub._answer(self)

            def do_GET(self) -> None:
                hub._answer(self)

            def log_message(self, *_: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        self.address = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def downloads(self) -> list[Asked]:
        """Return what the store was asked for."""
        return [asked for asked in self.asked if asked.path.startswith("/store/")]

    def _answer(self, page: http.server.BaseHTTPRequestHandler) -> None:
        wanted = page.headers.get("Range", "")
        first_byte = int(wanted[6:-1]) if wanted else 0
        token, agent = (page.headers.get(name, "") for name in ("Authorization", "User-Agent"))
        self.asked.append(Asked(page.command, page.headers["Host"], page.path, first_byte, token, agent))
        if page.path.startswith("/store/"):
            return self._store(page, first_byte if wanted and self.knows_ranges else None)
        if page.path != f"/{REPOSITORY}/resolve/{REVISION}/{FILE}" or self.status != 200:
            page.send_response(self.status if self.status != 200 else 404)
            page.send_header("Content-Length", "0")
            return page.end_headers()
        page.send_response(302)
        page.send_header("Location", f"http://localhost:{self.port}/store/{FILE}")
        page.send_header("X-Repo-Commit", REVISION)
        page.send_header("X-Linked-Etag", f'"{self.etag}"')
        page.send_header("X-Linked-Size", str(len(self.payload)))
        page.send_header("Content-Length", "0")
        page.end_headers()

    def _store(self, page: http.server.BaseHTTPRequestHandler, first: int | None) -> None:
        size = len(self.payload)
        page.send_response(200 if first is None else 206)
        if first is not None:
            page.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        page.send_header("Content-Length", str(size - (first or 0)))
        page.end_headers()
        body = self.payload[first or 0 :]
        if self.cuts_at:
            body = body[: self.cuts_at.pop(0)]
        try:
            for start in range(0, len(body), 1 << 16):
                page.wfile.write(body[start : start + (1 << 16)])
                time.sleep(self.chunk_pause_s)
        except OSError:
            return  # whoever asked has left
