"""`memos search QUERY`: what all agents, or one, know of something, best first."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from memos.cli.boot import open_index
from memos.cli.days import span_of
from memos.cli.printing import note, print_json, print_styled
from memos.config import Places, Settings, read_config
from memos.errors import AgentNotFound, BadInput
from memos.memory.dates import Span
from memos.memory.finder import Find, Finder, Finds, Place, merged
from memos.memory.index import Index
from memos.safe_text import safe_line
from memos.storage.agents import Agents
from memos.storage.database import Database

PLACES: tuple[Place, ...] = ("recall", "archival", "core")


def search(
    query: str,
    *,
    agent: str | None,
    places: Sequence[Place],
    since: str | None,
    until: str | None,
    limit: int,
    as_json: bool,
) -> int:
    """Print the best finds in `places`, all three if none is named. A database is not created by looking.

    Raises: AgentNotFound, BadInput (no words, a day that is none), DataDamaged, StorageProblem.
    """
    if not query.strip():
        raise BadInput("There is nothing to look for.", 'memos search "honey yield"')
    span = span_of(since, until)
    found = _found(query, agent, places or PLACES, span, limit)
    if as_json:
        print_json([_as_json(find) for find in found])
    elif found:
        _print(found, query)
    if not found:
        note("Nothing was found.")
    return 0


def _found(query: str, agent: str | None, places: Sequence[Place], span: Span, limit: int) -> list[Find]:
    where = Places.find(os.environ)
    if not where.database.exists():
        if agent:
            what = f'There is no agent named "{agent}": there is none at all yet.'
            raise AgentNotFound(what, "memos run to begin one")
        return []
    settings = Settings.resolve({}, os.environ, {}, read_config(where.config_file).given)
    database = Database.open(where.database)
    try:
        index = open_index(settings, where, os.environ, database)
        try:
            if index.problem:
                note(index.problem)
            groups = list(_all_finds(index, query, agent, list(dict.fromkeys(places)), span, limit))
        finally:
            index.close()
    finally:
        database.close()
    return merged(groups, query, limit)


def _all_finds(
    index: Index, query: str, agent: str | None, places: Sequence[Place], span: Span, limit: int
) -> Iterator[Finds]:
    agents, finder = Agents(index.database), Finder(index)
    for one in [agents.get(agent)] if agent else agents.all():
        for place in places:
            found = finder.find(one, place, query, limit, span)
            if found.degraded:
                note(found.degraded)
            yield found


def _print(found: Sequence[Find], query: str) -> None:
    from memos.terminal.highlighting import find_line

    width = max(len(find.agent) for find in found)
    for find in found:
        print_styled(find_line(find, query, f"{safe_line(find.agent):<{width}}  {find.place:<8}  "))


def _as_json(find: Find) -> dict[str, Any]:
    return {
        "agent": find.agent,
        "in": find.place,
        "when": find.at.isoformat(),
        "speaker": find.speaker,
        "text": find.text,
        "score": round(find.score, 4),
        "id": find.id,
    }
