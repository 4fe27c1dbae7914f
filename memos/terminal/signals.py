"""What the system tells a conversation to do: stop a reply, leave in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

LEAVING = {"SIGTERM": 143, "SIGHUP": 129}
"""Signals that end a conversation in order, and the exit codes a shell expects of them."""


@contextlib.contextmanager
def signals_handled(leave: Callable[[int], None], interrupt: Callable[[], None] | None = None) -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP call `leave` with their exit code, and SIGINT calls `interrupt` if given.

    A signal that whoever began this process wants ignored (`nohup`, a job in the background of a script) stays so.
    """
    loop = asyncio.get_running_loop()
    wanted: dict[str, Callable[[], None]] = {
        name: (lambda code=code: leave(code))  # type: ignore[misc]
        for name, code in LEAVING.items()
    }
    if interrupt:
        wanted["SIGINT"] = interrupt
    added: dict[int, Any] = {}
    for name, reaction in wanted.items():
        number = getattr(signal, name, None)
        if number is None or signal.getsignal(number) is signal.SIG_IGN:
            continue
        before = signal.getsignal(number)
        with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows, or not the main thread
            loop.add_signal_handler(number, reaction)
            added[number] = before
    try:
        yield
    finally:
        for number, before in added.items():
            loop.remove_signal_handler(number)
            signal.signal(number, before)  # the work of leaving is not done yet: main's own reaction holds again
