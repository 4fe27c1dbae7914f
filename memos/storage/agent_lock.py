"""One writer per agent: a lock file that the operating system frees when its holder dies."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from memos.errors import AgentInUse
from memos.messages import utc_now


class AgentLock:
    """The right to write to one agent, held from `acquire` until `release` or the end of the process."""

    def __init__(self, folder: Path, agent_id: str, agent_name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._agent_name = agent_name
        self._lock = FileLock(folder / f"{agent_id}.lock", timeout=0, mode=0o600)
        self._holder_file = folder / f"{agent_id}.holder"

    def acquire(self, take_over: bool = False) -> None:
        """Take the lock; with `take_over`, ask the process that holds it to leave (SIGTERM) and wait up to 5 s.

        Raises: AgentInUse, naming the holder and the next step.
        """
        if not self._try():
            if not take_over:
                raise self._in_use()
            self._ask_holder_to_leave()
            self._wait(timeout_s=5)
        self._holder_file.write_text(json.dumps({"pid": os.getpid(), "since": utc_now().isoformat()}))

    def release(self) -> None:
        """Give the lock back. Releasing twice is allowed."""
        if self._lock.is_locked:
            self._holder_file.unlink(missing_ok=True)
            self._lock.release(force=True)

    def held_by(self) -> str:
        """Return who holds the agent, such as `process 4711, since 10:42`; empty where nobody does."""
        if not self._holder_file.exists():
            return ""
        if self._try():  # a holder that died left its file behind
            self._lock.release(force=True)
            return ""
        holder = self._holder()
        return f"process {holder.get('pid', '?')}{_since(holder.get('since'))}"

    def _try(self) -> bool:
        try:
            self._lock.acquire()
        except Timeout:
            return False
        return True

    def _wait(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not self._try():
            if time.monotonic() > deadline:
                raise self._in_use()
            time.sleep(0.05)

    def _ask_holder_to_leave(self) -> None:
        pid = self._holder().get("pid")
        if isinstance(pid, int) and pid != os.getpid():
            try:
                os.kill(pid, signal.SIGTERM)
            except (ProcessLookupError, PermissionError):
                return  # gone already, or not ours: waiting for the lock tells

    def _holder(self) -> dict[str, Any]:
        try:
            holder = json.loads(self._holder_file.read_text())
        except (OSError, ValueError):
            return {}
        return holder if isinstance(holder, dict) else {}

    def _in_use(self) -> AgentInUse:
        holder = self._holder()
        who = f" (process {holder['pid']}{_since(holder.get('since'))})" if "pid" in holder else ""
        name = self._agent_name
        return AgentInUse(
            f'"{name}" is open in another terminal{who}.',
            f"memos run {name} --read-only to look, or memos run {name} --take-over to continue here",
        )


def _since(text: object) -> str:
    try:
        moment = datetime.fromisoformat(str(text)).astimezone()
    except ValueError:
        return ""
    return f", since {moment:%H:%M}"
