"""`memos restore NAME`: an agent comes back from the trash as it was."""

from __future__ import annotations

import os

from memos.cli.held_agent import existing_database, held
from memos.cli.printing import note
from memos.config import Places
from memos.storage.agents import as_word
from memos.storage.trash import Trash


def restore(name: str, *, new_name: str | None) -> int:
    """Bring an agent back, under its own name or another.

    Raises: AgentNotFound, BadInput, DataDamaged, StorageProblem.
    """
    places = Places.find(os.environ)
    with existing_database(places, f'No agent named "{name}" was deleted') as database:
        trash = Trash(database)
        entry = trash.find(name)
        with held(places, entry.id, entry.name):
            agent = trash.restore(entry, new_name or "")
    what = f"{entry.messages:,} messages, {entry.passages:,} passages"
    note(f'"{agent.name}" is back, with all it had: {what}. memos run {as_word(agent.name)}')
    return 0
