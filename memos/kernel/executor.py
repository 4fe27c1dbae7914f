"""The function executor: runs the calls of a reply in order, each result stored together with its effects.

Source: Packer et al. 2023, §2.3.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable

from memos.errors import FunctionFailed
from memos.functions.arguments import parse_arguments
from memos.functions.table import FunctionTable
from memos.kernel.control import Turn
from memos.kernel.queue_manager import QueueManager
from memos.kernel.syscalls import KernelSyscalls
from memos.messages import CallFinished, CallStarted, FunctionCall, FunctionResult, Message, OutputBody
from memos.storage.database import Database

RESULT_LIMIT_CHARS = 6_000
"""What a result may have, whatever the window."""
_LEAST_CHARS = 160
"""A result is not cut below this: it would say nothing any more."""


class Executor:
    """Runs calls against the function table of one agent."""

    def __init__(
        self, database: Database, table: FunctionTable, queue_manager: QueueManager, syscalls: KernelSyscalls
    ) -> None:
        self._database = database
        self._table = table
        self._queue_manager = queue_manager
        self._syscalls = syscalls

    async def execute(
        self,
        reply: Message,
        turn: Turn,
        publish: Callable[[OutputBody], None],
        limit_chars: int = RESULT_LIMIT_CHARS,
    ) -> list[FunctionResult]:
        """Run all calls of a stored reply, in order; a call that fails does not keep the next ones from running.

        `limit_chars` is what the calls' results may have together, as far as that leaves each a few lines.
        """
        each_chars = max(limit_chars // max(len(reply.calls), 1), _LEAST_CHARS)
        results = []
        for call in reply.calls:
            publish(CallStarted(call))
            began = time.perf_counter()
            result, outputs, row = await self._database.run(lambda call=call: self._run(call, reply, turn, each_chars))  # type: ignore[misc]
            self._queue_manager.note(row)
            for body in outputs:
                publish(body)
            publish(CallFinished(call, result, time.perf_counter() - began))
            results.append(result)
        return results

    def _run(
        self, call: FunctionCall, reply: Message, turn: Turn, limit_chars: int
    ) -> tuple[FunctionResult, list[OutputBody], Message]:
        """Run one call in the disk thread: its effects and its result are one transaction."""
        self._syscalls.begin(turn)
        with self._database.transaction():
            result = self._attempt(call, limit_chars)
            found = self._syscalls.take_found() if result.ok else {}
            row = self._queue_manager.store_result(result, reply, found)
        return result, self._syscalls.take_outputs(keep=result.ok), row

    def _attempt(self, call: FunctionCall, limit_chars: int) -> FunctionResult:
        function = self._table.get(call.name)
        try:
            if function is None:
                raise FunctionFailed(self._unknown(call.name))
            arguments, heartbeat = parse_arguments(call.arguments, function)
            with self._database.transaction():  # a savepoint: the effects of a failed call are undone, its result stays
                text = function.run(**arguments)
        except FunctionFailed as failure:
            return FunctionResult(call.id, call.name, ok=False, text=str(failure), heartbeat=True)
        return FunctionResult(call.id, call.name, ok=True, text=bounded(text, limit_chars), heartbeat=heartbeat)

    def _unknown(self, name: str) -> str:
        names = self._table.names()
        nearest = difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(names)}."
        return f'There is no function "{name[:80]}". {hint}'


def bounded(text: str, limit_chars: int) -> str:
    """Return a result of about `limit_chars`: its longest lines are cut to one length, so that none is missing.

    A page of search results keeps all its hits; the next page would not show those that were cut away.
    """
    if len(text) <= limit_chars:
        return text
    lines = text.split("\n")
    limit_of_line, room = 0, limit_chars - len(lines)
    for left, length in zip(range(len(lines), 0, -1), sorted(map(len, lines)), strict=True):
        limit_of_line = max(room // left, _LEAST_CHARS // 2)
        if length > limit_of_line:
            break
        room -= length
    cut = "\n".join(line if len(line) <= limit_of_line else f"{line[:limit_of_line]}…" for line in lines)
    many = 2 * limit_chars
    return f"{cut[:many]} (cut here: {len(text)} characters in all)"
