"""Which of a few labels does a sentence carry? Answered by two witnesses, never by a list of phrases.

The model weighs the labels as next tokens after labelled examples; the sentence embedder finds the nearest of further
examples. Both are weighed together, with weights fitted on the examples alone (`tests/benchmarks/bench_clerk.py fit`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

Similarity = Callable[[str, Sequence[str]], list[float]]
"""Cosine of one text to each of many, from -1 to 1, in their order. It should remember the vectors of the many."""

_LIMIT_CHARS = 240
_NEIGHBOURS = 5
_BATCH_TEXTS = 8


class NextToken(Protocol):
    """The part of the engine that weighs labels."""

    def next_token(self, prompt: str, labels: Sequence[str], *, slot: int = 0) -> list[float]:
        """Return the log probability of each label after `prompt`."""
        ...


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each witness counts, and the offset of each label."""

    model: float
    examples: float
    offsets: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Labels, where their examples lie, and the weights of the witnesses.

    `NAME.txt` in `memos/prompts/decomposed` is what the model reads before each sentence, `NAME.tsv` holds the
    examples whose nearness counts. The weights fitted on a model of 0.1B parameters are far from those of 1.5B.
    """

    name: str
    labels: tuple[str, ...]
    together: Weights
    model_alone: Weights
    larger_together: Weights
    larger_alone: Weights
    tokens: tuple[str, ...] = ()
    """What the model reads for each label, where that is coarser than the labels."""

    def weights(self, *, examples: bool, larger: bool) -> Weights:
        """Return how much the witnesses count that there are."""
        if larger:
            return self.larger_together if examples else self.larger_alone
        return self.together if examples else self.model_alone


TALK, GREETING, FACT, ARCHIVE = "talk", "greeting", "fact", "archive"
CORRECTION, DELETION = "correction", "deletion"
QUESTION, EVERYTHING, PAST = "question", "everything", "past"
KIND = LabelSet(
    "kind",
    (TALK, GREETING, FACT, ARCHIVE, CORRECTION, DELETION, QUESTION, EVERYTHING, PAST),
    tokens=("talk", "talk", "fact", "fact", "change", "change", "question", "question", "question"),
    together=Weights(1.0, 15.05, (4.78, 3.5, -0.32, -0.29, -0.68, -1.2, -1.31, -1.9, -2.5)),
    model_alone=Weights(1.23, 0.0, (6.0, 5.13, 0.08, -1.65, -1.54, -1.66, -1.16, -2.54, -2.65)),
    larger_together=Weights(1.17, 15.85, (1.43, 0.27, 1.0, 0.46, 1.02, 0.15, -0.79, -1.37, -2.17)),
    larger_alone=Weights(1.2, 0.0, (1.72, 0.92, 1.18, -0.72, -0.06, -0.19, 0.07, -1.4, -1.52)),
)
"""What the user wants with a sentence. The model tells four of these apart, the examples all nine."""

TODAY, YESTERDAY, WEEK, MONTH, BEFORE = "today", "yesterday", "week", "month", "before"
DAYS = LabelSet(
    "days",
    (TODAY, YESTERDAY, WEEK, MONTH, BEFORE),
    together=Weights(0.5, 15.0, (0.0, 0.0, 0.0, 0.0, 0.0)),
    model_alone=Weights(1.0, 0.0, (0.0, 0.0, 0.0, 0.0, 0.0)),
    larger_together=Weights(1.0, 8.0, (0.0, 0.0, 0.0, 0.0, 0.0)),
    larger_alone=Weights(1.0, 0.0, (0.0, 0.0, 0.0, 0.0, 0.0)),
)
"""Which days a question about the past means."""

NAME, OTHER = "name", "other"
OWN_NAME = LabelSet(
    "name",
    (NAME, OTHER),
    together=Weights(2.78, 64.11, (0.78, -0.78)),
    model_alone=Weights(1.94, 0.0, (1.44, -1.44)),
    larger_together=Weights(2.42, 63.23, (-0.71, 0.71)),
    larger_alone=Weights(2.22, 0.0, (0.79, -0.79)),
)
"""Whether a statement or a question is about the user's own name: names are what an embedder knows least about."""


class Labeller:
    """Labels sentences by one set of labels; the same words always get the same label."""

    def __init__(
        self,
        engine: NextToken,
        similarity: Similarity | None,
        label_set: LabelSet,
        *,
        slot: int,
        larger: bool = False,
    ) -> None:
        self._engine = engine
        self._similarity = similarity
        self._set = label_set
        self._slot = slot
        self._weights = label_set.weights(examples=similarity is not None, larger=larger)
        self._shots = prompt_text(f"{label_set.name}.txt")
        self._examples = examples(label_set) if similarity else {}

    def warm_up(self, go_on: Callable[[], None]) -> None:
        """Embed the examples, so that the first message costs only itself; `go_on` may end it between pieces."""
        for texts in self._examples.values():
            go_on()
            self._nearness("...", texts)
        self.label("...")

    def label(self, sentence: str) -> str:
        """Return the label of one sentence."""
        sums = self.scores(sentence)
        return self._set.labels[sums.index(max(sums))]

    def scores(self, sentence: str) -> list[float]:
        """Return what speaks for each label, in the set's order; only differences mean something."""
        model, near = self.witnesses(sentence)
        weights = self._weights
        return [
            weights.model * m + weights.examples * n + offset
            for m, n, offset in zip(model, near, weights.offsets, strict=True)
        ]

    def witnesses(self, sentence: str, leave_out: str | None = None) -> tuple[list[float], list[float]]:
        """Return what each witness gives each label: log probabilities, and mean cosines of the nearest examples."""
        words = " ".join(sentence.split())[:_LIMIT_CHARS]
        tokens = [f" {token}" for token in self._set.tokens or self._set.labels]
        different = list(dict.fromkeys(tokens))
        model = self._engine.next_token(f"{self._shots}{words} =>", different, slot=self._slot)
        return [model[different.index(token)] for token in tokens], self.nearness(words, leave_out)

    def nearness(self, sentence: str, leave_out: str | None = None) -> list[float]:
        """Return the mean cosine of the nearest examples of each label: cheap, for a first choice among many."""
        words = " ".join(sentence.split())[:_LIMIT_CHARS]
        return [
            self._nearness(words, [text for text in self._examples.get(label, ()) if text != leave_out])
            for label in self._set.labels
        ]

    def _nearness(self, words: str, known: Sequence[str]) -> float:
        if not self._similarity:
            return 0.0
        # In small batches: an embedder's working memory grows with the largest batch it ever saw, and stays so.
        batches = [known[start : start + _BATCH_TEXTS] for start in range(0, len(known), _BATCH_TEXTS)]
        cosines = [cosine for batch in batches for cosine in self._similarity(words, batch)]
        nearest = sorted(cosines, reverse=True)[:_NEIGHBOURS]
        return sum(nearest) / len(nearest)


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
