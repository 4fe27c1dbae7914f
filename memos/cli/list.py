"""`memos list`: agents, personas, humans, models."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memos.cli.endpoint_key import endpoint_key
from memos.cli.printing import local_time, note, print_json, print_table
from memos.config import Places, Portrait, Settings, list_humans, list_personas, read_config
from memos.errors import BadInput, MemosError

if TYPE_CHECKING:
    from memos.llm.capability_card import CapabilityCard

Row = dict[str, Any]


_SORTS: Mapping[str, Mapping[str, tuple[str, bool]]] = {
    "agents": {
        "used": ("used", True),
        "name": ("name", False),
        "created": ("created_at", True),
        "messages": ("messages", True),
        "memories": ("passages", True),
    },
    "trash": {
        "deleted": ("deleted_at", True),
        "name": ("name", False),
        "messages": ("messages", True),
        "memories": ("passages", True),
    },
    "models": {"name": ("model", False), "size": ("size_bytes", True)},
    "personas": {"name": ("name", False)},
    "humans": {"name": ("name", False)},
}
"""By which column of its rows each list can be sorted, and whether the largest, or newest, comes first."""


def list_things(what: str, *, as_json: bool, sort: str = "", limit: int | None = None) -> int:
    """Print what there is of `agents`, `personas`, `humans`, `models` or `trash`, at most `limit`.

    Raises: BadInput (it cannot be sorted so), DataDamaged, StorageProblem.
    """
    places, by = Places.find(os.environ), _SORTS[what].get(sort)
    if sort and by is None:
        raise BadInput(f'memos list {what} cannot be sorted by "{sort:.40}".', f"one of: {', '.join(_SORTS[what])}")

    def chosen(rows: list[Row]) -> list[Row]:
        ordered = _sorted(rows, *by) if by else rows
        return ordered[:limit]

    if what == "agents":
        _print(chosen(agent_rows(places)), as_json, "No agent yet. Begin one: memos run", _agent_cells)
    elif what == "trash":
        _print(chosen(trash_rows(places)), as_json, "The trash is empty.", _trash_cells)
    elif what == "models":
        _print(chosen(model_rows(places, os.environ)), as_json, "", _model_cells)
    else:
        portraits = list_personas(places) if what == "personas" else list_humans(places)
        rows = [_portrait_row(portrait) for portrait in portraits]
        _print(chosen(rows), as_json, f"No {what} found.", _portrait_cells)
    return 0


def _sorted(rows: list[Row], column: str, falling: bool) -> list[Row]:
    """Return rows by a column; those that have nothing there come last, and names go by their letters alone."""

    def value(row: Row) -> Any:
        cell = (row["last_login_at"] or row["created_at"]) if column == "used" else row[column]
        return cell.casefold() if isinstance(cell, str) else cell

    known = [row for row in rows if column == "used" or row[column] is not None]
    rest = [row for row in rows if not (column == "used" or row[column] is not None)]
    return sorted(known, key=value, reverse=falling) + rest


def _print(rows: list[Row], as_json: bool, when_empty: str, cells: Any) -> None:
    if as_json:
        print_json(rows)
    elif rows:
        print_table(list(cells(rows[0])), [list(cells(row).values()) for row in rows])
    else:
        note(when_empty)


# --- Agents ---------------------------------------------------------------------------------------------------

_AGENTS = """
SELECT agents.name, model, persona_name AS persona, human_name AS human, created_at, last_login_at,
       recall AS messages, archival AS passages
