"""A running kernel and all it publishes, for tests of one or many turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from memos.kernel.kernel import Kernel
from memos.llm.scripted import ScriptedCall, ScriptedReply
from memos.messages import Event, EventKind, OutputBody, TurnDone

Body = TypeVar("Body")
TIMEOUT_S = 20


class Listener:
    """What a kernel published so far."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.bodies: list[OutputBody] = []
        self._subscription = kernel.subscribe()
        self._arrived = asyncio.Event()
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for output in self._subscription:
            self.bodies.append(output.body)
            self._arrived.set()

    def of(self, kind: type[Body]) -> list[Body]:
        """Return all bodies of one kind, in order."""
        return [body for body in self.bodies if isinstance(body, kind)]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds; it is looked at after each output."""
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                self._arrived.clear()
                await self._arrived.wait()

    async def say(self, text: str) -> list[OutputBody]:
        """Post a user message, wait until all is quiet, and return what was published meanwhile."""
        return await self.post(Event(EventKind.USER_MESSAGE, text))

    async def post(self, event: Event) -> list[OutputBody]:
        """Post an event, wait until all is quiet, and return what was published meanwhile."""
        begun, turns = len(self.bodies), len(self.of(TurnDone))
        self.kernel.post(event)
        await self.until(lambda: len(self.of(TurnDone)) > turns and not self.kernel.busy)
        return self.bodies[begun:]


@asynccontextmanager
async def running(kernel: Kernel) -> AsyncIterator[Listener]:
    """Run the kernel's task for the length of a block."""
    listener = Listener(kernel)
    task = asyncio.create_task(kernel.run())
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and task.exception():
            raise task.exception() or AssertionError


def play(kernel: Kernel, scene: Callable[[Listener], Awaitable[None]]) -> None:
    """Play `scene` with a running kernel, in an event loop of its own."""

    async def run() -> None:
        async with running(kernel) as listener:
            await scene(listener)

    asyncio.run(run())


def speak(message: str, **more: Any) -> ScriptedReply:
    """Return a reply that says one thing."""
    return ScriptedReply(calls=(ScriptedCall("send_message", {"message": message}),), **more)


def call(name: str, arguments: Any, monologue: str = "", **more: Any) -> ScriptedReply:
    """Return a reply with one call."""
    return ScriptedReply(monologue, calls=(ScriptedCall(name, arguments),), **more)


def append(content: str, heartbeat: object = True) -> ScriptedReply:
    """Return a reply that files a line in the human block."""
    return call("core_memory_append", {"name": "human", "content": content, "request_heartbeat": heartbeat})


def kinds(bodies: Iterable[OutputBody]) -> list[str]:
    """Return the names of the kinds, runs of the same one told once."""
    names = [type(body).__name__ for body in bodies]
    return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]
