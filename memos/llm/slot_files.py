"""What a model has read of our fixed prompts, kept in the cache folder: the next process need not read it again.

Only the fixed beginning of a prompt is ever written, before anything of the user's follows it. llama.cpp saves and
restores a slot only by its HTTP interface: that is a socket file in a private folder with a key nobody else knows, and
both are gone as soon as the prefixes are read (in one-call format, which counts tokens by it, with the engine).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from memos.llm.engine_door import EngineDoor

_HEAD_BYTES = 1 << 20


class SlotFiles:
    """Saves and restores slots of one loaded model by way of its `door`."""

    def __init__(self, folder: Path, model: Path, door: Path, key: str, *, engine: str) -> None:
        """`folder` is private and exists; `engine` names what else decides whether a file fits, such as a version."""
        self._folder = folder
        self._door = EngineDoor(door, key)
        self._identity = _identity(model, engine)

    def restore(self, slot: int, prefix: str) -> bool:
        """Return whether `slot` now holds `prefix`."""
        try:
            whole = (path for path in self._folder.glob(f"{self._stem(slot, prefix)}-*.slot") if _is_whole(path))
            path = next(whole, None)
        except OSError:
            return False
        return path is not None and self._ask("restore", slot, path.name)

    def save(self, slot: int, prefix: str) -> bool:
        """Keep what `slot` holds, which must be `prefix` and nothing else, in place of what it kept before."""
        stem = self._stem(slot, prefix)
        draft = self._folder / f"{stem}.{os.getpid()}.part"
        try:
            if not self._ask("save", slot, draft.name):
                return False
            draft.chmod(0o600)
            path = self._folder / f"{stem}-{_digest(draft)}.slot"
            draft.replace(path)
        except OSError:
            return False
        finally:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
        self._remove_older(slot, path)
        return True

    def _remove_older(self, slot: int, newest: Path) -> None:
        """Remove what this slot of this model kept for a prefix that has changed since."""
        with contextlib.suppress(OSError):
            for path in self._folder.glob(f"{self._identity}-{slot}-*.slot"):
                if path != newest:
                    path.unlink(missing_ok=True)

    def _stem(self, slot: int, prefix: str) -> str:
        return f"{self._identity}-{slot}-{hashlib.sha256(prefix.encode()).hexdigest()[:16]}"

    def _ask(self, action: str, slot: int, name: str) -> bool:
        return self._door.post(f"/slots/{slot}?action={action}", {"filename": name}) is not None


def private_folder(folder: Path) -> bool:
    """Make `folder` if need be, for its owner alone, and return whether it can be used."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError:
        return False
    return True


def _is_whole(path: Path) -> bool:
    """Whether a file is as it was saved: a damaged one would end the process from inside llama.cpp."""
    return path.stem.rpartition("-")[2] == _digest(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def files_of(folder: Path, model: Path) -> list[Path]:
    """Return what was kept in `folder` for the model file, by whatever engine."""
    return sorted(folder.glob(f"{_mark(model)}*.slot"))


def _identity(model: Path, engine: str) -> str:
    """Return a short name for a model file and the engine that read it: other weights get another one."""
    return _mark(model) + hashlib.sha256(engine.encode()).hexdigest()[:8]


def _mark(model: Path) -> str:
    status = model.stat()
    digest = hashlib.sha256(f"{status.st_size}\0{status.st_mtime_ns}\0".encode())
    with model.open("rb") as file:
        digest.update(file.read(_HEAD_BYTES))
    return digest.hexdigest()[:12]
