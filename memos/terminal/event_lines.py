"""A reply as events for programs: one JSON object a line, as `memos help jsonl` describes them.

Every body that a kernel publishes has its line or lines (`lines_of`). The last line is a result or an error, once.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TextIO

import memos
from memos.messages import (
    CallFinished,
    CallStarted,
    Evicted,
    MemoryEdited,
    MonologueDelta,
    Notice,
    Output,
    OutputBody,
    Progress,
    Question,
    ReplyStored,
    RetryIn,
    Said,
    SpeechDelta,
    StepStarted,
    Stopped,
    TokenUsage,
    TurnDone,
)
from memos.safe_text import storable
from memos.terminal.report import Ending, spoken_in, write

SCHEMA_VERSION = 1
"""Raised when a field or type goes or means something else; new ones may come without."""


@dataclass(frozen=True, slots=True)
class InitLine:
    """An agent was opened; always the first line, unless none could be opened."""

    type: ClassVar = "init"
    version: Annotated[str, "the version of memos"]
    agent: Annotated[str, "the agent's name"]
    model: Annotated[str, "the model that is asked first"]


@dataclass(frozen=True, slots=True)
class ThoughtLine:
    """Inner monologue: streamed piece by piece, then once whole."""

    type: ClassVar = "thought"
    text: Annotated[str, "the words"]
    delta: Annotated[bool, "true: a further piece, provisional; false: all of it, stored"]


@dataclass(frozen=True, slots=True)
class MessageLine:
    """What the agent says to the user: streamed piece by piece, then once whole."""

    type: ClassVar = "message"
    text: Annotated[str, "the words"]
    delta: Annotated[bool, "true: a further piece, provisional; false: all of it, stored"]


@dataclass(frozen=True, slots=True)
class ReplyLine:
    """The model's reply is on disk; its calls run next."""

    type: ClassVar = "reply"
    finish: Annotated[str, "why the model ended it: stop, length, cut or cancelled"]
    calls: Annotated[int, "how many calls it makes"]


@dataclass(frozen=True, slots=True)
class HeartbeatLine:
    """A step begins: the agent has a time slice, and the model is asked."""

    type: ClassVar = "heartbeat"
    step: Annotated[int, "its number in the turn, from 1"]
    limit: Annotated[int, "how many steps the turn may have"]


@dataclass(frozen=True, slots=True)
class ToolCallLine:
    """A function call begins."""

    type: ClassVar = "tool_call"
    id: Annotated[str, "the call's id"]
    name: Annotated[str, "the function"]
    arguments: Annotated[str, "as the model wrote them: usually a JSON object, in a string"]


@dataclass(frozen=True, slots=True)
class ToolResultLine:
    """A function call has its result, stored with its effects."""

    type: ClassVar = "tool_result"
    id: Annotated[str, "the call's id"]
    name: Annotated[str, "the function"]
    ok: Annotated[bool, "false: the call failed, and the model is told why"]
    text: Annotated[str, "what the model is told"]
    heartbeat: Annotated[bool, "whether the agent gets another step for it"]
    elapsed_s: Annotated[float, "how long it took"]


@dataclass(frozen=True, slots=True)
class MemoryEditLine:
    """A block of core memory changed."""

    type: ClassVar = "memory_edit"
    label: Annotated[str, "the block"]
    before: Annotated[str, "what it held"]
    after: Annotated[str, "what it holds"]
    limit_chars: Annotated[int, "how many characters it may hold"]
    revision: Annotated[int, "the number for `/memory undo`; 0: none"]


@dataclass(frozen=True, slots=True)
class EvictionLine:
    """Messages left the queue for recall storage, where they are found."""

    type: ClassVar = "eviction"
    messages: Annotated[int, "how many"]
    tokens: Annotated[int, "what they took of the window"]


@dataclass(frozen=True, slots=True)
class RetryLine:
    """The model did not answer in passing, and is asked again."""

    type: ClassVar = "retry"
    seconds: Annotated[float, "in how long"]
    attempt: Annotated[int, "the number of this retry, from 1"]
    limit: Annotated[int, "how many there may be"]
    reason: Annotated[str, "one sentence"]


@dataclass(frozen=True, slots=True)
class QuestionLine:
    """A function asks the person. Nobody is here: the answer is no."""

    type: ClassVar = "question"
    id: Annotated[str, "the question's id"]
    text: Annotated[str, "the question"]
    choices: Annotated[Sequence[str], "what could be answered"]


@dataclass(frozen=True, slots=True)
class NoticeLine:
    """One sentence for a person, about memos itself."""

    type: ClassVar = "notice"
    text: Annotated[str, "the sentence"]


