"""How near a stored line is to a question, or to a newer fact: a few features, weighed with fitted weights.

Features of (text, line): how much both are about the same (`meaning`), for the line and for the best of its pieces;
the embedder's own cosine, likewise; and the share of the text's rare words that the line has too. A 135M model asked
"does this line answer that question" adds nothing to them (area under the curve 0.54 to 0.68, against 0.99), so it is
not asked. The weights come from logistic regression on people and phrasings that the layer was not trained on
(`tests/benchmarks/bench_clerk.py fit`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from memos.llm.filed_lines import FiledLine
from memos.llm.labeller import prompt_text
from memos.llm.meaning import Meaning, pieces

ANSWERS = -1.1
"""From this score on a line answers a question."""
REPLACES = 1.5
"""From this score on a fact takes the place of a line."""
SAME = -0.5
"""From this score on two lines may be about the same: then both are quoted, the newer first."""
_ANSWER_WEIGHTS = (4.8, 5.3, 2.0, 0.3, -0.8)
_ANSWER_OFFSET = -6.6
_REPLACE_WEIGHTS = (3.23, 5.25, 2.12, 3.03, -1.87)
_REPLACE_OFFSET = -8.06
_CORRECTION_WEIGHT = 0.5
_STEM_CHARS = 5


@dataclass(frozen=True, slots=True)
class Near:
    """A line and how much speaks for it."""

    score: float
    line: FiledLine


class Nearness:
    """Scores lines."""

    def __init__(self, meaning: Meaning) -> None:
        self._meaning = meaning
        self._common = frozenset(prompt_text("common_words.txt").split())

    def answers(self, question: str, lines: Sequence[FiledLine]) -> list[Near]:
        """Return the lines, the likeliest for `question` first (the newer of equals)."""
        found = [
            Near(_weighed(self.features(question, line.words), _ANSWER_WEIGHTS, _ANSWER_OFFSET), line)
            for line in reversed(lines)
        ]
        return sorted(found, key=lambda near: -near.score)

    def replaced(self, fact: str, correction: float, lines: Sequence[FiledLine]) -> list[Near]:
        """Return the lines, the likeliest to be replaced by `fact` first; `correction`: how much it reads like one."""
        found = [Near(self._same(fact, line.words) + _CORRECTION_WEIGHT * correction, line) for line in reversed(lines)]
        return sorted(found, key=lambda near: -near.score)

    def features(self, text: str, words: str) -> list[float]:
        """Return what is weighed for a text and the words of a line."""
        parts = [words, *pieces(words)]
        topics, senses = self._meaning.topics(text, parts), self._meaning.similarity(text, parts)
        return [topics[0], max(topics), senses[0], max(senses), self._shared(text, words)]

    def _same(self, fact: str, words: str) -> float:
        return _weighed(self.features(fact, words), _REPLACE_WEIGHTS, _REPLACE_OFFSET)

    def _shared(self, text: str, words: str) -> float:
        """Return the share of the text's telling words that begin like a word of the line."""
        there = {word[:_STEM_CHARS] for word in _words(words)}
        asked = [word for word in _words(text) if word not in self._common]
        return sum(word[:_STEM_CHARS] in there for word in asked) / len(asked) if asked else 0.0


def _weighed(features: Sequence[float], weights: Sequence[float], offset: float) -> float:
    return sum(weight * feature for weight, feature in zip(weights, features, strict=True)) + offset


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"\w+(?:['’]\w+)?", text.casefold())))
