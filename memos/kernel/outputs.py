"""What a kernel publishes, and who listens. A slow or absent listener never stalls a turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from memos.messages import Output, OutputBody


class Subscription:
    """An async iterator over all that is published from now on, until `close`."""

    def __init__(self, board: OutputBoard) -> None:
        self._board = board
        self._queue: asyncio.Queue[Output | None] = asyncio.Queue()

    def __aiter__(self) -> AsyncIterator[Output]:
        """Iterate in the order of publishing."""
        return self

    async def __anext__(self) -> Output:
        """Return the next output; ends after `close`."""
        output = await self._queue.get()
        if output is None:
            raise StopAsyncIteration
        return output

    def offer(self, output: Output | None) -> None:
        """Hand over an output; None ends the iteration."""
        self._queue.put_nowait(output)

    def close(self) -> None:
        """Listen no longer."""
        self._board.drop(self)
        self.offer(None)


class OutputBoard:
    """Numbers the outputs of one kernel from 1 and hands each to every subscription."""

    def __init__(self, agent_id: str) -> None:
        self._agent_id = agent_id
        self._subscriptions: list[Subscription] = []
        self._seq = 0

    def subscribe(self) -> Subscription:
        """Return a subscription to all that follows."""
        subscription = Subscription(self)
        self._subscriptions.append(subscription)
        return subscription

    def publish(self, turn_id: str, body: OutputBody) -> None:
        """Number `body` and hand it out. Never blocks."""
        self._seq += 1
        output = Output(self._agent_id, turn_id, self._seq, body)
        for subscription in self._subscriptions:
            subscription.offer(output)

    def drop(self, subscription: Subscription) -> None:
        """Hand nothing more to `subscription`."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def close(self) -> None:
        """End every subscription."""
        for subscription in list(self._subscriptions):
            subscription.close()
