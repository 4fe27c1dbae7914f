"""What a sentence is about and wants: the trained layer over the real embedder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest

from memos.llm.meaning import KINDS, LABELS, Meaning, pieces
from memos.memory.index import builtin_embedder

if TYPE_CHECKING:
    from memos.memory.embedders import States


class Counting:
    """The embedder's token states, and how many texts were asked for."""

    def __init__(self) -> None:
        self.texts = 0

    def __call__(self, texts: Sequence[str]) -> list[States]:
        self.texts += len(texts)
        return builtin_embedder().token_states(texts)


@pytest.fixture(scope="module")
def meaning() -> Meaning:
    return Meaning(builtin_embedder().token_states)


@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        ("Hello you!", "greeting"),
        ("Thanks for all that.", "talk"),
        ("My grandson collects stamps.", "fact"),
        ("Which stamps does my grandson collect?", "question"),
        ("No, my grandson collects coins now.", "correction"),
        ("Please forget what my grandson collects.", "deletion"),
        ("What do you have written down about me?", "everything"),
        ("What did I tell you the day before yesterday?", "past"),
        ("Archive this: the fence was painted in 2019.", "archive"),
        ("Meine Tochter arbeitet in einem Krankenhaus.", "fact"),
        ("Wo arbeitet meine Tochter?", "question"),
        ("我的孙子收集什么？", "question"),
        ("Wrong number!", "lead"),
        ("collects stamps of", "fragment"),
    ],
)
def test_it_tells_what_a_sentence_wants(meaning: Meaning, sentence: str, kind: str) -> None:
    labels = meaning.labels(sentence)
    assert max(labels, key=lambda label: labels[label]) == kind
    assert math.isclose(sum(map(math.exp, labels.values())), 1, rel_tol=1e-3)


def test_a_question_is_about_the_statement_that_answers_it_and_not_about_its_neighbours(meaning: Meaning) -> None:
    lines = ["I signed a contract with Lumen & Sons.", "My boss is called Lumen.", "My bank is Lumen & Sons."]
    near = meaning.topics("Which firm employs me?", lines)
    assert near[0] == max(near)
    assert all(-1.001 <= value <= 1.001 for value in near)


def test_whatever_text_comes_is_read(meaning: Meaning) -> None:
    for text in ("", "   ", "x" * 100_000, "\ud83d \x00 🐝", "?", "\n"):
        (reading,) = meaning.read([text])
        assert reading.topic.shape == (128,) and np.isfinite(reading.topic).all()
        assert set(reading.labels) == set(LABELS)
    assert meaning.topics("anything", []) == []


def test_a_text_is_read_once() -> None:
    counting = Counting()
    meaning = Meaning(counting)
    meaning.topics("I keep bees.", ["bees", "a train", "I keep bees."])
    meaning.labels("a  train")
    assert counting.texts == 3


def test_more_texts_than_are_remembered_are_read_all_the_same() -> None:
    zeros = [np.zeros((2, 384), dtype=np.float32)]
    meaning = Meaning(lambda texts: zeros * len(texts))
    assert len(meaning.read([f"text {number}" for number in range(2_500)])) == 2_500


def test_the_kinds_are_labels() -> None:
    assert set(KINDS) < set(LABELS)


def test_a_line_is_cut_at_its_joints_and_into_overlapping_pieces() -> None:
    assert "and I keep bees." in pieces("My name is Ana, and I keep bees.")
    assert pieces("Bees.") == []
