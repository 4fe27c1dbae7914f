"""Recall storage: the order of writing, settling, and both searches."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.agent_home import AgentHome, agent_home

from memos.errors import FunctionFailed
from memos.memory.message_rows import event_message, reply_message, spoken_words
from memos.memory.pages import PAGE_LIMIT_TOKENS
from memos.memory.recall_storage import DID_NOT_COMPLETE
from memos.messages import Event, EventKind, FunctionCall, Message, MessageState, Provenance, Reply


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    return agent_home(tmp_path)


def say(home: AgentHome, text: str, at: datetime | None = None) -> Message:
    event = Event(EventKind.USER_MESSAGE, text)
    event = replace(event, created_at=at) if at else event
    return home.recall.append(event_message(event, home.agent.id, event.id))


def draft(home: AgentHome) -> Message:
    return Message(
        role="assistant",
        content="",
        agent_id=home.agent.id,
        turn_id="t",
        state=MessageState.PROVISIONAL,
        provenance=Provenance.AGENT,
    )


def reply(home: AgentHome, *calls: FunctionCall, text: str = "") -> Message:
    return home.recall.append(reply_message(Reply("Hm.", text, calls), draft(home)))


def call(name: str = "send_message", arguments: str = '{"message": "Hello Ana."}', call_id: str = "c1") -> FunctionCall:
    return FunctionCall(call_id, name, arguments)


def test_rows_come_back_as_they_were_stored_in_order(home: AgentHome) -> None:
    stored = [say(home, "One"), reply(home, call()), say(home, "Two")]
    assert home.recall.queue(0) == stored
    assert [m.seq for m in stored] == sorted(m.seq for m in stored)
    assert home.recall.queue(stored[2].seq) == stored[2:]


def test_an_event_stored_twice_is_there_once(home: AgentHome) -> None:
    event = Event(EventKind.USER_MESSAGE, "Once")
    rows = [home.recall.append(event_message(event, home.agent.id, event.id)) for _ in range(2)]
    assert rows[0].seq == rows[1].seq and len(home.recall.queue(0)) == 1


def test_order_is_by_seq_even_when_the_clock_jumps_back(home: AgentHome) -> None:
    now = datetime.now(UTC)
    say(home, "first", now)
    say(home, "second", now - timedelta(days=400))
    assert [m.content for m in home.recall.queue(0)] == ["first", "second"]


def test_a_provisional_row_becomes_complete_once_and_then_stays(home: AgentHome) -> None:
    row = home.recall.append(draft(home))
    home.recall.update(replace(row, content="Half", payload={"speech": "Hel"}))
    done = home.recall.update(reply_message(Reply("Whole.", "", (call(),)), row))
    home.recall.update(replace(row, content="late refresh", state=MessageState.PROVISIONAL))
    assert home.recall.queue(0) == [done]


def test_settling_closes_calls_without_result_and_marks_what_was_streaming(home: AgentHome) -> None:
    say(home, "Hi")
    answered = reply(home, call(call_id="a"), call("conversation_search", '{"query": "x"}', "b"))
    home.recall.append(Message("tool", "ok", home.agent.id, "t", name="send_message", call_id="a", ok=True))
    home.recall.append(replace(draft(home), content="I was just"))
    assert home.recall.settle(0) == 2
    queue = home.recall.queue(0)
    assert [m.call_id for m in queue if m.role == "tool"] == ["a", "b"]
    assert queue[-1].content == DID_NOT_COMPLETE and queue[-1].ok is False and queue[-1].turn_id == answered.turn_id
    assert queue[3].state is MessageState.INCOMPLETE
    assert home.recall.settle(0) == 0


def test_events_that_wait_survive_until_they_are_fetched(home: AgentHome) -> None:
    event = Event(EventKind.USER_MESSAGE, "later")
    home.recall.defer(event)
    assert home.recall.deferred() == [event]
    home.recall.append(event_message(event, home.agent.id, event.id))
    assert home.recall.deferred() == []


def test_search_finds_what_both_said_and_not_monologue_or_results(home: AgentHome) -> None:
    say(home, "I keep bees on the roof.")
    reply(home, call(arguments='{"message": "How many hives?"}'))
    reply(home, text="I speak plainly of honey.")
    assert "user: I keep bees" in home.recall.conversation_search("bees")
    assert "sam: How many hives?" in home.recall.conversation_search("hives")
    assert "honey" in home.recall.conversation_search("honey")
    assert home.recall.conversation_search("Hm") == "No results."


@pytest.mark.parametrize("odd", ["\\ud83d", "\\u0000"])
def test_what_is_escaped_in_arguments_does_not_break_the_row_that_says_it(home: AgentHome, odd: str) -> None:
    say(home, "Tell me of bees.")
    stored = reply(home, call(arguments=f'{{"message": "Bees {odd} hum in the orchard."}}'))
    assert spoken_words(stored) == "Bees \ufffd hum in the orchard."
    assert "hum in the orchard" in home.recall.conversation_search("orchard")


def test_the_question_itself_is_no_result(home: AgentHome) -> None:
    say(home, "My cat is called Miso.")
    question = say(home, "What is my cat called?")
    turn = home.begin_turn()
    turn.start_seq = question.seq
    text = home.recall.conversation_search("What is my cat called?")
    assert "Miso" in text and "What is" not in text


def test_pages_have_true_totals(home: AgentHome) -> None:
    for number in range(12):
        say(home, f"bee number {number}")
    assert home.recall.conversation_search("bee").startswith("Showing 1-5 of 12 results (page 0):\n[")
    assert home.recall.conversation_search("bee", page=2).startswith("Showing 11-12 of 12 results (page 2):")
    assert home.recall.conversation_search("bee", page=9).startswith("No results on page 9: there are 12")
    with pytest.raises(FunctionFailed):
        home.recall.conversation_search("bee", page=-1)


def test_a_date_search_includes_its_last_day_and_takes_today(home: AgentHome) -> None:
    now = datetime.now(UTC)
    say(home, "old news", now - timedelta(days=10))
    say(home, "said today", now)
    today = now.astimezone().date().isoformat()
    assert "said today" in home.recall.conversation_search_date(today, today)
    assert "old news" not in home.recall.conversation_search_date("today", "now")
    assert "of 2 results" in home.recall.conversation_search_date("2020-01-01", "today")
    with pytest.raises(FunctionFailed, match="names no day"):
        home.recall.conversation_search_date("last spring", "today")


def test_counts_follow_what_is_said_and_archived(home: AgentHome) -> None:
    assert home.recall.counts() == (0, 0)
    say(home, "One")
    row = home.recall.append(draft(home))
    assert home.recall.counts() == (1, 0)
    home.recall.update(reply_message(Reply("", "Two"), row))
    home.archival.archival_memory_insert("Three.")
    assert home.recall.counts() == (2, 1)


def test_agents_never_see_each_others_words(home: AgentHome, tmp_path: Path) -> None:
    other = agent_home(tmp_path, name="eve")
    say(other, "Eve's secret is a violin.")
    other.archival.archival_memory_insert("Eve's secret is a violin.")
    for query in ("violin", "' OR 1=1 --", 'agent_id:"x" OR violin'):
        assert home.recall.conversation_search(query) == "No results."
        assert home.archival.archival_memory_search(query) == "No results."


def test_archival_keeps_passages_and_finds_them(home: AgentHome) -> None:
    home.archival.archival_memory_insert("The bakery on Elm Street closes at six.")
    assert "] The bakery on Elm Street" in home.archival.archival_memory_search("bakery")
    with pytest.raises(FunctionFailed, match="empty"):
        home.archival.archival_memory_insert("  \n ")


def begin_turn_that_sees(home: AgentHome, seen_from: int, start_seq: int = 2**62) -> None:
    turn = home.begin_turn()
    turn.start_seq, turn.seen_from = start_seq, seen_from


def test_what_stands_in_the_queue_is_no_result_but_for_what_stands_there_shortened(home: AgentHome) -> None:
    say(home, "My cat is called Miso.")
    long = say(home, "My cat eats " + "fish " * 500)
    say(home, "My cat is asleep.")
    begin_turn_that_sees(home, long.seq)
    assert "of 1 results" in home.recall.conversation_search("cat")
    home.recall.override(replace(long, content="My cat eats […]"))
    assert "of 2 results" in home.recall.conversation_search("cat")
    assert "asleep" not in home.recall.conversation_search_date("today", "now")
    begin_turn_that_sees(home, 0)
    assert home.recall.conversation_search("Miso") == "No results besides what is in view."


def test_what_was_imported_is_found_wherever_the_queue_begins(home: AgentHome) -> None:
    say(home, "My cat is called Miso.")
    with home.database.transaction() as connection:
        connection.execute("UPDATE messages SET origin = 'import'")
    begin_turn_that_sees(home, 0)
    assert "Miso" in home.recall.conversation_search("cat")


def test_a_search_is_narrowed_by_who_spoke_and_when(home: AgentHome) -> None:
    now = datetime.now(UTC)
    say(home, "I ate a bee.", now - timedelta(days=400))
    say(home, "I saw a bee.", now)
    reply(home, call(arguments='{"message": "Bees sting."}'))
    search = home.recall.conversation_search
    assert "of 3 results" in search("bee")
    assert "sam: Bees sting" in (found := search("bee", roles=["assistant"])) and "of 1 results" in found
    assert "of 2 results" in search("bee", roles=["user"])
    assert "of 2 results" in search("bee", start="today") and "of 2 results" in search("bee", start="now", end="today")
    assert "I ate" in search("bee", end="last month")
    assert search("bee", start="2001", end="2002") == "No results."
    assert "of 2 results" in search("", roles=["user"])
    with pytest.raises(FunctionFailed, match="names no day"):
        search("bee", start="banana")


def test_messages_around_a_result_come_on_request_each_once(home: AgentHome) -> None:
    for text in ("One", "Two", "Three", "A bee", "Another bee", "Six", "Seven", "Eight", "Nine"):
        say(home, text)
    page = home.recall.conversation_search("bee", around=3)
    assert page.startswith("Showing 1-4 of 4 results")  # what is right beside a result counts as one
    beside = [line.split("user: ")[1] for line in page.splitlines() if line.startswith("    [")]
    assert sorted(beside) == ["Eight", "Nine", "One", "Seven", "Two"] and len(page.splitlines()) == 10
    assert len(home.recall.conversation_search("bee", around=-5).splitlines()) == 5


def test_a_page_with_neighbours_keeps_its_bound(home: AgentHome) -> None:
    for number in range(80):
        say(home, f"{'bee' if number % 9 == 0 else 'other'} {number} " + "word " * 300)
    page = home.recall.conversation_search("bee", around=99)
    assert len(page) / 4 <= PAGE_LIMIT_TOKENS and len(page.splitlines()) > 20


@pytest.mark.parametrize("query", ["東京", "京都", "猫", "고양이", "アナはどこに住んでいますか", "กรุงเทพ"])
def test_languages_without_spaces_are_found(home: AgentHome, query: str) -> None:
    for text in (
        "アナは東京に住んでいます。",
        "我去年在京都养了一只猫。",
        "내 고양이는 검은색이다.",
        "ฉันอยู่กรุงเทพมานาน",
    ):
        say(home, text)
    say(home, "I keep bees.")
    first = home.recall.conversation_search(query).splitlines()[1]
    assert query[:1] in first and "bees" not in first


ORDINARY = ["don't", "C++", "a:b", '"unbal', "AND", "", "\x00", "🐝", "NEAR(", "-", "*", "\ud83d", "東京"]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text() | st.lists(st.sampled_from(ORDINARY)).map(" ".join))
@example(" ".join(f"word{number}" for number in range(10_000)))
@example("don't")
def test_no_ordinary_query_raises(home: AgentHome, query: str) -> None:
    if not home.recall.counts()[0]:
        say(home, "I don't write C++ in a:b, AND I keep bees.")
    assert home.recall.conversation_search(query, around=1)
    assert home.archival.archival_memory_search(query, tags=["x", query[:30]])
    assert home.recall.conversation_search(query, start="2020", roles=["user"])
