"""What tokens cost, by the table that litellm ships: USD per token, by model string."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from memos.messages import TokenUsage

Row = Mapping[str, Any]


def cost_usd(table: Mapping[str, Row], model: str, usage: TokenUsage) -> float | None:
    """Return what an inference cost; None where the table does not say it of this model and these tokens."""
    row = _row(table, model)
    prompt, reply = usage.prompt_tokens, usage.reply_tokens
    if prompt is None or reply is None or _has_hidden_prices(row):
        return None
    per_prompt, per_reply = (_price(row, f"{way}_cost_per_token", prompt) for way in ("input", "output"))
    if per_prompt is None or per_reply is None:
        return None
    per_cached = _price(row, "cache_read_input_token_cost", prompt)
    per_written = _price(row, "cache_creation_input_token_cost", prompt)
    cached = min(usage.cached_tokens or 0, prompt)
    written = min(usage.written_tokens or 0, prompt - cached)
    full_price = (prompt - cached - written) * per_prompt + reply * per_reply
    cached_price = cached * (per_prompt if per_cached is None else per_cached)
    return full_price + cached_price + written * (per_prompt if per_written is None else per_written)


def _row(table: Mapping[str, Row], model: str) -> Row:
    """Return the row of exactly this provider's model: the same name costs another price elsewhere."""
    if model in table:
        return table[model]
    prefix, _, bare = model.partition("/")
    row = table.get(bare, {})
    return row if str(row.get("litellm_provider", "")).startswith(prefix) else {}


def _has_hidden_prices(row: Row) -> bool:
    """Whether the price depends on more than the counts a provider reports to us."""
    per_thought = row.get("output_cost_per_reasoning_token")
    return "tiered_pricing" in row or per_thought not in (None, row.get("output_cost_per_token"))


def _price(row: Row, name: str, prompt_tokens: int) -> float | None:
    """Return the price of a token where the prompt has so many: long prompts may cost more each."""
    price, from_tokens = row.get(name), 0
    for key, dearer in row.items():
        step = re.fullmatch(rf"{name}_above_(\d+)k_tokens", key)
        if step and from_tokens < int(step[1]) * 1000 < prompt_tokens:
            price, from_tokens = dearer, int(step[1]) * 1000
    return float(price) if isinstance(price, int | float) else None
