"""Erasing an agent for good: its rows, words, vectors with their old versions, images, and what older files hold."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from memos.config import Places
from memos.storage.agents import Agents
from memos.storage.database import Database
from memos.storage.freed_bytes import erase_from_snapshots, erase_vectors, make_unreadable
from memos.storage.trash import Trash

_INDEXER_WAITS_S = 60.0


def purge(places: Places, database: Database, agent_id: str) -> str:
    """Erase an agent that is held, and return what was erased, for a sentence.

    Its vectors go first and its rows last: after a crash it lies in the trash, and the same command goes on.

    Raises: DataDamaged, StorageProblem.
    """
    trash = Trash(database)
    for agent in Agents(database).all():
        if agent.id == agent_id:
            trash.put(agent)
    erase_from_snapshots(places.data, agent_id)
    if places.vectors.is_dir():
        with FileLock(places.vectors / "indexer.lock", timeout=_INDEXER_WAITS_S, mode=0o600):
            erase_vectors(places.vectors, agent_id)
    erased = trash.erase_rows(agent_id)
    clean = make_unreadable(database)
    with suppress(OSError):  # where the system does not let go of a file that is held
        Path(places.locks / f"{agent_id}.lock").unlink(missing_ok=True)
    images = f", {erased.images} images" if erased.images else ""
    later = "" if clean else "; some of it stays in the database's log until the other memos that is open is closed"
    return f"{erased.messages:,} messages, {erased.passages:,} passages{images}, their words and vectors{later}"
