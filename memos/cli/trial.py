"""The test of a choice: one real call to a model that must use a function."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from memos.cli.boot import processor_for
from memos.config import Places, Settings
from memos.errors import MemosError, ProcessorUnreachable
from memos.functions.arguments import parse_arguments
from memos.functions.process_functions import ProcessFunctions
from memos.functions.table import FunctionTable
from memos.memory.message_rows import event_message
from memos.messages import Counters, Event, EventKind, OutputBody, Prompt, Reply, utc_now
from memos.prompts import system_instructions

TIMEOUT_S = 120.0
_REQUEST = "This is a test of the connection. Call send_message with a greeting of a few words."


class _Listener:
    """The `Syscalls` of a trial: it hears what is said, or that the model would rather be quiet, as the clerk is."""

    turn_id = "trial"
    turn_start = 0
    seen_from = 0

    def __init__(self) -> None:
        self.heard: list[OutputBody] = []
        self.paused = False

    def publish(self, body: OutputBody) -> None:
        self.heard.append(body)

    def found(self, tier: str, seqs: Sequence[int]) -> None:
        raise AssertionError("a trial has no memory")

    def pause_heartbeats(self, minutes: int) -> None:
        self.paused = True


def try_model(settings: Settings, places: Places, environ: Mapping[str, str]) -> str:
    """Make one call to `settings.config.model` and run the function it calls; return one sentence on how it went.

    Raises: MemosError when the model cannot be used.
    """
    return asyncio.run(_try(settings, places, environ))


async def _try(settings: Settings, places: Places, environ: Mapping[str, str]) -> str:
    model, listener = settings.config.model, _Listener()
    table = FunctionTable([ProcessFunctions(listener)])
    event = Event(EventKind.SYSTEM_ALERT, payload={"message": _REQUEST})
    row = replace(event_message(event, "trial", event.id), seq=1)
    prompt = Prompt(system_instructions("small"), table.schemas, (), (row,), Counters(utc_now().astimezone()))
    processor = processor_for(settings, places, environ)
    began = time.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT_S), aclosing(processor.infer(prompt)) as parts:  # type: ignore[type-var]
            reply = [part async for part in parts if isinstance(part, Reply)][-1]
    except TimeoutError as error:
        raise ProcessorUnreachable(f"{model} did not answer within {TIMEOUT_S:.0f} s.", "try again") from error
    finally:
        await processor.aclose()
    took = f"{model} answered in {time.monotonic() - began:.1f} s"
    if _called(reply, table, listener):
        return f"{took} and calls functions."
    return f"{took}, in plain text: it may not call functions by itself."


def _called(reply: Reply, table: FunctionTable, listener: _Listener) -> bool:
    for call in reply.calls:
        function = table.get(call.name)
        try:
            if function:
                function.run(**parse_arguments(call.arguments, function)[0])
        except MemosError:
            return False
    return bool(listener.heard) or listener.paused
