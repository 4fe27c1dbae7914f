"""One agent for a command that changes it as a whole: found, and held, so that nobody talks to it meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from memos.config import Places
from memos.errors import AgentInUse, AgentNotFound
from memos.storage.agent_lock import AgentLock
from memos.storage.agents import Agent, Agents
from memos.storage.database import Database

LEAVE_IT_FIRST = "leave it there first"


@contextmanager
def existing_database(places: Places, what: str) -> Iterator[Database]:
    """Yield the database; where there is none, none is made. Raises: AgentNotFound, which begins with `what`."""
    if not places.database.exists():
        raise AgentNotFound(f"{what}: there is none at all yet.", "memos run to begin one")
    database = Database.open(places.database)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def held(
    places: Places, agent_id: str, name: str, next_step: str = LEAVE_IT_FIRST, *, meaning: str = ""
) -> Iterator[None]:
    """Hold an agent within the block. `meaning` is a sentence on what it means that it is open elsewhere.

    Raises: AgentInUse, naming the process that has it.
    """
    lock = AgentLock(places.locks, agent_id, name)
    try:
        lock.acquire()
    except AgentInUse as error:
        raise AgentInUse(f"{error.what} {meaning}".rstrip(), next_step) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def held_agent(name: str, otherwise: str = "") -> Iterator[tuple[Database, Agent]]:
    """Yield the database and the agent of that name, held; `otherwise` is what can be done where it is open.

    Raises: AgentNotFound, AgentInUse, as `held` does.
    """
    places = Places.find(os.environ)
    with existing_database(places, f'There is no agent named "{name}"') as database:
        agent = Agents(database).get(name)
        with held(places, agent.id, agent.name, LEAVE_IT_FIRST + otherwise):
            yield database, Agents(database).reload(agent)
