"""The companion: what a model makes of a stored line is shown only where it is that line."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos.llm.companion import SLOTS, Companion, says_the_same
from memos.llm.decomposed import Decision, Decomposed, quote
from memos.llm.engine import Completion, Engine
from memos.llm.filed_lines import FiledLine
from memos.llm.meaning import Meaning
from memos.llm.weights import builtin_weights
from memos.memory.index import builtin_embedder
from memos.messages import Counters, EventKind, Finish, FunctionSchema, Message, Prompt, TokenUsage

SPEAK = FunctionSchema("send_message", "", {"type": "object", "properties": {"message": {"type": "string"}}})


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("I live in Lima.", "You live in Lima."),
        ("My sister Ana isn't a nurse.", "Your sister Ana is not a nurse."),
        ("I'm allergic to peanuts", "You're allergic to peanuts."),
        ("I was born on 3 May 1990.", "You were born on 3 May 1990."),
        ("My name's Zoë O'Neil.", "Your name is Zoë O'Neil."),
        ("We can't eat pork.", "You cannot eat pork."),
    ],
)
def test_a_line_turned_round_to_the_user_is_the_same(line: str, answer: str) -> None:
    assert says_the_same(answer, line)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("I live in Lima.", "You live in Rome."),
        ("I live in Lima.", "You live in Lima, Peru."),
        ("I live in Lima.", "You live in Lima with Ana."),
        ("I live in Lima with Ana.", "You live in Lima."),
        ("I live in Lima.", "You lived in Lima."),
        ("I live in Lima.", "I live in Lima."),
        ("I live in Lima.", "You live in lima?"),
        ("I live in Lima.", ""),
        ("I don't drink coffee.", "You drink coffee."),
        ("I drink coffee.", "You don't drink coffee."),
        ("I never drink coffee.", "You drink coffee."),
        ("I have 3 cats.", "You have 4 cats."),
        ("I have 3 cats.", "You have three cats."),
        ("I run 4.5 km.", "You run 45 km."),
        ("It is -3 degrees.", "It is 3 degrees."),
        ("I was a nurse.", "You are a nurse."),
        ("My sister loves Ben.", "You love Ben."),
        ("My sister loves Ben.", "Ben loves your sister."),
        ("My sister loves Ben.", "Your brother loves Ben."),
        ("She is my boss.", "He is your boss."),
        ("I moved from Lima to Oslo.", "You moved from Oslo to Lima."),
        ("I moved from Lima to Oslo.", "You moved to Oslo from Lima."),
        ("My dog is older than my cat.", "Your cat is older than your dog."),
        ("I like your voice.", "You like your voice."),
        ("My name is Ana.", "My name is Ana."),
        ("Vivo en Lima.", "You live in Lima."),
        ("I left the army before 1990.", "You left the army after 1990."),
    ],
)
def test_a_sentence_that_changes_loses_or_adds_a_fact_is_not_the_same(line: str, answer: str) -> None:
    assert not says_the_same(answer, line)


WORDS = st.sampled_from(
    [
        "Lima",
        "Ana",
        "3",
        "17",
        "not",
        "never",
        "sister",
        "brother",
        "red",
        "before",
        "after",
        "live",
        "was",
        "is",
        "km",
        "very",
    ]
)


@given(st.lists(WORDS, min_size=1, max_size=8), st.data())
def test_no_change_of_one_word_passes(words: list[str], data: st.DataObject) -> None:
    line = " ".join(words)
    assert says_the_same(line, line)
    place = data.draw(st.integers(0, len(words) - 1))
    other = data.draw(WORDS.filter(lambda word: word != words[place]))
    changed = [*words[:place], other, *words[place + 1 :]]
    assert not says_the_same(" ".join(changed), line)
    assert not says_the_same(" ".join([*words[:place], other, *words[place:]]), line)
    assert not says_the_same(" ".join(words[:place] + words[place + 1 :]), line)


@dataclass
class Decided:
    """A clerk that has made up its mind."""

    message: str

    def prefixes(self) -> tuple[tuple[int, str], ...]:
        return ()

    def warm_up(self) -> None:
        return None

    def decide(self, prompt: Prompt, cancelled: threading.Event | None = None) -> Decision:
        return Decision("I look.", "send_message", {"message": self.message})


@dataclass
class Writes:
    """A model that writes one thing."""

    text: str
    asked: list[str] = field(default_factory=list)

    def complete(
        self,
        prompt: str,
        *,
        max_tokens: int,
        stop: tuple[str, ...] = (),
        slot: int = 0,
        cancelled: threading.Event | None = None,
    ) -> Completion:
        self.asked.append(prompt)
        return Completion(self.text, Finish.STOP, TokenUsage())


def answer(decided: str, written: str) -> tuple[str, int]:
    model = Writes(written)
    queue = (Message("user", "Where do I live?", "a", "t", kind=EventKind.USER_MESSAGE),)
    prompt = Prompt("", (SPEAK,), (), queue, Counters(datetime(2026, 11, 23, tzinfo=UTC)))
    reply = Companion(model, Decided(decided)).reply(prompt)
    return str(json.loads(reply.calls[0].arguments)["message"]), len(model.asked)


def test_a_faithful_sentence_stands_for_the_quote_and_keeps_its_date() -> None:
    quoted = quote(FiledLine("I live in Lima.", "2026-11-20"))
    assert answer(quoted, " You live in Lima.") == ("You live in Lima, as you told me on 2026-11-20.", 1)


def test_an_unfaithful_sentence_leaves_the_quote() -> None:
    quoted = quote(FiledLine("I live in Lima.", "2026-11-20"))
    assert answer(quoted, " You live in Rome.") == (quoted, 1)


def test_what_quotes_nothing_is_left_alone() -> None:
    assert answer("I have nothing about that.", "You live in Lima.") == ("I have nothing about that.", 0)


@pytest.mark.builtin_model
def test_all_fixed_prompts_and_a_long_sentence_fit_the_window_together(builtin_cache: Path) -> None:
    engine = Engine(builtin_weights(builtin_cache, lambda _: None), threads=1, window_tokens=2048)
    prefixes = Companion(engine, Decomposed(engine, Meaning(builtin_embedder().token_states), larger=True)).prefixes()
    slots = [slot for slot, _ in prefixes]
    assert sorted(slots) == list(range(SLOTS))
    tokens = [engine.complete(prefix, max_tokens=1).usage.prompt_tokens or 0 for _, prefix in prefixes]
    engine.close()
    assert max(tokens) <= 600
    assert sum(tokens) <= 2048 - 200
