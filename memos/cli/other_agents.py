"""The other agents beside the one that is talked to: listed, begun, copied, renamed, and opened in the same REPL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

from memos.cli.agent_choice import Machinery, Wish, create_agent, free_name
from memos.config import Settings
from memos.errors import BadInput
from memos.memory.recall_storage import RecallStorage
from memos.storage.agent_lock import AgentLock
from memos.storage.agents import Agent
from memos.storage.fork import Fork, fork_agent
from memos.terminal.exports import Exported, ExportWish
from memos.terminal.session import AgentRow, Session

Open = Callable[[Machinery, Agent, Settings, Wish], AbstractAsyncContextManager[Session]]
Check = Callable[[Settings], Awaitable[None]]

_OF_THE_PROCESS = ("terminal.", "memory.")
"""Flags that begin so hold for whoever is talked to; the others were meant for the agent that memos began with."""

_ROWS = """
SELECT agents.id, agents.name, model, coalesce(last_login_at, created_at) AS used, recall, archival
FROM agents JOIN counts ON counts.agent_id = agents.id WHERE deleted_at IS NULL ORDER BY used DESC, agents.name
"""


class OtherAgents:
    """What `/agents`, `/switch`, `/new`, `/fork`, `/rename` and `/export` do, as seen from one open agent."""

    def __init__(self, machinery: Machinery, agent: Agent, wish: Wish, recall: RecallStorage, check: Check) -> None:
        self._machinery = machinery
        self._agent = agent
        self._wish = wish
        self._recall = recall
        self._check = check

    def rows(self) -> Sequence[AgentRow]:
        """Return all agents, the one used last first."""
        return [
            AgentRow(
                row["name"],
                row["model"],
                datetime.fromisoformat(row["used"]),
                row["recall"],
                row["archival"],
                here=row["id"] == self._agent.id,
                held_by="" if row["id"] == self._agent.id else self._held_by(row["id"], row["name"]),
            )
            for row in self._machinery.database.query(_ROWS)
        ]

    def names(self) -> Sequence[str]:
        """Return the names of the other agents."""
        return [agent.name for agent in self._machinery.agents.all() if agent.id != self._agent.id]

    async def check_open(self, name: str) -> str:
        """Return the name of an agent that can be opened now. Raises: MemosError."""
        agent = self._machinery.agents.get(name)
        if agent.id == self._agent.id:
            raise BadInput(f'"{agent.name}" is the one you talk to.', "/agents lists the others.")
        if not self._wish.incognito:  # which needs no lock, and may leave no file
            lock = self._lock(agent.id, agent.name)
            await asyncio.to_thread(lock.acquire)
            lock.release()
        await self._check(settings_of(self._machinery, agent, self._wish.flags))
        return agent.name

    async def create(self, name: str) -> str:
        """Begin another agent as `memos run --new` would with the flags of this start; return its name.

        Where no model is chosen it gets this one's. Raises: MemosError.
        """
        flags = dict(self._wish.flags)
        settings = self._machinery.settings(flags)
        if not settings.config.model:
            flags["model"] = self._machinery.agents.reload(self._agent).model
            settings = self._machinery.settings(flags)
        await self._check(settings)
        wish = Wish(name, new=True, flags=flags)
        return (await self._machinery.database.run(lambda: create_agent(self._machinery, wish, settings))).name

    async def fork(self, name: str) -> Fork:
        """Copy this agent and all it remembers, under that name or a free one. Raises: MemosError."""
        self._check_kept("memos copy AGENT NAME")
        database, agents = self._machinery.database, self._machinery.agents

        def work() -> Fork:
            source = agents.reload(self._agent)
            return fork_agent(database, source, name or free_name(agents, source.name))

        return await database.run(work)

    async def rename(self, name: str) -> Agent:
        """Give this agent another name; what was said before stays as it is. Raises: BadInput."""
        self._check_kept("memos rename AGENT NAME")
        renamed = await self._machinery.database.run(lambda: self._machinery.agents.rename(self._agent, name))
        self._recall.agent_name = renamed.name
        return renamed

    async def export(self, wish: ExportWish) -> Exported:
        """Write this agent as it is now into a file. Raises: MemosError."""
        from memos.cli.export import export_agent

        agent = self._machinery.agents.reload(self._agent)
        return await asyncio.to_thread(export_agent, self._machinery, agent, wish)

    def _held_by(self, agent_id: str, name: str) -> str:
        return "" if self._wish.incognito else self._lock(agent_id, name).held_by()

    def _check_kept(self, otherwise: str) -> None:
        if self._wish.incognito:
            raise BadInput("Nothing that is done incognito is kept.", f"leave this conversation, then {otherwise}")

    def _lock(self, agent_id: str, name: str) -> AgentLock:
        return AgentLock(self._machinery.places.locks, agent_id, name)


def settings_of(machinery: Machinery, agent: Agent, flags: Mapping[str, object]) -> Settings:
    """Return what holds for an agent that memos did not begin with. Raises: BadInput."""
    kept = {name: value for name, value in flags.items() if name.startswith(_OF_THE_PROCESS)}
    settings = machinery.settings(kept, agent)
    if not settings.config.model:  # it was begun with a flag, before agents kept theirs
        settings = machinery.settings({**kept, "model": agent.model}, agent)
    return settings


@asynccontextmanager
async def opened(machinery: Machinery, name: str, wish: Wish, open_session: Open) -> AsyncIterator[Session]:
    """Open an agent in the place of the one that memos began with. Raises: MemosError."""
    agent = machinery.agents.get(name)
    settings = settings_of(machinery, agent, wish.flags)
    if agent.model != settings.config.model:
        machinery.agents.note_model(agent, settings.config.model)  # config.toml names another one now
    wish = Wish(agent.name, flags=wish.flags, incognito=wish.incognito)
    async with open_session(machinery, agent, settings, wish) as session:
        yield session
