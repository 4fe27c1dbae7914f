"""Which rows of a tier may be hits: not what is in view anyway, and if wanted only some speakers, tags, or time."""

from __future__ import annotations

import json
from dataclasses import dataclass

from memos.memory.dates import Span
from memos.storage.tiers import Tier

_EVER = Span()


@dataclass(frozen=True, slots=True)
class Scope:
    """A filter of rows. Empty fields leave all rows in.

    `hidden_from`: from this `seq` on the FIFO queue shows the rows itself; those that stand there shortened, and
    imported ones, stay findable. `roles` are of messages, `tags` (any of them, in lower case) of passages.
    """

    hidden_from: int | None = None
    span: Span = _EVER
    roles: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def narrowed(self) -> bool:
        """Whether more is left out than what is in view."""
        return self != Scope(self.hidden_from)

    def condition(self, tier: Tier, row: str, *, roles: bool = True) -> str:
        """Return the SQL condition on the table alias `row`; its named values are `values`."""
        parts = [f"{row}.superseded_by IS NULL"]
        if tier == "recall":
            parts.append(f"{row}.said <> ''")
            if self.hidden_from is not None:
                parts.append(f"NOT ({in_view(row)})")
            if self.roles and roles:
                parts.append(f"{row}.role IN (SELECT value FROM json_each(:roles))")  # noqa: S608
        elif self.tags:
            wanted = "(SELECT value FROM json_each(:tags))"
            parts.append(f"EXISTS (SELECT 1 FROM json_each({row}.tags) tag WHERE tag.value IN {wanted})")  # noqa: S608
        if self.span.start is not None:
            parts.append(f"{row}.created_at >= :start")
        if self.span.end is not None:
            parts.append(f"{row}.created_at < :end")
        return " AND ".join(parts)

    @property
    def values(self) -> dict[str, object]:
        """The values that `condition` names."""
        return {
            "hidden_from": self.hidden_from,
            "roles": json.dumps(self.roles),
            "tags": json.dumps(self.tags),
            "start": self.span.start.isoformat() if self.span.start else None,
            "end": self.span.end.isoformat() if self.span.end else None,
        }


def in_view(row: str) -> str:
    """Return the SQL condition that a message stands whole in the FIFO queue, which begins at `:hidden_from`."""
    shortened = f"SELECT 1 FROM overrides o WHERE o.message_seq = {row}.seq"  # noqa: S608
    return f"{row}.seq >= :hidden_from AND {row}.origin = 'live' AND NOT EXISTS ({shortened})"
