"""One short, sane sentence of small talk: written by the model, and shown only where it claims nothing.

A tiny model left alone says "I'm glad to have you, Sam." to a stranger. So its sentence is shown only if all its
words are from our examples, and what it says about "you" is something our own examples say; else the answer of the
nearest example stands in, or a neutral sentence.
"""

from __future__ import annotations

import re
import threading
from typing import Protocol

from memos.llm.engine import Completion
from memos.llm.labeller import Similarity, prompt_text

NEUTRAL = "Tell me something and I file it; ask me and I look it up."
_WORDS_LIMIT = 16
_MAX_TOKENS = 28
_LIMIT_CHARS = 200
_NEAR = 0.5


class Completer(Protocol):
    """The part of the engine that writes."""

    def complete(
        self,
        prompt: str,
        *,
        max_tokens: int,
        stop: tuple[str, ...] = (),
        slot: int = 0,
        cancelled: threading.Event | None = None,
    ) -> Completion:
        """Continue `prompt`."""
        ...


class SmallTalk:
    """Answers talk that asks for nothing. A `larger` model chooses its words itself, but names no one and nothing."""

    def __init__(self, engine: Completer, similarity: Similarity | None, *, slot: int, larger: bool = False) -> None:
        self._larger = larger
        self._engine = engine
        self._similarity = similarity
        self._slot = slot
        self._shots = prompt_text("talk.txt")
        lines = self._shots.splitlines()
        self._said = [line.removeprefix("Person: ") for line in lines if line.startswith("Person: ")]
        self._answers = [line.removeprefix("Clerk: ") for line in lines if line.startswith("Clerk: ")]
        self._vocabulary = {word for answer in self._answers for word in _words(answer)}
        self._about_you = {pair for answer in self._answers for pair in _pairs_about_you(answer)}

    def answer(self, text: str, cancelled: threading.Event | None = None) -> str:
        """Return one sentence."""
        words = " ".join(text.split())[:_LIMIT_CHARS]
        prompt = f"{self._shots}Person: {words}\nClerk:"
        written = self._engine.complete(
            prompt, max_tokens=_MAX_TOKENS, stop=("\n",), slot=self._slot, cancelled=cancelled
        ).text.strip()
        return written if self.is_sane(written, text) else self._fallback(words)

    def is_sane(self, answer: str, text: str) -> bool:
        """Whether `answer` is one short sentence that claims nothing nobody said."""
        words = _words(answer)
        if not words or len(words) > _WORDS_LIMIT or not re.fullmatch(r"[^.!?\n]+[.!?]", answer):
            return False
        if answer.casefold().strip(" .!?") == text.casefold().strip(" .!?") and answer not in self._answers:
            return False
        return self._words_are_ours(answer, words) and _pairs_about_you(answer) <= self._about_you

    def _words_are_ours(self, answer: str, words: list[str]) -> bool:
        if not self._larger:
            return set(words) <= self._vocabulary
        named = {word.casefold() for word in re.findall(r"[\w']+", answer)[1:] if not word.islower()}
        return named <= self._vocabulary

    def _fallback(self, words: str) -> str:
        if self._similarity is None:
            return NEUTRAL
        near = self._similarity(words, self._said)
        best = max(near)
        return self._answers[near.index(best)] if best >= _NEAR else NEUTRAL


def _words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.casefold())


def _pairs_about_you(text: str) -> set[tuple[str, str]]:
    words = [*_words(text), ""]
    return {(words[i], words[i + 1]) for i in range(len(words) - 1) if words[i].startswith("you")}
