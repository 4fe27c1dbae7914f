"""The call format for models too small to choose a function: one small decision at a time, ordinary calls as result.

Each sentence gets a label (`labeller`); then the user's words are filed, changed or taken out (`filing`), and questions
are answered by stored lines (`finding`). One call per inference, with a heartbeat until the user has an answer. What
has been done is read from the queue (`turn`), never remembered here: after a crash it goes on where the queue stops.
Source: Packer et al. 2023, §2.4 (function chaining); the clerk never says what nobody stored.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from memos.llm.filing import NOT_FILED, Filing, Told
from memos.llm.finding import NOTHING, Finding, quote, users_lines
from memos.llm.introduction import SURE, Introduction
from memos.llm.labeller import DAYS, KIND, Labeller, NextToken, days_read_by, kinds_read_by, prompt_text
from memos.llm.meaning import (
    ARCHIVE,
    CORRECTION,
    DELETION,
    EVERYTHING,
    FACT,
    GREETING,
    PAST,
    QUESTION,
    Meaning,
)
from memos.llm.nearness import Nearness
from memos.llm.sentences import joined, sentences, single_facts, without_request
from memos.llm.small_talk import Completer, SmallTalk
from memos.llm.turn import Decision, Turn, current_turn, say
from memos.messages import EventKind, FunctionCall, Message, Prompt, Reply, new_id

__all__ = ["NOTHING", "NOT_FILED", "Decision", "Decomposed", "as_reply", "current_turn", "quote"]

KIND_SLOT, TALK_SLOT, NAME_SLOT, DAYS_SLOT, LANGUAGE_SLOT = range(5)
SLOTS = 5

_NAME_LIMIT_CHARS = 160
_ENGLISH = -1.2
"""From this on a question counts as English: of 19 tried the English ones had -0.3 and more, the others at most -2."""
_QUESTION_LIMIT_CHARS = 200

OFFER = "Tell me something and I file it; ask me and I look it up."
THANKS = "Thank you, I am glad that helped."


class DecomposedEngine(NextToken, Completer, Protocol):
    """What the format needs of a model."""


@dataclass(frozen=True, slots=True)
class _Sorted:
    """A message, its sentences by what they want. A question is all that ask, as one."""

    told: Told
    question: str
    past: str
    everything: bool
    greets: bool


class Decomposed:
    """Decides one step at a time. Blocks while the model works: for a worker thread."""

    def __init__(
        self,
        engine: DecomposedEngine,
        meaning: Meaning,
        go_on: Callable[[], None] = lambda: None,
        *,
        larger: bool = False,
    ) -> None:
        """`go_on` is called between pieces of long work and may raise to end it. `larger`: about 0.5B and up."""
        self._engine = engine
        self._meaning = meaning
        self._go_on = go_on
        self._larger = larger
        self._kind = Labeller(engine, kinds_read_by(meaning), KIND, slot=KIND_SLOT, larger=larger)
        self._small_talk = SmallTalk(engine, meaning.similarity, slot=TALK_SLOT, larger=larger)
        self._introduction = Introduction(meaning)
        nearness = Nearness(meaning)
        self._filing = Filing(nearness, self._single_facts)
        self._finding = Finding(
            nearness,
            self._introduction,
            Labeller(engine, days_read_by(meaning), DAYS, slot=DAYS_SLOT, larger=larger),
            kind_of=self._kind_of,
            correction=self._correction,
            reads=self._reads,
        )

    def prefixes(self) -> tuple[tuple[int, str], ...]:
        """Return what each slot of the engine always begins with, the commonest first."""
        names = [
            (KIND_SLOT, "kind.txt"),
            (NAME_SLOT, "own_name.txt"),
            (DAYS_SLOT, "days.txt"),
            (LANGUAGE_SLOT, "language.txt"),
        ]
        if self._larger:  # a smaller model is not asked for small talk
            names.insert(1, (TALK_SLOT, "talk.txt"))
        return tuple((slot, prompt_text(name)) for slot, name in names)

    def warm_up(self) -> None:
        """Let the engine read the fixed beginning of its commonest prompt, and the embedder our examples."""
        self._kind.label("...")
        self._small_talk.warm_up(self._go_on)

    def reply(self, prompt: Prompt, cancelled: threading.Event | None = None) -> Reply:
        """Return the next step as an ordinary reply."""
        return as_reply(self.decide(prompt, cancelled), prompt)

    def decide(self, prompt: Prompt, cancelled: threading.Event | None = None) -> Decision:
        """Return the next step for `prompt`."""
        turn = current_turn(prompt.queue)
        if turn is None:
            return Decision("Nothing is waiting for an answer.", "pause_heartbeats", {"minutes": 1})
        match turn.event.kind:
            case EventKind.LOGIN:
                return say("Someone is here: I greet.", greeting(turn.event, self._users_name(prompt)))
            case EventKind.USER_LIKED:
                return say("The user liked that.", THANKS)
        return self._answer(prompt, turn, cancelled)

    def _answer(self, prompt: Prompt, turn: Turn, cancelled: threading.Event | None) -> Decision:
        text = turn.event.content
        wanted = self._sort(text)
        if decision := self._filing.next_call(prompt, turn, wanted.told):
            return decision
        filed = self._filing.spoken(prompt, turn, wanted.told)
        if wanted.everything:
            return self._finding.everything(prompt, filed)
        if wanted.past:
            return self._finding.past(prompt, turn, wanted.past, filed)
        if wanted.question:
            return self._finding.answer(prompt, turn, wanted.question, filed)
        return say("It is done; I say so.", filed) if filed else self._talk(prompt, text, wanted.greets, cancelled)

    def _talk(self, prompt: Prompt, text: str, greets: bool, cancelled: threading.Event | None) -> Decision:
        thought = "A greeting: I return it." if greets else "That is talk: nothing to file, nothing to find."
        name = self._users_name(prompt) if greets else ""
        return say(thought, self._small_talk.answer(text, greets=greets, name=name, cancelled=cancelled))

    def _sort(self, text: str) -> _Sorted:
        labelled = [(self._kind.label(words), words) for words in joined(sentences(text), self._meaning)]
        labels = {label for label, _ in labelled}

        def those(*wanted: str) -> list[str]:
            return [words for label, words in labelled if label in wanted]

        facts = [
            fact
            for label, words in labelled
            if label in (FACT, CORRECTION)
            for fact in (
                self._single_facts(words) if label == FACT else [words]
            )  # "not in Rome but in Bonn" stays whole
        ]
        told = Told(
            tuple(facts),
            tuple(without_request(words, self._meaning) for words in those(ARCHIVE)),
            tuple(those(DELETION)),
            self._correction,
        )
        return _Sorted(told, " ".join(those(QUESTION)), " ".join(those(PAST)), EVERYTHING in labels, GREETING in labels)

    def _single_facts(self, words: str) -> list[str]:
        return single_facts(words, self._meaning)

    def _correction(self, sentence: str) -> float:
        """Return how much a sentence reads like the correction of a fact rather than a new one."""
        scores = dict(zip(KIND.labels, self._kind.scores(sentence), strict=True))
        return scores[CORRECTION] - scores[FACT]

    def _kind_of(self, words: str) -> str:
        """Return what a message of the user is as a whole: a fact if any sentence tells one, else the first label."""
        labels = [self._kind.label(sentence) for sentence in sentences(words)]
        if not labels:
            return ""
        return FACT if not {FACT, CORRECTION, ARCHIVE}.isdisjoint(labels) else labels[0]

    def _reads(self, question: str) -> bool:
        """Whether the model takes the question for English."""
        shots = prompt_text("language.txt")
        words = " ".join(question.split())[:_QUESTION_LIMIT_CHARS]
        english, other = self._engine.next_token(f"{shots}{words} =>", [" English", " other"], slot=LANGUAGE_SLOT)
        return english - other >= _ENGLISH

    def _users_name(self, prompt: Prompt) -> str:
        """Return the user's name where a line of the human block surely says it, else ''."""
        line = " ".join(self._introduction.line([line.words for line in users_lines(prompt)], SURE).split())[
            :_NAME_LIMIT_CHARS
        ]
        if not line:
            return ""
        shots = prompt_text("own_name.txt")
        found = self._engine.complete(f"{shots}{line} =>", max_tokens=16, stop=("\n",), slot=NAME_SLOT)
        return stated_name(found.text, line)


