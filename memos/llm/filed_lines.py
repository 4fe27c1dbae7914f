"""Lines the clerk has filed: how they are written, read again, and which of them answers a question."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from memos.llm.labeller import Similarity

NEAR = 0.34
"""From this score on, a line answers a question (chosen with `tests/benchmarks/bench_clerk.py`)."""
_NEAR_BY_WORDS = 0.5
_WINDOW_WORDS = 7
_STEP_WORDS = 3
_WINDOW_WEIGHT = 0.95
_SHARED_WORDS_WEIGHT = 0.1
_STEM_CHARS = 5
_FILED = re.compile(r'^(?P<day>\d{4}-\d\d-\d\d): "(?P<words>.*)"$')
_HIT = re.compile(r"^\[(?P<day>\d{4}-\d\d-\d\d)[^\]]*\] (?P<rest>.*)$")


@dataclass(frozen=True, slots=True)
class FiledLine:
    """Words that are stored. `day` (local, YYYY-MM-DD) is when they were said, "" where nobody noted it."""

    words: str
    day: str = ""
    speaker: str = ""

    @property
    def as_written(self) -> str:
        """The line as it stands in a block."""
        return f'{self.day}: "{self.words}"' if self.day else self.words


def filed_lines(text: str) -> list[FiledLine]:
    """Read the lines of a block or of archived text."""
    lines = (line.strip() for line in text.splitlines())
    return [_filed_line(line) for line in lines if line]


def _filed_line(line: str) -> FiledLine:
    found = _FILED.match(line)
    return FiledLine(found["words"], found["day"]) if found else FiledLine(line)


def search_hits(result: str, *, spoken: bool) -> list[FiledLine]:
    """Read a page of search results; in `spoken` ones (recall storage) each line begins with who spoke."""
    hits = []
    for line in result.splitlines():
        if not (found := _HIT.match(line.strip())):
            continue
        speaker, colon, words = found["rest"].partition(": ") if spoken else ("", "", found["rest"])
        if spoken and not colon:
            continue
        inner = _FILED.match(words)
        hits.append(FiledLine(inner["words"], inner["day"]) if inner else FiledLine(words, found["day"], speaker))
    return hits


def nearest_line(
    question: str, lines: Iterable[FiledLine], similarity: Similarity | None
) -> tuple[FiledLine | None, bool]:
    """Return the line nearest to `question` (the newer of equals), and whether it is near enough to answer it."""
    best, best_score = None, float("-inf")
    for line in lines:
        score = _score(question, line.words, similarity)
        if score >= best_score:
            best, best_score = line, score
    return best, best_score >= (NEAR if similarity else _NEAR_BY_WORDS)


def _score(question: str, words: str, similarity: Similarity | None) -> float:
    shared = _shared_words(question, words)
    if similarity is None:
        return shared
    whole, *parts = similarity(question, [words, *_windows(words)])
    return max([whole, *(_WINDOW_WEIGHT * part for part in parts)]) + _SHARED_WORDS_WEIGHT * shared


def _windows(words: str) -> list[str]:
    """Return overlapping pieces of a long line: one that holds several facts is near to a question about each."""
    parts = words.split()
    if len(parts) <= _WINDOW_WORDS + 1:
        return []
    starts = range(0, len(parts) - _WINDOW_WORDS + _STEP_WORDS, _STEP_WORDS)
    return [" ".join(parts[start : start + _WINDOW_WORDS]) for start in starts]


def _shared_words(question: str, words: str) -> float:
    """Return the share of the question's longer words that begin like a word of the line, 0 to 1."""
    asked, there = _stems(question), _stems(words)
    return len(asked & there) / len(asked) if asked else 0.0


def _stems(text: str) -> set[str]:
    return {word[:_STEM_CHARS] for word in re.findall(r"\w+", text.casefold()) if len(word) > 3}
