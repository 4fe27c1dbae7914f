"""`memos delete AGENT`: into the trash, whole, for 30 days; with `--purge` out of every file, for good."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from memos.cli.held_agent import existing_database, held
from memos.cli.printing import local_time, note
from memos.config import Places
from memos.errors import AgentInUse, BadInput, MemosError
from memos.safe_text import safe_line
from memos.storage.agents import KEPT_IN_TRASH, Agent, Agents, as_word
from memos.storage.database import Database
from memos.storage.purge import BEGUN, Purged, purge
from memos.storage.trash import Deleted, Trash

NOT_CONFIRMED = 130


def delete(name: str, *, yes: bool, purge: bool) -> int:
    """Delete an agent once its name was typed again, and return the exit code: 0, or 130 where it was not.

    `purge` erases it, also one that lies in the trash.

    Raises: AgentNotFound, AgentInUse, BadInput (nobody can be asked), DataDamaged, StorageProblem.
    """
    places = Places.find(os.environ)
    with existing_database(places, f'There is no agent named "{name}"') as database:
        agent = Agents(database).find(name) if purge else Agents(database).get(name)
        if agent is None:
            entry = _in_trash(database, name)
            note(f'"{entry.name}" lies in the trash: {_amounts(entry.messages, entry.passages)}.')
            return _purged(places, database, entry.id, entry.name, yes)
        note(f'"{agent.name}": {_told(database, agent)}.')
        return _purged(places, database, agent.id, agent.name, yes) if purge else _deleted(places, database, agent, yes)


def _in_trash(database: Database, name: str) -> Deleted:
    trash = Trash(database)
    if not trash.entries():
        Agents(database).get(name)  # says that there is none
    return trash.find(name)


def _deleted(places: Places, database: Database, agent: Agent, yes: bool) -> int:
    with held(places, agent.id, agent.name):
        if not _confirmed(agent.name, "delete it", yes, "--yes"):
            note("Nothing is deleted.")
            return NOT_CONFIRMED
        entry = Trash(database).put(agent)
    kept = f"kept until {entry.kept_until.astimezone():%Y-%m-%d}, and erased when memos starts after that"
    note(f"It lies in the trash: {kept}. memos restore {as_word(entry.name)} brings it back whole.")
    note(f"What its calls cost stays in memos usage. At once and for good: memos delete {as_word(entry.name)} --purge")
    return 0


def _purged(places: Places, database: Database, agent_id: str, name: str, yes: bool) -> int:
    with held(places, agent_id, name):
        if not _confirmed(name, "erase it for good", yes, "--purge --yes"):
            note("Nothing is erased.")
            return NOT_CONFIRMED
        done = _erased(places, database, agent_id)
    note(f'"{name}" is erased: {done}. What its model calls cost stays in memos usage, without its name.')
    return 0


def _confirmed(name: str, what: str, yes: bool, flags: str) -> bool:
    """Have the name typed again, letter case aside. Raises: BadInput where nobody sits at a terminal."""
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadInput("Nobody can be asked here.", f"memos delete {as_word(name)} {flags} asks nothing")
    sys.stderr.write(f"Type its name to {what}: ")
    sys.stderr.flush()
    return " ".join(sys.stdin.readline().split()).casefold() == name.casefold()


def _told(database: Database, agent: Agent) -> str:
    row = database.query("SELECT recall, archival FROM counts WHERE agent_id = ?", (agent.id,))[0]
    used = local_time(agent.last_login_at or agent.created_at)
    return f"{_amounts(row['recall'], row['archival'])}, last used {used}, {safe_line(agent.model)}"


def _amounts(messages: int, passages: int) -> str:
    return f"{messages:,} messages, {passages:,} passages"


def empty_trash(places: Places, database: Database) -> None:
    """Erase what has lain in the trash for its time, and say so; one that cannot be erased now waits."""
    for entry in Trash(database).due():
        try:
            with held(places, entry.id, entry.name):
                done = _erased(places, database, entry.id)
        except AgentInUse:
            continue
        except MemosError as problem:
            note(
                f'"{entry.name}" is to be erased, its time in the trash is over; the next start tries again. {problem}'
            )
            continue
        if entry.deleted_at == BEGUN:
            note(f'"{entry.name}", whose erasure was broken off, is erased: {done}.')
        else:
            when = f"since {entry.deleted_at.astimezone():%Y-%m-%d}"
            note(f'"{entry.name}" was {KEPT_IN_TRASH.days} days in the trash ({when}) and is erased: {done}.')


def _erased(places: Places, database: Database, agent_id: str) -> Purged:
    done = purge(database, agent_id, places.vectors, places.history_file)
    with suppress(OSError):  # where the system does not let go of a file that is held
        (places.locks / f"{agent_id}.lock").unlink(missing_ok=True)
    return done
