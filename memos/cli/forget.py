"""`memos forget WORDS`: erases words from what all agents, or one, remember, and from memos' own files."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import asdict

from memos.cli.boot import forgetting_of
from memos.cli.printing import confirmed, note, print_json, print_text
from memos.config import Places
from memos.errors import AgentInUse, AgentNotFound, BadInput
from memos.memory.forgetting import Forgetting, Preview
from memos.storage.agent_lock import AgentLock
from memos.storage.agents import Agent, Agents
from memos.storage.database import Database
from memos.storage.words import Words
from memos.terminal.forget_commands import preview_lines


def forget(query: str, *, agent: str | None, yes: bool, as_json: bool) -> int:
    """Show what holds the words, erase it once that is confirmed, print the certificate, and return the exit code.

    A `query` of "-" is read from standard input, so that no shell keeps it. Raises: AgentNotFound, AgentInUse,
    BadInput, DataDamaged, StorageProblem.
    """
    if query == "-":
        query = sys.stdin.readline()
    words, places = Words(query), Places.find(os.environ)
    if not places.database.exists():
        if agent:
            raise AgentNotFound(
                f'There is no agent named "{agent}": there is none at all yet.', "memos run to begin one"
            )
        note("There is nothing yet that could be forgotten.")
        return 0
    database = Database.open(places.database)
    try:
        agents = Agents(database)
        chosen = [agents.get(agent)] if agent else agents.all()
        return _forget(forgetting_of(places, database), places, words, chosen, yes, as_json)
    finally:
        database.close()


def _forget(forgetting: Forgetting, places: Places, words: Words, agents: list[Agent], yes: bool, as_json: bool) -> int:
    ids = [agent.id for agent in agents]
    preview = forgetting.preview(words, ids)
    if as_json and not yes:
        print_json(_as_json(preview, agents))
        return 0
    if not as_json:
        print_text("\n".join(preview_lines(preview, "…")))
    if not preview.traces and not preview.broken_off:
        if as_json:
            print_json({**_as_json(preview, agents), "hits": 0})
        return 0
    if not yes and not _agreed():
        return 130
    with ExitStack() as held:
        for agent in agents:
            if any(trace.agent_id == agent.id for trace in preview.traces):
                _hold(held, places, agent)
        certificate = forgetting.erase(words, ids, [agent.name for agent in agents])
    if as_json:
        print_json(certificate.as_json())
    else:
        print_text("\n".join(certificate.lines()))
    return 0


def _agreed() -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadInput("Nothing was erased: there is nobody here to ask.", "look at the list above, and add --yes")
    if confirmed("Erase all of this for good?"):
        return True
    note("Nothing was erased.")
    return False


def _hold(held: ExitStack, places: Places, agent: Agent) -> None:
    """Let nobody else open the agent meanwhile. Raises: AgentInUse."""
    lock = AgentLock(places.locks, agent.id, agent.name)
    try:
        lock.acquire()
    except AgentInUse as error:
        raise AgentInUse(
            f"{error.what} Nothing was erased.", "leave it there and try again, or use /forget in that conversation"
        ) from None
    held.callback(lock.release)


def _as_json(preview: Preview, agents: list[Agent]) -> dict[str, object]:
    """Return what would be erased, for programs."""
    names = {agent.id: agent.name for agent in agents}
    return {
        "would_erase": [{**asdict(trace), "agent": names.get(trace.agent_id, "")} for trace in preview.traces],
        "left_as_they_are": list(preview.named),
    }