FROM agents JOIN counts ON counts.agent_id = agents.id
WHERE deleted_at IS NULL ORDER BY coalesce(last_login_at, created_at) DESC, agents.name
"""


def agent_rows(places: Places) -> list[Row]:
    """Return a row per agent, the one used last first; times are UTC. A database is not created by looking."""
    if not places.database.exists():
        return []
    from memos.storage.database import Database

    database = Database.open(places.database)
    try:
        return [dict(row) for row in database.query(_AGENTS)]
    finally:
        database.close()


def _agent_cells(row: Row) -> dict[str, str]:
    from datetime import datetime

    used = row["last_login_at"] or row["created_at"]
    return {
        "agent": row["name"],
        "model": row["model"],
        "persona": row["persona"],
        "last used": local_time(datetime.fromisoformat(used)),
        "messages": f"{row['messages']:,}",
        "memories": f"{row['passages']:,}",
    }


# --- The trash ------------------------------------------------------------------------------------------------


def trash_rows(places: Places) -> list[Row]:
    """Return a row per deleted agent, the newest first; times are UTC. A database is not created by looking."""
    if not places.database.exists():
        return []
    from memos.storage.database import Database
    from memos.storage.trash import SHORT_ID_CHARS, Trash

    database = Database.open(places.database)
    try:
        return [
            {
                "name": entry.name,
                "id": entry.id[:SHORT_ID_CHARS],
                "model": entry.model,
                "messages": entry.messages,
                "passages": entry.passages,
                "deleted_at": entry.deleted_at.isoformat(),
                "kept_until": entry.kept_until.isoformat(),
            }
            for entry in Trash(database).entries()
        ]
    finally:
        database.close()


def _trash_cells(row: Row) -> dict[str, str]:
    from datetime import datetime

    from memos.messages import utc_now

    until = datetime.fromisoformat(row["kept_until"])
    days = (until - utc_now()).days
    left = f"{days} days yet" if days > 1 else "1 day yet" if days == 1 else "less than a day"
    return {
        "agent": row["name"],
        "id": row["id"],
        "messages": f"{row['messages']:,}",
        "memories": f"{row['passages']:,}",
        "deleted": local_time(datetime.fromisoformat(row["deleted_at"])),
        "kept until": f"{until.astimezone():%Y-%m-%d}, {left}" if until > utc_now() else "erased at the next start",
    }


# --- Personas and humans --------------------------------------------------------------------------------------


def _portrait_row(portrait: Portrait) -> Row:
    return {
        "name": portrait.name,
        "title": portrait.title,
        "description": portrait.description,
        "model": portrait.front.model,
        "characters": len(portrait.text),
        "own": portrait.own,
        "problem": portrait.problem,
    }


def _portrait_cells(row: Row) -> dict[str, str]:
    wish = f" (model: {row['model']})" if row["model"] else ""
    about = f"cannot be used: {row['problem']}" if row["problem"] else row["description"] + wish
    return {"name": row["name"], "about": about, "from": "you" if row["own"] else "memos"}


# --- Models ---------------------------------------------------------------------------------------------------


def model_rows(places: Places, environ: Mapping[str, str]) -> list[Row]:
    """Return a row per model within reach: built in, on disk, of the configured endpoint, of servers on loopback.

    Each with its capability card, where one was measured.
    """
    from memos.llm.discovery import find_local_servers

    rows = [*_builtin_rows(places.cache), *_gguf_rows(places.cache)]
    try:
        rows += _configured_rows(places, environ)
    except MemosError as error:
        note(f"The configured endpoint could not be asked. {error}")
    for server in find_local_servers():
        rows += [_row(model, server.title, api_base=server.api_base) for model in server.models]
    cards = _kept_cards(places)
    unique = {(row["model"], row["api_base"]): row for row in rows}
    return [{**row, **_card_cells(cards.get(key), row["size_bytes"] is not None)} for key, row in unique.items()]


def _card_cells(card: CapabilityCard | None, in_process: bool) -> Row:
    """Return how a model calls functions, in a word, and its whole card; what runs inside memos has none."""
    from dataclasses import asdict

    unknown = "" if in_process else "?"
    return {"calls": _calls_in_a_word(card) if card else unknown, "card": asdict(card) if card else None}


def _calls_in_a_word(card: CapabilityCard) -> str:
    """Return `native`, `JSON` or `none`, or `?` where nobody has seen the model's best format obeyed."""
    from memos.llm.capability_card import FormatName

    best = card.best()
    if best is FormatName.PLAIN:
        return "none"
    if not card.record(best).obeyed:
        return "?"
    return "native" if best is FormatName.NATIVE else "JSON"


def _kept_cards(places: Places) -> dict[tuple[str, str], CapabilityCard]:
    """Return the cards that are kept, by model and endpoint. A database is not created by looking."""
    if not places.database.exists():
        return {}
    from memos.llm.capability_card import CapabilityCard
    from memos.storage.database import Database
    from memos.storage.model_notes import ModelNotes

    try:
        database = Database.open(places.database)
        try:
            kept = ModelNotes(database).cards()
        finally:
            database.close()
    except MemosError as error:
        note(f"What was measured of the models cannot be read. {error}")
        return {}
    return {key: CapabilityCard.from_json(text) for key, text in kept.items()}


def _row(model: str, source: str, *, api_base: str = "", size_bytes: int | None = None, on_disk: bool = False) -> Row:
    return {
        "model": model,
        "source": source,
        "api_base": api_base,
        "size_bytes": size_bytes,
        "on_disk": on_disk,
        "bytes_on_disk": (size_bytes or 0) if on_disk else 0,
    }


def _builtin_rows(cache: Path) -> list[Row]:
    from memos.llm.weights import BUILTIN, bytes_on_disk, is_present

    return [
        {
            **_row(name, "built in", size_bytes=model.size_bytes, on_disk=is_present(cache, model)),
            "bytes_on_disk": bytes_on_disk(cache, model),
        }
        for name, model in BUILTIN.items()
    ]


def _gguf_rows(cache: Path) -> list[Row]:
    from memos.llm.weights import BUILTIN

    shipped = {model.file_name for model in BUILTIN.values()}
    files = [path for path in sorted(cache.rglob("*.gguf")) if path.name not in shipped] if cache.is_dir() else []
    return [_row(f"gguf:{path}", "file", size_bytes=path.stat().st_size, on_disk=True) for path in files]


def _configured_rows(places: Places, environ: Mapping[str, str]) -> list[Row]:
    """Ask the endpoint the user configured; none, or one in the process, is not asked."""
    from memos.llm.catalogue import LOCAL_PREFIXES, local_address, provider, provider_of
    from memos.llm.discovery import list_endpoint_models, list_provider_models

    settings = Settings.resolve({}, environ, {}, read_config(places.config_file).given)
    config, prefix = settings.config, provider_of(settings.config.model)
    if not config.model or prefix in LOCAL_PREFIXES:
        return []
    key = endpoint_key(settings, places, environ)
    rows = [_row(config.model, "configured", api_base=config.api_base or local_address(config.model))]
    known = provider(prefix)
    if config.api_base:
        names = list_endpoint_models(config.api_base, prefix=prefix, key=key.value if key else None, timeout_s=5)
    elif known and key:
        names = list_provider_models(known, key.value, timeout_s=5)
    else:
        names = []
    source = config.api_base or (known.title if known else prefix)
    return rows + [_row(name, source, api_base=config.api_base) for name in names if name != config.model]


def _model_cells(row: Row) -> dict[str, str]:
    size = f"{row['size_bytes'] / 1e6:,.0f} MB" if row["size_bytes"] else ""
    part = f"{row['bytes_on_disk'] / 1e6:,.0f} MB of it on disk" if row["bytes_on_disk"] else "fetched on first use"
    state = ("on disk" if row["on_disk"] else part) if size else row["api_base"]
    where = {"size": size, "where": state}
    return {"model": row["model"], "from": row["source"], "calls": row["calls"], **where}
