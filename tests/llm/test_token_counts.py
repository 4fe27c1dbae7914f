"""What a prompt costs, by part, before it is sent; and what a server's reports teach."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from support.prompts import invented_prompt

from memos.llm import offline_tokenizer
from memos.llm.chat_messages import chat_messages, tools
from memos.llm.offline_tokenizer import ESTIMATE, Tokenizer
from memos.llm.token_counts import CountCache, TokenCounts, estimated
from memos.llm.token_scale import UNTRIED_MARGIN
from memos.messages import Counters, Prompt, PromptTokens, TokenUsage


@pytest.fixture(autouse=True, scope="module")
def loaded() -> None:
    offline_tokenizer.load()


def sent(prompt: Prompt) -> str:
    """Return all that is sent for `prompt` as text."""
    return json.dumps({"messages": chat_messages(prompt), "tools": tools(prompt.functions)}, ensure_ascii=False)


@pytest.mark.parametrize("seed", range(5))
def test_the_parts_add_up_to_what_is_sent(seed: int) -> None:
    prompt = invented_prompt(seed)
    measured = TokenCounts("m").measure(prompt)
    assert len(measured.queue) == len(prompt.queue)
    assert measured.total == measured.fixed + sum(measured.queue) == sum(measured.counted)
    assert (measured.counted_by, measured.exact) == ("cl100k_base", False)
    assert measured.at_most == measured.total + measured.margin
    assert measured.margin == round(measured.total * UNTRIED_MARGIN)
    assert abs(measured.total / offline_tokenizer.load().count(sent(prompt)) - 1) < 0.15


def test_each_part_is_counted_by_itself() -> None:
    prompt = invented_prompt(3, turns=2)
    count = TokenCounts("m").measure
    whole = count(prompt)
    longer = "x y z " * 500
    assert count(replace(prompt, instructions=longer)).instructions > 1000
    assert count(replace(prompt, functions=())).functions == 0
    assert count(replace(prompt, blocks=())).blocks == 0
    assert count(replace(prompt, summary="")).summary == 0
    assert count(replace(prompt, summary=longer)).summary > 1000
    newest = replace(prompt.queue[-1], content=longer)
    other = count(replace(prompt, queue=(*prompt.queue[:-1], newest)))
    assert other.queue[:-1] == whole.queue[:-1] and other.queue[-1] > 1000
    assert other.fixed == whole.fixed
    later = count(replace(prompt, counters=Counters(prompt.counters.now, 10**9, 10**9)))
    assert later.frame > whole.frame and later.queue == whole.queue


class Counting:
    """A tokenizer that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.tokenizer = Tokenizer("counting", self.count)

    def count(self, text: str) -> int:
        self.asked.append(text)
        return len(text) // 4


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    one = Counting()
    monkeypatch.setattr(offline_tokenizer, "_loaded", [one.tokenizer])
    return one


def test_only_what_is_new_is_counted_whatever_the_model(counting: Counting) -> None:
    cache, prompt = CountCache(), invented_prompt(1, turns=20)
    first = TokenCounts("a", cache=cache).measure(prompt)
    assert len(counting.asked) > 40
    counting.asked.clear()
    assert TokenCounts("b", cache=cache).measure(prompt) == first
    (state,) = counting.asked
    assert "now" in json.loads(state)


def test_a_message_whose_words_are_replaced_is_counted_anew(counting: Counting) -> None:
    counts, prompt = TokenCounts("a", cache=CountCache()), invented_prompt(1, turns=3)
    before = counts.measure(prompt)
    short = replace(prompt.queue[0], content="x")
    after = counts.measure(replace(prompt, queue=(short, *prompt.queue[1:])))
    assert after.queue[0] < before.queue[0] and after.queue[1:] == before.queue[1:]


def test_the_cache_is_bounded() -> None:
    cache = CountCache(limit=10)
    for key in range(1000):
        assert cache.get(key, lambda key=key: (key, 0)) == (key, 0)  # type: ignore[misc]
        assert len(cache) <= 10
    assert cache.get(999, lambda: (0, 0)) == (999, 0)


def _words_twice(text: str) -> int:
    return 2 * len(re.findall(r"\w+|[^\w\s]", text))


SERVERS: dict[str, Callable[[str], int]] = {
    "characters / 3": lambda text: len(text) // 3,
    "words * 2": _words_twice,
    "bytes": lambda text: len(text.encode()) // 2,
}


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
def test_a_server_that_counts_in_its_own_way_is_met_within_two_percent(server: Callable[[str], int]) -> None:
    """A conversation grows step by step; from the tenth on the count is right."""
    counts, whole = TokenCounts("m"), invented_prompt(5, turns=40)
    ends = [place for place, row in enumerate(whole.queue) if row.role == "user"]
    errors = []
    for end in ends:
        prompt = replace(whole, queue=whole.queue[: end + 1])
        measured, reported = counts.measure(prompt), server(sent(prompt))
        errors.append(abs(measured.total - reported) / reported)
        counts.learn(measured, TokenUsage(reported))
    assert max(errors[10:]) < 0.02


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
def test_prompts_that_have_nothing_in_common_are_met_within_the_margin_or_near_it(
    server: Callable[[str], int],
) -> None:
    counts, errors, missed = TokenCounts("m"), [], []
    for seed in range(60):
        prompt = invented_prompt(seed)
        measured, reported = counts.measure(prompt), server(sent(prompt))
        errors.append(abs(measured.total - reported) / reported)
        missed.append(reported > measured.at_most)
        counts.learn(measured, TokenUsage(reported))
    late = errors[10:]
    assert max(late) < 0.05 and sum(late) / len(late) < 0.015
    assert sum(missed[10:]) <= 5


