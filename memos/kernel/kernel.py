"""The kernel: a task with an inbox. Events go in; what happens is published to whoever listens.

The whole control flow is `Kernel._cycle`: fetch an event, infer a reply, execute its calls, and let control decide who
gets the next time slice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from memos.errors import BadInput, ContextOverflow, LimitReached, MemosError, ProcessorError, ProcessorUnreachable
from memos.kernel.control import (
    Limits,
    Turn,
    heartbeat_after,
    memory_pressure,
    out_of_time,
    reason_it_is_not_whole,
    reason_to_stop,
    told_of_length,
    was_stopped,
)
from memos.kernel.draft import Draft
from memos.kernel.executor import Executor
from memos.kernel.main_context import MainContext
from memos.kernel.outputs import OutputBoard, Subscription
from memos.kernel.processor_line import ProcessorLine
from memos.kernel.queue_manager import QueueManager
from memos.llm.processor import Processor, closing_stream
from memos.messages import (
    Event,
    EventKind,
    FunctionResult,
    Image,
    Message,
    Notice,
    OutputBody,
    Reply,
    ReplyStored,
    StepStarted,
    Stopped,
    TurnDone,
)
from memos.storage.agents import Agent


@dataclass(slots=True)
class Machine:
    """What a kernel drives: the processors and the parts around them, wired at boot."""

    processors: ProcessorLine
    main_context: MainContext
    queue_manager: QueueManager
    executor: Executor
    limits: Limits
    idle_heartbeat_s: float = 0.0
    """After so long without any event a timer event wakes the agent; 0: never."""


class Kernel:
    """One agent at work. `run` is the task; `post`, `cancel` and `subscribe` may be called from its event loop."""

    def __init__(self, agent: Agent, machine: Machine) -> None:
        self.agent = agent
        self.machine = machine
        self._board = OutputBoard(agent.id)
        self._inbox: asyncio.Queue[Event] = asyncio.Queue()
        self._turn_task: asyncio.Task[None] | None = None
        self._event_stored = False
        self._stop_wanted = False
        self._deferring: set[asyncio.Task[None]] = set()
        self._unfinished = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._turn_over = asyncio.Event()
        self._opened = asyncio.Event()

    # --- from outside --------------------------------------------------------------------------------------

    def subscribe(self) -> Subscription:
        """Return a subscription to all that happens from now on."""
        return self._board.subscribe()

    def post(self, event: Event) -> None:
        """Put an event into the inbox. While a turn runs it is kept on disk until its own turn comes."""
        if self.busy:
            task = asyncio.get_running_loop().create_task(self.machine.queue_manager.defer(event))
            self._deferring.add(task)
            task.add_done_callback(self._deferring.discard)
        self._enqueue(event)

    async def attach(self, paths: Sequence[str]) -> Sequence[Image]:
        """Keep image files, for an event that shows them (`attachments.images_payload`).

        Raises: BadInput, where one cannot be used or the model sees none; nothing was sent then.
        """
        if paths and self.processor.sees is False:
            raise BadInput(
                f"{self.processor.model} sees no images; nothing was sent.",
                "/model NAME switches to a model that does, or send the words alone.",
            )
        return await self.machine.queue_manager.keep_images(paths)

    def cancel(self) -> None:
        """Stop the running turn: its connection is closed, what was shown is kept and marked.

        A turn whose event is not on disk yet is stopped right after it is.
        """
        self._stop_wanted = self.busy
        if self._turn_task and self._event_stored:
            self._turn_task.cancel()

    @property
    def busy(self) -> bool:
        """Whether a turn runs or an event waits."""
        return self._unfinished > 0

    async def opened(self) -> None:
        """Return when the queue is there, and what a crash left in the inbox is too."""
        await self._opened.wait()

    async def look(self) -> None:
        """Read the queue without serving any event, where another process runs this agent."""
        await self.machine.queue_manager.look()
        self._opened.set()

    async def idle(self) -> None:
        """Return when the inbox is empty and no turn runs."""
        await self._idle.wait()

    async def next_turn(self) -> None:
        """Return when a turn, begun now or later, has ended."""
        self._turn_over.clear()
        await self._turn_over.wait()

    async def was_stopped(self) -> bool:
        """Whether the newest turn ended before the agent yielded: by a limit, an error or an interrupt."""
        await self.opened()
        return was_stopped(self.machine.queue_manager.queue)

    @property
    def processor(self) -> Processor:
        """The processor that runs the next step."""
        return self.machine.processors.current

    # --- the task ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve events until cancelled. Events that a crash left in the inbox come first."""
        try:
            self._enqueue_first(await self.machine.queue_manager.open())
            self._opened.set()
            while True:
                await self._serve(await self._next_event())
                self._unfinished -= 1
                if not self._unfinished:
                    self._idle.set()
        finally:
            while not self._inbox.empty():  # acknowledged, and answered at the next start
                await self.machine.queue_manager.defer(self._inbox.get_nowait())
            self._board.close()

    async def _serve(self, event: Event) -> None:
        """Run one turn as a task of its own, so that it can be cancelled alone."""
        turn = Turn(id=event.id)
        task = self._turn_task = asyncio.create_task(self._cycle(event, turn))
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:  # the kernel itself is being closed
            task.cancel()
            await asyncio.wait([task])
            if not self._event_stored:
                await self.machine.queue_manager.defer(event)
            raise
        finally:
            self._turn_task, self._event_stored, self._stop_wanted = None, False, False
        stopped = _how_it_ended(task, event)
        if stopped:
            await self.machine.queue_manager.settle()
        self._publish(turn, stopped)
        self._publish(turn, TurnDone(turn.steps))
        self._turn_over.set()

    async def _cycle(self, event: Event | None, turn: Turn) -> None:
        """One turn: fetch, infer, execute, control, until the agent yields."""
        while event is not None:
            await self._fetch(event, turn)
            reply = await self._infer(turn)
            results = await self._execute(reply, turn)
            event = self._control(results, turn)

    async def _fetch(self, event: Event, turn: Turn) -> None:
        stored = await self.machine.queue_manager.append_event(event, turn)
        turn.start_seq = turn.start_seq or stored.seq
        self._event_stored = True
        if self._stop_wanted:
            raise asyncio.CancelledError

    async def _infer(self, turn: Turn) -> Message:
        """Have one reply within the time the turn has left, so that a model that never ends does not hold it for ever.

        Raises: LimitReached, ProcessorError; what was shown is kept.
        """
        limits = self.machine.limits
        try:
            async with asyncio.timeout(turn.seconds_left(limits)) as clock:
                return await self._stream(turn)
        except TimeoutError as error:
            if clock.expired():
                raise out_of_time(limits) from error
            raise

    async def _stream(self, turn: Turn) -> Message:
        """Stream one reply and store it, calls pending. Where a processor gives none, the next in line is asked.

        Raises: MemosError, that of the first; what was shown is kept.
        """
        processors = self.machine.processors
        turn.steps += 1
        self._publish(turn, StepStarted(turn.steps, self.machine.limits.steps))
        processors.begin_step(begins_turn=turn.steps == 1)
        while True:
            try:
                return await self._ask_until_it_fits(processors.current, turn)
            except MemosError as error:
                if turn.shown:
                    raise
                self._publish(turn, processors.pass_on(error))

    async def _ask_until_it_fits(self, processor: Processor, turn: Turn) -> Message:
        refusal: ContextOverflow | None = None
        while True:
            try:
                return await self._ask(processor, turn)
            except ContextOverflow as overflow:
                refusal = refusal or overflow
                if not self.machine.main_context.refused(processor, overflow):
                    raise refusal from None

    async def _ask(self, processor: Processor, turn: Turn) -> Message:
        main_context, turn.shown = self.machine.main_context, False
        prompt = await main_context.prompt(processor, turn, lambda body: self._publish(turn, body))
        draft = Draft(self.machine.queue_manager, turn, processor)
        async with draft, closing_stream(processor.infer(prompt)) as parts:
            async for part in parts:
                if isinstance(part, Reply):
                    main_context.accepted(processor, part.usage)
                    return await self._keep(part, draft, turn)
                turn.shown = draft.add(part) or turn.shown
                self._publish(turn, part)
        raise ProcessorUnreachable(f"{processor.model} gave no reply.", "say it again, or /model for another")

    async def _keep(self, reply: Reply, draft: Draft, turn: Turn) -> Message:
        stored = await draft.finish(reply)
        turn.note_model_call(draft.call)
        self._publish(turn, ReplyStored(reply))
        self._publish(turn, reply.usage)
        self._publish(turn, reason_it_is_not_whole(reply))
        self._publish(turn, told_of_length(reply))
        return stored

    async def _execute(self, reply: Message, turn: Turn) -> list[FunctionResult]:
        turn.note_calls(reply.calls)
        machine = self.machine
        queue = machine.queue_manager.queue
        turn.seen_from = queue[0].seq if queue and self.processor.reads_queue else None
        limit_chars = machine.main_context.result_limit_chars
        return await machine.executor.execute(reply, turn, lambda body: self._publish(turn, body), limit_chars)

    def _control(self, results: list[FunctionResult], turn: Turn) -> Event | None:
        event = heartbeat_after(results)
        # What is not in the queue is not lost to a processor that does not read it; and a model that calls nothing
        # could save nothing.
        heeds = self.processor.reads_queue and bool(results) and not turn.warned
        if heeds and self.machine.main_context.pressure():
            turn.warned = True
            event = memory_pressure(event)
            self._publish(turn, Notice("The model's window is nearly full: the agent is asked to save what matters."))
        if event is None:
            return None
        stop = reason_to_stop(turn, self.machine.limits)
        self._publish(turn, stop)
        return None if stop else event

    # --- the inbox -----------------------------------------------------------------------------------------

    def _enqueue(self, event: Event) -> None:
        self._unfinished += 1
        self._idle.clear()
        self._inbox.put_nowait(event)

    def _enqueue_first(self, events: list[Event]) -> None:
        """Put `events` before those that were posted meanwhile."""
        posted = [self._inbox.get_nowait() for _ in range(self._inbox.qsize())]
        self._unfinished -= len(posted)
        for event in (*events, *posted):
            self._enqueue(event)

    async def _next_event(self) -> Event:
        """Return the next event of the inbox, or a timer event where the agent was left alone long enough."""
        machine = self.machine
        while True:
            try:
                async with asyncio.timeout(machine.idle_heartbeat_s or None):
                    return await self._inbox.get()
            except TimeoutError:
                if await machine.queue_manager.may_be_woken() and self._inbox.empty():
                    self._enqueue(Event(EventKind.TIMER, payload={"reason": "Nothing has happened for a while."}))

    def _publish(self, turn: Turn, body: OutputBody | None) -> None:
        if body is not None:
            self._board.publish(turn.id, body)


def _how_it_ended(task: asyncio.Task[None], event: Event) -> Stopped | None:
    """Return what to tell about a turn that did not end by itself. A bug is logged whole and shown as one."""
    if task.cancelled():
        return Stopped("Stopped. What was shown is kept; say something to go on.", "cancelled", 130)
    error = task.exception()
    if error is None:
        return None
    if isinstance(error, ProcessorError) and event.kind is EventKind.USER_MESSAGE:
        return Stopped(f"{error} Your message is kept; /retry sends it again.", "error", error.exit_code)
    if isinstance(error, MemosError):
        return Stopped(str(error), "limit" if isinstance(error, LimitReached) else "error", error.exit_code)
    logging.getLogger(__name__).error("a turn failed", exc_info=error)
    return Stopped(f"memos has a bug: {type(error).__name__}: {error}. Your message is kept.", "error", 1)
