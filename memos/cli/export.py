"""`memos export AGENT`: into a file that takes its place whole, or through a pipe."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from memos.cli.agent_choice import Machinery
from memos.cli.days import span_of
from memos.cli.printing import note
from memos.cli.progress import ProgressLine
from memos.config import Places, find_key, stored_secrets
from memos.config.config_file import written_whole
from memos.errors import AgentNotFound, MemosError
from memos.redaction import Redaction
from memos.storage.agent_export import agent_snapshot
from memos.storage.agents import Agent
from memos.storage.database import Database
from memos.terminal.exports import Exported, ExportWish, file_name, form_of, pieces

Report = Callable[[int, int], None]
"""Told how many of about how many pieces have been written."""


def export(
    name: str,
    *,
    form: str | None,
    output: str | None,
    since: str | None,
    with_thoughts: bool,
    redact: bool,
    force: bool,
) -> int:
    """Write an agent into a file, or to stdout where that is no terminal, and return the exit code.

    Raises: AgentNotFound, BadInput, DataDamaged, StorageProblem.
    """
    places, first = Places.find(os.environ), span_of(since, None).start
    if not places.database.exists():
        raise AgentNotFound(f'There is no agent named "{name}": there is none at all yet.', "memos run to begin one")
    to_pipe = output == "-" or (output is None and not sys.stdout.isatty())
    file = "-" if to_pipe else output or ""
    wish = ExportWish(form_of(form, "" if to_pipe else file), file, first, with_thoughts, redact, force)
    database = Database.open(places.database)  # an older schema becomes the newest one
    try:
        machinery = Machinery(places, os.environ, database)
        line = _Progress()
        try:
            done = export_agent(machinery, machinery.agents.get(name), wish, line.show)
        finally:
            line.clear()
    finally:
        database.close()
    for sentence in done.lines():
        note(sentence)
    return 0


def export_agent(
    machinery: Machinery, agent: Agent, wish: ExportWish, report: Report = lambda done, total: None
) -> Exported:
    """Write an agent as wished; the file `-` is stdout. A chat may go on meanwhile. Blocking.

    Raises: BadInput (the file is there already), AgentNotFound, StorageProblem.
    """
    redaction = Redaction(_secrets(machinery, agent), machinery.environ) if wish.redact else None
    file = wish.file or file_name(agent.name, wish.form, datetime.now().astimezone())
    with ExitStack() as stack:
        snapshot = stack.enter_context(
            agent_snapshot(machinery.database.path, agent.name, since=wish.since, redaction=redaction)
        )
        target = stack.enter_context(_target(file, force=wish.force))
        total, size_bytes = snapshot.count(), 0
        for number, piece in enumerate(pieces(snapshot, wish), 1):
            target.write(piece)
            size_bytes += len(piece)
            report(number, total)
        messages, passages, images = map(snapshot.count, ("messages", "passages", "attachments"))
    shown = "" if file == "-" else file
    told = redaction.told() if redaction else ""
    return Exported(agent.name, shown, messages, passages, images, size_bytes, told)


@contextmanager
def _target(file: str, *, force: bool) -> Iterator[BinaryIO]:
    """Give the file to write into. A pipe or a device gets the bytes as they come. Raises: BadInput, StorageProblem."""
    path = Path(file).expanduser()
    if file == "-":
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif _is_special(path):
        with path.open("wb") as device:
            yield device
    else:
        with written_whole(path, replace=force) as whole:
            yield whole


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _secrets(machinery: Machinery, agent: Agent) -> list[str]:
    """Return the keys that memos itself knows: those it keeps, and that of the agent's model."""
    from memos.llm.catalogue import key_variables, provider_of

    found = stored_secrets(machinery.places)
    with suppress(MemosError):  # settings that cannot be read name no key either
        settings = machinery.settings({}, agent)
        prefix = provider_of(settings.config.model)
        key = find_key(settings, machinery.places, machinery.environ, provider=prefix, variables=key_variables(prefix))
        found += [key.value] if key else []
    return found


class _Progress:
    """The line of progress, which learns the total when the writing begins."""

    def __init__(self) -> None:
        self._line: ProgressLine | None = None

    def show(self, done: int, total: int) -> None:
        self._line = self._line or ProgressLine(total, "rows", quiet_s=1.0)
        self._line.show(done, done)

    def clear(self) -> None:
        if self._line:
            self._line.clear()