def as_reply(decision: Decision, prompt: Prompt) -> Reply:
    """Write a decision as the model's reply: a call that is offered, or plain text where speaking is not."""
    schema = next((function for function in prompt.functions if function.name == decision.name), None)
    if schema is None:
        return Reply(monologue=decision.thought, text=str(decision.arguments.get("message", "")))
    arguments = dict(decision.arguments)
    if "request_heartbeat" in schema.parameters.get("properties", {}):
        arguments["request_heartbeat"] = True
    call = FunctionCall(new_id(), decision.name, json.dumps(arguments, ensure_ascii=False))
    return Reply(monologue=decision.thought, calls=(call,))


def stated_name(written: str, line: str) -> str:
    """Return the name the model wrote if it stands in `line` in the same words and looks like a name, else ''."""
    name = " ".join(written.split()).strip(".,;:!?\"'")
    parts = name.split()
    stands_there = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", line) is not None
    named = 0 < len(parts) <= 4 and all(part[0].isalpha() and not part[0].islower() for part in parts)
    return name if named and stands_there else ""


def greeting(login: Message, name: str) -> str:
    """Return one short greeting, by name where one is filed, and otherwise for a first visit than for a return."""
    last = str(login.payload.get("last_login") or "")
    hello = "Welcome back" if re.match(r"\d{4}-\d\d-\d\d", last) else "Hello"
    return f"{hello}, {name}. {OFFER}" if name else f"{hello}. {OFFER}"
