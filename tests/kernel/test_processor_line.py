"""Where a processor does not answer, the next in line takes over in the same step; nothing that was said is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from support.agent_home import AgentHome, agent_home
from support.listening import Listener, append, play, speak

from memos.errors import (
    BadInput,
    ContentFiltered,
    ContextOverflow,
    MemosError,
    NotConfigured,
    ProcessorRefused,
    ProcessorUnreachable,
    RateLimited,
    StorageProblem,
    StreamCut,
)
from memos.kernel.main_context import Paging
from memos.kernel.processor_line import REST_S, Fallback, ProcessorLine
from memos.llm.chat_messages import check_pairing
from memos.llm.processor import Processor
from memos.llm.scripted import ScriptedProcessor, ScriptedReply
from memos.messages import (
    Event,
    EventKind,
    Evicted,
    MessageState,
    Notice,
    Prompt,
    ReplyPart,
    Said,
    SpeechDelta,
    StepStarted,
    Stopped,
)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Breaking(ScriptedProcessor):
    """Says a few words, then raises."""

    async def infer(self, prompt: Prompt) -> AsyncIterator[ReplyPart]:
        yield SpeechDelta("Half a ")
        await asyncio.sleep(0)
        raise StreamCut("The stream broke off.", "say it again.")


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    return agent_home(tmp_path)


def fails(error: str, times: int = 1) -> list[ScriptedReply]:
    return [ScriptedReply(error=error)] * times


def scripted(model: str, *script: ScriptedReply, window_tokens: int | None = None) -> ScriptedProcessor:
    return ScriptedProcessor(script, model=model, window_tokens=window_tokens)


def in_line(first: Processor, *others: Processor | MemosError, clock: Clock | None = None) -> ProcessorLine:
    """Return a line; an error in the place of a processor is raised where that would be made."""

    def make(other: Processor | MemosError) -> Processor:
        if isinstance(other, MemosError):
            raise other
        return other

    names = "bcdef"
    fallbacks = [Fallback(names[n], lambda other=other: make(other)) for n, other in enumerate(others)]  # type: ignore[misc]
    return ProcessorLine(first, fallbacks, now=clock or Clock())


def talk(
    home: AgentHome,
    line: ProcessorLine,
    scene: Callable[[Listener], Awaitable[None]],
    paging: Paging = Paging(),
) -> None:
    play(home.kernel(line, paging=paging), scene)
    check_pairing(home.recall.queue(0))


def said(listener: Listener) -> list[str]:
    return [body.text for body in listener.of(Said)]


# --- one step -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ["unreachable", "rate_limited", "refused"])
def test_the_next_model_answers_in_the_same_step_and_it_is_told(home: AgentHome, error: str) -> None:
    first, second = scripted("a", *fails(error)), scripted("b", speak("Here I am."))

    async def scene(listener: Listener) -> None:
        await listener.say("Hello.")
        assert said(listener) == ["Here I am."] and not listener.of(Stopped)
        assert len(listener.of(StepStarted)) == 1
        assert [notice.text for notice in listener.of(Notice)] == [
            f"a did not answer: The script says: {error}; b takes over."
        ]
        assert listener.kernel.processor.model == "b"

    talk(home, in_line(first, second), scene)
    assert [row.content for row in home.recall.queue(0) if row.role == "user"] == ["Hello."]
    assert [total.model for total in home.ledger.totals()] == ["b"]


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (StreamCut("x."), True),
        (NotConfigured("x."), True),
        (BadInput("x."), True),
        (RateLimited("x."), True),
        (ContextOverflow("x."), False),
        (ContentFiltered("x."), False),
        (StorageProblem("x."), False),
    ],
)
def test_only_what_another_model_may_do_better_is_passed_on(error: MemosError, passes: bool) -> None:
    line = in_line(scripted("a"), scripted("b"))
    line.begin_step(begins_turn=True)
    if passes:
        assert line.pass_on(error).text == "a did not answer: x; b takes over."
    else:
        with pytest.raises(type(error)) as caught:
            line.pass_on(error)
        assert caught.value is error
    assert (line.current.model == "b") is passes


def test_what_was_shown_is_kept_and_no_other_model_begins_anew(home: AgentHome) -> None:
    async def scene(listener: Listener) -> None:
        await listener.say("Hello.")
        assert said(listener) == [] and "broke off" in listener.of(Stopped)[0].reason
        await listener.say("Go on.")  # nothing was passed on, so the same model is asked

    second = scripted("b", speak("Never."))
    talk(home, in_line(Breaking([], model="a"), second), scene)
    row = home.recall.queue(0)[1]
    assert row.state is MessageState.INCOMPLETE and row.payload["speech"] == "Half a "
    assert second.prompts == []


def test_after_the_last_one_the_first_error_is_told_with_what_was_tried(home: AgentHome) -> None:
    async def scene(listener: Listener) -> None:
        await listener.say("Hello.")
        (stopped,) = listener.of(Stopped)
        assert stopped.exit_code == ProcessorRefused.exit_code
        assert stopped.reason == (
            "The script says: refused. Tried after it: b (no key), c (The script says: unreachable)."
            " Next: this reply of the script fails on purpose. Your message is kept; /retry sends it again."
        )
        assert await listener.kernel.was_stopped()

    line = in_line(scripted("a", *fails("refused")), NotConfigured("no key."), scripted("c", *fails("unreachable")))
    talk(home, line, scene)
    assert [row.content for row in home.recall.queue(0)] == ["Hello."]


def test_the_prompt_is_built_anew_for_the_window_of_the_one_that_takes_over(home: AgentHome) -> None:
    replies = [speak("word " * 60) for _ in range(12)]
    first = scripted("a", *replies, *fails("unreachable"), window_tokens=32_000)
    second = scripted("b", speak("Small."), window_tokens=3000)

    async def scene(listener: Listener) -> None:
        for number in range(12):
            await listener.say(f"Line {number}. " + "word " * 60)
        assert not listener.of(Evicted)
        await listener.say("And now?")
        assert "Small." in said(listener) and listener.of(Evicted)

    talk(home, in_line(first, second), scene, Paging(evict_share=0.5))
    assert len(first.prompts[-1].queue) > len(second.prompts[0].queue)
    assert second.prompts[0].queue[-1].content == "And now?"
    assert second.measure(second.prompts[0]).total <= 3000


def test_a_fallback_whose_window_is_too_small_is_passed_over(home: AgentHome) -> None:
    async def scene(listener: Listener) -> None:
        await listener.say("Hello.")
        assert said(listener) == ["Enough room."]

    tiny = scripted("b", speak("Never."), window_tokens=300)
    talk(home, in_line(scripted("a", *fails("refused")), tiny, scripted("c", speak("Enough room."))), scene)
    assert tiny.prompts == []


def test_a_step_in_the_middle_of_a_turn_is_taken_over_too_with_its_calls_settled(home: AgentHome) -> None:
    first = scripted("a", append("Name: Ana"), *fails("rate_limited"))
    second = scripted("b", append("Keeps bees."), speak("Noted."))

    async def scene(listener: Listener) -> None:
        await listener.say("I am Ana, I keep bees.")
        assert said(listener) == ["Noted."] and len(listener.of(Notice)) == 1

    talk(home, in_line(first, second), scene)
    assert home.memory.blocks()[1].value == "Name: Ana\nKeeps bees."
    assert len(second.prompts) == 2 and second.prompts[0].queue[1].calls


# --- from turn to turn ----------------------------------------------------------------------------------------


def answering(line: ProcessorLine, *failing: MemosError) -> str:
    """Return which model a turn ends with where the ones asked first fail so."""
    line.begin_step(begins_turn=True)
    for error in failing:
        line.pass_on(error)
    return line.current.model


def test_the_one_that_failed_is_left_alone_for_a_minute_then_tried_first(home: AgentHome) -> None:
    clock = Clock()
    line = in_line(scripted("a"), scripted("b"), clock=clock)
    assert answering(line, ProcessorUnreachable("x.")) == "b"
    clock.seconds += REST_S - 1
    assert answering(line) == "b" and line.rests_for_s("a") == 1
    clock.seconds += 1
    line.begin_step(begins_turn=False)
    assert line.current.model == "b"  # not within a turn
    assert answering(line) == "a"


def test_a_longer_retry_after_is_honoured(home: AgentHome) -> None:
    clock = Clock()
    line = in_line(scripted("a"), scripted("b"), clock=clock)
    answering(line, RateLimited("x.", retry_after_s=300))
    clock.seconds += 299
    assert answering(line) == "b"
    clock.seconds += 1
    assert answering(line) == "a"


def test_where_the_fallback_fails_too_the_one_left_alone_is_asked_after_all(home: AgentHome) -> None:
    line = in_line(scripted("a"), scripted("b"), clock=Clock())
    answering(line, ProcessorUnreachable("x."))
    assert answering(line, ProcessorUnreachable("y.")) == "a"


def test_who_asks_again_after_all_have_failed_is_answered_from_the_first_on(home: AgentHome) -> None:
    first, second = scripted("a", *fails("unreachable"), speak("Back.")), scripted("b", *fails("refused"))

    async def scene(listener: Listener) -> None:
        await listener.say("Hello.")
        assert listener.of(Stopped) and not said(listener)
        await listener.say("Are you there?")
        assert said(listener) == ["Back."]

    talk(home, in_line(first, second), scene)


def test_a_fallback_that_is_not_needed_is_never_made(home: AgentHome) -> None:
    async def scene(listener: Listener) -> None:
        await listener.say("Hello.")
        assert said(listener) == ["Hi."]

    line = ProcessorLine(scripted("a", speak("Hi.")), [Fallback("b", lambda: pytest.fail("it was made"))])
    talk(home, line, scene)


# --- summaries ------------------------------------------------------------------------------------------------

SUMMARY = ScriptedReply(text="Facts:\n- Ana keeps bees.\nDates:\n- none", purpose="summarise")


@pytest.mark.parametrize(
    ("of_own", "author"), [([SUMMARY], "a"), ([ScriptedReply(text="No.", purpose="summarise")], "memos")]
)
def test_summaries_fall_back_to_the_agents_own_model_and_then_to_the_extract(
    home: AgentHome, of_own: Sequence[ScriptedReply], author: str
) -> None:
    writer = scripted("w", ScriptedReply(purpose="summarise", error="unreachable"))
    own = scripted("a", *(speak("word " * 60) for _ in range(6)), *of_own)
    kernel = home.kernel(own, summary_processor=writer)

    async def scene(listener: Listener) -> None:
        for number in range(6):
            await listener.say(f"Line {number}. " + "word " * 60)
        await home.operator(listener.kernel).summarise()

    play(kernel, scene)
    assert home.database.query("SELECT author FROM summaries ORDER BY rowid DESC")[0]["author"] == author


# --- a failed request and the words it was about --------------------------------------------------------------


@pytest.mark.parametrize("error", ["unreachable", "rate_limited", "refused", "overflow", "filtered"])
@pytest.mark.parametrize("way", ["retry", "continue"])
def test_a_message_whose_request_failed_is_kept_and_answered_later(home: AgentHome, error: str, way: str) -> None:
    async def scene(listener: Listener) -> None:
        await listener.say("My name is Ana.")
        (stopped,) = listener.of(Stopped)
        assert f"The script says: {error}." in stopped.reason and "Next: " in stopped.reason
        assert await listener.kernel.was_stopped()
        if way == "retry":
            taken = await home.operator(listener.kernel).retry()
            assert taken.words == "My name is Ana."
            await listener.kernel.idle()
        else:
            await listener.post(Event(EventKind.HEARTBEAT, payload={"reason": "go on"}))
        await listener.until(lambda: said(listener) == ["Hello Ana."])
        assert not await listener.kernel.was_stopped()

    processor = scripted("a", *fails(error, 2 if error == "overflow" else 1), speak("Hello Ana."))
    play(home.kernel(processor), scene)
    users = [row.content for row in home.recall.queue(0) if row.role == "user" and row.kind is EventKind.USER_MESSAGE]
    assert users == ["My name is Ana."]
