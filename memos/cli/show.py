"""`memos show AGENT`: its model, its blocks, how much it keeps, and what was said last."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from memos.cli.printing import local_time, print_heading, print_json, print_text
from memos.config import Places
from memos.errors import AgentNotFound
from memos.memory.recall_storage import last_said
from memos.storage.agents import Agent, Agents
from memos.storage.database import Database

LAST_MESSAGES = 10
CLIP_CHARS = 600

_BLOCKS = "SELECT label, value, limit_chars, description, read_only FROM blocks WHERE agent_id = ? ORDER BY rowid"
_COUNTS = "SELECT recall, archival FROM counts WHERE agent_id = ?"


def show(name: str, *, as_json: bool) -> int:
    """Print what is known about an agent. A database is not created by looking.

    Raises: AgentNotFound, DataDamaged, StorageProblem.
    """
    places = Places.find(os.environ)
    if not places.database.exists():
        raise AgentNotFound(f'There is no agent named "{name}": there is none at all yet.', "memos run to begin one")
    database = Database.open(places.database)
    try:
        picture = picture_of(database, Agents(database).get(name))
    finally:
        database.close()
    if as_json:
        print_json(picture)
    else:
        _print(picture)
    return 0


def picture_of(database: Database, agent: Agent) -> dict[str, Any]:
    """Return what `show --json` prints; times are UTC, ISO 8601, messages oldest first."""
    counts = database.query(_COUNTS, (agent.id,))[0]
    last = last_said(database, agent.id, LAST_MESSAGES)
    return {
        "name": agent.name,
        "model": agent.model,
        "persona": agent.persona_name,
        "human": agent.human_name,
        "created_at": agent.created_at.isoformat(),
        "last_login_at": agent.last_login_at.isoformat() if agent.last_login_at else None,
        "settings": dict(agent.settings),
        "blocks": [_block(dict(row)) for row in database.query(_BLOCKS, (agent.id,))],
        "recall": counts["recall"],
        "archival": counts["archival"],
        "summary": agent.summary,
        "last_messages": [
            {"speaker": words.speaker, "said": words.text, "created_at": words.at.isoformat()} for words in last
        ],
    }


def _block(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "read_only": bool(row["read_only"]), "used_chars": len(row["value"])}


def _print(picture: dict[str, Any]) -> None:
    print_heading(picture["name"])
    _line("model", picture["model"])
    _line("persona", picture["persona"])
    _line("human", picture["human"])
    _line("created", _moment(picture["created_at"]))
    _line("last used", _moment(picture["last_login_at"]) or "never")
    if "functions" in picture["settings"]:
        _line("functions", f"only {', '.join(picture['settings']['functions'])}")
    _line("memory", f"{picture['recall']:,} messages in recall storage, {picture['archival']:,} in archival storage")
    for block in picture["blocks"]:
        locked = ", read-only" if block["read_only"] else ""
        print_text("")
        print_heading(f"{block['label']}: {block['used_chars']:,} of {block['limit_chars']:,} characters{locked}")
        print_text(block["value"] or "(empty)", indent="  ")
    if picture["summary"]:
        print_text("")
        print_heading("Summary of what left the queue")
        print_text(picture["summary"], indent="  ")
    print_text("")
    print_heading("Last messages" if picture["last_messages"] else "No messages yet")
    for message in picture["last_messages"]:
        print_text(f"[{_moment(message['created_at'])}] {message['speaker']}: {_clipped(message['said'])}", indent="  ")


def _line(label: str, value: str) -> None:
    print_text(f"{label:<10}{value}", indent="  ")


def _moment(text: str | None) -> str:
    return local_time(datetime.fromisoformat(text)) if text else ""


def _clipped(text: str) -> str:
    return text if len(text) <= CLIP_CHARS else f"{text[:CLIP_CHARS]}… ({len(text):,} characters; --json prints all)"
