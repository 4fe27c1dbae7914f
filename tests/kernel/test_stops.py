"""A turn that was stopped: the wall clock within a reply, going on, and agents that want to be left alone."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from support.agent_home import AgentHome, agent_home
from support.listening import Listener, append, call, play, running, speak

from memos.kernel.control import Limits, Turn, reason_to_stop, was_stopped
from memos.llm.chat_messages import check_pairing
from memos.llm.scripted import ScriptedProcessor, ScriptedReply
from memos.messages import Event, EventKind, Message, MessageState, Said, SpeechDelta, Stopped, TurnDone, utc_now

GO_ON = Event(EventKind.HEARTBEAT, payload={"reason": "You were stopped; the user lets you go on."})


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    return agent_home(tmp_path)


def talk(
    home: AgentHome,
    script: list[ScriptedReply],
    scene: Callable[[Listener, ScriptedProcessor], Awaitable[None]],
    limits: Limits = Limits(),
    idle_heartbeat_s: float = 0.0,
) -> None:
    processor = ScriptedProcessor(script)
    play(home.kernel(processor, limits, idle_heartbeat_s), lambda listener: scene(listener, processor))
    home.recall.settle(0)
    check_pairing(home.recall.queue(0))


def said(listener: Listener) -> list[str]:
    return [body.text for body in listener.of(Said)]


# --- the wall clock -------------------------------------------------------------------------------------------


def test_a_reply_that_lasts_longer_than_a_turn_may_is_ended_and_what_came_is_kept(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        began = time.monotonic()
        await listener.say("Tell me a story without an end.")
        assert time.monotonic() - began < 5
        (stopped,) = listener.of(Stopped)
        assert (stopped.code, stopped.exit_code) == ("limit", 8)
        assert "0.8 seconds" in stopped.reason and "/continue" in stopped.reason
        assert await listener.kernel.was_stopped()
        await listener.say("Enough.")
        assert said(listener) == ["As you like."] and listener.of(Stopped) == [stopped]
        shown = processor.prompts[1].queue[1]
        assert shown.state is MessageState.INCOMPLETE and shown.payload["speech"].startswith("Once")

    story = speak("Once upon a time, " * 500, delay_s=0.02)
    talk(home, [story, speak("As you like.")], scene, Limits(turn_seconds=0.8))


def test_a_model_that_says_nothing_at_all_is_not_waited_for_longer_than_a_turn_may_last(home: AgentHome) -> None:
    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        await listener.say("x")
        assert "0.3 seconds" in listener.of(Stopped)[0].reason and listener.of(SpeechDelta) == []
        assert await listener.kernel.was_stopped()

    talk(home, [speak("Too late.", delay_s=30)], scene, Limits(turn_seconds=0.3))
    assert [row.content for row in home.recall.queue(0)] == ["x"]


def test_the_clock_is_looked_at_between_the_steps_too() -> None:
    turn = Turn(began_at=time.monotonic() - 10)
    stopped = reason_to_stop(turn, Limits(turn_seconds=5))
    assert stopped is not None and "5 seconds" in stopped.reason and stopped.code == "limit"
    assert reason_to_stop(turn, Limits(turn_seconds=60)) is None
    assert reason_to_stop(turn, Limits(turn_seconds=0)) is None


def test_a_time_out_of_another_kind_is_no_limit(home: AgentHome) -> None:
    class Broken(ScriptedProcessor):
        async def infer(self, prompt):  # type: ignore[no-untyped-def, override]
            raise TimeoutError("a bug of ours")
            yield

    async def play() -> None:
        async with running(home.kernel(Broken([]))) as listener:
            await listener.say("x")
            assert listener.of(Stopped)[0].code == "error" and "bug" in listener.of(Stopped)[0].reason

    asyncio.run(play())


def test_ctrl_c_is_told_as_ctrl_c_also_where_the_clock_runs(home: AgentHome) -> None:
    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        listener.kernel.post(Event(EventKind.USER_MESSAGE, "x"))
        await listener.until(lambda: bool(listener.of(SpeechDelta)))
        listener.kernel.cancel()
        await listener.until(lambda: bool(listener.of(TurnDone)))
        assert listener.of(Stopped)[0].code == "cancelled"

    talk(home, [speak("A story. " * 100, delay_s=0.02)], scene, Limits(turn_seconds=60))


# --- going on -------------------------------------------------------------------------------------------------


def test_a_stopped_chain_goes_on_with_fresh_limits(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.say("Count.")
        assert await listener.kernel.was_stopped()
        await listener.post(GO_ON)
        assert await listener.kernel.was_stopped(), "it was stopped a second time"
        await listener.post(Event(EventKind.HEARTBEAT, payload=GO_ON.payload))
        assert listener.of(TurnDone) == [TurnDone(4), TurnDone(4), TurnDone(3)]
        assert said(listener) == ["Done."] and len(listener.of(Stopped)) == 2
        assert not await listener.kernel.was_stopped()
        assert processor.prompts[4].queue[-1].payload["reason"] == GO_ON.payload["reason"]

    talk(home, [*(append(f"line {n}") for n in range(10)), speak("Done.")], scene, Limits(steps=4))


def test_that_a_turn_was_stopped_is_still_known_after_a_restart_and_a_greeting(home: AgentHome) -> None:
    async def stopped(listener: Listener, _: ScriptedProcessor) -> None:
        await listener.say("Count.")

    talk(home, [append("a"), append("b")], stopped, Limits(steps=2))

    async def later(listener: Listener, _: ScriptedProcessor) -> None:
        assert await listener.kernel.was_stopped()
        await listener.post(Event(EventKind.LOGIN, payload={"last_login": "never"}))
        assert said(listener) == ["Welcome."] and await listener.kernel.was_stopped()
        await listener.say("Never mind.")
        assert not await listener.kernel.was_stopped()

    talk(home, [speak("Welcome."), speak("Good.")], later)


@pytest.mark.parametrize(
    ("reply", "stopped"),
    [
        (speak("Hello."), False),
        (ScriptedReply(text="Plain words."), False),
        (append("a line", heartbeat=False), False),
        (append("a line"), True),
        (call("no_such_function", {}), True),
        (speak("A sentence that breaks off.", finish="cut"), True),
        (ScriptedReply(error="unreachable"), True),
    ],
)
def test_a_turn_was_stopped_where_the_agent_had_not_yielded(
    home: AgentHome, reply: ScriptedReply, stopped: bool
) -> None:
    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        await listener.say("x")
        assert await listener.kernel.was_stopped() is stopped

    talk(home, [reply], scene, Limits(steps=1))


def test_a_warning_of_memory_pressure_is_no_turn_that_was_stopped() -> None:
    def row(turn_id: str, kind: EventKind | None = None) -> Message:
        return Message("user" if kind else "assistant", "x", "agent", turn_id, kind)

    answered = [row("one", EventKind.USER_MESSAGE), row("one")]
    warned = [row("two", EventKind.MEMORY_PRESSURE)]
    assert not was_stopped([*answered, *warned])
    assert not was_stopped([*answered, *warned, row("two")])
    assert was_stopped([*answered[:1], *warned, row("two")])


def test_where_nothing_was_ever_said_nothing_was_stopped(home: AgentHome) -> None:
    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        assert not await listener.kernel.was_stopped()

    talk(home, [], scene)


# --- pause_heartbeats -----------------------------------------------------------------------------------------


def test_a_timed_heartbeat_stays_away_while_paused_and_comes_afterwards(home: AgentHome) -> None:
    until = utc_now() + timedelta(seconds=2)
    home.agents.pause(home.agent, until)

    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        await asyncio.sleep(1.0)  # ten times as long as two heartbeats are apart
        assert processor.prompts == [] or utc_now() >= until
        await listener.until(lambda: bool(listener.of(TurnDone)))
        assert utc_now() >= until
        assert processor.prompts[0].queue[-1].kind is EventKind.TIMER

    talk(home, [speak("I am awake."), *[speak("Still.")] * 50], scene, idle_heartbeat_s=0.1)


def test_a_paused_agent_answers_its_user_and_stays_paused(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.say("Leave me alone for a while.")
        for number in range(3):
            await listener.say(f"Question {number}")
            await asyncio.sleep(0.2)
        assert said(listener) == ["Answer 0", "Answer 1", "Answer 2"]
        assert EventKind.TIMER not in [row.kind for row in processor.prompts[-1].queue]

    script = [call("pause_heartbeats", {"minutes": 5}), *(speak(f"Answer {n}") for n in range(3))]
    talk(home, script, scene, idle_heartbeat_s=0.05)


def test_a_paused_agent_still_has_the_heartbeats_it_asks_for(home: AgentHome) -> None:
    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        await listener.say("Note it.")
        assert listener.of(TurnDone) == [TurnDone(2)]

    home.agents.pause(home.agent, utc_now() + timedelta(minutes=5))
    talk(home, [append("a line"), speak("Noted.")], scene)
