"""What kind of message is this: talk, a fact, or a question? Answered by two witnesses, never by a list of phrases.

The model weighs the three labels as next tokens after labelled examples; the sentence embedder finds the nearest
examples. Both are weighed together, with weights fitted on the examples alone (`tests/benchmarks/bench_clerk.py fit`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

Similarity = Callable[[str, Sequence[str]], list[float]]
"""Cosine of one text to each of many, from -1 to 1, in their order. It should remember the vectors of the many."""

_LIMIT_CHARS = 240
_NEIGHBOURS = 5
_PIECE_LINES = 8


class Label(StrEnum):
    """What the user wants with a message."""

    TALK = "talk"
    FACT = "fact"
    QUESTION = "question"


class NextToken(Protocol):
    """The part of the engine that weighs labels."""

    def next_token(self, prompt: str, labels: Sequence[str], *, slot: int = 0) -> list[float]:
        """Return the log probability of each label after `prompt`."""
        ...


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each witness counts, and the offset of each label (in the order of `Label`)."""

    model: float
    examples: float
    offsets: tuple[float, float, float]


TOGETHER = Weights(1.59, 15.96, (5.35, -1.3, -4.05))
MODEL_ALONE = Weights(1.64, 0.0, (5.52, -1.53, -3.98))


class Labeller:
    """Labels sentences; the same words always get the same label."""

    def __init__(self, engine: NextToken, similarity: Similarity | None, *, slot: int) -> None:
        self._engine = engine
        self._similarity = similarity
        self._slot = slot
        self._shots = prompt_text("label.txt")
        self._examples = examples() if similarity else {}

    def warm_up(self, go_on: Callable[[], None]) -> None:
        """Read the examples, so that the first message costs only itself; `go_on` may end it between pieces."""
        lines = self._shots.splitlines(keepends=True)
        for end in range(_PIECE_LINES, len(lines), _PIECE_LINES):
            go_on()
            self._engine.next_token("".join(lines[:end]), ["."], slot=self._slot)
        for texts in self._examples.values():
            go_on()
            self._nearness("...", texts)
        self.label("...")

    def label(self, sentence: str) -> Label:
        """Return the label of one sentence."""
        model, near = self.witnesses(sentence)
        weights = TOGETHER if self._similarity else MODEL_ALONE
        sums = [
            weights.model * m + weights.examples * n + offset
            for m, n, offset in zip(model, near, weights.offsets, strict=True)
        ]
        return list(Label)[sums.index(max(sums))]

    def witnesses(self, sentence: str, leave_out: str | None = None) -> tuple[list[float], list[float]]:
        """Return what each witness gives each label: log probabilities, and mean cosines of the nearest examples."""
        words = " ".join(sentence.split())[:_LIMIT_CHARS]
        model = self._engine.next_token(f"{self._shots}{words} =>", [f" {label}" for label in Label], slot=self._slot)
        return model, [
            self._nearness(words, [text for text in self._examples.get(label, ()) if text != leave_out])
            for label in Label
        ]

    def _nearness(self, words: str, known: Sequence[str]) -> float:
        if not self._similarity:
            return 0.0
        nearest = sorted(self._similarity(words, known), reverse=True)[:_NEIGHBOURS]
        return sum(nearest) / len(nearest)


def examples() -> dict[Label, list[str]]:
    """Return the labelled examples."""
    found: dict[Label, list[str]] = {label: [] for label in Label}
    for line in prompt_text("label_examples.tsv").splitlines():
        label, text = line.split("\t")
        found[Label(label)].append(text)
    return found


def prompt_text(name: str) -> str:
    """Return a file of `memos/prompts/decomposed`."""
    from importlib.resources import files

    return (files("memos.prompts") / "decomposed" / name).read_text(encoding="utf-8")
