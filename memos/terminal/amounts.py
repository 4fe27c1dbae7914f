"""How numbers of things are written, and what models used: tokens and money, and "unknown" where nobody said."""

from __future__ import annotations

from memos.storage.usage_ledger import Spent

UNKNOWN = "unknown"


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number of things in words: 1 message, 2 messages; `many` where that is not `one` with an s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def tokens(count: int | None, unreported: int = 0) -> str:
    """Return a sum of tokens, and whether calls are missing in it."""
    return _sum(None if count is None else f"{count:,}", unreported)


def money(spent: Spent) -> str:
    """Return what calls cost in USD, and whether calls are missing in it."""
    return _sum(None if spent.cost_usd is None else _usd(spent.cost_usd), spent.unpriced)


def sentence(spent: Spent) -> str:
    """Return all of it on one line."""
    if not spent.calls:
        return "no call of a model"
    return (
        f"{counted(spent.calls, 'call')};"
        f" tokens in: {tokens(spent.prompt_tokens, spent.unreported)}, of these cached: {tokens(spent.cached_tokens)},"
        f" out: {tokens(spent.reply_tokens, spent.unreported)}; USD: {money(spent)}"
    )


def _sum(known: str | None, missing: int) -> str:
    if known is None:
        return UNKNOWN
    return f"{known} + {UNKNOWN}" if missing else known


def _usd(cost: float) -> str:
    if cost and cost < 0.0001:
        return "<0.0001"
    return f"{cost:,.4f}" if cost else "0"
