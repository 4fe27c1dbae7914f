"""`memos import agent FILE`: an exported agent comes back, whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from memos.cli.agent_choice import Machinery
from memos.cli.import_messages import opened
from memos.cli.printing import confirmed, note, print_text
from memos.cli.progress import ProgressLine
from memos.config import Places
from memos.errors import BadInput
from memos.memory.agent_import import AgentFile, ImportedAgent, check_file, import_agent
from memos.safe_text import safe_line
from memos.storage.agents import Agent
from memos.storage.database import Database

_ADDRESSES = ("api_base", "api_key_env", "memory.embedding_api_base", "memory.embedding_api_key_env")
"""Settings that say to whom words, and keys, go."""


def import_exported(file: str, *, name: str | None, yes: bool) -> int:
    """Store the agent of a file and say what came; return the exit code.

    Raises: BadInput (the file, the name, a setting), DataDamaged, StorageProblem. Then nothing was stored.
    """
    places, shown = Places.find(os.environ), safe_line(file)
    with opened(Path(file), "name a file that memos export wrote") as source:
        if not source.seekable():
            raise BadInput(f"{shown} is a pipe, and an export is read twice.", "write it into a file first")
        size_bytes = os.fstat(source.fileno()).st_size
        database = Database.open(places.database)
        try:
            machinery = Machinery(places, os.environ, database)
            with _Line(size_bytes, "bytes checked") as line:
                checked = check_file(database, source, shown, line.show)
            _check_settings(machinery, checked, shown)
            if not _agreed(checked, yes):
                note("Nothing was imported.")
                return 130
            with _Line(size_bytes, "bytes imported") as line:
                done = import_agent(database, source, shown, checked, name or checked.name, line.show)
        finally:
            database.close()
    print_text(_sentence(done, checked))
    return 0


def _check_settings(machinery: Machinery, file: AgentFile, shown: str) -> None:
    """Refuse settings that mean nothing here: the agent could not be opened. Raises: BadInput."""
    try:
        machinery.settings({}, Agent("", "", file.model, "", "", settings=file.settings))
    except BadInput as problem:
        raise BadInput(
            f"{shown}: a setting of the agent cannot be used. {problem.what}", "export it again"
        ) from problem


def _agreed(file: AgentFile, yes: bool) -> bool:
    """Ask before an agent is taken in that would send words or a key to an address which its file names.

    Raises: BadInput where nobody can answer.
    """
    told = _addresses(file.settings)
    if not told:
        return True
    note(f"This agent's own settings say where it sends what is said: {told}.")
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadInput("Nobody is here to agree to that.", "add --yes if you trust the file")
    return confirmed("Import it with them?")


def _addresses(settings: Mapping[str, object]) -> str:
    return ", ".join(f"{name} = {safe_line(str(settings[name]))}" for name in _ADDRESSES if settings.get(name))


def _sentence(done: ImportedAgent, file: AgentFile) -> str:
    counts = done.counts
    what = [
        f"{counts.get(table, 0):,} {word}"
        for table, word in (
            ("messages", "rows of recall storage"),
            ("passages", "passages"),
            ("revisions", "edits"),
            ("attachments", "images"),
        )
    ]
    name = safe_line(done.agent.name)
    partly = " It is a part: what was said since a day." if file.since else ""
    secrets = " Secrets were left out of the file: they read [key]." if file.redacted else ""
    quoted = f'"{name}"' if " " in name else name
    return f'Imported "{name}": {", ".join(what)}.{partly}{secrets} Next: memos run {quoted}'


class _Line:
    """A line of progress by bytes, gone at the end."""

    def __init__(self, size_bytes: int, what: str) -> None:
        self._line = ProgressLine(size_bytes, what, quiet_s=1.0)

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.clear()

    def show(self, read_bytes: int) -> None:
        """Draw how far the file is read."""
        self._line.show(read_bytes, read_bytes)
