"""The cycle: fetch, infer, execute, control."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from support.agent_home import AgentHome, agent_home
from support.listening import Listener, append, call, kinds, play, running, speak

from memos.kernel.control import Limits
from memos.kernel.processor_line import ProcessorLine
from memos.llm.chat_messages import CUT_OFF, chat_messages, check_pairing
from memos.llm.scripted import ScriptedCall, ScriptedProcessor, ScriptedReply
from memos.memory.message_rows import spoken_words
from memos.memory.recall_storage import DID_NOT_COMPLETE
from memos.messages import (
    CallFinished,
    Event,
    EventKind,
    Evicted,
    MemoryEdited,
    MessageState,
    Notice,
    ReplyStored,
    Said,
    SpeechDelta,
    StepStarted,
    Stopped,
    TurnDone,
)


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    return agent_home(tmp_path)


def talk(
    home: AgentHome,
    script: list[ScriptedReply],
    scene: Callable[[Listener, ScriptedProcessor], Awaitable[None]],
    **settings: object,
) -> None:
    """Play `scene` with an agent that follows `script`; afterwards the stored history must be valid."""

    processor = ScriptedProcessor(script, window_tokens=settings.pop("window_tokens", None))  # type: ignore[arg-type]
    play(home.kernel(processor, **settings), lambda listener: scene(listener, processor))  # type: ignore[arg-type]
    home.recall.settle(0)
    check_pairing(home.recall.queue(home.agents.reload(home.agent).queue_start))


def said(listener: Listener) -> list[str]:
    return [body.text for body in listener.of(Said)]


def test_a_turn_publishes_its_steps_in_order(home: AgentHome) -> None:
    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        bodies = await listener.say("My name is Ana.")
        assert kinds(bodies) == [
            *("StepStarted", "MonologueDelta", "ReplyStored", "TokenUsage"),
            *("CallStarted", "MemoryEdited", "CallFinished"),
            *("StepStarted", "SpeechDelta", "ReplyStored", "TokenUsage", "CallStarted", "Said", "CallFinished"),
            "TurnDone",
        ]
        assert listener.of(MemoryEdited)[0].after == "Name: Ana"
        assert "".join(d.text for d in listener.of(SpeechDelta)) == said(listener)[0] == "Hello Ana."
        assert listener.of(TurnDone) == [TurnDone(2)]

    arguments = {"name": "human", "content": "Name: Ana", "request_heartbeat": True}
    talk(home, [call("core_memory_append", arguments, "A name."), speak("Hello Ana.")], scene)


def test_outputs_are_numbered_without_gaps(home: AgentHome) -> None:
    async def play() -> list[int]:
        kernel = home.kernel(ScriptedProcessor([speak("Hi.")]))
        subscription = kernel.subscribe()
        async with running(kernel) as listener:
            await listener.say("Hi")
        return [output.seq async for output in subscription]

    numbers = asyncio.run(play())
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 5


def test_the_event_is_on_disk_before_the_processor_is_asked(home: AgentHome) -> None:
    seen: list[str] = []

    class Asked(ScriptedProcessor):
        async def infer(self, prompt):  # type: ignore[no-untyped-def, override]
            seen.extend(row["content"] for row in home.database.query("SELECT content FROM messages"))
            async for part in super().infer(prompt):
                yield part

    async def play() -> None:
        async with running(home.kernel(Asked([speak("Hi.")]))) as listener:
            await listener.say("Are you there?")

    asyncio.run(play())
    assert seen == ["Are you there?"]


def test_a_chain_of_twenty_heartbeats_runs_to_its_end(home: AgentHome) -> None:
    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        await listener.say("Count.")
        assert len(listener.of(CallFinished)) == 21 and said(listener) == ["Done."]
        assert listener.of(TurnDone) == [TurnDone(21)]

    talk(home, [*(append(f"line {number}") for number in range(20)), speak("Done.")], scene)


@pytest.mark.parametrize(("heartbeat", "steps"), [("true", 2), (1, 2), (True, 2), ("false", 1), (0, 1), (None, 1)])
def test_request_heartbeat_is_understood_however_it_is_written(home: AgentHome, heartbeat: object, steps: int) -> None:
    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        await listener.say("x")
        assert listener.of(TurnDone) == [TurnDone(steps)]

    talk(home, [append("a line", heartbeat), speak("Done.")], scene)


def test_a_failed_call_asks_for_a_heartbeat_and_tells_the_model_why(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.say("x")
        result = processor.prompts[1].queue[-2]
        assert result.ok is False and "Did you mean send_message?" in result.content
        assert said(listener) == ["Sorry."]

    talk(home, [call("send_massage", {"message": "Hi."}), speak("Sorry.")], scene)


def test_several_calls_in_one_reply_run_in_order_even_past_a_failure(home: AgentHome) -> None:
    several = ScriptedReply(
        calls=(
            ScriptedCall("send_message", {"message": "One."}),
            ScriptedCall("core_memory_replace", {"name": "human", "old_content": "no", "new_content": "yes"}),
            ScriptedCall("send_message", {"message": "Two."}),
        )
    )

    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        await listener.say("x")
        assert said(listener) == ["One.", "Two.", "I see."]
        assert [body.result.ok for body in listener.of(CallFinished)] == [True, False, True, True]

    talk(home, [several, speak("I see.")], scene)


def test_the_effects_of_a_failed_call_are_undone_and_its_result_stays(home: AgentHome) -> None:
    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        await listener.say("x")
        assert listener.of(MemoryEdited) == []

    talk(home, [append("y" * 2001), speak("Too long.")], scene)
    assert home.memory.blocks()[1].value == ""
    assert [m.ok for m in home.recall.queue(0) if m.role == "tool"] == [False, True]


def test_malformed_arguments_come_back_as_a_result_and_poison_nothing(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.say("x")
        await listener.say("y")
        assert said(listener) == ["Sorry.", "Still here."]
        assert "not a JSON object" in processor.prompts[1].queue[-2].content

    talk(home, [call("send_message", '{"message": "Hel'), speak("Sorry."), speak("Still here.")], scene)


def test_text_without_a_call_is_the_message_and_can_be_found_again(home: AgentHome) -> None:
    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        await listener.say("x")
        assert listener.of(ReplyStored)[0].reply.text == "I have no functions, but I speak of honey."
        assert listener.of(Stopped) == []

    talk(home, [ScriptedReply(text="I have no functions, but I speak of honey.")], scene)
    assert "sam: I have no functions" in home.recall.conversation_search("honey")


def test_an_empty_reply_is_told_and_the_next_message_works(home: AgentHome) -> None:
    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        await listener.say("x")
        assert "empty reply" in listener.of(Stopped)[0].reason
        await listener.say("y")
        assert said(listener) == ["Here."]

    talk(home, [ScriptedReply(), speak("Here.")], scene)


@pytest.mark.parametrize("error", ["refused", "unreachable", "overflow", "filtered", "rate_limited"])
def test_a_processor_that_fails_is_told_in_one_sentence_and_the_message_is_kept(home: AgentHome, error: str) -> None:
    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        await listener.say("Precious words")
        stopped = listener.of(Stopped)[0]
        assert stopped.code == "error" and stopped.exit_code in (4, 5) and "Next:" in stopped.reason
        listener.kernel.machine.processors = ProcessorLine(ScriptedProcessor([speak("Here.")]))
        await listener.say("again")
        assert said(listener) == ["Here."]

    times = 9 if error == "overflow" else 1  # a prompt said to be too long is made shorter and sent again
    talk(home, [ScriptedReply(error=error)] * times, scene)
    home.begin_turn()  # one that sees no queue
    assert "Precious words" in home.recall.conversation_search("precious")


def test_a_cut_reply_is_kept_as_incomplete_and_none_of_its_calls_runs(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.say("x")
        assert listener.of(CallFinished) == [] and "cut off" in listener.of(Stopped)[0].reason
        await listener.say("y")
        assert said(listener) == ["Whole."]

    cut = call("send_message", {"message": "This sentence is never finished."}, "Let me speak.", finish="cut")
    talk(home, [cut, speak("Whole.")], scene)
    row = home.recall.queue(0)[1]
    assert row.state is MessageState.INCOMPLETE and row.calls == () and row.content == "Let me speak."
    assert "This sentence is never finished.".startswith(row.payload["speech"]) and row.payload["speech"]


@pytest.mark.parametrize("before", [(), (ScriptedCall("core_memory_append", {"name": "human", "content": "Bees."}),)])
def test_what_a_limit_of_length_cut_off_is_kept_told_and_goes_on(
    home: AgentHome, before: tuple[ScriptedCall, ...]
) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.say("x")
        assert any("limit of length" in notice.text for notice in listener.of(Notice))
        assert [done.call.name for done in listener.of(CallFinished)] == [one.name for one in before]
        assert await listener.kernel.was_stopped()
        await listener.say("y")
        words = str(chat_messages(processor.prompts[1])[2]["content"])
        assert "A long story" in words and CUT_OFF in words

    told = ScriptedCall("send_message", {"message": "A long story that would go on for ever and ever."})
    talk(home, [ScriptedReply("I tell.", calls=(*before, told), finish="length"), speak("Whole.")], scene)
    row = home.recall.queue(0)[1]
    assert (row.state is MessageState.COMPLETE) is bool(before) and spoken_words(row).startswith("A long story")
    home.begin_turn()
    assert "A long story" in home.recall.conversation_search("story")


def test_identical_calls_end_the_turn_visibly(home: AgentHome) -> None:
    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        await listener.say("x")
        assert "same call 3 times" in listener.of(Stopped)[0].reason and listener.of(Stopped)[0].exit_code == 8
        await listener.say("y")
        assert said(listener) == ["Free again."]

    search = {"query": "bees", "request_heartbeat": True}
    talk(home, [*[call("conversation_search", search)] * 3, speak("Free again.")], scene)


@pytest.mark.parametrize("reads_queue", [True, False])
def test_a_search_leaves_out_the_queue_for_those_who_read_it(home: AgentHome, reads_queue: bool) -> None:
    class Reader(ScriptedProcessor):
        @property
        def reads_queue(self) -> bool:
            return reads_queue

    search = call("conversation_search", {"query": "Where are the bees?", "request_heartbeat": True})

    async def play() -> None:
        script = [speak("Good."), search, speak("There."), speak("Good."), search, speak("There.")]
        kernel = home.kernel(Reader(script))
        async with running(kernel) as listener:
            await listener.say("The bees are on the roof.")
            await listener.say("Where are the bees?")
            first = listener.of(CallFinished)[1].result.text
            assert first == "No results besides what is in view." if reads_queue else "on the roof" in first
            await kernel.machine.queue_manager.evict(len(kernel.machine.queue_manager.queue), "", "user")
            await listener.say("Hello.")
            await listener.say("Where are the bees?")
            second = listener.of(CallFinished)[4].result.text.splitlines()
            assert "on the roof" in second[1]  # and what was asked before comes after it
            assert ("Where are" in "".join(second[2:])) and "Hello." not in second[1]

    asyncio.run(play())


def test_the_number_of_steps_has_a_bound(home: AgentHome) -> None:
    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        await listener.say("x")
        assert len(listener.of(StepStarted)) == 5 and "5 steps" in listener.of(Stopped)[0].reason

    talk(home, [append(f"line {n}") for n in range(10)], scene, limits=Limits(steps=5))


def test_a_cancelled_turn_keeps_what_was_shown_and_the_next_message_is_answered(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        listener.kernel.post(Event(EventKind.USER_MESSAGE, "Tell me a long story."))
        await listener.until(lambda: len(listener.of(SpeechDelta)) > 3)
        listener.kernel.cancel()
        await listener.until(lambda: bool(listener.of(TurnDone)))
        assert listener.of(Stopped)[0].code == "cancelled"
        await listener.say("Go on.")
        assert said(listener) == ["As I said."]
        shown = processor.prompts[1].queue[1]
        assert shown.state is MessageState.INCOMPLETE and shown.payload["speech"].startswith("Once upon a time")

    story = speak("Once upon a time, " + "far away, " * 100, delay_s=0.02)
    talk(home, [story, speak("As I said.")], scene)


def test_a_turn_cancelled_before_its_calls_ran_leaves_a_valid_history(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        listener.kernel.post(Event(EventKind.USER_MESSAGE, "x"))
        await listener.until(lambda: bool(listener.of(ReplyStored)))
        listener.kernel.cancel()
        await listener.until(lambda: bool(listener.of(TurnDone)))
        await listener.say("y")
        results = [row.content for row in processor.prompts[-1].queue if row.role == "tool"]
        assert len(results) == 2 and results.count(DID_NOT_COMPLETE) >= 1

    calls = tuple(ScriptedCall("core_memory_append", {"name": "human", "content": f"l{n}"}) for n in range(2))
    talk(home, [ScriptedReply(calls=calls), speak("Here.")], scene)


def test_a_cancel_in_the_instant_of_posting_still_keeps_the_message(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        listener.kernel.post(Event(EventKind.USER_MESSAGE, "Typed and stopped."))
        listener.kernel.cancel()
        await listener.until(lambda: bool(listener.of(TurnDone)))
        assert listener.of(Stopped)[0].code == "cancelled" and processor.prompts == []
        await listener.say("And now?")
        assert said(listener) == ["I see both."]
        assert [row.content for row in processor.prompts[0].queue] == ["Typed and stopped.", "And now?"]

    talk(home, [speak("I see both.")], scene)


def test_a_cancel_while_nothing_runs_stops_nothing_later(home: AgentHome) -> None:
    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        listener.kernel.cancel()
        await listener.say("Hello")
        assert said(listener) == ["Hi."] and listener.of(Stopped) == []

    talk(home, [speak("Hi.")], scene)


def test_a_message_posted_in_the_instant_of_leaving_is_answered_at_the_next_start(home: AgentHome) -> None:
    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        await asyncio.sleep(0)
        listener.kernel.post(Event(EventKind.USER_MESSAGE, "Are you there?"))

    talk(home, [speak("Never asked.")], scene)

    async def after(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.until(lambda: bool(said(listener)) or bool(listener.of(TurnDone)))
        await listener.kernel.idle()
        if not said(listener):
            await listener.say("again")
        assert "Are you there?" in [row.content for row in processor.prompts[-1].queue]

    talk(home, [speak("I am.")], after)


def test_what_is_typed_while_a_turn_runs_is_answered_next_and_survives_a_crash(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        listener.kernel.post(Event(EventKind.USER_MESSAGE, "first"))
        await listener.until(lambda: bool(listener.of(SpeechDelta)))
        listener.kernel.post(Event(EventKind.USER_MESSAGE, "second"))
        await listener.until(lambda: bool(home.recall.deferred()) or bool(listener.of(TurnDone)))
        assert [event.text for event in home.recall.deferred()] == ["second"]  # on disk, not only in memory

    talk(home, [speak("Slowly, very slowly. " * 10, delay_s=0.05)], scene)  # the kernel is closed in mid-turn

    async def after(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.until(lambda: bool(said(listener)))
        await listener.kernel.idle()
        assert said(listener) == ["I have both."]
        assert [row.content for row in processor.prompts[0].queue if row.kind] == ["first", "second"]

    talk(home, [speak("I have both.")], after)
    assert home.recall.deferred() == []


def test_a_full_queue_is_flushed_and_everything_is_still_found(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        for number in range(40):
            await listener.say(f"Fact number {number}: " + f"word{number} " * 40)
        flushes = listener.of(Evicted)
        assert len(flushes) >= 2 and all(flush.tokens > 400 for flush in flushes)
        assert "conversation_search finds them" in processor.prompts[-1].summary
        for prompt in processor.prompts:
            assert prompt.queue[0].role == "user"
            check_pairing(prompt.queue)

    talk(home, [speak(f"Noted {n}.") for n in range(40)], scene, window_tokens=4096)
    home.begin_turn()
    for number in range(40):
        assert f"Fact number {number}:" in home.recall.conversation_search(f"word{number}")


def test_a_message_longer_than_the_window_is_no_endless_flush(home: AgentHome) -> None:
    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        await listener.say("long " * 4000)
        await listener.say("short")
        assert len(listener.of(TurnDone)) == 2

    talk(home, [speak("One."), speak("Two.")], scene, window_tokens=2048)


def test_a_timed_heartbeat_comes_when_nothing_happens_and_not_while_paused(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.until(lambda: len(listener.of(TurnDone)) == 1)
        assert processor.prompts[0].queue[-1].kind is EventKind.TIMER
        await asyncio.sleep(0.5)
        assert len(processor.prompts) == 1
        await listener.say("Are you there?")
        assert said(listener) == ["Of course."]

    script = [call("pause_heartbeats", {"minutes": "10"}), speak("Of course.")]
    talk(home, script, scene, idle_heartbeat_s=0.1)


def test_events_reach_the_agent_as_rows_with_their_kind(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.post(Event(EventKind.LOGIN, payload={"last_login": "never"}))
        await listener.post(Event(EventKind.USER_LIKED))
        kinds_seen = [row.kind for row in processor.prompts[-1].queue if row.kind]
        assert kinds_seen == [EventKind.LOGIN, EventKind.USER_LIKED]

    talk(home, [speak("Welcome."), speak("Thank you.")], scene)


def test_a_bug_in_a_function_shows_itself_and_the_agent_lives_on(
    home: AgentHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> str:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(home.archival._search, "find", broken)

    async def scene(listener: Listener, _: ScriptedProcessor) -> None:
        await listener.say("x")
        assert "memos has a bug: ZeroDivisionError: boom" in listener.of(Stopped)[0].reason
        await listener.say("y")
        assert said(listener) == ["Alive."]

    talk(home, [call("archival_memory_search", {"query": "x"}), speak("Alive.")], scene)


def test_a_slow_listener_never_stalls_a_turn(home: AgentHome) -> None:
    async def play() -> None:
        kernel = home.kernel(ScriptedProcessor([speak("A long message. " * 500, chunk_chars=1)]))
        asleep = kernel.subscribe()  # reads nothing at all
        async with running(kernel) as listener:
            await listener.say("x")
        assert json.dumps((await anext(asleep)).seq) == "1"

    asyncio.run(play())
