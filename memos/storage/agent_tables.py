"""Which tables hold an agent, and how their rows refer to each other: what an export writes and an import reads.

In an export rows are numbered from 1 in each table, so that it means the same in whatever database it is read. Columns
are not listed here but read from the schema: a new one travels by itself, unless it refers to a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Way = Literal["row", "up_to", "from", "id"]
"""How a column refers: to the `seq` of a row; to the newest row up to a `seq` (0: none); to the first row from a `seq`
on (behind the last: none yet); to the `id` of a row, or to none of this agent's."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A column that refers to rows of `table`."""

    way: Way
    table: str


@dataclass(frozen=True, slots=True)
class AgentTable:
    """A table with rows of an agent.

    `numbered`: it has a `seq` of its own. `json` are columns that hold JSON. `left_out` is derived. `own` names what a
    copy of the agent has otherwise: it is no part of the content. `order` is the order of its rows.
    """

    name: str
    references: Mapping[str, Reference] = field(default_factory=dict)
    json: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    numbered: bool = True
    order: str = "seq"


_TURN = {"turn_id": Reference("id", "messages")}
_INDEXED = frozenset({"indexed_at"})
_ID = frozenset({"id"})

TABLES: Mapping[str, AgentTable] = {
    table.name: table
    for table in (
        AgentTable(
            "agents",
            {"queue_start": Reference("from", "messages"), "flushed_at": Reference("up_to", "messages")},
            frozenset({"settings"}),
            own=frozenset({"id", "name"}),
            numbered=False,
            order="rowid",
        ),
        AgentTable("blocks", numbered=False, order="rowid"),
        AgentTable("attachments", own=frozenset({"name", "created_at"}), numbered=False, order="hash"),
        AgentTable(
            "messages",
            _TURN | {"superseded_by": Reference("id", "messages")},
            frozenset({"payload", "calls", "reasoning", "attachments"}),
            _INDEXED,
            _ID,
        ),
        AgentTable(
            "passages",
            _TURN | {"superseded_by": Reference("id", "passages")},
            frozenset({"tags"}),
            _INDEXED,
            _ID,
        ),
        AgentTable("revisions", _TURN),
        AgentTable("summaries", {"last_seq": Reference("up_to", "messages")}),
        AgentTable("overrides", {"message_seq": Reference("row", "messages")}, numbered=False, order="message_seq"),
        AgentTable(
            "prompts",
            {
                "reply_seq": Reference("row", "messages"),
                "first_seq": Reference("from", "messages"),
                "last_seq": Reference("up_to", "messages"),
                "revision_seq": Reference("up_to", "revisions"),
                "summary_seq": Reference("up_to", "summaries"),
            },
            numbered=False,
            order="reply_seq",
        ),
        AgentTable("inbox", json=frozenset({"payload"}), own=_ID),
        AgentTable("model_calls", _TURN),
    )
}
"""The tables with an agent's rows, in the order in which they are written: what is referred to comes first, but for
ids and the place of the queue. `attachments` is of all agents; those that messages of this one name go along."""

NOT_EXPORTED: Mapping[str, str] = {
    "counts": "counted from messages and passages by triggers",
    "messages_fts": "full-text index over messages",
    "passages_fts": "full-text index over passages",
    "embedding_spaces": "about the vectors, which are made again from the texts",
    "model_notes": "what was learned of models, not of an agent",
    "sqlite_sequence": "SQLite's own",
    "_sqlite_migrations": "which steps the schema has taken",
}
"""Every other table, and why no export has it; those of a full-text index are meant with it."""


def content(table: str, row: Mapping[str, object]) -> dict[str, object]:
    """Return what of an exported row is the same in every copy of the agent, whatever its name and ids."""
    own = TABLES[table].own
    return {name: value for name, value in row.items() if name not in own}
