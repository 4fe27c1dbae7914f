"""One short, sane sentence of small talk: what our own examples answer to the nearest words.

A tiny model left alone says "I'm glad to have you, Sam." to a stranger, and among our examples it picks badly, so it
is not asked. A `larger` one is, and its sentence is shown only if it is short, names no one and nothing, and says about
"you" only what our own examples say.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from memos.llm.engine import Completion
from memos.llm.labeller import prompt_text

Similarity = Callable[[str, Sequence[str]], list[float]]
"""Cosine of one text to each of many, from -1 to 1, in their order."""

NEUTRAL = "Tell me something and I file it; ask me and I look it up."
GREETING = "Hello{name}, good to hear from you."
_WORDS_LIMIT = 16
_MAX_TOKENS = 28
_LIMIT_CHARS = 200
_NEAR = 0.4
_PIECE_TEXTS = 32


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
    """Answers talk that asks for nothing."""

    def __init__(self, engine: Completer, similarity: Similarity, *, slot: int, larger: bool = False) -> None:
        self._larger = larger
        self._engine = engine
        self._similarity = similarity
        self._slot = slot
        self._shots = prompt_text("talk.txt")
        rows = [line.split("\t") for line in prompt_text("talk.tsv").splitlines()]
        self._answers = [(said, answer) for _, said, answer in rows]
        self._greetings = [(said, answer) for kind, said, answer in rows if kind == "greeting"]
        shown = [line.removeprefix("Clerk: ") for line in self._shots.splitlines() if line.startswith("Clerk: ")]
        self._examples = [*shown, *(_addressed(answer, "") for _, answer in self._answers)]
        self._vocabulary = {word for answer in self._examples for word in _words(answer)}
        self._about_you = {pair for answer in self._examples for pair in _pairs_about_you(answer)}

    def warm_up(self, go_on: Callable[[], None]) -> None:
        """Embed the examples, so that the first message costs only itself; `go_on` may end it between pieces."""
        for start in range(0, len(self._answers), _PIECE_TEXTS):
            go_on()
            self._similarity("...", [said for said, _ in self._answers[start : start + _PIECE_TEXTS]])

    def answer(
        self, text: str, *, greets: bool = False, name: str = "", cancelled: threading.Event | None = None
    ) -> str:
        """Return one sentence. `greets`: the text is a greeting; it is returned with the user's `name`, if known."""
        words = " ".join(text.split())[:_LIMIT_CHARS]
        if greets:
            return _addressed(self._nearest(words, self._greetings) or GREETING, name)
        known = _addressed(self._nearest(words, self._answers) or NEUTRAL, "")
        if not self._larger:
            return known
        prompt = f"{self._shots}Person: {words}\nClerk:"
        written = self._engine.complete(
            prompt, max_tokens=_MAX_TOKENS, stop=("\n",), slot=self._slot, cancelled=cancelled
        ).text.strip()
        return written if self.is_sane(written, text) else known

    def is_sane(self, answer: str, text: str) -> bool:
        """Whether `answer` is one short sentence that claims nothing nobody said."""
        words = _words(answer)
        if not words or len(words) > _WORDS_LIMIT or not re.fullmatch(r"[^.!?\n]+[.!?]", answer):
            return False
        if answer.casefold().strip(" .!?") == text.casefold().strip(" .!?") and answer not in self._examples:
            return False
        named = {word.casefold() for word in re.findall(r"[\w']+", answer)[1:] if not word.islower()}
        return named <= self._vocabulary and _pairs_about_you(answer) <= self._about_you

    def _nearest(self, words: str, pairs: Sequence[tuple[str, str]]) -> str:
        """Return what the nearest example is answered with, or '' where none is near."""
        near = self._similarity(words, [said for said, _ in pairs])
        best = max(near)
        return pairs[near.index(best)][1] if best >= _NEAR else ""


def _addressed(answer: str, name: str) -> str:
    return answer.replace("{name}", f", {name}" if name else "")


def _words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.casefold())


def _pairs_about_you(text: str) -> set[tuple[str, str]]:
    words = [*_words(text), ""]
    return {(words[i], words[i + 1]) for i in range(len(words) - 1) if words[i].startswith("you")}
