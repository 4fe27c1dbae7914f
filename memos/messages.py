"""The data that flows between the rooms: frozen, slotted, without behaviour.

Times are timezone-aware UTC everywhere; they become local only in an event packet and on the screen.
Source: Packer et al. 2023, §2 (main context, events, functions).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

Role = Literal["user", "assistant", "tool"]
"""Who a row speaks as towards the LLM; system instructions are never a row."""

Profile = Literal["full", "small"]
"""The layout of a prompt: `full` for ordinary windows; `small` for tiny ones and models on the CPU, where each token
is waited for."""


def new_id() -> str:
    """Return a fresh identifier of 32 hexadecimal digits."""
    return uuid.uuid4().hex


def utc_now() -> datetime:
    """Return the present moment, timezone-aware, in UTC."""
    return datetime.now(UTC)


class EventKind(StrEnum):
    """What woke the agent: the interrupts of the operating system."""

    USER_MESSAGE = "user_message"
    LOGIN = "login"
    HEARTBEAT = "heartbeat"
    TIMER = "timer"
    MEMORY_PRESSURE = "memory_pressure"
    USER_LIKED = "user_liked"
    SYSTEM_ALERT = "system_alert"
    ANSWER = "answer"


class MessageState(StrEnum):
    """How far the writing of a row has come."""

    PROVISIONAL = "provisional"
    """Still streaming: refreshed at least every 500 ms, never a basis for running a call."""
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    """The stream ended before the reply did: what was shown is kept, its calls are not."""


class Provenance(StrEnum):
    """Where the words of a row come from."""

    USER = "user"
    AGENT = "agent"
    DOCUMENT = "document"
    SUMMARY = "summary"
    SYSTEM = "system"


class Origin(StrEnum):
    """Whether a row was said here or brought in from elsewhere."""

    LIVE = "live"
    IMPORT = "import"


class Finish(StrEnum):
    """Why the processor stopped writing."""

    STOP = "stop"
    LENGTH = "length"
    CUT = "cut"
    """The stream broke off: never a complete reply."""
    CANCELLED = "cancelled"
    """The user stopped it."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that wakes the agent.

    `text` is the words themselves (for a user message: exactly what was typed); `payload` holds what else the
    packet says, for example `{"last_login": "2026-11-02T10:00:00+00:00"}`.
    """

    kind: EventKind
    text: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=new_id)
    created_at: datetime = field(default_factory=utc_now)


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A call as the model wrote it: `arguments` is its raw text, not yet believed to be JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class FunctionResult:
    """What a call came to. `heartbeat`: the call asked for another time slice, or failed and gets one."""

    call_id: str
    name: str
    ok: bool
    text: str
    heartbeat: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """One row of recall storage. `seq` gives the order (0: not yet stored), never the clock."""

    role: Role
    content: str
    agent_id: str
    turn_id: str
    kind: EventKind | None = None
    """Set on events (role user); None on replies and results."""
    payload: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    calls: tuple[FunctionCall, ...] = ()
    call_id: str | None = None
    ok: bool | None = None
    """Set on results (role tool)."""
    reasoning: Mapping[str, Any] | None = None
    attachments: tuple[str, ...] = ()
    state: MessageState = MessageState.COMPLETE
    origin: Origin = Origin.LIVE
    provenance: Provenance = Provenance.SYSTEM
    session: str | None = None
    superseded_by: str | None = None
    id: str = field(default_factory=new_id)
    seq: int = 0
    created_at: datetime = field(default_factory=utc_now)


@dataclass(frozen=True, slots=True)
class Image:
    """A picture as it is kept and sent. `hash` is the sha256 of `data`, `name` that of its file without the folder.

    `scaled_from` is the width and height of the file where they were larger.
    """

    hash: str
    media_type: str
    width: int
    height: int
    name: str
    data: bytes
    scaled_from: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A labelled part of working context that the LLM always sees. `limit_chars` counts characters of `value`."""

    label: str
    value: str
    limit_chars: int
    description: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class FunctionSchema:
    """A function as the LLM sees it; `parameters` is a JSON schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Counters:
    """What changes at every step and so stands only in the newest event's packet."""

    now: datetime
    recall_count: int = 0
    archival_count: int = 0