def test_parts_follow_what_was_learned_and_still_add_up() -> None:
    counts, prompt = TokenCounts("m"), invented_prompt(99)
    before = counts.measure(prompt)
    for seed in range(10):
        measured = counts.measure(invented_prompt(seed))
        counts.learn(measured, TokenUsage(round(1.5 * sum(measured.counted))))
    after = counts.measure(prompt)
    assert after.total == after.fixed + sum(after.queue)
    assert abs(after.total - 1.5 * before.total) < 0.02 * after.total
    assert abs(after.instructions - 1.5 * before.instructions) < 0.1 * after.instructions
    assert after.margin < 0.03 * after.total


def test_a_prompt_count_below_its_cached_part_is_no_count() -> None:
    counts, prompt = TokenCounts("m"), invented_prompt(1)
    measured = counts.measure(prompt)
    for _ in range(3):
        counts.learn(measured, TokenUsage(measured.total // 2, cached_tokens=measured.total))
    assert counts.measure(prompt) == measured


class Kept:
    """Scales in memory."""

    def __init__(self) -> None:
        self.scales: dict[tuple[str, str, str], str] = {}

    def load(self, model: str, endpoint: str) -> Mapping[str, str]:
        return {key[2]: scale for key, scale in self.scales.items() if key[:2] == (model, endpoint)}

    def note(self, model: str, endpoint: str, tokenizer: str, scale: str) -> None:
        self.scales[model, endpoint, tokenizer] = scale


def test_what_one_session_learned_the_next_one_knows_for_this_model_at_this_endpoint_only() -> None:
    kept, prompt = Kept(), invented_prompt(50)
    first = TokenCounts("m", "http://one", scales=kept)
    for seed in range(10):
        measured = first.measure(invented_prompt(seed))
        first.learn(measured, TokenUsage(round(1.5 * sum(measured.counted))))
    known = TokenCounts("m", "http://one", scales=kept).measure(prompt)
    assert known == first.measure(prompt)
    for model, endpoint in (("m", "http://two"), ("other", "http://one")):
        assert TokenCounts(model, endpoint, scales=kept).measure(prompt).total < known.total


def test_a_hostile_message_is_measured_as_what_is_sent_for_it() -> None:
    prompt = invented_prompt(1, turns=1)
    for words in ("\ud83d" * 100, "<|im_start|>system", "x" * 1_000_000, "\x00\x1b[31m"):
        event = replace(prompt.queue[-1], content=words)
        measured = TokenCounts("m").measure(replace(prompt, queue=(*prompt.queue[:-1], event)))
        assert measured.queue[-1] > len(words) // 100


GUARD = """
import sys
from support.prompts import invented_prompt
from memos.llm.token_counts import TokenCounts
small = TokenCounts("m", window_tokens=lambda: 128_000).measure(invented_prompt(1))
assert (small.counted_by, "tiktoken" in sys.modules) == ("bytes", False), small
near = TokenCounts("m", window_tokens=lambda: 4_000).measure(invented_prompt(1))
assert (near.counted_by, "tiktoken" in sys.modules) == ("cl100k_base", True), near
print(abs(small.total / near.total - 1) < 0.3)
"""


def test_bytes_do_until_the_prompt_comes_near_the_window() -> None:
    environ = {"PYTHONPATH": ":".join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", GUARD], capture_output=True, text=True, timeout=60, check=False, env=environ
    )
    assert run.stdout.strip() == "True", run.stderr


def test_the_estimate_alone_counts_every_part_too() -> None:
    prompt = invented_prompt(1)
    measured: PromptTokens = estimated(prompt)
    assert len(measured.queue) == len(prompt.queue)
    assert (measured.counted_by, measured.margin) == ("bytes", 0)
    assert abs(measured.total / (len(sent(prompt)) / 4) - 1) < 0.2


def test_a_tokenizer_loaded_late_knows_what_was_reported_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, counts = invented_prompt(7), TokenCounts("m", window_tokens=lambda: 1_000_000)
    exact = offline_tokenizer.load()
    monkeypatch.setattr(offline_tokenizer, "_loaded", [])
    rough = counts.measure(prompt)
    counts.learn(rough, TokenUsage(prompt_tokens=exact.count(sent(prompt))))
    monkeypatch.setattr(offline_tokenizer, "_loaded", [exact])
    measured = counts.measure(prompt)
    assert (rough.counted_by, measured.counted_by) == (ESTIMATE.name, "cl100k_base")
    assert measured.margin < UNTRIED_MARGIN * measured.total / 2
