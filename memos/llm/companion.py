"""The call format for models that can put a sentence right but not be trusted with it: about 0.5B to 3B parameters.

Every decision is the clerk's (`decomposed`). Only where the clerk would quote one stored line the model says it in a
sentence of its own, and that sentence is shown only if it says the line, the whole line and nothing but the line.
"""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from typing import Protocol

from memos.functions.table import SPEECH_FUNCTION
from memos.llm.decomposed import SLOTS as CLERK_SLOTS
from memos.llm.decomposed import Decision, as_reply, current_turn
from memos.llm.small_talk import Completer
from memos.messages import Prompt, Reply

PHRASE_SLOT = CLERK_SLOTS
SLOTS = CLERK_SLOTS + 1
_MAX_TOKENS = 64
_LINE_LIMIT_CHARS = 200
_QUESTION_LIMIT_CHARS = 200
_QUOTE = re.compile(r'You told me on (?P<day>\d{4}-\d\d-\d\d): "(?P<words>[^\n]*)"')

_SECOND_PERSON = {
    "i": ("you",), "me": ("you",), "we": ("you",), "us": ("you",), "my": ("your",), "our": ("your",),
    "mine": ("yours",), "ours": ("yours",), "myself": ("yourself",), "ourselves": ("yourselves", "yourself"),
    "am": ("are",), "was": ("was", "were"),
}  # fmt: skip
_MAY_BE_ADDED = frozenset({"a", "an", "the", "that", "well", "indeed"})
_MAY_BE_LOST = frozenset({"a", "an", "the", "so", "oh", "well", "hi", "hello", "hey"})
_SPOKEN_TO = frozenset({"you", "your", "yours", "yourself"})
"""In a line these mean the agent, in an answer the user: such a line is quoted."""
_CONTRACTIONS = ((r"n't\b", " not"), (r"'m\b", " am"), (r"'re\b", " are"), (r"'ve\b", " have"), (r"'ll\b", " will"))
_CAN_NOT = ((r"\bcan't\b", "can not"), (r"\bcannot\b", "can not"), (r"\bwon't\b", "will not"))


class Clerk(Protocol):
    """Who decides: `Decomposed`."""

    def prefixes(self) -> tuple[tuple[int, str], ...]:
        """Return what each slot of the engine always begins with."""
        ...

    def warm_up(self) -> None:
        """Make ready for the first message."""
        ...

    def decide(self, prompt: Prompt, cancelled: threading.Event | None = None) -> Decision:
        """Return the next step."""
        ...


class Companion:
    """Decides as the clerk does and phrases what it found. Blocks while the model works: for a worker thread."""

    def __init__(self, engine: Completer, clerk: Clerk) -> None:
        self._engine = engine
        self._clerk = clerk
        self._shots = phrase_shots()

    def prefixes(self) -> tuple[tuple[int, str], ...]:
        """Return what each slot of the engine always begins with, the commonest first."""
        return (*self._clerk.prefixes(), (PHRASE_SLOT, self._shots))

    def warm_up(self) -> None:
        """Make ready for the first message."""
        self._clerk.warm_up()

    def reply(self, prompt: Prompt, cancelled: threading.Event | None = None) -> Reply:
        """Return the next step as an ordinary reply."""
        decision = self._clerk.decide(prompt, cancelled)
        turn = current_turn(prompt.queue)
        if decision.name == SPEECH_FUNCTION and turn is not None:
            decision = self._phrased(decision, turn.event.content, cancelled)
        return as_reply(decision, prompt)

    def _phrased(self, decision: Decision, question: str, cancelled: threading.Event | None) -> Decision:
        """Return `decision` with its one quote said in a sentence, or as it is."""
        message = str(decision.arguments.get("message", ""))
        quotes = list(_QUOTE.finditer(message))
        if len(quotes) != 1 or len(quotes[0]["words"]) > _LINE_LIMIT_CHARS:
            return decision
        line, day = quotes[0]["words"], quotes[0]["day"]
        asked = " ".join(question.split())[:_QUESTION_LIMIT_CHARS]
        prompt = f"{self._shots}Note: {line}\nQuestion: {asked}\nAnswer:"
        written = self._engine.complete(
            prompt, max_tokens=_MAX_TOKENS, stop=("\n",), slot=PHRASE_SLOT, cancelled=cancelled
        ).text.strip()
        if not says_the_same(written, line):
            return decision
        said = f"{written.rstrip('.! ')}, as you told me on {day}."
        arguments = {**decision.arguments, "message": message.replace(quotes[0][0], said)}
        return replace(decision, arguments=arguments)


def says_the_same(answer: str, line: str) -> bool:
    """Whether `answer` says to the user what the user said in `line`: no word more, none less, none moved.

    What may differ is the person ("I" becomes "you"), articles, contractions, and a short list of empty words. So a
    changed name, number, tense, negation or order is found, and so is a fact that was never told.
    """
    said, told = _words(answer), _words(line)
    if not said or re.search(r"[?\n\"]", answer) or not _SPOKEN_TO.isdisjoint(told):
        return False
    place = 0
    for word in said:
        while place < len(told) and not _matches(word, told[place]) and told[place] in _MAY_BE_LOST:
            place += 1
        if place < len(told) and _matches(word, told[place]):
            place += 1
        elif word not in _MAY_BE_ADDED:
            return False
    return all(word in _MAY_BE_LOST for word in told[place:])


def _matches(said: str, told: str) -> bool:
    """Whether the answer's word stands for the line's word: the same, or the user's person turned round."""
    if told == "'s" or said == "'s":
        return {said, told} <= {"'s", "is"}
    return said in _SECOND_PERSON.get(told, (told,))


def _words(text: str) -> list[str]:
    plain = text.casefold().replace("\u2019", "'")
    for pattern, whole in (*_CAN_NOT, *_CONTRACTIONS):
        plain = re.sub(pattern, whole, plain)
    # Signs that change a number or stand alone, such as 4.5, -3, 50% or C++, belong to what was said.
    return re.findall(r"'s\b|[^\W_]+(?:[.,:/@-][^\W_]+)*|[^\w\s.,;:!'()]", plain)


def phrase_shots() -> str:
    """Return the examples the model reads before each note."""
    from importlib.resources import files

    return (files("memos.prompts") / "companion" / "phrase.txt").read_text(encoding="utf-8")
