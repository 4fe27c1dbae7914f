"""`memos usage`: what the calls of models used, by day, agent and model, and what they cost as far as that is known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from memos.cli.days import day_of
from memos.cli.printing import note, print_json, print_table
from memos.config import Places
from memos.errors import AgentNotFound
from memos.storage.agents import Agents
from memos.storage.database import Database
from memos.storage.usage_ledger import Spent, UsageLedger, UsageTotal
from memos.terminal.amounts import money, tokens

COLUMNS = ("day", "agent", "model", "for", "calls", "tokens in", "cached", "out", "USD")


def usage(agent: str | None, *, since: str | None, as_json: bool) -> int:
    """Print the totals of all agents or of one. A database is not created by looking.

    Raises: AgentNotFound, BadInput (a date that is none), DataDamaged, StorageProblem.
    """
    places, first_day = Places.find(os.environ), day_of(since, "--since")
    totals, spent = _read(places, agent, first_day)
    if as_json:
        print_json([_as_json(total) for total in totals])
    elif totals:
        rows = [(total.day, total.agent, total.model, total.purpose, *_numbers(total.spent)) for total in totals]
        print_table(COLUMNS, [*rows, ("all", "", "", "", *_numbers(spent))])
    else:
        note(f"No model has been called since {first_day}." if first_day else "No model has been called yet.")
    return 0


def _read(places: Places, agent: str | None, first_day: date | None) -> tuple[Sequence[UsageTotal], Spent]:
    if not places.database.exists():
        if agent:
            what = f'There is no agent named "{agent}": there is none at all yet.'
            raise AgentNotFound(what, "memos run to begin one")
        return [], Spent()
    database = Database.open(places.database)
    try:
        agent_id, ledger = Agents(database).get(agent).id if agent else None, UsageLedger(database)
        return ledger.totals(agent_id=agent_id, since=first_day), ledger.spent(agent_id=agent_id, since=first_day)
    finally:
        database.close()


def _numbers(spent: Spent) -> tuple[str, ...]:
    return (
        f"{spent.calls:,}",
        tokens(spent.prompt_tokens, spent.unreported),
        tokens(spent.cached_tokens),
        tokens(spent.reply_tokens, spent.unreported),
        money(spent),
    )


def _as_json(total: UsageTotal) -> dict[str, Any]:
    """Return one total; what nobody reported or priced is null."""
    row = asdict(total)
    spent: dict[str, Any] = row.pop("spent")
    return {**row, **spent}
