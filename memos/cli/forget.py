"""`memos forget WORDS`: erases words from what all agents, or one, remember, and from memos' own files."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict

from memos.cli.boot import forgetting_of
from memos.cli.held_agent import held
from memos.cli.printing import confirmed, note, print_json, print_text
from memos.config import Places
from memos.errors import AgentNotFound, BadInput
from memos.memory.forgetting import Forgetting, Preview
from memos.storage.agents import Agents
from memos.storage.database import Database
from memos.storage.unwanted_words import UnwantedWords
from memos.terminal.forget_commands import preview_lines

_OPEN_ELSEWHERE = "leave it there and try again, or use /forget in that conversation"


def forget(query: str, *, agent: str | None, yes: bool, as_json: bool) -> int:
    """Show what holds the words, erase it once that is confirmed, print the certificate, and return the exit code.

    A `query` of "-" is read from standard input, so that no shell keeps it. Raises: AgentNotFound, AgentInUse,
    BadInput, DataDamaged, StorageProblem.
    """
    if query == "-":
        query = sys.stdin.readline()
    words, places = UnwantedWords(query), Places.find(os.environ)
    if not places.database.exists():
        if agent:
            raise AgentNotFound(
                f'There is no agent named "{agent}": there is none at all yet.', "memos run to begin one"
            )
        note("There is nothing yet that could be forgotten.")
        return 0
    database = Database.open(places.database)
    try:
        found = Agents(database).get(agent) if agent else None
        chosen = {found.id: found.name} if found else _everyone(database)
        return _forget(forgetting_of(places, database), places, words, chosen, yes, as_json)
    finally:
        database.close()


def _everyone(database: Database) -> dict[str, str]:
    """Return the names of all agents by id, those that are in no list any more too."""
    rows = database.query("SELECT id, coalesce(deleted_name, name) AS name FROM agents ORDER BY 2")
    return {row["id"]: row["name"] for row in rows}


def _forget(
    forgetting: Forgetting, places: Places, words: UnwantedWords, agents: Mapping[str, str], yes: bool, as_json: bool
) -> int:
    ids = list(agents)
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
    with ExitStack() as all_of_them:
        for agent_id in {trace.agent_id for trace in preview.traces} & agents.keys():
            all_of_them.enter_context(
                held(places, agent_id, agents[agent_id], _OPEN_ELSEWHERE, meaning="Nothing was erased.")
            )
        certificate = forgetting.erase(words, ids, list(agents.values()))
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


def _as_json(preview: Preview, agents: Mapping[str, str]) -> dict[str, object]:
    """Return what would be erased, for programs."""
    return {
        "broken_off": preview.broken_off.isoformat() if preview.broken_off else None,
        "would_erase": [{**asdict(trace), "agent": agents.get(trace.agent_id, "")} for trace in preview.traces],
        "left_as_they_are": list(preview.named),
    }
