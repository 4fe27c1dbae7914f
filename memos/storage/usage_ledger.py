"""The ledger of model calls: tokens in, out and cached, and money where the price is known.

One row a call, written in the transaction of the reply it paid for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from typing import Any, Literal

from memos.messages import TokenUsage, utc_now
from memos.storage.database import Database

Purpose = Literal["chat", "summarise", "embed"]


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One request to a model. `usage` is as reported, `cost_usd` None where nobody knows the price.

    `seq` is 0 while it is not stored.
    """

    model: str
    purpose: Purpose
    usage: TokenUsage = field(default_factory=TokenUsage)
    cost_usd: float | None = None
    created_at: datetime = field(default_factory=utc_now)
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """What some calls used together: sums over those that say it, None where none does.

    `unreported` calls named no tokens, `unpriced` ones have no known price.
    """

    calls: int = 0
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    cached_tokens: int | None = None
    unreported: int = 0
    cost_usd: float | None = None
    unpriced: int = 0


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """What one agent's calls of one model for one purpose used on one local day (YYYY-MM-DD)."""

    day: str
    agent: str
    model: str
    purpose: str
    spent: Spent


class UsageLedger:
    """The ledger in one database. Each method may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, agent_id: str, turn_id: str, call: ModelCall) -> ModelCall:
        """Store a call, or what has become known of a stored one, and return it with its `seq`.

        It is part of the transaction that is under way, if there is one.
        """
        with self._database.transaction() as connection:
            known = {
                "prompt_tokens": call.usage.prompt_tokens,
                "reply_tokens": call.usage.reply_tokens,
                "cached_tokens": call.usage.cached_tokens,
                "cost_usd": call.cost_usd,
            }
            if call.seq:
                connection.execute(_UPDATE, {**known, "seq": call.seq})
                return call
            named = {
                "agent_id": agent_id,
                "turn_id": turn_id,
                "model": call.model,
                "purpose": call.purpose,
                "created_at": call.created_at.astimezone(UTC).isoformat(),
            }
            cursor = connection.execute(_INSERT, {**known, **named})
            return replace(call, seq=int(cursor.lastrowid or 0))

    def last(self, agent_id: str, purpose: Purpose = "chat") -> ModelCall | None:
        """Return the newest call of one agent for that purpose, or None."""
        rows = self._database.query(_LAST, {"agent_id": agent_id, "purpose": purpose})
        return _call(dict(rows[0])) if rows else None

    def totals(self, *, agent_id: str | None = None, since: date | None = None) -> list[UsageTotal]:
        """Return totals, the newest day first; of one agent, and from that local day on, if these are given."""
        return [_total(dict(row)) for row in self._database.query(_TOTALS, _chosen(agent_id, since))]

    def spent(self, *, agent_id: str | None = None, since: date | None = None) -> Spent:
        """Return what all calls used together, of one agent and from that local day on, if these are given."""
        return Spent(**dict(self._database.query(_SPENT, _chosen(agent_id, since))[0]))


_INSERT = """
INSERT INTO model_calls (
    agent_id, turn_id, model, purpose, prompt_tokens, reply_tokens, cached_tokens, cost_usd, created_at
) VALUES (
    :agent_id, :turn_id, :model, :purpose, :prompt_tokens, :reply_tokens, :cached_tokens, :cost_usd, :created_at
)
"""
_UPDATE = """
UPDATE model_calls SET prompt_tokens = :prompt_tokens, reply_tokens = :reply_tokens, cached_tokens = :cached_tokens,
    cost_usd = :cost_usd
WHERE seq = :seq
"""
_LAST = "SELECT * FROM model_calls WHERE agent_id = :agent_id AND purpose = :purpose ORDER BY seq DESC LIMIT 1"
_SUMS = """
    count(*) AS calls,
    sum(prompt_tokens) AS prompt_tokens,
    sum(reply_tokens) AS reply_tokens,
    sum(cached_tokens) AS cached_tokens,
    coalesce(sum(prompt_tokens IS NULL AND reply_tokens IS NULL), 0) AS unreported,
    sum(cost_usd) AS cost_usd,
    coalesce(sum(cost_usd IS NULL), 0) AS unpriced
"""
_WHERE = "(:agent_id IS NULL OR agent_id = :agent_id) AND model_calls.created_at >= :begin"
_SPENT = f"SELECT {_SUMS} FROM model_calls WHERE {_WHERE}"  # noqa: S608
# Whole seconds: SQLite rounds the last half millisecond of a day into the next one.
_TOTALS = f"""
SELECT date(substr(model_calls.created_at, 1, 19), 'localtime') AS day,
    CASE WHEN agents.id IS NULL THEN '(erased)' WHEN deleted_at IS NULL THEN agents.name
        ELSE deleted_name || ' (in the trash)' END AS agent,
    model_calls.model AS model, purpose, {_SUMS}
FROM model_calls LEFT JOIN agents ON agents.id = model_calls.agent_id
WHERE {_WHERE}
GROUP BY 1, 2, 3, 4 ORDER BY 1 DESC, 2, 3, 4
"""  # noqa: S608


def _call(row: dict[str, Any]) -> ModelCall:
    usage = TokenUsage(row["prompt_tokens"], row["reply_tokens"], row["cached_tokens"])
    moment = datetime.fromisoformat(row["created_at"])
    return ModelCall(row["model"], row["purpose"], usage, row["cost_usd"], moment, row["seq"])


def _total(row: dict[str, Any]) -> UsageTotal:
    day, agent, model, purpose = (row.pop(name) for name in ("day", "agent", "model", "purpose"))
    return UsageTotal(day, agent, model, purpose, Spent(**row))


def _chosen(agent_id: str | None, since: date | None) -> dict[str, str | None]:
    return {"agent_id": agent_id, "begin": _beginning(since) if since else ""}


def _beginning(day: date) -> str:
    """Return the beginning of a local day as rows write moments: in UTC."""
    within = min(max(day, date(1970, 1, 2)), date(9999, 12, 30))  # the ends of time have no moment in every zone
    return datetime.combine(within, time()).astimezone(UTC).isoformat()
