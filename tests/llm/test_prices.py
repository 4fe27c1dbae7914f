"""What tokens cost: by the right row, the right step of its prices, or not known at all."""

from typing import NoReturn

import pytest

from memos.llm.embedded import EmbeddedProcessor
from memos.llm.prices import cost_usd
from memos.llm.scripted import ScriptedProcessor
from memos.messages import TokenUsage

TABLE = {
    "model-a": {
        "litellm_provider": "openai",
        "input_cost_per_token": 2e-6,
        "output_cost_per_token": 8e-6,
        "cache_read_input_token_cost": 5e-7,
    },
    "claude-a": {
        "litellm_provider": "anthropic",
        "input_cost_per_token": 2e-6,
        "output_cost_per_token": 8e-6,
        "cache_read_input_token_cost": 2e-7,
        "cache_creation_input_token_cost": 2.5e-6,
    },
    "uncached": {"litellm_provider": "mistral", "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6},
    "own/free": {"litellm_provider": "own", "input_cost_per_token": 0, "output_cost_per_token": 0},
    "anthropic.model": {
        "litellm_provider": "bedrock_converse",
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 1e-6,
    },
    "long/prompts": {
        "litellm_provider": "long",
        "input_cost_per_token": 1e-6,
        "input_cost_per_token_above_128k_tokens": 2e-6,
        "input_cost_per_token_above_272k_tokens": 4e-6,
        "input_cost_per_token_above_272k_tokens_priority": 99.0,
        "output_cost_per_token": 1e-6,
        "output_cost_per_token_above_128k_tokens": 3e-6,
    },
    "own/tiered": {"tiered_pricing": [], "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6},
    "own/thinking": {
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 1e-6,
        "output_cost_per_reasoning_token": 3e-6,
    },
    "own/by_the_hour": {"input_cost_per_second": 0.1},
}


@pytest.mark.parametrize(
    ("model", "usage", "usd"),
    [
        ("openai/model-a", TokenUsage(1_000, 100), 0.0028),
        ("model-a", TokenUsage(1_000, 100), 0.0028),
        ("openai/model-a", TokenUsage(1_000, 100, 400), 0.0012 + 0.0002 + 0.0008),
        ("openai/model-a", TokenUsage(100, 0, 200), 5e-5),  # more cached than sent: nonsense costs no negative sum
        ("mistral/uncached", TokenUsage(1_000, 0, 900), 0.001),
        ("own/free", TokenUsage(1_000, 1_000), 0.0),
        ("anthropic/claude-a", TokenUsage(1_000, 100, 600, 300), 0.0002 + 0.00012 + 0.00075 + 0.0008),
        ("mistral/uncached", TokenUsage(1_000, 0, 0, 500), 0.001),
        ("bedrock/anthropic.model", TokenUsage(1_000, 0), 0.001),
        ("long/prompts", TokenUsage(128_000, 1_000), 0.129),
        ("long/prompts", TokenUsage(128_001, 1_000), 0.256002 + 0.003),
        ("long/prompts", TokenUsage(300_000, 1_000), 1.2 + 0.003),
    ],
)
def test_tokens_have_their_price(model: str, usage: TokenUsage, usd: float) -> None:
    assert cost_usd(TABLE, model, usage) == pytest.approx(usd)


@pytest.mark.parametrize(
    "model",
    ["openrouter/model-a", "openai/unheard-of", "own/tiered", "own/thinking", "own/by_the_hour", "builtin/tiny", ""],
)
def test_a_price_that_the_table_does_not_say_is_not_guessed(model: str) -> None:
    assert cost_usd(TABLE, model, TokenUsage(10, 10)) is None


@pytest.mark.parametrize("usage", [TokenUsage(), TokenUsage(10, None), TokenUsage(None, 10)])
def test_tokens_that_nobody_counted_have_no_price(usage: TokenUsage) -> None:
    assert cost_usd(TABLE, "openai/model-a", usage) is None


def test_a_model_in_the_process_costs_nothing_whatever_it_reports() -> None:
    def never(*_: object) -> NoReturn:
        raise AssertionError("nothing is loaded to know this")

    for processor in (ScriptedProcessor([]), EmbeddedProcessor("builtin/tiny", never, never)):
        assert processor.cost_usd(TokenUsage()) == processor.cost_usd(TokenUsage(10, 10)) == 0.0
