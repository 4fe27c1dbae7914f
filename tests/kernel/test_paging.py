"""Main context always fits: warning, flush, summary, shortening, and what is said when nothing helps."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.agent_home import AgentHome, agent_home
from support.listening import Listener, append, call, play, running, speak

from memos.errors import StorageProblem
from memos.kernel.executor import bounded
from memos.kernel.main_context import Paging
from memos.kernel.shortening import shortened, weight
from memos.kernel.summariser import BY_MEMOS, extract
from memos.kernel.summary import SECTIONS, entries_of, headings_in, summary_text, with_departures
from memos.llm.chat_messages import check_pairing
from memos.llm.scripted import ScriptedCall, ScriptedProcessor, ScriptedReply
from memos.messages import Block, EventKind, Evicted, FunctionCall, Message, Notice, Stopped, TurnDone

SUMMARY = "Facts:\n- Ana keeps bees.\nOpen threads:\n- She wants to see the sea."


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    return agent_home(tmp_path)


def talk(
    home: AgentHome,
    script: list[ScriptedReply],
    scene: Callable[[Listener, ScriptedProcessor], Awaitable[None]],
    window_tokens: int | None = 4096,
    paging: Paging = Paging(),
) -> ScriptedProcessor:
    processor = ScriptedProcessor(script, window_tokens=window_tokens)
    play(home.kernel(processor, paging=paging), lambda listener: scene(listener, processor))
    for prompt in processor.prompts:
        check_pairing(prompt.queue)
        assert not prompt.queue or prompt.queue[0].role == "user"
        if prompt.purpose == "chat":
            assert processor.measure(prompt).total <= (window_tokens or 8192)
    return processor


def long_words(number: int, words: int = 150) -> str:
    return f"Fact number {number}: " + f"word{number} " * words


# --- the warning -------------------------------------------------------------------------------------------


def test_the_agent_is_warned_once_per_filling_and_can_act_on_it(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        for number in range(24):
            await listener.say(long_words(number))
        newest = [prompt.queue[-1] for prompt in processor.prompts if prompt.purpose == "chat"]
        warnings = [row for row in newest if row.kind is EventKind.MEMORY_PRESSURE]
        flushes = listener.of(Evicted)
        assert len(flushes) >= 2
        assert len(flushes) <= len(warnings) <= len(flushes) + 1
        assert "leaves for recall storage" in warnings[0].content

    saved = append("saved under pressure", heartbeat=False)
    script = [replace(saved, match="leaves for recall storage") for _ in range(5)]
    talk(home, [*script, *(speak(f"Noted {n}.") for n in range(24))], scene)
    assert home.memory.blocks()[1].value.count("saved under pressure") >= 2


def test_a_model_that_calls_nothing_is_not_warned(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        for number in range(20):
            await listener.say(long_words(number))
        assert listener.of(Evicted)
        assert all(prompt.queue[-1].kind is EventKind.USER_MESSAGE for prompt in processor.prompts)

    talk(home, [ScriptedReply(text=f"Noted {n}.") for n in range(20)], scene)


def test_a_model_that_does_not_read_the_queue_is_not_warned(home: AgentHome) -> None:
    class Clerk(ScriptedProcessor):
        reads_queue = False

    async def play() -> None:
        processor = Clerk([speak(f"Noted {n}.") for n in range(20)], window_tokens=4096)
        async with running(home.kernel(processor)) as listener:
            for number in range(20):
                await listener.say(long_words(number))
            assert listener.of(Evicted) and not listener.of(Notice)
            assert all(prompt.queue[-1].kind is EventKind.USER_MESSAGE for prompt in processor.prompts)

    asyncio.run(play())


def test_a_warning_in_a_chain_carries_its_heartbeat_on(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.say("Do much.")
        kinds = [prompt.queue[-1].kind for prompt in processor.prompts]
        assert kinds.count(EventKind.MEMORY_PRESSURE) == 1
        warning = next(p.queue[-1] for p in processor.prompts if p.queue[-1].kind is EventKind.MEMORY_PRESSURE)
        assert "archival_memory_insert asked for a heartbeat" in warning.content
        assert listener.of(TurnDone)[-1].steps == 9

    note = {"content": "x" * 1500, "request_heartbeat": True}
    talk(home, [*[call("archival_memory_insert", note | {"content": f"{n}" * 900}) for n in range(8)], speak("Done.")],
         scene)  # fmt: skip


@pytest.mark.parametrize(("warn_at", "flush_at"), [(0.45, 0.6), (0.7, 0.9), (0.8, 1.0)])
def test_warning_and_flush_come_at_the_shares_that_were_set(home: AgentHome, warn_at: float, flush_at: float) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        for number in range(20):
            await listener.say(long_words(number, 60))
        prompts = [prompt for prompt in processor.prompts if prompt.purpose == "chat"]
        fills = [processor.measure(prompt).at_most / (4096 - 512) for prompt in prompts]
        warned = next(n for n, p in enumerate(prompts) if p.queue[-1].kind is EventKind.MEMORY_PRESSURE)
        assert fills[warned - 1] >= warn_at > max(fills[: warned - 1])
        assert len(listener.of(Evicted)) >= 1
        assert flush_at - 0.15 < max(fills) <= flush_at

    talk(home, [speak(f"Noted {n}.") for n in range(60)], scene, paging=Paging(warn_at, flush_at))


def test_a_turn_is_warned_once_however_often_its_steps_fill_the_queue(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.say("Please collect the honey yields of all years.")
        kinds = [prompt.queue[-1].kind for prompt in processor.prompts if prompt.purpose == "chat"]
        assert kinds.count(EventKind.MEMORY_PRESSURE) == 1
        assert len(listener.of(Evicted)) >= 2

    chain = [call("archival_memory_insert", {"content": f"{n} " * 500, "request_heartbeat": True}) for n in range(20)]
    talk(home, [*chain, speak("Done.")], scene)


def test_all_hits_of_a_search_stay_in_view_in_a_small_window(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.say("What do you know of bees?")
        result = processor.prompts[-1].queue[2].content
        assert "Showing 1-5 of 5 results" in result and all(f"bees {n}:" in result for n in range(5))
        assert "cut here" in result and len(result) < 1800

    for number in range(5):
        home.archival.archival_memory_insert(f"bees {number}: " + "honey " * 150)
    search = call("archival_memory_search", {"query": "bees", "request_heartbeat": True})
    talk(home, [search, speak("Much.")], scene, window_tokens=2048)


@given(st.text("a b\n", max_size=400), st.integers(0, 400))
def test_a_bounded_result_keeps_every_line_or_is_whole(text: str, limit: int) -> None:
    result = bounded(text, limit)
    assert result == text if len(text) <= limit else len(result) <= max(2 * limit, 0) + 60


# --- the flush ---------------------------------------------------------------------------------------------


def test_a_flush_evicts_about_half_and_every_message_is_still_found(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        for number in range(30):
            await listener.say(long_words(number))
        assert all(flush.messages >= 4 for flush in listener.of(Evicted))
        assert "conversation_search finds them" in processor.prompts[-1].summary

    talk(home, [speak(f"Noted {n}.") for n in range(40)], scene, paging=Paging(warn_at=9.0))
    home.begin_turn()
    for number in range(30):
        assert f"Fact number {number}:" in home.recall.conversation_search(f"word{number}")


def test_a_queue_never_begins_later_than_its_summary_says(home: AgentHome, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        for number in range(3):
            await listener.say(long_words(number))
        before = home.agents.reload(home.agent)

        def full(*_: object) -> None:
            raise StorageProblem("The disk is full.")

        monkeypatch.setattr(home.agents, "set_summary", full)
        with pytest.raises(StorageProblem):
            await listener.kernel.machine.queue_manager.evict(3, "What was said.", "memos")
        assert home.agents.reload(home.agent) == before

    talk(home, [speak(f"Noted {n}.") for n in range(3)], scene)


def test_a_long_chain_is_paged_within_its_own_turn_and_keeps_what_was_asked(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.say("Please collect the honey yields of all years.")
        assert listener.of(Evicted) and listener.of(TurnDone) == [TurnDone(21)]
        assert "honey yields" in processor.prompts[-1].summary

    chain = [call("archival_memory_insert", {"content": f"{n} " * 500, "request_heartbeat": True}) for n in range(20)]
    talk(home, [*chain, speak("Done.")], scene, paging=Paging(warn_at=9.0))


def test_a_model_writes_the_summary_from_plain_text_in_pieces_that_fit(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        for number in range(14):
            await listener.say(long_words(number, 300))
        asked = [prompt for prompt in processor.prompts if prompt.purpose == "summarise"]
        assert asked and all(not prompt.functions and len(prompt.queue) == 1 for prompt in asked)
        assert all(processor.measure(prompt).total < 4096 for prompt in asked)
        text = asked[0].queue[0].content
        assert "person: Fact number 0:" in text and "send_message" not in text
        assert "Ana keeps bees." in processor.prompts[-1].summary
        assert "messages have left the queue" in processor.prompts[-1].summary
        purposes = [total.purpose for total in home.ledger.totals() for _ in range(total.spent.calls)]
        assert purposes.count("summarise") == len(asked)

    summaries = [ScriptedReply(text=SUMMARY, purpose="summarise") for _ in range(20)]
    talk(home, [*summaries, *(speak(f"Noted {n}.") for n in range(20))], scene, paging=Paging(warn_at=9.0))
    authors = [row["author"] for row in home.database.query("SELECT author FROM summaries ORDER BY seq")]
    assert authors[:2] == [BY_MEMOS, "scripted"]  # written at once without a model, then better


@pytest.mark.parametrize(
    "reply",
    [
        ScriptedReply(text="Sure, I can help with that!", purpose="summarise"),
        ScriptedReply(purpose="summarise"),
        ScriptedReply(error="unreachable", purpose="summarise"),
        ScriptedReply(text=SUMMARY, finish="cut", chunk_chars=1, purpose="summarise"),
    ],
    ids=["chatter", "empty", "error", "cut"],
)
def test_a_summary_that_fails_is_replaced_by_the_messages_own_words(home: AgentHome, reply: ScriptedReply) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        for number in range(12):
            await listener.say(long_words(number, 300))
        assert len(listener.of(TurnDone)) == 12 and not listener.of(Stopped)
        assert "person: Fact number" in processor.prompts[-1].summary
        assert any("nothing is lost" in notice.text for notice in listener.of(Notice))

    script = [*(speak(f"Noted {n}.") for n in range(20)), *[reply] * 20]
    talk(home, script, scene, paging=Paging(warn_at=9.0))


def test_a_summary_of_a_script_with_many_tokens_a_letter_fits_too(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        for number in range(8):
            await listener.say("".join(chr(0x4E00 + (number * 97 + n) % 9000) for n in range(1200)))
        asked = [prompt for prompt in processor.prompts if prompt.purpose == "summarise"]
        assert asked and all(processor.measure(prompt).total < 4096 for prompt in asked)

    summaries = [ScriptedReply(text=SUMMARY, purpose="summarise") for _ in range(60)]
    talk(home, [*summaries, *(speak(f"Noted {n}.") for n in range(20))], scene, paging=Paging(warn_at=9.0))


# --- shortening --------------------------------------------------------------------------------------------


def test_a_message_longer_than_the_window_stands_there_shortened_and_is_kept_whole(home: AgentHome) -> None:
    words = "begin " + " ".join(f"w{n}" for n in range(4000)) + " end"

    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.say(words)
        await listener.say("And now?")
        shown = processor.prompts[0].queue[0].content
        assert shown.startswith("begin w0") and shown.endswith(" end") and "cut here to fit" in shown
        assert "conversation_search" in shown
        told = [notice.text for notice in listener.of(Notice) if "too long" in notice.text]
        assert told == [
            "Your message is too long for the model's window: it sees beginning and end. All of it is kept."
        ]
        assert len(listener.of(TurnDone)) == 2

    talk(home, [speak("Long."), speak("Nothing.")], scene)
    assert home.database.query("SELECT content FROM messages ORDER BY seq LIMIT 1")[0]["content"] == words
    again = home.recall.queue(home.agents.reload(home.agent).queue_start)
    assert not again or again[0].content != words


def test_a_call_longer_than_the_window_keeps_its_name_and_arguments_that_are_json(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.say("Store the book.")
        stored = processor.prompts[-1].queue[1].calls[0]
        assert stored.name == "archival_memory_insert" and set(json.loads(stored.arguments)) >= {"content"}
        assert len(stored.arguments) < 16_000

    book = {"content": "chapter " * 4000, "request_heartbeat": True}
    talk(home, [call("archival_memory_insert", book), speak("Stored.")], scene)
    assert home.database.query("SELECT length(content) AS n FROM passages")[0]["n"] == len(book["content"].strip())  # type: ignore[attr-defined]


def test_core_memory_too_large_for_the_window_is_refused_with_advice_before_anything_is_sent(tmp_path: Path) -> None:
    home = agent_home(tmp_path, [Block("persona", "I am Sam.", 2000), Block("human", "x " * 6000, 20_000)])

    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.say("Hello?")
        stop = listener.of(Stopped)[0]
        assert "core memory alone take" in stop.reason and "/model" in stop.reason and stop.exit_code == 4
        assert processor.prompts == []

    talk(home, [speak("Never.")], scene, window_tokens=2048)


def test_a_provider_that_refuses_a_prompt_is_sent_less_once_and_then_fits(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        for number in range(6):
            await listener.say(long_words(number))
        await listener.say("The seventh.")
        refused, accepted = map(processor.measure, processor.prompts[6:8])
        assert not listener.of(Stopped) and accepted.total < 0.9 * refused.total

    script = [*(speak(f"Noted {n}.") for n in range(6)), ScriptedReply(error="overflow"), speak("Here.")]
    talk(home, script, scene, window_tokens=60_000)


def test_an_unknown_window_is_told_once_and_when_it_matters(home: AgentHome) -> None:
    async def scene(listener: Listener, processor: ScriptedProcessor) -> None:
        await listener.say("One.")
        assert not listener.of(Notice)  # it does not matter yet
        await listener.say("long " * 3500)
        await listener.say("Three.")
        assert sum("unknown" in notice.text for notice in listener.of(Notice)) == 1

    class Windowless(ScriptedProcessor):
        window_tokens = None  # type: ignore[assignment]

    async def play() -> None:
        processor = Windowless([speak("1"), speak("2"), speak("3")])
        async with running(home.kernel(processor)) as listener:
            await scene(listener, processor)

    asyncio.run(play())


@given(st.text(max_size=3000), st.lists(st.dictionaries(st.text(max_size=9), st.text(max_size=900)), max_size=3),
       st.integers(0, 2000))  # fmt: skip
def test_what_is_shortened_is_shorter_and_still_pairs(
    content: str, arguments: list[dict[str, str]], limit: int
) -> None:
    calls = tuple(FunctionCall(f"c{n}", "f", json.dumps(given)) for n, given in enumerate(arguments))
    message = Message("assistant", content, "a", "t", calls=calls)
    shorter = shortened(message, limit)
    if shorter is None:
        return
    assert weight(shorter) < weight(message)
    assert [call.id for call in shorter.calls] == [call.id for call in calls]
    assert all(isinstance(json.loads(call.arguments), dict) for call in shorter.calls)


# --- the summary as data -----------------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from([f"{section}:" for section in SECTIONS]) | st.text(max_size=300), max_size=30),
    st.integers(400, 3000),
)
def test_a_summary_stays_within_its_limit_and_says_where_the_messages_are(lines: list[str], limit: int) -> None:
    text = summary_text(with_departures(entries_of("\n".join(lines)), 7, datetime(2026, 11, 23, tzinfo=UTC)), limit)
    assert len(text) <= limit
    assert "7 messages have left the queue" in text
    assert headings_in(text) >= 1
    assert summary_text(entries_of(text), limit) == text


def test_an_extract_keeps_the_newest_words_of_the_person_and_counts_on() -> None:
    def said(number: int) -> Message:
        return Message("user", f"Fact {number} " + "x" * 50, "a", "t", kind=EventKind.USER_MESSAGE)

    first = extract("", [said(n) for n in range(10)], 600)
    second = extract(first, [said(n) for n in range(10, 20)], 600)
    assert "20 messages have left" in second and "Fact 19" in second and "Fact 0 " not in second


@pytest.mark.parametrize("marks", ["- {}", "* {}", "• {}", "1. {}", "{}"])
def test_sections_are_read_however_a_model_marks_them(marks: str) -> None:
    text = "\n".join(["**Facts:**", marks.format("Ana keeps bees."), "## Dates:", marks.format("12 June: exam")])
    entries = entries_of(text)
    assert entries["Facts"] == ["Ana keeps bees."] and entries["Dates"] == ["12 June: exam"]


# --- the operator ------------------------------------------------------------------------------------------


def operate(home: AgentHome, script: list[ScriptedReply], scene: Callable[..., Awaitable[None]]) -> ScriptedProcessor:
    processor = ScriptedProcessor(script, window_tokens=4096)

    async def play() -> None:
        kernel = home.kernel(processor)
        async with running(kernel) as listener:
            await scene(listener, home.operator(kernel), processor)

    asyncio.run(play())
    return processor


def test_undo_takes_back_the_last_turn_with_its_edits_and_passages(home: AgentHome) -> None:
    async def scene(listener: Listener, operator, processor: ScriptedProcessor) -> None:  # type: ignore[no-untyped-def]
        await listener.say("I keep bees.")
        await listener.say("I live in Oslo.")
        counts = home.recall.counts()
        taken = await operator.undo()
        assert (taken.words, taken.edits, taken.passages, list(taken.left)) == ("I live in Oslo.", 1, 1, [])
        assert home.memory.blocks()[1].value == "Keeps bees."
        assert home.recall.counts() == (counts[0] - 2, counts[1] - 1)
        home.begin_turn()
        assert "Oslo" not in home.recall.conversation_search("Oslo")
        await listener.say("Where do I live?")
        assert "Oslo" not in str(processor.prompts[-1])

    passage = call("archival_memory_insert", {"content": "Oslo is in Norway.", "request_heartbeat": True})
    operate(
        home,
        [append("Keeps bees."), speak("Nice."), append("Lives in Oslo."), passage, speak("Far up."), speak("Unknown.")],
        scene,
    )


def test_retry_says_the_same_words_again(home: AgentHome) -> None:
    async def scene(listener: Listener, operator, processor: ScriptedProcessor) -> None:  # type: ignore[no-untyped-def]
        await listener.say("Tell me a joke.")
        await operator.retry()
        await listener.until(lambda: len(listener.of(TurnDone)) == 2)
        assert [row.content for row in processor.prompts[-1].queue] == ["Tell me a joke."]

    operate(home, [speak("No."), speak("Why not: a bee walks into a bar.")], scene)


def test_pop_takes_a_call_and_its_result_together(home: AgentHome) -> None:
    async def scene(listener: Listener, operator, processor: ScriptedProcessor) -> None:  # type: ignore[no-untyped-def]
        await listener.say("Hello.")
        assert await operator.pop(1) == 2  # the result of send_message, and the reply that called it
        assert [row.role for row in home.recall.queue(0)] == ["user"]
        await listener.say("Again.")

    operate(home, [speak("Hi."), speak("Hi again.")], scene)


def test_clear_empties_the_queue_and_keeps_memory_and_recall(home: AgentHome) -> None:
    async def scene(listener: Listener, operator, processor: ScriptedProcessor) -> None:  # type: ignore[no-untyped-def]
        await listener.say("I keep bees.")
        assert await operator.clear() == 6
        await listener.say("Hello.")
        assert [row.content for row in processor.prompts[-1].queue] == ["Hello."] and not processor.prompts[-1].summary
        home.begin_turn()
        assert "bees" in home.recall.conversation_search("bees")
        assert home.memory.blocks()[1].value == "Keeps bees."

    operate(home, [append("Keeps bees."), speak("Nice."), speak("Hi.")], scene)


def test_summarise_flushes_at_once_and_context_says_what_that_would_evict(home: AgentHome) -> None:
    async def scene(listener: Listener, operator, processor: ScriptedProcessor) -> None:  # type: ignore[no-untyped-def]
        for number in range(4):
            await listener.say(long_words(number, 100))
        before = await operator.context()
        evicted, summary = await operator.summarise()
        assert (evicted.messages, evicted.tokens) == (len(before.evicted_next), before.evicted_next_tokens)
        assert "Fact number 0:" in summary
        assert (await operator.context()).messages == before.messages - evicted.messages

    operate(home, [speak("Noted.")] * 4, scene)


def test_no_command_acts_while_a_turn_runs(home: AgentHome) -> None:
    from memos.errors import BadInput

    async def scene(listener: Listener, operator, processor: ScriptedProcessor) -> None:  # type: ignore[no-untyped-def]
        saying = asyncio.create_task(listener.say("Hello."))
        await listener.until(lambda: bool(listener.bodies))
        for command in (operator.undo, operator.retry, operator.clear, operator.summarise, lambda: operator.pop(1)):
            with pytest.raises(BadInput, match="turn is running"):
                await command()
        await saying

    operate(
        home, [ScriptedReply(calls=(ScriptedCall("send_message", {"message": "slow " * 20}),), delay_s=0.05)], scene
    )
