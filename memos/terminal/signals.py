"""What the system tells a conversation to do: stop a reply, leave in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

LEAVING = {"SIGTERM": 143, "SIGHUP": 129}
"""Signals that end a conversation in order, and the exit codes a shell expects of them."""


@contextlib.contextmanager
def signals_handled(leave: Callable[[int], None], interrupt: Callable[[], None] | None = None) -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP call `leave` with their exit code, and SIGINT calls `interrupt` if given."""
    loop = asyncio.get_running_loop()
    wanted: dict[str, Callable[[], None]] = {
        name: (lambda code=code: leave(code))  # type: ignore[misc]
        for name, code in LEAVING.items()
    }
    if interrupt:
        wanted["SIGINT"] = interrupt
    added: list[int] = []
    for name, reaction in wanted.items():
        number = getattr(signal, name, None)
        with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows, or not the main thread
            if number is not None:
                loop.add_signal_handler(number, reaction)
                added.append(number)
    try:
        yield
    finally:
        for number in added:
            loop.remove_signal_handler(number)
