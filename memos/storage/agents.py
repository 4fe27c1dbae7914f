"""The register of agents: who exists, with which model, and where its FIFO queue begins."""

from __future__ import annotations

import json
import sqlite3
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from memos.errors import AgentNotFound, BadInput
from memos.messages import Block, new_id, utc_now
from memos.storage.database import Database

NAME_LIMIT_CHARS = 64
KEPT_IN_TRASH = timedelta(days=30)
"""How long a deleted agent can be restored."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A row of the register; times are UTC.

    `queue_start` is the first `seq` of the FIFO queue, `flushed_at` the newest one at its last flush.
    """

    id: str
    name: str
    model: str
    persona_name: str
    human_name: str
    queue_start: int = 0
    summary: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime = field(default_factory=utc_now)
    last_login_at: datetime | None = None
    paused_until: datetime | None = None
    flushed_at: int = 0


class Agents:
    """The register of agents in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        name: str,
        *,
        model: str,
        persona_name: str,
        human_name: str,
        blocks: Sequence[Block],
        settings: Mapping[str, Any] | None = None,
    ) -> Agent:
        """Store a new agent with its first blocks, and return it.

        Raises: BadInput when the name is taken or cannot be used.
        """
        agent = Agent(new_id(), usable_name(name), model, persona_name, human_name, settings=settings or {})
        with self._database.transaction() as connection:
            if taken := self.find(agent.name):
                raise BadInput(f'There is already an agent named "{taken.name}".', f"memos run {taken.name}")
            connection.execute(
                "INSERT INTO agents (id, name, model, persona_name, human_name, settings, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    agent.id,
                    agent.name,
                    agent.model,
                    agent.persona_name,
                    agent.human_name,
                    json.dumps(dict(agent.settings)),
                    agent.created_at.isoformat(),
                ),
            )
            connection.executemany(
                "INSERT INTO blocks (agent_id, label, value, limit_chars, description, read_only)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [(agent.id, b.label, b.value, b.limit_chars, b.description, b.read_only) for b in blocks],
            )
        return agent

    def get(self, name: str) -> Agent:
        """Return the agent of that name, letter case aside. Raises: AgentNotFound, also where it lies in the trash."""
        if found := self.find(name):
            return found
        rows = self._database.query(
            "SELECT deleted_at, deleted_name FROM agents WHERE deleted_name = ? COLLATE NOCASE"
            " ORDER BY deleted_at DESC LIMIT 1",
            (name,),
        )
        if rows:
            until = datetime.fromisoformat(rows[0]["deleted_at"]) + KEPT_IN_TRASH
            what = (
                f'"{rows[0]["deleted_name"]}" was deleted, and lies in the trash until {until.astimezone():%Y-%m-%d}.'
            )
            raise AgentNotFound(what, f"memos restore {as_word(rows[0]['deleted_name'])}")
        raise AgentNotFound(f'There is no agent named "{name}".', self._next_step_for_a_missing_agent())

    def find(self, name: str) -> Agent | None:
        """Return the agent of that name, or None."""
        rows = self._database.query("SELECT * FROM agents WHERE name = ? AND deleted_at IS NULL", (name,))
        return _agent(rows[0]) if rows else None

    def reload(self, agent: Agent) -> Agent:
        """Return the agent as it is stored now. Raises: AgentNotFound, where it was deleted meanwhile."""
        rows = self._database.query("SELECT * FROM agents WHERE id = ? AND deleted_at IS NULL", (agent.id,))
        return _agent(rows[0]) if rows else self.get(agent.name)

    def all(self) -> list[Agent]:
        """Return every agent, the one used last first; none that lies in the trash."""
        rows = self._database.query(
            "SELECT * FROM agents WHERE deleted_at IS NULL ORDER BY coalesce(last_login_at, created_at) DESC, name"
        )
        return [_agent(row) for row in rows]

    def any_time_is_over(self) -> bool:
        """Return whether anything has lain in the trash for its time."""
        since = (utc_now() - KEPT_IN_TRASH).isoformat()
        return bool(self._database.query("SELECT 1 FROM agents WHERE deleted_at <= ? LIMIT 1", (since,)))

    def note_login(self, agent: Agent, at: datetime) -> None:
        """Store when the user last came to this agent."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE agents SET last_login_at = ? WHERE id = ?", (at.isoformat(), agent.id))

    def note_model(self, agent: Agent, model: str) -> None:
        """Store which model this agent ran on last, for lists."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE agents SET model = ? WHERE id = ?", (model, agent.id))

    def keep_settings(self, agent: Agent, changes: Mapping[str, Any]) -> None:
        """Store settings of this agent by dotted name, from now on; None takes one away."""
        stored = self.reload(agent)
        settings = {name: value for name, value in {**stored.settings, **changes}.items() if value is not None}
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE agents SET model = ?, settings = ? WHERE id = ?",
                (changes.get("model") or stored.model, json.dumps(settings), agent.id),
            )

    def rename(self, agent: Agent, name: str) -> Agent:
        """Store another name of this agent, and return it as it is now. Raises: BadInput."""
        wanted = usable_name(name)
        with self._database.transaction() as connection:
            taken = self.find(wanted)
            if taken and taken.id != agent.id:
                raise BadInput(f'There is already an agent named "{taken.name}".', "choose another name")
            connection.execute("UPDATE agents SET name = ? WHERE id = ?", (wanted, agent.id))
        return self.reload(agent)

    def pause(self, agent: Agent, until: datetime) -> None:
        """Store until when no timed heartbeat may wake this agent."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE agents SET paused_until = ? WHERE id = ?", (until.isoformat(), agent.id))

    def begin_queue(self, agent: Agent, queue_start: int, summary: str, author: str) -> Agent:
        """Store where the FIFO queue begins from now on, that it has just been flushed, and what the summary says of
        all before it; return the agent."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE agents SET queue_start = ?, flushed_at ="
                " (SELECT coalesce(max(seq), 0) FROM messages WHERE agent_id = ?) WHERE id = ?",
                (queue_start, agent.id, agent.id),
            )
            return self.set_summary(replace(agent, queue_start=queue_start), summary, author)

    def set_summary(self, agent: Agent, summary: str, author: str) -> Agent:
        """Store the recursive summary of all before the queue, and who wrote it; return the agent.

        Earlier ones are kept.
        """
        with self._database.transaction() as connection:
            connection.execute("UPDATE agents SET summary = ? WHERE id = ?", (summary, agent.id))
            connection.execute(
                "INSERT INTO summaries (agent_id, text, author, last_seq, created_at) VALUES (?, ?, ?, ?, ?)",
                (agent.id, summary, author, agent.queue_start - 1, utc_now().isoformat()),
            )
        return self.reload(agent)

    def _next_step_for_a_missing_agent(self) -> str:
        names = ", ".join(agent.name for agent in self.all()[:5])
        return f"memos list agents (there is: {names})" if names else "memos run --new NAME to begin one"


def usable_name(name: str) -> str:
    """Return `name` in normal form (NFC, single spaces), as an agent may be called. A label only, never a path.

    Raises: BadInput.
    """
    normal = " ".join(unicodedata.normalize("NFC", name).split())
    if not normal or len(normal) > NAME_LIMIT_CHARS or not normal.isprintable() or normal.startswith("-"):
        raise BadInput(
            f"An agent's name is 1 to {NAME_LIMIT_CHARS} printable characters and does not begin with a hyphen.",
            "choose another name",
        )
    return normal


def as_word(name: str) -> str:
    """Return a name as one word of a command line."""
    return f'"{name}"' if " " in name else name


def _agent(row: sqlite3.Row) -> Agent:
    return Agent(
        id=row["id"],
        name=row["name"],
        model=row["model"],
        persona_name=row["persona_name"],
        human_name=row["human_name"],
        queue_start=row["queue_start"],
        summary=row["summary"],
        settings=json.loads(row["settings"]),
        created_at=datetime.fromisoformat(row["created_at"]),
        last_login_at=_moment(row["last_login_at"]),
        paused_until=_moment(row["paused_until"]),
        flushed_at=row["flushed_at"],
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
