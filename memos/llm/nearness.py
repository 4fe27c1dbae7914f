"""How near a stored line is to a question, or to a newer fact: a few features, weighed with fitted weights.

Features of (text, line): cosine of the sentences, of the text to the nearest piece of the line, the share of the
text's rare words that the line has too, and the cosine of the text's rarest words to the words of the line. A 135M
model asked "does this line answer that question" adds nothing to them (area under the curve 0.54 to 0.68, against
0.99), so it is not asked. The weights are fitted by logistic regression on 78 invented
facts and tried on others (`tests/benchmarks/bench_clerk.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from memos.llm.filed_lines import FiledLine
from memos.llm.labeller import KIND, Similarity, examples

ANSWERS = -1.85
"""From this score on a line answers a question."""
REPLACES = 1.5
"""From this score on a fact takes the place of a line; wrong for about one in seven pairs made to be confused."""
SAME = -0.5
"""From this score on two lines may be about the same: then both are quoted, the newer first."""
_ANSWER_WEIGHTS = (11.87, 13.76, 2.97, 4.42)
_ANSWER_OFFSET = -13.24
_REPLACE_WEIGHTS = (2.7, 14.84, 6.31)
_REPLACE_OFFSET = -10.02
_CORRECTION_WEIGHT = 0.95
_WITHOUT_VECTORS = 4.0, -4.0
"""Slope and offset for the share of rare words alone, where there is no embedder."""
_WEIGHED_LINES = 6
_STEM_CHARS = 5
_WINDOWS_WORDS = (4, 7)
_RAREST_WORDS = 2


@dataclass(frozen=True, slots=True)
class Near:
    """A line and how much speaks for it."""

    score: float
    line: FiledLine


class Nearness:
    """Scores lines. Without `similarity` only shared words count."""

    def __init__(self, similarity: Similarity | None) -> None:
        self._similarity = similarity
        texts = [text for known in examples(KIND).values() for text in known]
        self._seen = Counter(word for text in texts for word in set(_words(text)))

    def answers(self, question: str, lines: Sequence[FiledLine]) -> list[Near]:
        """Return the likeliest lines for `question`, best first (the newer of equals)."""
        found = []
        for line in self._likeliest(question, lines):
            features = [*self._sentence_features(question, line.words), self._weakest_word(question, line.words)]
            found.append(Near(self._weighed(features, _ANSWER_WEIGHTS, _ANSWER_OFFSET), line))
        return sorted(found, key=lambda near: -near.score)

    def replaced(self, fact: str, correction: float, lines: Sequence[FiledLine]) -> list[Near]:
        """Return the lines that `fact` may replace, best first; `correction` is how much it reads like one."""
        found = [
            Near(self._same(fact, line.words) + _CORRECTION_WEIGHT * correction, line)
            for line in self._likeliest(fact, lines)
        ]
        return sorted(found, key=lambda near: -near.score)

    def _same(self, fact: str, words: str) -> float:
        return self._weighed(self._sentence_features(fact, words), _REPLACE_WEIGHTS, _REPLACE_OFFSET)

    def _weighed(self, features: Sequence[float], weights: Sequence[float], offset: float) -> float:
        if self._similarity is None:
            slope, base = _WITHOUT_VECTORS
            return slope * features[2] + base
        return sum(weight * feature for weight, feature in zip(weights, features, strict=True)) + offset

    def _likeliest(self, text: str, lines: Sequence[FiledLine]) -> list[FiledLine]:
        """Return the few lines worth weighing, newest first."""
        newest_first = list(lines)[::-1]
        if len(newest_first) <= _WEIGHED_LINES:
            return newest_first
        first = {line: self._first_look(text, line.words) for line in newest_first}
        best = sorted(first, key=lambda line: -first[line])[:_WEIGHED_LINES]
        return [line for line in newest_first if line in best]

    def _first_look(self, text: str, words: str) -> float:
        whole, piece, shared = self._sentence_features(text, words)
        return max(whole, piece) + shared / 10

    def _sentence_features(self, text: str, words: str) -> list[float]:
        shared = self._shared(text, words)
        if self._similarity is None:
            return [0.0, 0.0, shared]
        whole, *parts = self._similarity(text, [words, *pieces(words)])
        return [whole, max([whole, *parts]), shared]

    def _shared(self, text: str, words: str) -> float:
        """Return the share of the text's words, the rare ones counting more, that begin like a word of the line."""
        there = {word[:_STEM_CHARS] for word in _words(words)}
        rarity = {word: self._rarity(word) for word in _words(text)}
        met = sum(value for word, value in rarity.items() if word[:_STEM_CHARS] in there)
        return met / sum(rarity.values()) if rarity else 0.0

    def _weakest_word(self, text: str, words: str) -> float:
        """Return the smaller of the cosines of the text's two rarest words to their nearest words in the line."""
        there = _words(words)
        rarest = sorted(_words(text), key=self._rarity, reverse=True)[:_RAREST_WORDS]
        if self._similarity is None or not there or not rarest:
            return 0.0
        return min(max(self._similarity(word, there)) for word in rarest)

    def _rarity(self, word: str) -> float:
        """Return 1 for a word our examples do not have, less for the common ones: what they ask with is no content."""
        return 1 / (1 + self._seen[word])


def pieces(words: str) -> list[str]:
    """Return clauses (cut at punctuation) and overlapping pieces: a line of several facts is near to each of them."""
    clauses = [clause.strip() for clause in re.split(r"[,;:，、]\s*", words)]
    found = [clause for clause in clauses if len(clause.split()) > 1] if len(clauses) > 1 else []
    parts = words.split()
    for size in _WINDOWS_WORDS:
        last = len(parts) - size
        if last > 1:
            found += [" ".join(parts[start : start + size]) for start in {*range(0, last, 2), last}]
    return list(dict.fromkeys(found))


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"\w+", text.casefold())))
