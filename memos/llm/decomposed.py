"""The call format for models too small to choose a function: one small decision at a time, ordinary calls as result.

label (talk, fact, question) -> file the user's own words, or find the stored line -> say so. One call per inference,
with a heartbeat until the user has an answer. What has been done is read from the queue, never remembered here: after
a crash the next inference goes on where the queue stops.
Source: Packer et al. 2023, §2.4 (function chaining); the clerk never says what nobody stored.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from memos.llm.filed_lines import FiledLine, filed_lines, nearest_line, search_hits
from memos.llm.labeller import FACT, KIND, NAME, OWN_NAME, QUESTION, Labeller, NextToken, Similarity, prompt_text
from memos.llm.small_talk import Completer, SmallTalk
from memos.messages import Block, EventKind, FunctionCall, Message, Prompt, Reply, new_id

HUMAN = "human"
KIND_SLOT, NAME_SLOT, TALK_SLOT, EXTRACT_SLOT = range(4)
SLOTS = 4

_ANSWERED_KINDS = (EventKind.USER_MESSAGE, EventKind.LOGIN, EventKind.USER_LIKED)
_SENTENCES_LIMIT = 8
_CLERKS_OWN_BLOCKS = ("persona",)
_WEIGHED_LINES = 4
"""How many lines the model weighs when it looks for a name: each costs about 0.1 s of a core."""
_SAYS_NAME = -1.0
"""From this score on a line answers a question about the user's name. In the bench no other fact came above -2.5."""
_SURE = 0.5
"""From this score on a greeting uses the name: it must not call anyone by another's."""
_NAME_LIMIT_CHARS = 160

NOTHING = "I have nothing about that."
NOT_FILED = "I could not file that: my memory took it neither in the block nor in the archive."
OFFER = "Tell me something and I file it; ask me and I look it up."
THANKS = "Thank you, I am glad that helped."


class DecomposedEngine(NextToken, Completer, Protocol):
    """What the format needs of a model."""


@dataclass(frozen=True, slots=True)
class Step:
    """A call made for the event that is being answered, and what came of it."""

    name: str
    arguments: dict[str, Any]
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """The newest event that wants an answer, and the steps since."""

    event: Message
    steps: tuple[Step, ...]

    def tried(self, name: str) -> bool:
        """Whether `name` has been called."""
        return any(step.name == name for step in self.steps)

    def done(self, name: str) -> Step | None:
        """Return the newest call of `name` that succeeded."""
        return next((step for step in reversed(self.steps) if step.name == name and step.ok), None)


@dataclass(frozen=True, slots=True)
class Decision:
    """The next call (name "" to say nothing at all), and one line on why."""

    thought: str
    name: str
    arguments: dict[str, Any]


def current_turn(queue: Sequence[Message]) -> Turn | None:
    """Return what is being answered, or None where nothing in `queue` asks for it or it has been answered."""
    for index in range(len(queue) - 1, -1, -1):
        if queue[index].kind in _ANSWERED_KINDS:
            turn = Turn(queue[index], tuple(_steps(queue[index + 1 :])))
            return None if turn.done("send_message") else turn
    return None


def _steps(messages: Sequence[Message]) -> list[Step]:
    calls = {call.id: call for message in messages for call in message.calls}
    results = [message for message in messages if message.role == "tool" and message.call_id in calls]
    return [_step(calls[str(result.call_id)], result) for result in results]


def _step(call: FunctionCall, result: Message) -> Step:
    try:
        arguments = json.loads(call.arguments)
    except ValueError:
        arguments = {}
    return Step(call.name, arguments if isinstance(arguments, dict) else {}, result.ok is not False, result.content)


