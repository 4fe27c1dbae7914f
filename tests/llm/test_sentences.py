"""Messages cut into sentences, and sentences into facts: no word of a fact is lost or made up."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memos.llm.meaning import Meaning
from memos.llm.sentences import joined, sentences, single_facts
from memos.memory.index import builtin_embedder


@pytest.fixture(scope="module")
def meaning() -> Meaning:
    return Meaning(builtin_embedder().token_states)


def test_a_message_is_cut_into_sentences_but_not_after_a_title() -> None:
    assert sentences("Hi! My boss Mrs. Adu is ill.\nIs she?") == ["Hi!", "My boss Mrs. Adu is ill.", "Is she?"]
    assert sentences("我叫小林。我喜欢茶。") == ["我叫小林。", "我喜欢茶。"]
    assert len(sentences("One two. " * 30)) == 8


@pytest.mark.parametrize(
    "sentence",
    [
        "My name is Ana and I keep bees.",
        "I work in a bakery, and we have two dogs.",
        "My dog is called Rex; by the way, I am allergic to peanuts",
        "I live in Porto but I was born in Lagos.",
    ],
)
def test_two_facts_in_one_sentence_become_two(meaning: Meaning, sentence: str) -> None:
    assert len(single_facts(sentence, meaning)) == 2


@pytest.mark.parametrize(
    "sentence",
    [
        "I live in Lyon with my wife and two children.",
        "My sister Eva lives in Oslo and she is a vet.",
        "I like salt and pepper on my eggs.",
        "We have two cats, Tom and Luna.",
        "My flight leaves at 7:40 on Monday, from gate B12.",
        "Bees",
    ],
)
def test_what_cannot_stand_alone_is_not_cut_off(meaning: Meaning, sentence: str) -> None:
    assert single_facts(sentence, meaning) == [sentence]


def test_a_remark_goes_with_what_it_announces(meaning: Meaning) -> None:
    assert joined(["Wrong town!", "I live in Quito."], meaning) == ["Wrong town! I live in Quito."]
    assert joined(["I live in Quito.", "By the way."], meaning) == ["I live in Quito.", "By the way."]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            ["My name is Ana", "I keep bees", "no", "the gate, too", "my boss is Mr. Hahn", "é 我", "12:30"]
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([" and ", ", ", "; ", ", but also ", " ", ": and, "]),
)
def test_facts_are_the_sentences_own_words_in_order(meaning: Meaning, parts: list[str], joint: str) -> None:
    sentence = joint.join(parts)
    place = 0
    for fact in single_facts(sentence, meaning):
        place = sentence.index(fact, place) + len(fact)
    kept = " ".join(single_facts(sentence, meaning))
    left_out = re.sub(r"\W|\b(?:and|but|also)\b", "", sentence)
    assert re.sub(r"\W|\b(?:and|but|also)\b", "", kept) == left_out
