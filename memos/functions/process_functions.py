"""The functions of the agent as a process: speaking to the user, and giving up time slices.

Source: Packer et al. 2023, §2.4; names and parameters are MemGPT's.
"""

from __future__ import annotations

from memos.errors import FunctionFailed
from memos.functions.syscalls import Syscalls
from memos.functions.table import function
from memos.messages import Said

PAUSE_LIMIT_MINUTES = 360


class ProcessFunctions:
    """`send_message` and `pause_heartbeats`."""

    def __init__(self, syscalls: Syscalls) -> None:
        self._syscalls = syscalls

    @function(asks_heartbeat=False)
    def send_message(self, message: str) -> str:
        """Say something to the user; no other function does.

        Args:
            message: What to say, in full; plain text or Markdown.
        """
        if not message.strip():
            raise FunctionFailed("The message is empty; the user saw nothing.")
        self._syscalls.publish(Said(message))
        return "The user has it."

    @function(asks_heartbeat=False, in_small_windows=False)
    def pause_heartbeats(self, minutes: int) -> str:
        """Let no timed heartbeat wake you for a while.

        Args:
            minutes: From 1 to 360.
        """
        if not 1 <= minutes <= PAUSE_LIMIT_MINUTES:
            raise FunctionFailed(f"minutes is from 1 to {PAUSE_LIMIT_MINUTES}.")
        self._syscalls.pause_heartbeats(minutes)
        return f"No timed heartbeat for {minutes} minutes."
