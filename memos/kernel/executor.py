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


class Executor:
    """Runs calls against the function table of one agent."""

    def __init__(
        self, database: Database, table: FunctionTable, queue_manager: QueueManager, syscalls: KernelSyscalls
    ) -> None:
        self._database = database
        self._table = table
        self._queue_manager = queue_manager
        self._syscalls = syscalls

    async def execute(self, reply: Message, turn: Turn, publish: Callable[[OutputBody], None]) -> list[FunctionResult]:
        """Run all calls of a stored reply, in order; a call that fails does not keep the next ones from running."""
        results = []
        for call in reply.calls:
            publish(CallStarted(call))
            began = time.perf_counter()
            result, outputs, row = await self._database.run(lambda call=call: self._run(call, reply, turn))  # type: ignore[misc]
            self._queue_manager.note(row)
            for body in outputs:
                publish(body)
            publish(CallFinished(call, result, time.perf_counter() - began))
            results.append(result)
        return results

    def _run(self, call: FunctionCall, reply: Message, turn: Turn) -> tuple[FunctionResult, list[OutputBody], Message]:
        """Run one call in the disk thread: its effects and its result are one transaction."""
        self._syscalls.begin(turn)
        with self._database.transaction():
            result = self._attempt(call)
            row = self._queue_manager.store_result(result, reply)
        return result, self._syscalls.take_outputs(keep=result.ok), row

    def _attempt(self, call: FunctionCall) -> FunctionResult:
        function = self._table.get(call.name)
        try:
            if function is None:
                raise FunctionFailed(self._unknown(call.name))
            arguments, heartbeat = parse_arguments(call.arguments, function)
            with self._database.transaction():  # a savepoint: the effects of a failed call are undone, its result stays
                text = function.run(**arguments)
        except FunctionFailed as failure:
            return FunctionResult(call.id, call.name, ok=False, text=str(failure), heartbeat=True)
        return FunctionResult(call.id, call.name, ok=True, text=_bounded(text), heartbeat=heartbeat)

    def _unknown(self, name: str) -> str:
        names = self._table.names()
        nearest = difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(names)}."
        return f'There is no function "{name[:80]}". {hint}'


def _bounded(text: str) -> str:
    if len(text) <= RESULT_LIMIT_CHARS:
        return text
    return f"{text[:RESULT_LIMIT_CHARS]}… (cut here: {len(text)} characters in all)"
