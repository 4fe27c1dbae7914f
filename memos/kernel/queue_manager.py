"""The queue manager: appends to recall storage, keeps the FIFO queue within its budget, settles what was left open.

Every row is written here, through the one disk thread; the queue in memory is the view the database would give.
Source: Packer et al. 2023, §2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from memos.kernel.control import Turn, was_stopped
from memos.memory.message_rows import event_message, local_offset, reply_message
from memos.memory.recall_storage import RecallStorage
from memos.messages import Event, Evicted, FunctionResult, Message, MessageState, Reply, new_id, utc_now
from memos.storage.agents import Agent, Agents
from memos.storage.database import Database
from memos.storage.usage_ledger import ModelCall, UsageLedger


class QueueManager:
    """The FIFO queue of one agent. Coroutines return once the row is on disk."""

    def __init__(self, database: Database, agents: Agents, agent: Agent, recall: RecallStorage) -> None:
        self._database = database
        self._agents = agents
        self._recall = recall
        self._ledger = UsageLedger(database)
        self.agent = agent
        self.session = new_id()
        """The sitting, from start to end of this process: rows of one sitting lend each other weight in search."""
        self._queue: list[Message] = []

    @property
    def queue(self) -> Sequence[Message]:
        """The FIFO queue, in order of `seq`."""
        return self._queue

    @property
    def summary(self) -> str:
        """The recursive summary of all that left the queue; '' while nothing has."""
        return self.agent.summary

    async def open(self) -> list[Event]:
        """Settle what a crash left open, read the queue, and return the events that were never fetched."""

        def work() -> tuple[list[Message], list[Event]]:
            self._recall.settle(self.agent.queue_start)
            return self._recall.queue(self.agent.queue_start), self._recall.deferred()

        self._queue, deferred = await self._database.run(work)
        return deferred

    async def settle(self) -> None:
        """Give every call without a result a neutral one; needed before an event may follow."""

        def work() -> list[Message]:
            self._recall.settle(self.agent.queue_start)
            return self._recall.queue(self.agent.queue_start)

        self._queue = await self._database.run(work)

    async def was_stopped(self) -> bool:
        """Whether the newest turn ended before the agent yielded; as it is on disk, before `open` as well."""
        return was_stopped(await self._database.run(lambda: self._recall.queue(self.agent.queue_start)))

    async def append_event(self, event: Event, turn: Turn) -> Message:
        """Store an event, before anything is sent anywhere because of it."""
        message = replace(event_message(event, self.agent.id, turn.id), session=self.session)
        stored = await self._database.run(lambda: self._recall.append(message))
        self.note(stored)
        return stored

    async def defer(self, event: Event) -> None:
        """Store an event that comes while a turn runs, for a later turn."""
        await self._database.run(lambda: self._recall.defer(event))

    async def may_be_woken(self) -> bool:
        """Whether a timed heartbeat is welcome: `pause_heartbeats` is not in force."""
        agent = await self._database.run(lambda: self._agents.reload(self.agent))
        return agent.paused_until is None or agent.paused_until <= utc_now()

    async def store_draft(self, draft: Message, call: ModelCall) -> tuple[Message, ModelCall]:
        """Store or refresh the provisional row of a reply that is still streaming, and the model call it comes from."""
        return await self._database.run(lambda: self._store_paid(draft, call))

    async def store_reply(self, reply: Reply, draft: Message, call: ModelCall) -> Message:
        """Store a finished reply with its calls pending; a later `store_result` closes each."""
        return await self._store_final(reply_message(reply, draft), call)

    async def store_incomplete(self, draft: Message, call: ModelCall) -> Message:
        """Store what was shown of a reply that broke off. Its calls are not kept, so none can run."""
        return await self._store_final(replace(draft, state=MessageState.INCOMPLETE, created_at=utc_now()), call)

    async def record_call(self, turn_id: str, call: ModelCall) -> None:
        """Store a model call that left no reply in the queue."""
        await self._database.run(lambda: self._ledger.record(self.agent.id, turn_id, call))

    def store_result(self, result: FunctionResult, reply: Message) -> Message:
        """Store a result inside the transaction of its effects (called in the disk thread)."""
        now = utc_now()
        return self._recall.append(
            Message(
                role="tool",
                content=result.text,
                agent_id=self.agent.id,
                turn_id=reply.turn_id,
                name=result.name,
                call_id=result.call_id,
                ok=result.ok,
                payload=local_offset(now) | ({"heartbeat": True} if result.heartbeat else {}),
                session=self.session,
                created_at=now,
            )
        )

    def note(self, stored: Message) -> None:
        """Let a stored row appear in the queue."""
        self._queue.append(stored)

    async def flush(self, tokens_of: Sequence[int], excess_tokens: int) -> Evicted | None:
        """Evict about half of the queue, oldest first, and at least `excess_tokens`; None where nothing can go.

        `tokens_of` are the tokens of each message of the queue. The cut stands before an event, so that no call is
        parted from its result, and never passes the turn that is running.
        """
        cut = _cut(self._queue, tokens_of, max(excess_tokens, sum(tokens_of) // 2))
        if not cut:
            return None
        evicted, kept = self._queue[:cut], self._queue[cut:]
        summary = _summary_after(self.agent.summary, evicted)
        start = kept[0].seq
        await self._database.run(lambda: self._agents.set_queue(self.agent, start, summary))
        self.agent = replace(self.agent, queue_start=start, summary=summary)
        self._queue = kept
        return Evicted(len(evicted), sum(tokens_of[:cut]))

    async def _store_final(self, message: Message, call: ModelCall) -> Message:
        stored, _ = await self._database.run(lambda: self._store_paid(message, call))
        self.note(stored)
        return stored

    def _store_paid(self, message: Message, call: ModelCall) -> tuple[Message, ModelCall]:
        """Store or refresh a reply and its model call in one transaction: neither is there without the other."""
        with self._database.transaction():
            stored = self._recall.update(message) if message.seq else self._recall.append(message)
            return stored, self._ledger.record(message.agent_id, message.turn_id, call)


def _cut(queue: Sequence[Message], tokens_of: Sequence[int], wanted_tokens: int) -> int:
    """Return how many messages to evict: the first cut before an event that frees enough, else the last possible."""
    running = queue[-1].turn_id if queue else ""
    freed, best = 0, 0
    for index, message in enumerate(queue):
        if index and message.role == "user":
            best = index
            if freed >= wanted_tokens:
                break
        if message.turn_id == running:
            break
        freed += tokens_of[index]
    return best


def _summary_after(previous: str, evicted: Sequence[Message]) -> str:
    """Return the deterministic summary: what left, from when to when, and where it is. Needs no model."""
    first, last = evicted[0].created_at.astimezone(), evicted[-1].created_at.astimezone()
    line = (
        f"{len(evicted)} messages from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} have left the queue."
        " They are in recall storage: conversation_search finds them."
    )
    earlier = [kept for kept in previous.splitlines() if kept.strip()][-9:]
    return "\n".join([*earlier, line])
