"""What a function may ask of the kernel: nothing more than this protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from memos.messages import OutputBody


class Syscalls(Protocol):
    """The kernel as a running function sees it."""

    @property
    def turn_id(self) -> str:
        """The turn in which the function runs."""
        ...

    @property
    def turn_start(self) -> int:
        """The `seq` of the event that began the turn: rows from there on are the question, not the answer."""
        ...

    @property
    def seen_from(self) -> int:
        """The `seq` from which on the processor reads every row itself: there is no need to find those."""
        ...

    def publish(self, body: OutputBody) -> None:
        """Show something, once the function's effects are on disk; nothing is shown if they are undone."""
        ...

    def found(self, tier: str, seqs: Sequence[int]) -> None:
        """Note which rows of a tier ("recall" or "archival") the function's result shows, for `/why`."""
        ...

    def pause_heartbeats(self, minutes: int) -> None:
        """Let no timed heartbeat wake the agent for so long."""
        ...