@dataclass(frozen=True, slots=True)
class ProgressLine:
    """What goes on while nothing else shows."""

    type: ClassVar = "progress"
    phase: Annotated[str, "what it is"]
    fraction: Annotated[float | None, "how far, 0 to 1; null: unknown"]
    detail: Annotated[str, "how much, how fast, how long yet"]


@dataclass(frozen=True, slots=True)
class UsageLine:
    """What one request used, as the provider reports it; null where it reports nothing."""

    type: ClassVar = "usage"
    prompt_tokens: Annotated[int | None, "tokens of the prompt"]
    reply_tokens: Annotated[int | None, "tokens of the reply"]
    cached_tokens: Annotated[int | None, "tokens of the prompt that came from the provider's cache"]
    written_tokens: Annotated[int | None, "tokens of the prompt that were newly put there"]


@dataclass(frozen=True, slots=True)
class StopLine:
    """A turn ended before the agent was done."""

    type: ClassVar = "stop"
    reason: Annotated[str, "one sentence with a next step"]
    code: Annotated[str, "cancelled, limit or error"]
    exit_code: Annotated[int, "what memos would end with"]


@dataclass(frozen=True, slots=True)
class TurnDoneLine:
    """A turn is over: the agent waits for the next event."""

    type: ClassVar = "turn_done"
    steps: Annotated[int, "how many it had"]


@dataclass(frozen=True, slots=True)
class ConsoleLine:
    """What a slash command printed."""

    type: ClassVar = "console"
    text: Annotated[str, "the text"]


@dataclass(frozen=True, slots=True)
class ResultLine:
    """All went well; the last line."""

    type: ClassVar = "result"
    exit_code: Annotated[int, "0"]
    agent: Annotated[str, "the agent's name"]
    model: Annotated[str, "the model that was asked first"]
    text: Annotated[str, "the whole reply, its messages one under the other"]
    steps: Annotated[int, "how many steps it took"]
    prompt_tokens: Annotated[int | None, "the sum over all requests; null: nothing was reported"]
    reply_tokens: Annotated[int | None, "the same of the replies"]
    elapsed_s: Annotated[float, "how long all of it took"]


@dataclass(frozen=True, slots=True)
class ErrorLine:
    """It ended early; the last line. What came is kept, and `text` has it too."""

    type: ClassVar = "error"
    exit_code: Annotated[int, "what memos ends with (`memos help errors`)"]
    code: Annotated[str, "the exit code as a word"]
    message: Annotated[str, "one sentence: what happened"]
    next_step: Annotated[str, "what to do next"]
    agent: Annotated[str, "the agent's name; empty: none was opened"]
    model: Annotated[str, "the model that was asked first; empty: none"]
    text: Annotated[str, "what came of the reply, what was streamed of an unfinished one included"]
    steps: Annotated[int, "how many steps it took"]
    prompt_tokens: Annotated[int | None, "the sum over all requests; null: nothing was reported"]
    reply_tokens: Annotated[int | None, "the same of the replies"]
    elapsed_s: Annotated[float, "how long all of it took"]


Line = (
    InitLine
    | ThoughtLine
    | MessageLine
    | ReplyLine
    | HeartbeatLine
    | ToolCallLine
    | ToolResultLine
    | MemoryEditLine
    | EvictionLine
    | RetryLine
    | QuestionLine
    | NoticeLine
    | ProgressLine
    | UsageLine
    | StopLine
    | TurnDoneLine
    | ConsoleLine
    | ResultLine
    | ErrorLine
)
COMMON: Mapping[str, tuple[type, str]] = {
    "type": (str, "the type of the event"),
    "schema_version": (int, f"{SCHEMA_VERSION}; raised when a field or type goes or changes its meaning"),
    "seq": (int, "the number of the line, from 1 without gaps"),
    "turn": (str, "the turn it belongs to, an id; empty: to none"),
}
"""What every line has, before its own fields."""


def _lines_of_reply(body: ReplyStored) -> Sequence[Line]:
    reply, lines = body.reply, list[Line]()
    if reply.monologue:
        lines.append(ThoughtLine(reply.monologue, delta=False))
    if spoken := spoken_in(body):
        lines.append(MessageLine(spoken, delta=False))
    return [*lines, ReplyLine(reply.finish.value, len(reply.calls))]


def _line_of_result(body: CallFinished) -> ToolResultLine:
    result = body.result
    return ToolResultLine(
        body.call.id, body.call.name, result.ok, result.text, result.heartbeat, round(body.elapsed_s, 6)
    )


