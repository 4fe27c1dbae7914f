"""`memos import messages FILE.jsonl`: one's old chats become recall memory of an agent.

Stored in transactions of a thousand rows: a killed import goes on where it was when it is run again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from memos.cli.held_agent import held
from memos.cli.printing import note, print_text
from memos.cli.progress import ProgressLine
from memos.config import Places
from memos.errors import AgentNotFound, BadInput
from memos.memory.imported_messages import BadLine, ImportedMessage, read_messages, store
from memos.safe_text import safe_line
from memos.storage.agents import Agent, Agents
from memos.storage.database import Database
from memos.terminal.exports import counted

BATCH_ROWS = 1_000
BATCH_CHARS = 4_000_000
FAULTS_TOLD = 20


def import_messages(file: str, *, agent: str, skip_bad: bool) -> int:
    """Store the messages of a JSONL file with an agent, and say how many. A database is not created by it.

    Raises: AgentNotFound, AgentInUse, BadInput (the file, or a line of it), DataDamaged, StorageProblem.
    """
    places, path = Places.find(os.environ), Path(file)
    if not places.database.exists():
        raise AgentNotFound(f'There is no agent named "{agent}": there is none at all yet.', "memos run to begin one")
    database = Database.open(places.database)
    try:
        found = Agents(database).get(agent)
        with held(places, found.id, found.name, "leave it there, then import again"), opened(path) as source:
            _Import(database, found, path, source, skip_bad=skip_bad).run()
    finally:
        database.close()
    return 0


class _Import:
    """One file on its way into one agent's recall storage."""

    def __init__(self, database: Database, agent: Agent, path: Path, source: BinaryIO, *, skip_bad: bool) -> None:
        self._database = database
        self._agent = agent
        self._path = path
        self._source = source
        self._skip_bad = skip_bad
        self._batch: list[ImportedMessage] = []
        self._batch_chars = 0
        self._stored = self._there = self._skipped = 0
        size_bytes = os.fstat(source.fileno()).st_size if source.seekable() else 0
        self._progress = ProgressLine(size_bytes, "messages")

    def run(self) -> None:
        """Store all of it, and say in one sentence what came of it. Raises: BadInput, StorageProblem."""
        try:
            for item in _read(self._path, self._source):
                if isinstance(item, BadLine):
                    self._pass_over(item)
                else:
                    self._add(item)
            self._store()
        except KeyboardInterrupt:
            self._progress.clear()
            note(f"Stopped. {self._sentence()} The same command goes on.")
            raise
        finally:
            self._progress.clear()
        print_text(self._sentence())

    def _add(self, message: ImportedMessage) -> None:
        self._batch.append(message)
        self._batch_chars += len(message.content)
        if len(self._batch) == BATCH_ROWS or self._batch_chars > BATCH_CHARS:
            self._store()

    def _store(self) -> None:
        new = store(self._database, self._agent, self._batch)
        self._stored += new
        self._there += len(self._batch) - new
        self._batch, self._batch_chars = [], 0
        read_bytes = self._source.tell() if self._source.seekable() else 0
        self._progress.show(read_bytes, self._stored + self._there)

    def _pass_over(self, bad: BadLine) -> None:
        what = f"{self._path}, line {bad.number}: {bad.fault}."
        if not self._skip_bad:
            self._store()
            self._progress.clear()
            raise BadInput(
                f"{what} {self._sentence()}",
                "mend that line and import again, or add --skip-bad to leave such lines out",
            )
        self._skipped += 1
        if self._skipped <= FAULTS_TOLD:
            self._progress.clear()
            note(what)
        elif self._skipped == FAULTS_TOLD + 1:
            note("More lines are left out like that; the end says how many.")

    def _sentence(self) -> str:
        name = safe_line(self._agent.name)
        return (
            f"Stored {counted(self._stored, 'message')} with {name};"
            f" there already: {self._there:,}, skipped: {counted(self._skipped, 'line')}."
        )


@contextmanager
def opened(path: Path, next_step: str = "name a file of JSON lines") -> Iterator[BinaryIO]:
    """Open the file for reading. Raises: BadInput."""
    try:
        source = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error, next_step) from error
    with source:
        yield source


def _read(path: Path, source: BinaryIO) -> Iterator[ImportedMessage | BadLine]:
    """Yield what the lines hold. Raises: BadInput."""
    try:
        yield from read_messages(source)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError, next_step: str = "name a file of JSON lines") -> BadInput:
    return BadInput(f"{path} cannot be read: {error.strerror or error}.", next_step)
