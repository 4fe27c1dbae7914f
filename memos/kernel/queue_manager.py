"""The queue manager: appends to recall storage, keeps the FIFO queue within its budget, settles what was left open.

Every row is written here, through the one disk thread; the queue in memory is the view the database would give.
Source: Packer et al. 2023, §2.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from memos.kernel.control import Turn
from memos.memory.image_files import read_image
from memos.memory.message_rows import event_message, local_offset, reply_message
from memos.memory.prompt_records import FOUND, PromptRecords
from memos.memory.recall_storage import RecallStorage
from memos.messages import Event, EventKind, FunctionResult, Image, Message, MessageState, Reply, new_id, utc_now
from memos.storage.agents import Agent, Agents
from memos.storage.attachments import Attachments
from memos.storage.database import Database
from memos.storage.usage_ledger import ModelCall, UsageLedger

T = TypeVar("T")

Seen = tuple[int, int]
"""The first and the last `seq` of the queue in a prompt."""


class QueueManager:
    """The FIFO queue of one agent. Coroutines return once the row is on disk."""

    def __init__(self, database: Database, agents: Agents, agent: Agent, recall: RecallStorage) -> None:
        self._database = database
        self._agents = agents
        self._recall = recall
        self._ledger = UsageLedger(database)
        self._prompts = PromptRecords(database, agent.id)
        self._attachments = Attachments(database)
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

    async def look(self) -> None:
        """Read the queue and change nothing: another process is at it."""
        self._queue = await self._database.run(lambda: self._recall.queue(self.agent.queue_start))

    async def settle(self) -> None:
        """Give every call without a result a neutral one; needed before an event may follow."""

        def work() -> list[Message]:
            self._recall.settle(self.agent.queue_start)
            return self._recall.queue(self.agent.queue_start)

        self._queue = await self._database.run(work)

    async def append_event(self, event: Event, turn: Turn) -> Message:
        """Store an event, before anything is sent anywhere because of it."""
        message = replace(event_message(event, self.agent.id, turn.id), session=self.session)
        stored = await self._database.run(lambda: self._recall.append(message))
        self.note(stored)
        return stored

    async def keep_images(self, paths: Sequence[str]) -> Sequence[Image]:
        """Read image files and store them, before a message may show them. Raises: BadInput, and nothing is stored."""
        images = await asyncio.to_thread(lambda: [read_image(path) for path in paths])
        await self._database.run(lambda: self._attachments.keep(images))
        return images

    async def defer(self, event: Event) -> None:
        """Store an event that comes while a turn runs, for a later turn."""
        await self._database.run(lambda: self._recall.defer(event))

    async def may_be_woken(self) -> bool:
        """Whether a timed heartbeat is welcome: `pause_heartbeats` is not in force."""
        agent = await self._database.run(lambda: self._agents.reload(self.agent))
        return agent.paused_until is None or agent.paused_until <= utc_now()

    def seen(self, since: int | None = None) -> Seen:
        """Return the ends of the queue as a prompt has it now; `since` for a processor that does not read all."""
        return (since or self._queue[0].seq, self._queue[-1].seq) if self._queue else (0, 0)

    async def store_draft(self, draft: Message, call: ModelCall, seen: Seen) -> tuple[Message, ModelCall]:
        """Store or refresh the provisional row of a reply that is still streaming, and the model call it comes from."""
        return await self._database.run(lambda: self._store_paid(draft, call, seen))

    async def store_reply(self, reply: Reply, draft: Message, call: ModelCall, seen: Seen) -> Message:
        """Store a finished reply with its calls pending; a later `store_result` closes each.

        `seen` are the ends of the queue in the prompt that it answers.
        """
        return await self._store_final(reply_message(reply, draft), call, seen)

    async def store_incomplete(self, draft: Message, call: ModelCall, seen: Seen) -> Message:
        """Store what was shown of a reply that broke off. Its calls are not kept, so none can run."""
        return await self._store_final(replace(draft, state=MessageState.INCOMPLETE, created_at=utc_now()), call, seen)

    async def record_call(self, turn_id: str, call: ModelCall) -> None:
        """Store a model call that left no reply in the queue."""
        await self._database.run(lambda: self._ledger.record(self.agent.id, turn_id, call))

    async def last_call(self) -> ModelCall | None:
        """Return the newest model call of a step, or None; it may still be under way, and then has no usage yet."""
        return await self._database.run(lambda: self._ledger.last(self.agent.id))

    def store_result(self, result: FunctionResult, reply: Message, found: Mapping[str, Sequence[int]]) -> Message:
        """Store a result inside the transaction of its effects (called in the disk thread).

        `found` has the rows that it shows, by tier.
        """
        now = utc_now()
        more = ({"heartbeat": True} if result.heartbeat else {}) | ({FOUND: found} if found else {})
        return self._recall.append(
            Message(
                role="tool",
                content=result.text,
                agent_id=self.agent.id,
                turn_id=reply.turn_id,
                name=result.name,
                call_id=result.call_id,
                ok=result.ok,
                payload=local_offset(now) | more,
                session=self.session,
                created_at=now,
            )
        )

    def note(self, stored: Message) -> None:
        """Let a stored row appear in the queue."""
        self._queue.append(stored)

    @property
    def warned(self) -> bool:
        """Whether the agent has been told of memory pressure since the last flush."""
        return any(m.kind is EventKind.MEMORY_PRESSURE and m.seq > self.agent.flushed_at for m in self._queue)

    def cut(self, tokens_of: Sequence[int], wanted_tokens: int) -> int:
        """Return how many messages to evict: at the first place that frees what is wanted, else at the last.

        `tokens_of` are the tokens of each message of the queue. The cut stands before an event, so that no call is
        parted from its result, and never passes the beginning of the turn that runs or ran last.
        """
        newest = self._queue[-1].turn_id if self._queue else ""
        end = next((n for n, message in enumerate(self._queue) if message.turn_id == newest), 0)
        return _cut(self._queue[: end + 1], tokens_of, wanted_tokens)

    def cut_within_turn(self, tokens_of: Sequence[int], wanted_tokens: int) -> int:
        """Return the same as `cut`, between the steps of the turn that runs as well: what it asked leaves with them."""
        return _cut(self._queue, tokens_of, wanted_tokens)

    async def evict(self, count: int, summary: str, author: str) -> None:
        """Let the first `count` messages leave the queue; they stay in recall storage, and `summary` speaks of them."""
        evicted, kept = self._queue[:count], self._queue[count:]
        start = kept[0].seq if kept else evicted[-1].seq + 1
        self.agent = await self._database.run(lambda: self._agents.begin_queue(self.agent, start, summary, author))
        self._queue = kept

    async def set_summary(self, text: str, author: str) -> None:
        """Store the recursive summary; earlier ones are kept."""
        self.agent = await self._database.run(lambda: self._agents.set_summary(self.agent, text, author))

    async def shorten(self, message: Message) -> None:
        """Let `message` stand in the queue in place of the longer row of its `seq`."""
        await self._database.run(lambda: self._recall.override(message))
        self._queue = [message if row.seq == message.seq else row for row in self._queue]

    async def take_back(self, messages: Sequence[Message], by: str, also: Callable[[], T]) -> T:
        """Let messages no longer count, in the queue or in search, and do `also`, in one transaction; rows stay."""
        seqs = {message.seq for message in messages}

        def work() -> T:
            with self._database.transaction():
                self._recall.take_back(sorted(seqs), by)
                return also()

        result = await self._database.run(work)
        self._queue = [row for row in self._queue if row.seq not in seqs]
        return result

    async def erase(self, work: Callable[[], T]) -> T:
        """Do `work`, which may delete and rewrite any row, and take queue and summary as it leaves them.

        Raises: what `work` raises; it may have done a part then.
        """

        def work_and_look() -> tuple[T | Exception, Agent, list[Message]]:
            result: T | Exception
            try:
                result = work()
            except Exception as error:
                result = error
            agent = self._agents.reload(self.agent)
            return result, agent, self._recall.queue(agent.queue_start)

        result, self.agent, self._queue = await self._database.run(work_and_look)
        if isinstance(result, Exception):
            raise result
        return result

    async def revise(self, place: int, revised: Callable[[Message], Message]) -> Message:
        """Supersede the message at `place` of the queue and all after it by copies, the first one `revised`; return it.

        The copies come last in order as the old rows did; each is whole, even where it stood in the queue shortened.
        """
        old = self._queue[place:]

        def work() -> list[Message]:
            with self._database.transaction():
                whole = self._recall.whole([message.seq for message in old])
                stored = []
                for message in (revised(whole[0]), *whole[1:]):
                    copy = replace(message, id=new_id(), seq=0)
                    self._recall.take_back([message.seq], copy.id)
                    stored.append(self._recall.append(copy))
                self._prompts.copy({row.seq: copy.seq for row, copy in zip(whole, stored, strict=True)})
                return stored

        copies = await self._database.run(work)
        self._queue[place:] = copies
        return copies[0]

    async def _store_final(self, message: Message, call: ModelCall, seen: Seen) -> Message:
        stored, _ = await self._database.run(lambda: self._store_paid(message, call, seen))
        self.note(stored)
        return stored

    def _store_paid(self, message: Message, call: ModelCall, seen: Seen) -> tuple[Message, ModelCall]:
        """Store or refresh a reply, what stood in its prompt, and its model call in one transaction."""
        with self._database.transaction():
            stored = self._recall.update(message) if message.seq else self._recall.append(message)
            self._prompts.keep(stored.seq, seen)
            return stored, self._ledger.record(message.agent_id, message.turn_id, call)


def _cut(queue: Sequence[Message], tokens_of: Sequence[int], wanted_tokens: int) -> int:
    freed, best = 0, 0
    for index, message in enumerate(queue):
        if index and message.role == "user":
            best = index
            if freed >= wanted_tokens:
                break
        freed += tokens_of[index]
    return best
