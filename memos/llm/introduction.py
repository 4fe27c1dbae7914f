"""Whose name is it? Tells the line in which the user says their own name from lines that name somebody else.

A line counts as an introduction where it is nearer to "What is my name?" than to every other question about a name.
"""

from __future__ import annotations

from collections.abc import Sequence

from memos.llm.labeller import prompt_text
from memos.llm.meaning import Meaning

SURE = 0.1
"""So much nearer a line must be for a greeting to use its name: no line of 1,100 that name another came so far."""
LIKELY = 0.0
"""Enough for a question about the name: the line is only quoted."""
_ASKS = 0.6
_SAYS = 0.3


class Introduction:
    """Finds the user's own name among lines."""

    def __init__(self, meaning: Meaning) -> None:
        self._meaning = meaning
        self._own, *self._others = prompt_text("names.txt").splitlines()

    def is_asked_for(self, question: str) -> bool:
        """Whether a question is about the user's own name."""
        near, margin = self._nearness(question)
        return near >= _ASKS and margin > 0

    def line(self, lines: Sequence[str], least_margin: float) -> str:
        """Return the line that says the user's name, '' where none does so by `least_margin`."""
        found, best = "", least_margin
        for line in lines:
            near, margin = self._nearness(line)
            if near >= _SAYS and margin >= best:
                found, best = line, margin
        return found

    def _nearness(self, words: str) -> tuple[float, float]:
        """Return the nearness to the question about the own name, and by how much all others are further off."""
        near, *others = self._meaning.topics(words, [self._own, *self._others])
        return near, near - max(others)
