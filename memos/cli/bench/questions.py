"""What `memos bench retrieval` reads: conversations, and questions of which the messages that answer them are known.

Messages are in the form that `memos import messages` takes, each with the `conversation` it belongs to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memos.errors import BadInput
from memos.memory.imported_messages import Fault, ImportedMessage, message_of_line

_NO_CATEGORY = "none"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Query:
    """A question, the ids of all messages that answer it, and the line it stands in."""

    text: str
    gold: frozenset[str]
    category: str
    line: int


@dataclass(slots=True)
class Conversation:
    """Messages in the order they were said, and what is asked about them; `messages` by their id."""

    name: str
    messages: dict[str, ImportedMessage] = field(default_factory=dict)
    queries: list[Query] = field(default_factory=list)

    @property
    def told(self) -> list[ImportedMessage]:
        """The messages by time; those of one moment as the file has them."""
        return sorted(self.messages.values(), key=lambda message: message.created_at)


@dataclass(frozen=True, slots=True)
class Questions:
    """Everything to ask. `left_out` are questions that no message of their conversation answers."""

    conversations: Sequence[Conversation]
    left_out: int
    lost_ids: Sequence[str]
    """Ids that questions name and no message has, each with its line."""


def read_questions(messages: Path, queries: Path) -> Questions:
    """Read both files. Raises: BadInput, which names the line."""
    found: dict[str, Conversation] = {}
    for _ in _lines(messages, lambda number, line: _take_message(found, line)):
        pass
    lost: list[str] = []
    answered = list(_lines(queries, lambda number, line: _take_query(found, number, line, lost)))
    asked = [conversation for conversation in found.values() if conversation.queries]
    if not asked:
        raise BadInput(f"{queries} asks nothing that a message of {messages} answers.", "see memos bench retrieval -h")
    return Questions(asked, answered.count(False), lost)


def _lines(path: Path, take: Callable[[int, bytes], Any]) -> Iterator[Any]:
    """Yield what `take` makes of each line (its number, from 1, and its bytes) that is not empty."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                content = line.removeprefix(_BOM) if number == 1 else line
                if content.strip():
                    try:
                        yield take(number, content)
                    except Fault as fault:
                        raise BadInput(f"Line {number} of {path}: {fault}.", "mend that line") from fault
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.", "check its path") from error


def _take_message(found: dict[str, Conversation], line: bytes) -> None:
    message = message_of_line(line)
    name = _text(json.loads(line), "conversation")
    conversation = found.setdefault(name, Conversation(name))
    if not message.id:
        raise Fault("id is missing; questions name the messages that answer them by it")
    if message.id in conversation.messages:
        raise Fault(f"id {json.dumps(message.id)} was given to a message of this conversation before")
    conversation.messages[message.id] = message


def _take_query(found: Mapping[str, Conversation], number: int, line: bytes, lost: list[str]) -> bool:
    """Keep a question with its conversation, and return whether any message answers it."""
    given = _json_object(line)
    conversation = found.get(_text(given, "conversation"))
    if conversation is None:
        raise Fault(f"no message is of the conversation {json.dumps(given['conversation'])}")
    category = _text(given, "category") if given.get("category") is not None else _NO_CATEGORY
    gold, text = _gold(given), _text(given, "query")
    known = gold & conversation.messages.keys()
    lost += [f"{lost_id} (line {number})" for lost_id in sorted(gold - known)]
    if known:
        conversation.queries.append(Query(text, known, category, number))
    return bool(known)


def _json_object(line: bytes) -> dict[str, Any]:
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Fault(f"no JSON ({error}); one object a line is meant") from error
    if not isinstance(given, dict):
        raise Fault('no JSON object; {"conversation": …, "query": …, "gold": […]} is meant')
    return given


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise Fault(f"{name} is {'no text' if name in given else 'missing'}; text is meant")
    return str(value)


def _gold(given: Mapping[str, Any]) -> frozenset[str]:
    ids = given.get("gold")
    if not isinstance(ids, list) or any(isinstance(each, bool) or not isinstance(each, str | int) for each in ids):
        raise Fault("gold is no list of ids; the ids of all messages that answer the question are meant")
    return frozenset(" ".join(str(each).split()) for each in ids)
