"""Weights from their publisher's repository on the Hugging Face hub, by way of huggingface_hub, and from nowhere else.

The library's own download begins anew whenever it was killed; here a partial file stays and is gone on with.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from memos import __version__
from memos.errors import ProcessorUnreachable, StorageProblem
from memos.llm.pace import megabytes, pace
from memos.llm.quick_httpx import spare_unused_parts
from memos.messages import Progress
from memos.safe_text import safe_line

if TYPE_CHECKING:
    import httpx

DEFAULT_HUB = "https://huggingface.co"
NEXT_STEP = "check the network (HF_ENDPOINT names another hub), then try again: it goes on where it was"
_READ_TIMEOUT_S = 10.0
_ATTEMPTS = 5
"""How often in a row the hub may fail without one byte coming through."""
_PAUSE_S = 1.0
_REPORT_EVERY_S = 0.2
_SPARE_BYTES = 64_000_000
"""What is left free on the disk: a full disk would stop the database too."""
_SHA256 = re.compile(r"[0-9a-f]{64}")

Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class HubModel:
    """A file in a repository of the hub: at which commit, how large it is, and what its bytes must hash to."""

    title: str
    licence: str
    repository: str
    revision: str
    file_name: str
    size_bytes: int
    sha256: str
    memory_bytes: int
    """What the process takes with it loaded, as measured."""

    @property
    def download_bytes(self) -> int:
        """How much comes over the network."""
        return self.size_bytes

    @property
    def source(self) -> str:
        """Where it is fetched from, as a person is told."""
        return f"{urlsplit(hub_address()).hostname}, {self.repository}"


class _NotTheFile(Exception):
    """The hub has another file there than the one that is known."""


def hub_address() -> str:
    """Return the hub the user named in HF_ENDPOINT, else the public one."""
    return (os.environ.get("HF_ENDPOINT", "").strip() or DEFAULT_HUB).rstrip("/")


def partial_path(path: Path, model: HubModel) -> Path:
    """Return where what has come so far of the weights at `path` is kept: named by the content it will have."""
    return path.with_name(f"{path.name}.{model.sha256[:12]}.part")


def fetch_from_hub(model: HubModel, path: Path, report: Report) -> None:
    """Bring the weights to `path`, going on with what an earlier run left. Blocks; whatever `report` raises ends it.

    Raises: ProcessorUnreachable when they cannot be fetched or are not the expected ones, StorageProblem when the disk
    has no room, OSError when the folder cannot be written.
    """
    _load_quietly()
    partial = partial_path(path, model)
    _make_sure_of_room(model, partial)
    try:
        with _open_privately(partial) as file:
            _Download(model, file, report).run()
            file.flush()
            os.fsync(file.fileno())
        report(Progress("checking the model"))
        if _sha256(partial) != model.sha256:
            raise _NotTheFile
    except _NotTheFile:
        partial.unlink(missing_ok=True)
        raise ProcessorUnreachable(
            f"{_host()} delivered another file for {model.repository} than expected (sha256); it was removed.",
            "check which hub HF_ENDPOINT names and what stands between, then try again",
        ) from None
    partial.replace(path)


class _Download:
    """One file on its way: from where it stands to its full size."""

    def __init__(self, model: HubModel, file: BinaryIO, report: Report) -> None:
        self._model = model
        self._file = file
        self._report = report
        self._done = file.seek(0, os.SEEK_END)
        if self._done > model.size_bytes:
            self._begin_anew()
        self._before = self._done
        self._began = self._reported = time.monotonic()

    def run(self) -> None:
        """Ask until all of it is there. Raises: _NotTheFile, ProcessorUnreachable."""
        self._tell()
        headers: dict[str, str] = {}
        failures = 0
        while self._done < self._model.size_bytes:
            before = self._done
            try:
                with _hub_errors():
                    headers = headers or self._checked_headers()
                    self._receive(headers)
            except ProcessorUnreachable as failure:
                failures = failures + 1 if self._done <= before else 1
                if failures == _ATTEMPTS or not _may_pass(failure.__cause__):
                    raise
                self._pause()

    def _checked_headers(self) -> dict[str, str]:
        """Ask what the hub has there before a gigabyte is fetched; return the headers for the rest."""
        from huggingface_hub import get_hf_file_metadata

        headers = {"user-agent": f"memos/{__version__}"}
        # The token is the user's own word in HF_TOKEN, never one that another program left in a file.
        if token := os.environ.get("HF_TOKEN", "").strip():
            headers["authorization"] = f"Bearer {token}"
        found = get_hf_file_metadata(self._address(), token=False, headers=headers, endpoint=hub_address())
        hash_known = _SHA256.fullmatch(found.etag or "") is not None  # a mirror may have etags of another kind
        if hash_known and found.etag != self._model.sha256:
            raise _NotTheFile
        if found.size is not None and found.size != self._model.size_bytes:
            raise _NotTheFile
        return {**headers, "accept-encoding": "identity"}

    def _address(self) -> str:
        from huggingface_hub import hf_hub_url

        model = self._model
        return hf_hub_url(model.repository, model.file_name, revision=model.revision, endpoint=hub_address())

    def _receive(self, headers: dict[str, str]) -> None:
        """Write what one answer brings. The hub is asked anew each time: addresses of its stores expire."""
        from huggingface_hub import get_session

        if self._done:
            headers = {**headers, "Range": f"bytes={self._done}-"}
        with get_session().stream("GET", self._address(), headers=headers, timeout=_READ_TIMEOUT_S) as answer:
            answer.raise_for_status()
            if self._done and not _begins_at(answer, self._done):
                self._begin_anew()
            for chunk in answer.iter_bytes():
                if self._done + len(chunk) > self._model.size_bytes:
                    raise _NotTheFile
                self._file.write(chunk)
                self._done += len(chunk)
                if time.monotonic() - self._reported >= _REPORT_EVERY_S:
                    self._tell()
        self._tell()

    def _begin_anew(self) -> None:
        """The partial file is of no use: it is too long, or the server sends from the beginning."""
        self._file.seek(0)
        self._file.truncate()
        self._done = self._before = 0

    def _pause(self) -> None:
        ends = time.monotonic() + _PAUSE_S
        while time.monotonic() < ends:
            self._tell()
            time.sleep(_REPORT_EVERY_S)

    def _tell(self) -> None:
        self._file.flush()  # a killed process loses nothing that was told
        now = time.monotonic()
        self._reported = now
        done, size = self._done, self._model.size_bytes
        rate = (done - self._before) / max(now - self._began, 0.001)
        self._report(Progress("fetching the model", done / size, pace(done, size, rate)))


@contextmanager
def _hub_errors() -> Iterator[None]:
    """Turn what huggingface_hub and httpx raise into one sentence. Raises: ProcessorUnreachable."""
    import httpx

    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, ConnectionError, ValueError) as error:
        code = _status(error)
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise _not_fetched(f"{_host()} answered {code}" if code else f"{_host()}: {first}") from error


def _status(error: BaseException | None) -> int:
    """Return the HTTP status that an exception is about, 0 where nothing was answered."""
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def _may_pass(error: BaseException | None) -> bool:
    """Whether asking again may help: nothing was answered, or the hub has trouble of its own."""
    import httpx

    code = _status(error)
    return code >= 500 or code in (408, 429) if code else isinstance(error, httpx.TransportError)


def _load_quietly() -> None:
    """Import huggingface_hub, which is only done when it is needed, so that it tells nobody who asks."""
    spare_unused_parts()
    # Else it fetches a list of programs from the hub, to name in each request the one it was started by.
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_TELEMETRY = True  # where somebody had imported it before


def _begins_at(answer: httpx.Response, offset: int) -> bool:
    return answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-")


def _make_sure_of_room(model: HubModel, partial: Path) -> None:
    """Raises: StorageProblem."""
    there = partial.stat().st_size if partial.exists() else 0
    needed = max(0, model.size_bytes - there) + _SPARE_BYTES
    free = shutil.disk_usage(partial.parent).free
    if free < needed:
        raise StorageProblem(
            f"The model needs {megabytes(needed)} more in {partial.parent}, where {megabytes(free)} are free.",
            "free some space or point MEMOS_CACHE at another folder",
        )


def _open_privately(path: Path) -> BinaryIO:
    """Open `path` for reading and writing at its end; a new file is its owner's alone."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600), "r+b")


def _not_fetched(reason: str) -> ProcessorUnreachable:
    secretless = re.sub(r"//[^/@\s]+@", "//", reason)
    return ProcessorUnreachable(
        f"The built-in model could not be fetched: {safe_line(secretless)[:300].rstrip('.')}.", NEXT_STEP
    )


def _host() -> str:
    return urlsplit(hub_address()).hostname or "the hub"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
