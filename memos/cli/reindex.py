"""`memos reindex`: make the vectors that are still lacking, of all agents; killed, it goes on where it was."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from memos.cli.agent_choice import Machinery
from memos.cli.boot import embedding_note, is_remote_embedding, open_index
from memos.cli.printing import confirmed, note, print_json
from memos.config import Places
from memos.errors import BadInput, EmbeddingProblem, NotConfigured
from memos.memory.index import Index
from memos.memory.indexer import Indexer
from memos.storage.database import Database

_TURN_S = 0.5  # how long to wait while another process is at it
_LINE_EVERY_S = 5.0  # without a terminal; on one the line is drawn anew at each batch


@dataclass(frozen=True, slots=True)
class _Done:
    """What came of it, as `--json` prints it."""

    embedding: str
    rows: int
    left: int
    seconds: float


def reindex(flags: Mapping[str, object], *, everything: bool, yes: bool, as_json: bool) -> int:
    """Make vectors until no row waits and return the exit code. A database is not created by it.

    Raises: BadInput, NotConfigured, EmbeddingProblem, DataDamaged, StorageProblem. What is done stays done.
    """
    places = Places.find(os.environ)
    if not places.database.exists():
        note("There is nothing to index yet.")
        return 0
    database = Database.open(places.database)
    try:
        return _reindex(Machinery(places, os.environ, database), flags, everything, yes, as_json)
    finally:
        database.close()


def _reindex(machinery: Machinery, flags: Mapping[str, object], everything: bool, yes: bool, as_json: bool) -> int:
    settings = machinery.settings(flags)
    embedding = settings.config.memory.embedding
    if embedding == "none":
        raise BadInput(
            "memory.embedding is none: search goes by words alone, and there is nothing to make.",
            "memos configure --set memory.embedding=builtin/minilm",
        )
    index = open_index(settings, machinery.places, machinery.environ, machinery.database, forget=everything)
    if index.indexer is None:
        raise NotConfigured(index.problem)
    try:
        waiting = index.indexer.due(everything=everything)
        if waiting and is_remote_embedding(embedding) and not _agreed(embedding_note(settings.config), waiting, yes):
            note("Nothing was sent.")
            return 130
        return _finish(_run(index, index.indexer, embedding, everything), as_json)
    finally:
        index.close()


def _agreed(sends: str, texts: int, yes: bool) -> bool:
    """Say what a remote model is about to get, and ask where somebody can answer."""
    note(f"{sends} {texts:,} texts wait; what that costs is the provider's to say (memos usage counts it).")
    if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    return confirmed("Send them?")


def _run(index: Index, indexer: Indexer, embedding: str, everything: bool) -> _Done:
    turns = _Turns()
    while not (indexer.start_over() if everything else indexer.claim()):
        turns.wait()
    left = indexer.pending()
    progress = _Progress(left)
    try:
        while left:
            done = indexer.step(flush=True)
            left = indexer.pending()
            progress.show(done, left)
            if left and not done:
                turns.wait()
    except EmbeddingProblem as problem:
        raise EmbeddingProblem(
            f"{problem.what} {left:,} rows wait.", f"{problem.next_step.rstrip('.')}; then memos reindex"
        ) from problem
    finally:
        progress.end()
    return _Done(embedding, progress.rows, left, round(progress.seconds, 1))


def _finish(done: _Done, as_json: bool) -> int:
    if as_json:
        print_json(asdict(done))
    else:
        note(f"{done.rows:,} rows indexed with {done.embedding} in {done.seconds:g} s.")
    return 0


class _Turns:
    """Waiting for another process that indexes too; told once."""

    def __init__(self) -> None:
        self._told = False

    def wait(self) -> None:
        if not self._told:
            note("Another memos is indexing too; the two take turns.")
            self._told = True
        time.sleep(_TURN_S)


class _Progress:
    """One line on stderr: rows done of all, rows a second, time left."""

    def __init__(self, waiting: int) -> None:
        self.rows = 0
        self._waiting = waiting
        self._began = self._shown = time.monotonic()
        self._drawn = False

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._began

    def show(self, done: int, left: int) -> None:
        """Count `done` rows and say how far it is."""
        self.rows += done
        terminal, now = sys.stderr.isatty(), time.monotonic()
        if not done or (not terminal and now - self._shown < _LINE_EVERY_S):
            return
        self._shown = now
        rate = self.rows / max(self.seconds, 1e-3)
        line = f"{self.rows:,} of {self.rows + left:,} rows · {rate:,.0f} a second · {_time(left / rate)} left"
        sys.stderr.write(f"\r\x1b[K{line}" if terminal else f"{line}\n")
        sys.stderr.flush()
        self._drawn = terminal

    def end(self) -> None:
        """Take a drawn line away."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
