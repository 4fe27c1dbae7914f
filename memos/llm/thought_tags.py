"""Reasoning that a model writes into its content between tags, told apart while it streams, in any split.

Tags count at the beginning of a reply, and right after a closing tag; later they are words like any other. A closing
tag without its opening one ends a thought that the chat template had begun.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

_PAIRS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "[THINK]": "[/THINK]",
}
_UNOPENED = "</think>"
_LONGEST = max(map(len, _PAIRS))

Piece = tuple[Literal["thought", "words", "ended"], str]
"""`ended` brings no text: all words before it were thoughts."""


class ThoughtTags:
    """Splits content into thoughts and words. What may still become a tag is held back."""

    def __init__(self) -> None:
        self._held = ""
        self._end = ""
        self._at_start = True
        self.seen = False
        """Whether a tag has been seen."""

    def feed(self, text: str) -> Iterator[Piece]:
        """Take the next piece of content and yield what became certain."""
        if not (self._held or self._end or self._at_start) and "<" not in text:
            yield "words", text
            return
        self._held += text
        while self._held:
            before = (len(self._held), self._end, self._at_start)
            yield from self._step()
            if before == (len(self._held), self._end, self._at_start):
                return

    def rest(self) -> Iterator[Piece]:
        """Yield what the end of the reply decides."""
        held, self._held = self._held, ""
        if held:
            yield ("thought" if self._end else "words"), held

    def _step(self) -> Iterator[Piece]:
        if self._end:
            yield from self._inside()
        elif self._at_start:
            self._open()
        else:
            yield from self._outside()

    def _inside(self) -> Iterator[Piece]:
        place = self._held.find(self._end)
        if place >= 0:
            yield "thought", self._held[:place]
            self._held = self._held[place + len(self._end) :]
            self._end, self._at_start = "", True
            return
        keep = _beginning_of(self._held, (self._end,))
        if len(self._held) > keep:
            yield "thought", self._held[: len(self._held) - keep]
            self._held = self._held[len(self._held) - keep :]

    def _open(self) -> None:
        """Find an opening tag after white space; wait while there may be one."""
        text = self._held.lstrip()
        for tag, end in _PAIRS.items():
            if text.startswith(tag):
                self._held, self._end, self.seen = text[len(tag) :], end, True
                return
        if text and not any(tag.startswith(text) for tag in _PAIRS):
            self._at_start = False
            if self.seen:
                self._held = text  # the empty lines between a thought and what follows it are nobody's words

    def _outside(self) -> Iterator[Piece]:
        """Pass words on, up to a closing tag that was never opened."""
        place = -1 if self.seen else self._held.find(_UNOPENED)
        if place >= 0:
            if place:
                yield "words", self._held[:place]
            yield "ended", ""
            self._held = self._held[place + len(_UNOPENED) :]
            self.seen = self._at_start = True
            return
        keep = 0 if self.seen else _beginning_of(self._held, (_UNOPENED,))
        if len(self._held) > keep:
            yield "words", self._held[: len(self._held) - keep]
            self._held = self._held[len(self._held) - keep :]


def _beginning_of(text: str, tags: tuple[str, ...]) -> int:
    """Return how many characters at the end of `text` may be the beginning of one of `tags`."""
    for length in range(min(_LONGEST + 1, len(text)), 0, -1):
        if any(len(tag) > length and tag.startswith(text[-length:]) for tag in tags):
            return length
    return 0