class Decomposed:
    """Decides one step at a time. Blocks while the model works: for a worker thread."""

    def __init__(
        self,
        engine: DecomposedEngine,
        similarity: Similarity | None,
        go_on: Callable[[], None] = lambda: None,
        *,
        larger: bool = False,
    ) -> None:
        """`go_on` is called between pieces of long work and may raise to end it. `larger`: about 0.5B and up."""
        self._engine = engine
        self._similarity = similarity
        self._go_on = go_on
        self._kind = Labeller(engine, similarity, KIND, slot=KIND_SLOT, larger=larger)
        self._own_name = Labeller(engine, similarity, OWN_NAME, slot=NAME_SLOT, larger=larger)
        self._small_talk = SmallTalk(engine, similarity, slot=TALK_SLOT, larger=larger)

    def prefixes(self) -> tuple[tuple[int, str], ...]:
        """Return what each slot of the engine always begins with, the commonest first."""
        names = (
            (KIND_SLOT, "kind.txt"),
            (NAME_SLOT, "name.txt"),
            (TALK_SLOT, "talk.txt"),
            (EXTRACT_SLOT, "own_name.txt"),
        )
        return tuple((slot, prompt_text(name)) for slot, name in names)

    def warm_up(self) -> None:
        """Let the engine read the fixed beginning of its commonest prompt."""
        self._kind.warm_up(self._go_on)

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
                return _say("Someone is here: I greet.", greeting(turn.event, self._users_name(prompt)))
            case EventKind.USER_LIKED:
                return _say("The user liked that.", THANKS)
        return self._answer(prompt, turn, cancelled)

    def _answer(self, prompt: Prompt, turn: Turn, cancelled: threading.Event | None) -> Decision:
        facts, question = self._sort(turn.event.content)
        if facts and (decision := self._file(prompt, turn, facts)):
            return decision
        filed = _what_was_filed(turn)
        if question:
            return self._look_up(prompt, turn, question, filed)
        if facts:
            return _say("It is filed; I say so.", filed or self._unfiled_words(prompt, facts))
        talk = self._small_talk.answer(turn.event.content, cancelled)
        return _say("That is talk: nothing to file, nothing to find.", talk)

    def _sort(self, text: str) -> tuple[list[str], str]:
        """Return the sentences of `text` that are facts, and those that ask, as one question."""
        labelled = [(self._kind.label(sentence), sentence) for sentence in sentences(text)]
        facts = [sentence for label, sentence in labelled if label == FACT]
        return facts, " ".join(sentence for label, sentence in labelled if label == QUESTION)

    def _file(self, prompt: Prompt, turn: Turn, facts: list[str]) -> Decision | None:
        """Return the call that files `facts`, or None where that is done, needless or impossible."""
        block = _human(prompt)
        known = {line.words for line in filed_lines(block.value)} if block else set()
        if turn.done("core_memory_append") or turn.done("archival_memory_insert"):
            return None
        fresh = [fact for fact in facts if fact not in known]
        if not fresh:
            return None
        day = f"{prompt.counters.now:%Y-%m-%d}"
        content = "\n".join(FiledLine(fact, day).as_written for fact in fresh)
        if block and not turn.tried("core_memory_append") and _offers(prompt, "core_memory_append"):
            thought = "That tells me something to keep."
            return Decision(thought, "core_memory_append", {"name": block.label, "content": content})
        if not turn.tried("archival_memory_insert") and _offers(prompt, "archival_memory_insert"):
            thought = "The block cannot take it, so it goes to the archive."
            return Decision(thought, "archival_memory_insert", {"content": content})
        return None

    def _unfiled_words(self, prompt: Prompt, facts: list[str]) -> str:
        block = _human(prompt)
        known = [line for line in filed_lines(block.value) if line.words in facts] if block else []
        return f"I have that already: {known[-1].as_written}" if known else NOT_FILED

    def _look_up(self, prompt: Prompt, turn: Turn, question: str, filed: str) -> Decision:
        """Answer from the blocks, else from recall storage, else from the archive, else say that there is nothing."""
        blocks = [block for block in prompt.blocks if block.label not in _CLERKS_OWN_BLOCKS]
        lines = [line for block in blocks for line in filed_lines(block.value) if line.words not in turn.event.content]
        line, near = self._nearest(question, lines)
        if line and near:
            return _say("A line of my block answers that.", _joined(filed, quote(line)))
        for name, spoken, count in (
            ("conversation_search", True, prompt.counters.recall_count),
            ("archival_memory_search", False, prompt.counters.archival_count),
        ):
            if not turn.tried(name) and count and _offers(prompt, name):
                return Decision("I look whether that is kept.", name, {"query": question})
            found = turn.done(name)
            line, near = self._nearest_hit(question, found.text if found else "", spoken=spoken)
            if line and near:
                return _say("I have found the line.", _joined(filed, quote(line)))
        return _say("Nothing I have is near to that.", _joined(filed, NOTHING))

    def _nearest_hit(self, question: str, result: str, *, spoken: bool) -> tuple[FiledLine | None, bool]:
        """Return the hit that answers: said by the user, near, and itself not a question or talk."""
        hits = [hit for hit in search_hits(result, spoken=spoken) if hit.speaker in ("", "user")]
        while hits:
            line, near = self._nearest(question, hits[::-1])
            if line is None or not near or not spoken or self._tells(line.words):
                return line, near
            hits.remove(line)
        return None, False

    def _nearest(self, question: str, lines: Sequence[FiledLine]) -> tuple[FiledLine | None, bool]:
        """Return the line nearest to `question`, and whether it answers it. A name is found by what introduces it."""
        if lines and self._own_name.label(question) == NAME:
            score, line = self._introduction(lines)
            if score >= _SAYS_NAME:
                return line, True
        return nearest_line(question, lines, self._similarity)

    def _introduction(self, lines: Sequence[FiledLine]) -> tuple[float, FiledLine]:
        """Return the line that most likely says the user's own name, and how much speaks for it."""
        likeliest = sorted(lines, key=lambda line: _first_over_second(self._own_name.nearness(line.words)))
        weighed = [
            (_first_over_second(self._own_name.scores(line.words)), line) for line in likeliest[-_WEIGHED_LINES:]
        ]
        return max(weighed, key=lambda found: found[0])

    def _users_name(self, prompt: Prompt) -> str:
        """Return the user's name where a line of the human block surely says it, else ''."""
        block = _human(prompt)
        lines = filed_lines(block.value) if block else []
        if not lines:
            return ""
        score, line = self._introduction(lines)
        if score < _SURE:
            return ""
        shots = prompt_text("own_name.txt")
        words = " ".join(line.words.split())[:_NAME_LIMIT_CHARS]
        found = self._engine.complete(f"{shots}{words} =>", max_tokens=16, stop=("\n",), slot=EXTRACT_SLOT)
        return stated_name(found.text, words)

    def _tells(self, words: str) -> bool:
        return any(self._kind.label(sentence) == FACT for sentence in sentences(words))


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


