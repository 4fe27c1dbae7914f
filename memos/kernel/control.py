"""Who gets the next time slice, when a turn has had enough, and whether it goes on from there.

Source: Packer et al. 2023, §2.4 (`request_heartbeat`); the bounds are ours.
"""

from __future__ import annotations

import hashlib
import itertools
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
    Message,
    MessageState,
    Notice,
    Reply,
    Stopped,
    new_id,
)
from memos.storage.usage_ledger import ModelCall


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one turn; 0 means unbounded for tokens, seconds and USD."""

    steps: int = 30
    identical_calls: int = 3
    turn_tokens: int = 0
    turn_seconds: float = 600.0
    turn_usd: float = 0.0


@dataclass(slots=True)
class Turn:
    """What one turn has used so far; its id is that of the event that began it, `start_seq` that event's row.

    `seen_from` is the first row of the queue where the processor reads the queue.
    """

    id: str = field(default_factory=new_id)
    start_seq: int = 0
    seen_from: int | None = None
    steps: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    began_at: float = field(default_factory=time.monotonic)
    calls_seen: Counter[str] = field(default_factory=Counter)
    warned: bool = False
    """Whether it was told of memory pressure: in a tiny window every step could fill the queue anew."""
    shown: bool = False
    """Whether something of the reply that streams was shown."""

    def note_model_call(self, call: ModelCall) -> None:
        """Add the tokens of one inference, and its price where that is known."""
        self.tokens += (call.usage.prompt_tokens or 0) + (call.usage.reply_tokens or 0)
        self.cost_usd += call.cost_usd or 0.0

    def note_calls(self, calls: Sequence[FunctionCall]) -> None:
        """Count each call by its name and arguments."""
        for call in calls:
            self.calls_seen[_fingerprint(call)] += 1

    def seconds_left(self, limits: Limits) -> float | None:
        """Return how long the turn may still last; None where that is unbounded."""
        return self.began_at + limits.turn_seconds - time.monotonic() if limits.turn_seconds else None


def reason_to_stop(turn: Turn, limits: Limits) -> Stopped | None:
    """Return why the turn may not have another step, or None."""
    reached = limit_reached(turn, limits)
    return Stopped(str(reached), "limit", reached.exit_code) if reached else None


def limit_reached(turn: Turn, limits: Limits) -> LimitReached | None:
    """Return the first bound that the turn has come to, or None."""
    repeated = max(turn.calls_seen.values(), default=0)
    seconds_left = turn.seconds_left(limits)
    if turn.steps >= limits.steps:
        return _reached(f"Stopped after {turn.steps} steps, the limit of a turn.", "steps")
    if repeated >= limits.identical_calls:
        return _reached(f"Stopped: the agent made the same call {repeated} times.", "identical_calls")
    if limits.turn_tokens and turn.tokens >= limits.turn_tokens:
        return _reached(f"Stopped after {turn.tokens:,} tokens; a turn may have {limits.turn_tokens:,}.", "turn_tokens")
    if limits.turn_usd and turn.cost_usd >= limits.turn_usd:
        what = f"Stopped after {turn.cost_usd:.4g} USD; a turn may cost {limits.turn_usd:g}."
        return _reached(what, "turn_usd")
    if seconds_left is not None and seconds_left <= 0:
        return out_of_time(limits)
    return None


def out_of_time(limits: Limits) -> LimitReached:
    """Return what is told of a turn that has lasted as long as it may."""
    return _reached(f"Stopped after {limits.turn_seconds:g} seconds, the limit of a turn.", "turn_seconds")


def was_stopped(queue: Sequence[Message]) -> bool:
    """Whether the newest turn ended before the agent yielded to the user.

    A greeting, a timed heartbeat or a warning that came in between, and went well, does not hide the turn before it.
    """
    told = [row for row in queue if row.kind is not EventKind.MEMORY_PRESSURE]
    for _, rows in itertools.groupby(reversed(told), lambda row: row.turn_id):
        newest_first = list(rows)
        if _ended_early(newest_first):
            return True
        if newest_first[-1].kind not in (EventKind.LOGIN, EventKind.TIMER, None):  # None: a warning began it
            return False
    return False


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
        "Your context is nearly full. Soon the older half of the queue leaves for recall storage, and a summary takes"
        " its place. Save now what you will want at hand."
    )
    then = f"Then go on: {heartbeat.payload['reason']}" if heartbeat else "Nobody waits for an answer."
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


def told_of_length(reply: Reply) -> Notice | None:
    """Return what to tell about a reply that came to its limit of length, or None; whole calls before it do run."""
    if reply.finish is not Finish.LENGTH:
        return None
    return Notice("The reply came to the model's limit of length and broke off; /continue lets it go on.")


def _reached(what: str, setting: str) -> LimitReached:
    return LimitReached(what, f"/continue goes on; limits.{setting} in config.toml sets the bound.")


def _ended_early(newest_first: Sequence[Message]) -> bool:
    """Whether the last step of a turn wanted another one, broke off, or never came."""
    newest = newest_first[0]
    if newest.role != "tool":
        return newest.role == "user" or newest.state is not MessageState.COMPLETE or bool(newest.calls)
    results = list(itertools.takewhile(lambda row: row.role == "tool", newest_first))
    if any(result.ok is False or result.payload.get("heartbeat") for result in results):
        return True
    return any(row.payload.get("speech") for row in newest_first[len(results) : len(results) + 1])


def _fingerprint(call: FunctionCall) -> str:
    return hashlib.sha256(f"{call.name}\0{call.arguments}".encode("utf-8", "surrogatepass")).hexdigest()
