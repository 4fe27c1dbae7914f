"""The invariants of the design, whatever is done in whatever order: talk, chains, failures, crashes, other models.

`MEMOS_TEST_FULL=1` runs 5,000 examples of 50 steps; a run of the suite does 200 of 30.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.agent_home import AgentHome, agent_home
from support.listening import Listener, append, call, speak

from memos.errors import BadInput
from memos.kernel.control import Limits
from memos.kernel.kernel import Kernel
from memos.kernel.operator import Operator
from memos.kernel.processor_line import ProcessorLine
from memos.llm.chat_messages import check_pairing
from memos.llm.scripted import ERRORS, ScriptedProcessor, ScriptedReply
from memos.messages import Event, EventKind, MessageState, Prompt, Stopped

FULL = os.environ.get("MEMOS_TEST_FULL") == "1"
pytestmark = pytest.mark.timeout(10_000 if FULL else 600)
STEPS_LIMIT = 8
WINDOWS = (2048, 3000, 4096, 6000)
WORDS = st.integers(1, 220).flatmap(lambda n: st.integers(0, 99).map(lambda m: f"w{m} " * n))
SUMMARY = "Facts:\n- Something was said.\nDecisions:\n- None."


class Life(RuleBasedStateMachine):
    """One agent's life. `said` holds what was acknowledged and never taken back, by `seq`."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.loop = asyncio.new_event_loop()
        self.home: AgentHome = agent_home(self.folder)
        self.processor = ScriptedProcessor([], window_tokens=4096)
        self.prompts: list[tuple[Prompt, int]] = []
        self.kernel: Kernel
        self.listener: Listener
        self.operator: Operator
        self.task: asyncio.Task[None]
        self.number = 0

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @initialize(window=st.sampled_from(WINDOWS))
    def begin(self, window: int) -> None:
        self.open(window)

    def open(self, window: int) -> None:
        async def start() -> None:
            self.processor = ScriptedProcessor([], window_tokens=window)
            self.kernel = self.home.kernel(self.processor, Limits(steps=STEPS_LIMIT))
            self.operator = self.home.operator(self.kernel)
            self.listener = Listener(self.kernel)
            self.task = asyncio.create_task(self.kernel.run())
            await asyncio.sleep(0)

        self.run(start())

    def close(self) -> None:
        async def stop() -> None:
            self.task.cancel()
            await asyncio.wait([self.task])
            assert self.task.cancelled(), self.task.exception()

        self.run(stop())

    def play(self, words: str, script: list[ScriptedReply]) -> list[Stopped]:
        """Say something to an agent that follows `script`; return the stops that were told."""
        self.number += 1
        before = len(self.listener.of(Stopped))
        text = f"n{self.number} {words}"
        self.processor = ScriptedProcessor(script, window_tokens=self.processor.window_tokens)
        self.kernel.machine.processors = ProcessorLine(self.processor)
        self.run(self.listener.say(text))
        self.prompts = [(prompt, self.processor.window_tokens or 0) for prompt in self.processor.prompts]
        kept = self.home.database.query("SELECT count(*) AS n FROM messages WHERE content = ?", (text,))
        assert kept[0]["n"] == 1  # acknowledged, once
        return self.listener.of(Stopped)[before:]

    # --- what happens ------------------------------------------------------------------------------------

    @rule(words=WORDS)
    def send(self, words: str) -> None:
        assert not self.play(words, [speak("Heard.")])

    @rule(words=WORDS, steps=st.integers(1, STEPS_LIMIT + 3), size=st.integers(1, 120))
    def chain(self, words: str, steps: int, size: int) -> None:
        note = [
            call("archival_memory_insert", {"content": f"{n} x" * size, "request_heartbeat": True})
            for n in range(steps)
        ]
        stops = self.play(words, [*note, speak("Done.")])
        assert (len(stops) == 1) == (steps >= STEPS_LIMIT) or len(self.processor.prompts) == STEPS_LIMIT

    @rule(line=st.text(min_size=1, max_size=300))
    def edit(self, line: str) -> None:
        self.play("remember", [append(line), speak("Kept.")])

    @rule(error=st.sampled_from(sorted(ERRORS)))
    def fail(self, error: str) -> None:
        stops = self.play("will you?", [ScriptedReply(error=error)] * 9)
        assert len(stops) == 1 and stops[0].code == "error"

    @rule(finish=st.sampled_from(["cut", "length"]))
    def break_off(self, finish: str) -> None:
        self.play("go on", [speak("one two three four five", finish=finish), speak("Again.")])

    @rule(arguments=st.sampled_from(['{"name": "hum', "[]", "{}", '{"name": 1}', "\\u0000", '{"a":' * 40]))
    def call_badly(self, arguments: str) -> None:
        self.play("do it", [call("core_memory_append", arguments), call("no_such_function", "{}"), speak("I can't.")])

    @rule()
    def answer_with_a_summary(self) -> None:
        self.play("long " * 200, [speak("Hm."), *[ScriptedReply(text=SUMMARY, purpose="summarise")] * 8])

    @rule(words=st.integers(3_000, 9_000))
    def send_more_than_the_window(self, words: int) -> None:
        self.play("y " * words, [speak("Much.")])

    @rule()
    def flush(self) -> None:
        try:
            evicted, _ = self.run(self.operator.summarise())
            assert evicted.messages > 0
        except BadInput:
            pass

    @rule()
    def undo(self) -> None:
        try:
            taken = self.run(self.operator.undo())
            assert taken.messages > 0
        except BadInput:
            assert not any(row.kind is EventKind.USER_MESSAGE for row in self.queue())

    @rule(count=st.integers(1, 6))
    def pop(self, count: int) -> None:
        there = len(self.queue())
        try:
            taken = self.run(self.operator.pop(count))
            assert count <= taken <= there and len(self.queue()) == there - taken
        except BadInput:
            assert count > there

    @rule()
    def clear(self) -> None:
        with contextlib.suppress(BadInput):
            self.run(self.operator.clear())
        assert not self.queue()

    @rule(window=st.sampled_from(WINDOWS))
    def switch_model(self, window: int) -> None:
        self.processor = ScriptedProcessor([], window_tokens=window)

    @rule()
    def reopen(self) -> None:
        before = self.queue()
        self.close()
        self.home.database.close()
        self.home = agent_home(self.folder)
        self.open(self.processor.window_tokens or 4096)
        assert [row.seq for row in self.home.recall.queue(self.agent().queue_start)] == [row.seq for row in before]

    @rule(calls=st.integers(0, 2), provisional=st.booleans())
    def crash(self, calls: int, provisional: bool) -> None:
        """Leave what a killed process leaves: an event, and a reply that streams, or whose calls have not run."""
        self.close()
        event = Event(EventKind.USER_MESSAGE, "and then?")
        reply = append("never run").calls[0]
        from memos.memory.message_rows import event_message
        from memos.messages import FunctionCall, Message, new_id

        self.home.recall.append(event_message(event, self.home.agent.id, event.id))
        pending = tuple(FunctionCall(new_id(), reply.name, reply.raw) for _ in range(calls))
        state = MessageState.PROVISIONAL if provisional else MessageState.COMPLETE
        self.home.recall.append(
            Message("assistant", "Let me", self.home.agent.id, event.id, calls=pending, state=state)
        )
        self.home.database.close()
        self.home = agent_home(self.folder)
        self.open(self.processor.window_tokens or 4096)

    @precondition(lambda self: self.number)
    @rule()
    def look_back(self) -> None:
        self.home.begin_turn()
        self.home.recall.conversation_search(f"n{self.number}")

    # --- what always holds -------------------------------------------------------------------------------

    def agent(self):  # type: ignore[no-untyped-def]
        return self.home.agents.reload(self.home.agent)

    def queue(self):  # type: ignore[no-untyped-def]
        return self.home.recall.queue(self.agent().queue_start)

    @invariant()
    def every_prompt_was_valid_and_fitted(self) -> None:
        for prompt, window in self.prompts:
            if prompt.purpose == "summarise":
                continue
            check_pairing(prompt.queue)
            assert prompt.queue and prompt.queue[0].role == "user"
            assert [row.seq for row in prompt.queue] == sorted(row.seq for row in prompt.queue)
            assert self.processor.measure(prompt).total <= window
        self.prompts = []

    @invariant()
    def every_call_will_have_its_one_result(self) -> None:
        if not hasattr(self, "kernel"):
            return
        self.home.recall.settle(self.agent().queue_start)
        rows = self.home.recall.queue(self.agent().queue_start)
        check_pairing(rows[next((n for n, row in enumerate(rows) if row.role == "user"), len(rows)) :])

    @invariant()
    def counts_are_what_can_be_counted(self) -> None:
        row = self.home.database.query(
            "SELECT (SELECT count(*) FROM messages WHERE said <> '' AND superseded_by IS NULL) AS recall,"
            " (SELECT count(*) FROM passages WHERE superseded_by IS NULL) AS archival"
        )[0]
        assert self.home.recall.counts() == (row["recall"], row["archival"])

    @invariant()
    def a_block_reads_as_its_last_revision_says(self) -> None:
        for block in self.home.memory.blocks():
            assert len(block.value) <= block.limit_chars
            last = self.home.database.query(
                "SELECT after FROM revisions WHERE label = ? ORDER BY seq DESC LIMIT 1", (block.label,)
            )
            assert not last or last[0]["after"] == block.value

    def teardown(self) -> None:
        if hasattr(self, "task"):
            self.close()
        self.home.database.close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)


Life.TestCase.settings = settings(
    max_examples=5_000 if FULL else 200,
    stateful_step_count=50 if FULL else 30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestLife = Life.TestCase
