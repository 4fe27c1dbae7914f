"""What every bench does around its run: which model is meant, homes of their own, and how a run ends early."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from memos.cli import EXIT_INTERRUPTED
from memos.cli.agent_choice import Machinery
from memos.cli.boot import check_model
from memos.cli.models import agree_first
from memos.cli.printing import note
from memos.config import Places
from memos.errors import MemosError
from memos.llm.catalogue import BUILTIN_MODEL
from memos.messages import Stopped
from memos.storage.database import Database

AGENT = "bench"
NEWCOMER: Mapping[str, object] = {"agent": "", "persona": "", "human": "basic"}
"""Every agent is as a newcomer's would be: no persona or human of the user's own."""
_FAILURES_LIMIT = 3
"""So many failed turns in a row end the run: the model cannot be reached, or will go on refusing."""
_FOLDER_PREFIX = "memos-bench-"


class ModelFails(MemosError):
    """Too many turns in a row failed; the exit code is that of the last one."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(f"{_FAILURES_LIMIT} turns in a row failed. {reason}")
        self.exit_code = exit_code


class FailuresInARow:
    """Counts turns that failed one after the other."""

    def __init__(self) -> None:
        self._count = 0

    def note(self, failure: Stopped | None) -> None:
        """Take how a turn ended, None for a good one. Raises: ModelFails where it is one failure too many."""
        self._count = self._count + 1 if failure else 0
        if failure and self._count >= _FAILURES_LIMIT:
            raise ModelFails(failure.reason, failure.exit_code or 1)


@dataclass(frozen=True, slots=True)
class Ground:
    """What a run stands on: a folder for its homes, the user's configuration and keys, and the flags it is given."""

    folder: Path
    places: Places
    environ: Mapping[str, str]
    flags: Mapping[str, object]

    def home(self, name: str) -> AbstractContextManager[Machinery]:
        """Open a home of that name, and close it at the end of the block."""
        return opened(self.folder / name, self.places, self.environ)


class Tallied(Protocol):
    """Numbers that can be read at any moment; `stopped` is why the run ended early."""

    stopped: str

    @property
    def judged(self) -> bool:
        """Whether anything has been counted yet."""
        ...


def measure(run: Callable[[Path], None], tally: Tallied) -> int:
    """Call `run` with a temporary folder and return the exit code; what it measured before it is stopped counts.

    Raises: MemosError when nothing could be measured at all.
    """
    code = 0
    with tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX) as folder:
        try:
            run(Path(folder))
        except KeyboardInterrupt:
            tally.stopped, code = "interrupted", EXIT_INTERRUPTED
        except ModelFails as error:
            if not tally.judged:
                raise
            tally.stopped, code = str(error), error.exit_code
    if tally.stopped:
        note(f"Stopped: {tally.stopped}. These are the numbers so far.")
    return code


def with_model(
    flags: Mapping[str, object], places: Places, environ: Mapping[str, str], command: str
) -> Mapping[str, object]:
    """Return `flags` with the model that is meant: the given, the configured, or the built-in one."""
    with (
        tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX) as folder,
        opened(Path(folder), places, environ) as first,
    ):
        settings = first.settings(flags)
        model = settings.config.model
        if not model:
            note(f"No model is configured: {BUILTIN_MODEL} is measured. Next: memos bench {command} --model MODEL")
            flags, model = {**flags, "model": BUILTIN_MODEL}, BUILTIN_MODEL
            settings = first.settings(flags)
        agree_first(first.places, model, named_here=False)
        asyncio.run(check_model(settings, first.places, environ))
    return {**flags, "model": model}


@contextmanager
def opened(folder: Path, places: Places, environ: Mapping[str, str]) -> Iterator[Machinery]:
    """Yield the machinery over a home in `folder`: configuration and keys stay the user's, nothing else is touched."""
    home = replace(places, data=folder / "data", state=folder / "state")
    database = Database.open(home.database)
    try:
        yield Machinery(home, environ, database)
    finally:
        database.close()
