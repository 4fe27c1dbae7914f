"""The trash: a deleted agent lies in it, whole, for 30 days. Only its name is free for another one meanwhile."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime

from memos.errors import AgentNotFound, BadInput
from memos.messages import utc_now
from memos.storage.agents import KEPT_IN_TRASH, Agent, Agents, as_word, usable_name
from memos.storage.database import Database
from memos.storage.purge import BEGUN

SHORT_ID_CHARS = 8
"""So many characters of an id tell two deleted agents of one name apart."""

_ENTRIES = """
SELECT agents.id, deleted_name, model, deleted_at, recall, archival
FROM agents JOIN counts ON counts.agent_id = agents.id WHERE deleted_at IS NOT NULL ORDER BY deleted_at DESC
"""


@dataclass(frozen=True, slots=True)
class Deleted:
    """An agent in the trash under the name it had; times are UTC."""

    id: str
    name: str
    model: str
    deleted_at: datetime
    messages: int
    passages: int

    @property
    def kept_until(self) -> datetime:
        """The moment from which the next start erases it."""
        return self.deleted_at + KEPT_IN_TRASH


class Trash:
    """The deleted agents of one database. Whoever changes an agent here holds its lock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def entries(self) -> list[Deleted]:
        """Return what lies in the trash, the newest first."""
        return [_deleted(row) for row in self._database.query(_ENTRIES)]

    def due(self) -> list[Deleted]:
        """Return what has lain there for its time."""
        now = utc_now()
        return [entry for entry in self.entries() if entry.kept_until <= now]

    def find(self, word: str) -> Deleted:
        """Return what was deleted under that name, letter case aside, or has an id that begins so.

        Raises: AgentNotFound, BadInput (several have that name).
        """
        entries, wanted = self.entries(), word.casefold()
        found = [entry for entry in entries if entry.name.casefold() == wanted]
        if not found and len(word) >= SHORT_ID_CHARS // 2:
            found = [entry for entry in entries if entry.id.startswith(wanted)]
        if not found:
            names = ", ".join(entry.name for entry in entries[:5])
            step = f"memos list trash (there is: {names})" if names else "memos list agents"
            raise AgentNotFound(f'No agent named "{word}" lies in the trash.', step)
        if len(found) > 1:
            told = ", ".join(
                f"{e.id[:SHORT_ID_CHARS]} (deleted {e.deleted_at.astimezone():%Y-%m-%d %H:%M})" for e in found
            )
            raise BadInput(
                f'{len(found)} agents that were named "{word}" lie in the trash.', f"name one by its id: {told}"
            )
        return found[0]

    def put(self, agent: Agent) -> Deleted:
        """Delete an agent softly: all of it stays, and it can be restored. Raises: AgentNotFound."""
        with self._database.transaction() as connection:
            now = Agents(self._database).reload(agent)
            connection.execute(
                "UPDATE agents SET deleted_at = ?, deleted_name = name, name = '-' || id WHERE id = ?",
                (utc_now().isoformat(), now.id),
            )
        return next(entry for entry in self.entries() if entry.id == agent.id)

    def restore(self, entry: Deleted, name: str = "") -> Agent:
        """Bring an agent back as it was, under its own name or `name`, and return it. Raises: BadInput."""
        if entry.deleted_at == BEGUN:
            raise BadInput(f'"{entry.name}" is half erased already.', "memos run erases the rest")
        agents, wanted = Agents(self._database), usable_name(name or entry.name)
        with self._database.transaction() as connection:
            if taken := agents.find(wanted):
                raise BadInput(
                    f'There is an agent named "{taken.name}" by now.',
                    f"memos restore {as_word(entry.name) if not name else entry.id[:SHORT_ID_CHARS]} --as NAME",
                )
            connection.execute(
                "UPDATE agents SET deleted_at = NULL, deleted_name = NULL, name = ? WHERE id = ?", (wanted, entry.id)
            )
        return agents.get(wanted)


def _deleted(row: sqlite3.Row) -> Deleted:
    return Deleted(
        id=row["id"],
        name=row["deleted_name"],
        model=row["model"],
        deleted_at=datetime.fromisoformat(row["deleted_at"]),
        messages=row["recall"],
        passages=row["archival"],
    )
