"""Which of a few labels does a sentence carry? Answered by two witnesses, never by a list of phrases.

The model weighs the labels as next tokens after labelled examples; the second witness reads the sentence by the
embedder: a trained layer for what a sentence wants (`meaning`), the nearest of a few examples for the days it means.
Both are weighed together (`tests/benchmarks/bench_clerk.py fit` finds the weights, on sentences of neither prompt).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from memos.llm.meaning import KINDS, Meaning

_LIMIT_CHARS = 240
_NEIGHBOURS = 5


class NextToken(Protocol):
    """The part of the engine that weighs labels."""

    def next_token(self, prompt: str, labels: Sequence[str], *, slot: int = 0) -> list[float]:
        """Return the log probability of each label after `prompt`."""
        ...


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each witness counts, and the offset of each label (none: all alike)."""

    model: float
    reader: float
    offsets: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Labels, and the weights of the witnesses; those fitted on a model of 0.1B parameters are far from those of 1.5B.

    `NAME.txt` in `memos/prompts/decomposed` is what the model reads before each sentence.
    """

    name: str
    labels: tuple[str, ...]
    small: Weights
    larger: Weights
    tokens: tuple[str, ...] = ()
    """What the model reads for each label, where that is coarser than the labels."""


KIND = LabelSet(
    "kind",
    KINDS,
    tokens=("talk", "talk", "fact", "fact", "change", "change", "question", "question", "question"),
    small=Weights(0.25, 1.0),
    larger=Weights(0.25, 1.0),
)
"""What the user wants with a sentence. The model tells four of these apart, the layer all nine."""

TODAY, YESTERDAY, WEEK, MONTH, BEFORE = "today", "yesterday", "week", "month", "before"
DAYS = LabelSet(
    "days",
    (TODAY, YESTERDAY, WEEK, MONTH, BEFORE),
    small=Weights(0.5, 15.0),
    larger=Weights(1.0, 8.0),
)
"""Which days a question about the past means."""


class Labeller:
    """Labels sentences by one set of labels; the same words always get the same label."""

    def __init__(
        self,
        engine: NextToken,
        reader: Callable[[str], Sequence[float]],
        label_set: LabelSet,
        *,
        slot: int,
        larger: bool = False,
    ) -> None:
        """`reader` is the second witness: what it gives each label, in the set's order."""
        self._engine = engine
        self._reader = reader
        self._set = label_set
        self._slot = slot
        self._weights = label_set.larger if larger else label_set.small
        self._shots = prompt_text(f"{label_set.name}.txt")

    def label(self, sentence: str) -> str:
        """Return the label of one sentence."""
        sums = self.scores(sentence)
        return self._set.labels[sums.index(max(sums))]

    def scores(self, sentence: str) -> list[float]:
        """Return what speaks for each label, in the set's order; only differences mean something."""
        model, read = self.witnesses(sentence)
        weights = self._weights
        offsets = weights.offsets or (0.0,) * len(self._set.labels)
        return [
            weights.model * m + weights.reader * r + offset for m, r, offset in zip(model, read, offsets, strict=True)
        ]

    def witnesses(self, sentence: str) -> tuple[list[float], list[float]]:
        """Return what each witness gives each label."""
        words = " ".join(sentence.split())[:_LIMIT_CHARS]
        tokens = [f" {token}" for token in self._set.tokens or self._set.labels]
        different = list(dict.fromkeys(tokens))
        model = self._engine.next_token(f"{self._shots}{words} =>", different, slot=self._slot)
        return [model[different.index(token)] for token in tokens], list(self._reader(words))


def kinds_read_by(meaning: Meaning) -> Callable[[str], Sequence[float]]:
    """Return the second witness of KIND: the log probabilities of the trained layer."""
    return lambda words: [meaning.labels(words)[kind] for kind in KINDS]


def days_read_by(meaning: Meaning) -> Callable[[str], Sequence[float]]:
    """Return the second witness of DAYS: the mean cosine of the nearest examples of each label."""
    known = examples(DAYS)

    def read(words: str) -> list[float]:
        nearest = [sorted(meaning.similarity(words, known[label]))[-_NEIGHBOURS:] for label in DAYS.labels]
        return [sum(cosines) / len(cosines) for cosines in nearest]

    return read


def examples(label_set: LabelSet) -> dict[str, list[str]]:
    """Return the labelled examples of a set."""
    found: dict[str, list[str]] = {label: [] for label in label_set.labels}
    for line in prompt_text(f"{label_set.name}.tsv").splitlines():
        label, text = line.split("\t")
        found[label].append(text)
    return found


def prompt_text(name: str) -> str:
    """Return a file of `memos/prompts/decomposed`."""
    from importlib.resources import files

    return (files("memos.prompts") / "decomposed" / name).read_text(encoding="utf-8")
