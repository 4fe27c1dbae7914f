"""The two tiers of external context, and which of their rows the vector index lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Tier = Literal["recall", "archival"]

TABLES: Mapping[Tier, str] = {"recall": "messages", "archival": "passages"}
"""The table of `memos.db` that holds a tier's rows."""

TABLE_NAMED: Mapping[str, str] = {tier: table for tier, table in TABLES.items()}
"""The same, for a tier that a file or a stored row names."""

WAITING: Mapping[Tier, str] = {
    "recall": "indexed_at IS NULL AND search_text <> '' AND state <> 'provisional'",
    "archival": "indexed_at IS NULL",
}
"""The outbox: what holds for rows whose vector is still to be written."""
