"""What is learned of a model's own count: right within 2 % for any linear counter, and never nonsense."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from memos.llm.token_scale import STABLE_MARGIN, UNKNOWN_MARGIN, UNTRIED_MARGIN, Counted, TokenScale

Server = Callable[[Counted], int]


def some_prompts(seed: int, number: int) -> list[Counted]:
    chance = random.Random(seed)
    return [(1200, chance.randint(900, 5000), chance.randint(0, 900)) for _ in range(number)]


SERVERS: dict[str, Server] = {
    "as ours": sum,
    "drops functions and calls": lambda c: round(1.08 * c[1]),
    "adds 300 tokens of its own for functions": lambda c: round(c[0] + 300 + 1.2 * c[1] + 1.9 * c[2]),
    "a coarse vocabulary": lambda c: round(0.6 * sum(c)),
    "a fine vocabulary": lambda c: round(2.4 * sum(c)),
}


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
def test_any_linear_counter_is_met_within_two_percent(server: Server) -> None:
    scale = TokenScale()
    assert scale.margin((1, 1, 1)) == UNTRIED_MARGIN
    for counted in some_prompts(1, 10):
        scale.learn(counted, server(counted))
    errors = [abs(scale.expected(c) - server(c)) / server(c) for c in some_prompts(2, 100)]
    assert max(errors) < 0.02
    for counted in some_prompts(3, 10):
        scale.learn(counted, server(counted))
    assert all(scale.margin(counted) == STABLE_MARGIN for counted in some_prompts(4, 100))


NONSENSE: dict[str, Callable[[int, Counted], int | None]] = {
    "nothing": lambda number, counted: None,
    "zero": lambda number, counted: 0,
    "a negative number": lambda number, counted: -5,
    "100 as koboldcpp": lambda number, counted: 100,
    "the window whatever the prompt": lambda number, counted: 4096,
    "a plausible constant": lambda number, counted: 2600,
    "only what was not cached": lambda number, counted: 60 + 7 * number,
    "characters": lambda number, counted: 5 * sum(counted),
    "a running number": lambda number, counted: number + 1,
}


@pytest.mark.parametrize("server", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_changes_no_count(server: Callable[[int, Counted], int | None]) -> None:
    scale = TokenScale()
    for number, counted in enumerate(some_prompts(3, 20)):
        scale.learn(counted, server(number, counted))
        if number:
            assert scale.expected(counted) == sum(counted)
            assert scale.margin(counted) == UNKNOWN_MARGIN


@pytest.mark.parametrize("server", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_after_good_reports_spoils_nothing(server: Callable[[int, Counted], int | None]) -> None:
    scale = TokenScale()
    for counted in some_prompts(1, 12):
        scale.learn(counted, round(1.3 * sum(counted)))
    for number, counted in enumerate(some_prompts(4, 20)):
        scale.learn(counted, server(number, counted))
        assert abs(scale.expected(counted) / sum(counted) - 1.3) < 0.03


def test_one_report_alone_may_raise_an_estimate_but_not_lower_it() -> None:
    low, high = TokenScale(), TokenScale()
    low.learn((1000, 2000, 300), 2000)
    assert low.expected((1000, 2000, 300)) == 3300
    high.learn((1000, 2000, 300), 5000)
    assert abs(high.expected((1000, 2000, 300)) - 5000) < 50


def test_another_model_behind_the_same_name_is_learned_anew() -> None:
    scale = TokenScale()
    for counted in some_prompts(1, 12):
        scale.learn(counted, sum(counted))
    for counted in some_prompts(2, 12):
        scale.learn(counted, round(1.6 * sum(counted)))
    assert all(abs(scale.expected(c) / sum(c) - 1.6) < 0.03 for c in some_prompts(3, 20))


def test_what_was_learned_outlives_the_process_and_a_damaged_text_is_like_none() -> None:
    scale = TokenScale()
    for counted in some_prompts(1, 12):
        scale.learn(counted, round(1.3 * sum(counted)))
    again = TokenScale.from_json(scale.as_json())
    assert again.factors == scale.factors
    assert again.margin((9, 9, 9)) == scale.margin((9, 9, 9)) < UNTRIED_MARGIN
    rows = ("[1, 2]", "[0, 0, 0, 0]", "[1e400, 1, 1, 1]", "[-1, 2, 3, 4]", f"[{10**400}, 1, 1, {10**400}]")
    damaged = [f'{{"observations": [{row}], "errors": [], "refused": []}}' for row in rows]
    for text in ("", "{}", "[]", "null", "[" * 100_000, *damaged):
        assert TokenScale.from_json(text).expected((10, 20, 30)) == 60


def test_no_report_bends_a_factor_out_of_its_bounds() -> None:
    chance = random.Random(9)
    scale = TokenScale()
    for counted in some_prompts(5, 200):
        scale.learn(counted, chance.randint(1, 20_000))
        functions, words, calls = scale.factors
        assert 0 <= functions <= 6 and 0.4 <= words <= 3 and 0 <= calls <= 4


def test_a_mixture_unlike_all_that_was_reported_has_a_wider_margin() -> None:
    scale, chance = TokenScale(), random.Random(3)
    for _ in range(20):  # words of varying density, hardly a call among them
        words, calls = chance.randint(500, 700), chance.choice([0, 0, 70])
        scale.learn((400, words, calls), round((400 + words + calls) * chance.uniform(1.40, 1.48)))
    usual, unlike = (400, 600, 0), (400, 600, 300)
    assert abs(scale.expected(usual) / 1000 - 1.44) < 0.03
    assert scale.margin(usual) < scale.margin(unlike) <= UNTRIED_MARGIN
    assert scale.expected(unlike) * (1 + scale.margin(unlike)) > 1.44 * sum(unlike)


def test_a_margin_covers_how_far_the_reports_of_a_server_scatter() -> None:
    scale, chance, missed = TokenScale(), random.Random(7), 0
    for number, counted in enumerate(some_prompts(8, 200)):
        reported = round(sum(counted) * chance.uniform(1.25, 1.40))
        missed += number >= 5 and reported > scale.expected(counted) * (1 + scale.margin(counted))
        scale.learn(counted, reported)
    assert missed <= 2