def _first_over_second(scores: Sequence[float]) -> float:
    return scores[0] - scores[1]


def sentences(text: str) -> list[str]:
    """Cut a message into at most eight pieces, at line ends and after the marks that end a sentence."""
    pieces: list[str] = []
    for piece in re.split(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+", text):
        if not (words := " ".join(piece.split())):
            continue
        if pieces and (len(pieces) >= _SENTENCES_LIMIT or _ends_in_abbreviation(pieces[-1])):
            pieces[-1] += f" {words}"
        else:
            pieces.append(words)
    return pieces


def _ends_in_abbreviation(piece: str) -> bool:
    """Whether the last mark may belong to a title or an initial, as in Mrs. or J.; then the sentence goes on."""
    last = piece.rsplit(maxsplit=1)[-1]
    return " " in piece and last.endswith(".") and last[0].isupper() and len(last) <= 4


def greeting(login: Message, name: str) -> str:
    """Return one short greeting, by name where one is filed, and otherwise for a first visit than for a return."""
    last = str(login.payload.get("last_login") or "")
    hello = "Welcome back" if re.match(r"\d{4}-\d\d-\d\d", last) else "Hello"
    return f"{hello}, {name}. {OFFER}" if name else f"{hello}. {OFFER}"


def quote(line: FiledLine) -> str:
    """Return a stored line as an answer, with the day it was said."""
    return f'You told me on {line.day}: "{line.words}"' if line.day else f'My notes say: "{line.words}"'


def _what_was_filed(turn: Turn) -> str:
    for name, words in (("core_memory_append", "Filed"), ("archival_memory_insert", "Filed in the archive")):
        if step := turn.done(name):
            lines = filed_lines(str(step.arguments.get("content", "")))
            return f"{words}: " + " ".join(f'"{line.words}"' for line in lines)
    return ""


def _say(thought: str, message: str) -> Decision:
    return Decision(thought, "send_message", {"message": message})


def _joined(first: str, second: str) -> str:
    return f"{first}\n{second}" if first else second


def _offers(prompt: Prompt, name: str) -> bool:
    return any(function.name == name for function in prompt.functions)


def _human(prompt: Prompt) -> Block | None:
    return next((block for block in prompt.blocks if block.label == HUMAN and not block.read_only), None)