LINES: Mapping[type, Callable[[Any], Sequence[Line]]] = {
    MonologueDelta: lambda body: [ThoughtLine(body.text, delta=True)],
    SpeechDelta: lambda body: [MessageLine(body.text, delta=True)],
    StepStarted: lambda body: [HeartbeatLine(body.number, body.limit)],
    ReplyStored: _lines_of_reply,
    CallStarted: lambda body: [ToolCallLine(body.call.id, body.call.name, body.call.arguments)],
    CallFinished: lambda body: [_line_of_result(body)],
    Said: lambda body: [MessageLine(body.text, delta=False)],
    MemoryEdited: lambda body: [
        MemoryEditLine(body.label, body.before, body.after, body.limit_chars, body.revision),
    ],
    Evicted: lambda body: [EvictionLine(body.messages, body.tokens)],
    RetryIn: lambda body: [RetryLine(body.seconds, body.attempt, body.limit, body.reason)],
    Stopped: lambda body: [StopLine(body.reason, body.code, body.exit_code)],
    Question: lambda body: [QuestionLine(body.id, body.text, body.choices)],
    Notice: lambda body: [NoticeLine(body.text)],
    Progress: lambda body: [ProgressLine(body.phase, body.fraction, body.detail)],
    TokenUsage: lambda body: [
        UsageLine(body.prompt_tokens, body.reply_tokens, body.cached_tokens, body.written_tokens),
    ],
    TurnDone: lambda body: [TurnDoneLine(body.steps)],
}
"""The lines of each body that a kernel publishes."""


def lines_of(body: OutputBody) -> Sequence[Line]:
    """Return the lines that tell of `body`: one at least."""
    return LINES[type(body)](body)


class EventLines:
    """Writes events as they happen, each a line, flushed; or, where `last_only`, the last one alone.

    Every line is ASCII, whatever the words are: any terminal and any encoding can take it.
    """

    def __init__(self, out: TextIO, *, last_only: bool = False) -> None:
        self._out = out
        self._last_only = last_only
        self._began_at = time.monotonic()
        self._seq = 0
        self._ended = False
        self._agent, self._model, self._turn_id = "", "", ""
        self._said: list[str] = []
        self._pieces: list[str] = []
        self._steps = 0
        self._prompt_tokens: int | None = None
        self._reply_tokens: int | None = None

    def begin(self, agent: str, model: str, turn_id: str) -> None:
        """Write the first line. Raises: BrokenPipeError."""
        self._agent, self._model, self._turn_id = agent, model, turn_id
        self._write(InitLine(memos.__version__, agent, model), turn_id)

    def take(self, output: Output) -> None:
        """Write the lines of one thing that the kernel published. Raises: BrokenPipeError."""
        if self._turn_id in ("", output.turn_id):
            self._note(output.body)
        for line in lines_of(output.body):
            self._write(line, output.turn_id)

    def shown(self, text: str) -> None:
        """Write what a command printed. Raises: BrokenPipeError."""
        self._said.append(text.removesuffix("\n"))
        self._write(ConsoleLine(text), self._turn_id)

    def end(self, ending: Ending) -> None:
        """Write the last line, once: a result or an error. Raises: BrokenPipeError."""
        if self._ended:
            return
        whole = (self._agent, self._model, "\n".join([*self._said, *self._unfinished()]), self._steps)
        used = (self._prompt_tokens, self._reply_tokens, round(time.monotonic() - self._began_at, 3))
        if ending.exit_code:
            line: Line = ErrorLine(ending.exit_code, ending.word, ending.message, ending.next_step, *whole, *used)
        else:
            line = ResultLine(0, *whole, *used)
        self._write(line, self._turn_id, last=True)
        self._ended = True

    def _note(self, body: OutputBody) -> None:
        """Keep what the last line sums up."""
        if isinstance(body, SpeechDelta):
            self._pieces.append(body.text)
        elif spoken := spoken_in(body):
            self._said.append(spoken)
            self._pieces.clear()
        elif isinstance(body, StepStarted):
            self._steps += 1
            self._pieces.clear()
        elif isinstance(body, TokenUsage):
            self._prompt_tokens = _sum(self._prompt_tokens, body.prompt_tokens)
            self._reply_tokens = _sum(self._reply_tokens, body.reply_tokens)

    def _unfinished(self) -> Sequence[str]:
        text = "".join(self._pieces)
        return [text] if text.strip() else []

    def _write(self, line: Line, turn_id: str, *, last: bool = False) -> None:
        if self._ended or (self._last_only and not last):
            return
        self._seq += 1
        common = {"type": line.type, "schema_version": SCHEMA_VERSION, "seq": self._seq, "turn": turn_id}
        write(self._out, json.dumps(common | _fields_of(line), allow_nan=False) + "\n")


def _fields_of(line: Line) -> dict[str, Any]:
    values = {field.name: getattr(line, field.name) for field in dataclasses.fields(line)}
    return {name: storable(value) if isinstance(value, str) else value for name, value in values.items()}


def _sum(total: int | None, more: int | None) -> int | None:
    return total if more is None else (total or 0) + more