@dataclass(frozen=True, slots=True)
class Prompt:
    """Main context as handed to a processor; a call format turns it into what its model reads.

    `queue` is in order of `seq`, begins with an event, and holds exactly one result for every call. `profile` says
    where the blocks stand: before the queue, or, `small`, beside the newest event. `purpose` is what is wanted: the
    next step, or a summary in plain text. `images` are the pictures that the queue's `attachments` name, by hash.
    """

    instructions: str
    functions: tuple[FunctionSchema, ...]
    blocks: tuple[Block, ...]
    queue: tuple[Message, ...]
    counters: Counters
    summary: str = ""
    profile: Profile = "full"
    purpose: Literal["chat", "summarise"] = "chat"
    images: Mapping[str, Image] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one inference, as the provider reports them; None where it reports nothing.

    Of the prompt's tokens, `cached_tokens` were read from the provider's cache, `written_tokens` newly stored there.
    """

    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    cached_tokens: int | None = None
    written_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """What each part of a prompt costs its model, in tokens; the parts add up to what is sent.

    `queue` has one count for each message of the prompt's queue, the newest event without its `state` (clock,
    counters, and in profile `small` the blocks' place). `frame` is what stands around the parts: roles, separators,
    that state. `counted_by` names the tokenizer; `exact` says whether it is the model's own. `margin` is how far off
    the sum may be; it is kept free beside the reply. `counted` is what the tokenizer said before anything learned of
    the model was applied: functions, words, calls; `images` the same of the pictures in the queue.
    """

    instructions: int
    functions: int
    blocks: int
    summary: int
    queue: tuple[int, ...]
    frame: int = 0
    counted_by: str = ""
    exact: bool = False
    margin: int = 0
    counted: tuple[int, int, int] = (0, 0, 0)
    images: int = 0

    @property
    def fixed(self) -> int:
        """All but the queue: what no eviction frees."""
        return self.instructions + self.functions + self.blocks + self.summary + self.frame

    @property
    def total(self) -> int:
        """All of the prompt: the best estimate."""
        return self.fixed + sum(self.queue)

    @property
    def at_most(self) -> int:
        """All of the prompt and the margin: what a budget reckons with."""
        return self.total + self.margin


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished inference: inner monologue, plain text for the user (models that do not call), and calls."""

    monologue: str = ""
    text: str = ""
    calls: tuple[FunctionCall, ...] = ()
    finish: Finish = Finish.STOP
    usage: TokenUsage = TokenUsage()
    reasoning: Mapping[str, Any] | None = None


# --- What a kernel publishes -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MonologueDelta:
    """A further piece of inner monologue, provisional until the reply is stored."""

    text: str


@dataclass(frozen=True, slots=True)
class SpeechDelta:
    """A further piece of what the agent says to the user, provisional until the reply is stored."""

    text: str


@dataclass(frozen=True, slots=True)
class StepStarted:
    """An inference begins: step `number` (from 1) of at most `limit` in this turn."""

    number: int
    limit: int


@dataclass(frozen=True, slots=True)
class ReplyStored:
    """The reply is on disk: its text is final, and its calls run next."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The executor begins a call."""

    call: FunctionCall


@dataclass(frozen=True, slots=True)
class CallFinished:
    """A call has its result, stored together with its effects."""

    call: FunctionCall
    result: FunctionResult
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Said:
    """The agent spoke to the user: the whole text, stored. What was streamed before is this text's beginning."""

    text: str


@dataclass(frozen=True, slots=True)
class MemoryEdited:
    """A block changed. `revision` is the number by which `/memory undo` takes this back; 0: none."""

    label: str
    before: str
    after: str
    limit_chars: int
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Evicted:
    """The queue manager paged messages out of the queue; they stay in recall storage."""

    messages: int
    tokens: int


@dataclass(frozen=True, slots=True)
class RetryIn:
    """The processor failed in passing and is asked again in `seconds`."""

    seconds: float
    attempt: int
    limit: int
    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The turn ended before the agent yielded; `reason` is one sentence with a next step."""

    reason: str
    code: Literal["cancelled", "limit", "error"] = "cancelled"
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """A function needs the person: the turn waits until an `answer` event names one of `choices`."""

    id: str
    text: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """One sentence for the person, about memos itself."""

    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What is going on while nothing else shows: a phase, and how far it is where that is known (0 to 1).

    `detail` is what changes while the phase stays the same: how much, how fast, how long yet.
    """

    phase: str
    fraction: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TurnDone:
    """The agent yields: it waits for the next event."""

    steps: int


OutputBody = (
    MonologueDelta
    | SpeechDelta
    | StepStarted
    | ReplyStored
    | CallStarted
    | CallFinished
    | Said
    | MemoryEdited
    | Evicted
    | RetryIn
    | Stopped
    | Question
    | Notice
    | Progress
    | TokenUsage
    | TurnDone
)

ReplyPart = MonologueDelta | SpeechDelta | Progress | RetryIn | Notice | Reply
"""What a processor yields while it infers; a `Reply` comes last, and once."""


@dataclass(frozen=True, slots=True)
class Output:
    """One thing a kernel publishes, numbered from 1 without gaps per kernel."""

    agent_id: str
    turn_id: str
    seq: int
    body: OutputBody
