"""The kernel as a running function sees it: what it publishes waits until its effects are on disk."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from memos.kernel.control import Turn
from memos.messages import OutputBody, utc_now
from memos.storage.agents import Agent, Agents


class KernelSyscalls:
    """The `Syscalls` of one agent. The executor begins each call with `begin` and takes the outputs after commit."""

    def __init__(self, agents: Agents, agent: Agent) -> None:
        self._agents = agents
        self._agent = agent
        self._turn = Turn()
        self._outputs: list[OutputBody] = []
        self._found: dict[str, list[int]] = {}

    @property
    def turn_id(self) -> str:
        """The turn in which the function runs."""
        return self._turn.id

    @property
    def turn_start(self) -> int:
        """The `seq` of the event that began the turn."""
        return self._turn.start_seq

    @property
    def seen_from(self) -> int:
        """The `seq` from which on the processor reads every row itself: of the queue, or of the turn."""
        return self._turn.start_seq if self._turn.seen_from is None else self._turn.seen_from

    def publish(self, body: OutputBody) -> None:
        """Keep `body` until the function's effects are on disk."""
        self._outputs.append(body)

    def found(self, tier: str, seqs: Sequence[int]) -> None:
        """Note which rows of a tier the result shows."""
        self._found.setdefault(tier, []).extend(seqs)

    def pause_heartbeats(self, minutes: int) -> None:
        """Let no timed heartbeat wake the agent for `minutes`."""
        self._agents.pause(self._agent, utc_now() + timedelta(minutes=minutes))

    def begin(self, turn: Turn) -> None:
        """A call of `turn` begins."""
        self._turn = turn
        self._outputs, self._found = [], {}

    def take_found(self) -> dict[str, list[int]]:
        """Return the rows that the call's result shows, by tier."""
        found, self._found = self._found, {}
        return found

    def take_outputs(self, *, keep: bool) -> list[OutputBody]:
        """Return what the call published, or nothing where its effects were undone."""
        outputs, self._outputs = self._outputs, []
        return outputs if keep else []
