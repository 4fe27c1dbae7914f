"""Who gets the next time slice, and when a turn has had enough.

Source: Packer et al. 2023, §2.4 (`request_heartbeat`); the bounds are ours.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from memos.errors import LimitReached, StreamCut
from memos.messages import (
    Event,
    EventKind,
    Finish,
    FunctionCall,
    FunctionResult,
    Reply,
    Stopped,
    TokenUsage,
    new_id,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one turn; 0 means unbounded for tokens and seconds."""

    steps: int = 30
    identical_calls: int = 3
    turn_tokens: int = 0
    turn_seconds: float = 600.0


@dataclass(slots=True)
class Turn:
    """What one turn has used so far; its id is that of the event that began it, `start_seq` that event's row."""

    id: str = field(default_factory=new_id)
    start_seq: int = 0
    steps: int = 0
    tokens: int = 0
    began_at: float = field(default_factory=time.monotonic)
    calls_seen: Counter[str] = field(default_factory=Counter)

    def note_usage(self, usage: TokenUsage) -> None:
        """Add the tokens of one inference."""
        self.tokens += (usage.prompt_tokens or 0) + (usage.reply_tokens or 0)

    def note_calls(self, calls: Sequence[FunctionCall]) -> None:
        """Count each call by its name and arguments."""
        for call in calls:
            self.calls_seen[_fingerprint(call)] += 1


def reason_to_stop(turn: Turn, limits: Limits) -> Stopped | None:
    """Return why the turn may not have another step, or None."""
    repeated = max(turn.calls_seen.values(), default=0)
    if turn.steps >= limits.steps:
        return _stop(f"Stopped after {turn.steps} steps, the limit of a turn.")
    if repeated >= limits.identical_calls:
        return _stop(f"Stopped: the agent made the same call {repeated} times.")
    if limits.turn_tokens and turn.tokens >= limits.turn_tokens:
        return _stop(f"Stopped after {turn.tokens} tokens, the limit of a turn.")
    if limits.turn_seconds and time.monotonic() - turn.began_at >= limits.turn_seconds:
        return _stop(f"Stopped after {limits.turn_seconds:.0f} seconds, the limit of a turn.")
    return None


def heartbeat_after(results: Sequence[FunctionResult]) -> Event | None:
    """Return the heartbeat that gives the agent another step, or None where it yields to the user.

    The classic rule: a call asked for it, or a call failed.
    """
    failed = next((result for result in results if not result.ok), None)
    if failed:
        return Event(EventKind.HEARTBEAT, payload={"reason": f"{failed.name} failed; its result says why."})
    asking = next((result for result in results if result.heartbeat), None)
    if asking:
        return Event(EventKind.HEARTBEAT, payload={"reason": f"{asking.name} asked for a heartbeat."})
    return None


def memory_pressure(heartbeat: Event | None) -> Event:
    """Return the event that warns the agent before the queue is flushed; it takes the place of `heartbeat`."""
    words = (
        "The queue has nearly filled your context. Soon its older half leaves for recall storage, and a summary takes"
        " its place. Save now what you will want at hand: in core memory, or in archival memory."
    )
    then = f"Then go on: {heartbeat.payload['reason']}" if heartbeat else "Nobody waits for a message from you now."
    return Event(EventKind.MEMORY_PRESSURE, f"{words} {then}")


def reason_it_is_not_whole(reply: Reply) -> Stopped | None:
    """Return what to tell about a reply that broke off or is empty, or None where it is a whole one."""
    if reply.finish is Finish.CUT:
        return Stopped(
            "The reply was cut off; what came is kept. Next: say something to go on.", "error", StreamCut.exit_code
        )
    if not reply.calls and not reply.text.strip():
        return Stopped(
            "The model gave an empty reply. Next: say it again, or /model for another one.",
            "error",
            StreamCut.exit_code,
        )
    return None


def _stop(reason: str) -> Stopped:
    return Stopped(
        f"{reason} Next: say something to go on, or raise the limit in config.toml.", "limit", LimitReached.exit_code
    )


def _fingerprint(call: FunctionCall) -> str:
    return hashlib.sha256(f"{call.name}\0{call.arguments}".encode("utf-8", "surrogatepass")).hexdigest()
