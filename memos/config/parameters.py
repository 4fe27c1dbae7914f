"""What a conversation may change of how its model is asked: the sampling parameters, and the bounds on a turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType

from memos.config.config import Config, Limits

_OPENAI_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "max_reply_tokens": "max_tokens",
        "temperature": "temperature",
        "top_p": "top_p",
        "seed": "seed",
        "reasoning_effort": "reasoning_effort",
    }
)

SAMPLING = tuple(_OPENAI_NAMES)
"""The settings that go to a remote model with each request."""

PARAMETERS = (*SAMPLING, *(f"limits.{item.name}" for item in fields(Limits)))
"""The settings that `/params` shows and changes, for one agent."""


def sampling_params(config: Config) -> dict[str, str | int | float]:
    """Return the sampling parameters under OpenAI's names; unset ones are left out."""
    values = {name: getattr(config, ours) for ours, name in _OPENAI_NAMES.items()}
    return {name: value for name, value in values.items() if value is not None and (name, value) != ("max_tokens", 0)}
