"""`memos import agent FILE`: an exported agent comes back, whole or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from memos.cli.agent_choice import Machinery
from memos.cli.import_messages import opened
from memos.cli.printing import confirmed, note, print_text
from memos.cli.progress import ProgressLine
from memos.config import Places, read_config
from memos.errors import BadInput
from memos.memory.agent_import import AgentFile, ImportedAgent, check_file, import_agent
from memos.safe_text import safe_line
from memos.storage.agents import Agent
from memos.storage.database import Database
from memos.terminal.exports import counted

_WHO_HEARS = (
    "model",
    "api_base",
    "api_key_env",
    "fallback_models",
    "paging.summariser",
    "memory.embedding",
    "memory.embedding_api_base",
    "memory.embedding_api_key_env",
)
"""Settings that say to whom words, and keys, go."""
_STAYS_HERE = ("builtin/", "gguf:", "scripted:", "none")


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
            if not _agreed(_hearers(machinery, checked), yes):
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


def _agreed(hearers: str, yes: bool) -> bool:
    """Ask before an agent is taken in that would send words or a key to somebody whom only its file names.

    Raises: BadInput where nobody can answer.
    """
    if not hearers:
        return True
    note(f"The agent's own settings say who gets what is said to it: {hearers}.")
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadInput("Nobody is here to agree to that.", "add --yes if that is what you want")
    return confirmed("Import it with them?")


def _hearers(machinery: Machinery, file: AgentFile) -> str:
    """Return the settings by which others get words or keys, but for those that config.toml has too."""
    given = read_config(machinery.places.config_file).given
    told = []
    for name in _WHO_HEARS:
        value = file.settings.get(name)
        values = [str(each) for each in (value if isinstance(value, list) else [value]) if each]
        away = [each for each in values if not each.startswith(_STAYS_HERE)]
        if away and given.get(name) != value:
            told.append(f"{name} = {safe_line(', '.join(away))}")
    return ", ".join(told)


def _sentence(done: ImportedAgent, file: AgentFile) -> str:
    counts = done.counts
    what = [
        counted(counts.get(table, 0), *words)
        for table, *words in (
            ("messages", "row", " of recall storage"),
            ("passages", "passage"),
            ("revisions", "edit"),
            ("attachments", "image"),
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
