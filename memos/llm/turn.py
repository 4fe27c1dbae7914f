"""What the clerk is answering and what it has done about it so far, read from the queue alone; and its next step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memos.functions.table import SPEECH_FUNCTION
from memos.llm.filed_lines import FiledLine, filed_lines
from memos.messages import Block, EventKind, FunctionCall, Message, Prompt

_HUMAN = "human"
_ANSWERED_KINDS = (EventKind.USER_MESSAGE, EventKind.LOGIN, EventKind.USER_LIKED)


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

    def tried(self, name: str, **arguments: str) -> bool:
        """Whether `name` has been called, with these arguments if any are given."""
        return any(_is_call(step, name, arguments) for step in self.steps)

    def done(self, name: str, **arguments: str) -> Step | None:
        """Return the newest call of `name`, with these arguments if any are given, that succeeded."""
        return next((step for step in reversed(self.steps) if step.ok and _is_call(step, name, arguments)), None)


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
            return None if turn.done(SPEECH_FUNCTION) else turn
    return None


def say(thought: str, message: str) -> Decision:
    """Return the step that tells the user something."""
    return Decision(thought, SPEECH_FUNCTION, {"message": message})


def offers(prompt: Prompt, name: str) -> bool:
    """Whether the function may be called."""
    return any(function.name == name for function in prompt.functions)


def human_block(prompt: Prompt) -> Block | None:
    """Return the block about the user, if the clerk may write it."""
    return next((block for block in prompt.blocks if block.label == _HUMAN and not block.read_only), None)


def lines_before(turn: Turn, block: Block) -> list[FiledLine]:
    """Return the lines of the block as they were before this turn changed any: its decisions stay the same."""
    lines = filed_lines(block.value)
    for step in reversed(turn.steps):
        if not step.ok or step.name not in ("core_memory_append", "core_memory_replace"):
            continue
        added = filed_lines(str(step.arguments.get("content") or step.arguments.get("new_content") or ""))
        place = next((place for place, line in enumerate(lines) if line in added), 0)
        lines = [line for line in lines if line not in added]
        lines[place:place] = filed_lines(str(step.arguments.get("old_content") or ""))
    return lines


def _is_call(step: Step, name: str, arguments: dict[str, str]) -> bool:
    return step.name == name and all(step.arguments.get(key) == value for key, value in arguments.items())


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
