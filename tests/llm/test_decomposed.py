"""The clerk's call format over the real built-in model and the real embedder: ordinary calls, nothing made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memos.llm.decomposed import NOTHING, OFFER, SLOTS, Decomposed, current_turn, sentences, stated_name
from memos.llm.engine import Engine
from memos.llm.filed_lines import FiledLine, filed_lines, nearest_line, search_hits
from memos.llm.small_talk import SmallTalk
from memos.llm.weights import builtin_weights
from memos.memory.index import builtin_similarity
from memos.messages import Block, Counters, EventKind, FunctionCall, FunctionSchema, Message, Prompt, Reply

NOW = datetime(2026, 11, 23, 14, 5, tzinfo=UTC)
ANA = '2026-11-20: "My name is Ana and I keep bees."'


def schema(name: str, *parameters: str) -> FunctionSchema:
    return FunctionSchema(name, "", {"type": "object", "properties": {p: {"type": "string"} for p in parameters}})


FUNCTIONS = (
    schema("send_message", "message"),
    schema("pause_heartbeats", "minutes"),
    schema("core_memory_append", "name", "content", "request_heartbeat"),
    schema("archival_memory_insert", "content", "request_heartbeat"),
    schema("conversation_search", "query", "page", "request_heartbeat"),
    schema("archival_memory_search", "query", "page", "request_heartbeat"),
)


def event(text: str, kind: EventKind = EventKind.USER_MESSAGE, **payload: Any) -> Message:
    return Message("user", text, "agent", "turn", kind=kind, payload=payload)


def prompt(*queue: Message, human: str = "", recall: int = 0, archival: int = 0) -> Prompt:
    blocks = (Block("persona", "I am a clerk.", 2000), Block("human", human, 2000))
    return Prompt("", FUNCTIONS, blocks, queue, Counters(NOW, recall, archival))


def after(reply: Reply, result: str = "Done.", ok: bool = True) -> tuple[Message, Message]:
    (call,) = reply.calls
    return (
        Message("assistant", reply.monologue, "agent", "turn", calls=(call,)),
        Message("tool", result, "agent", "turn", name=call.name, call_id=call.id, ok=ok),
    )


def call_of(reply: Reply) -> tuple[str, dict[str, Any]]:
    (call,) = reply.calls
    return call.name, json.loads(call.arguments)


@pytest.fixture(scope="module")
def engine(builtin_cache: Path) -> Iterator[Engine]:
    loaded = Engine(builtin_weights(builtin_cache, lambda _: None), threads=1, window_tokens=2048, slots=SLOTS)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def clerk(engine: Engine) -> Decomposed:
    return Decomposed(engine, builtin_similarity())


builtin_model = pytest.mark.builtin_model


@builtin_model
def test_a_fact_is_filed_in_the_users_own_words_and_then_said(clerk: Decomposed) -> None:
    told = event("My name is Ana and I keep bees.")
    first = clerk.reply(prompt(told))
    name, arguments = call_of(first)
    assert name == "core_memory_append"
    assert arguments == {
        "name": "human",
        "content": '2026-11-23: "My name is Ana and I keep bees."',
        "request_heartbeat": True,
    }
    assert first.monologue
    heartbeat = event("", EventKind.HEARTBEAT, reason="asked for")
    second = clerk.reply(prompt(told, *after(first), heartbeat, human=arguments["content"]))
    assert call_of(second) == ("send_message", {"message": 'Filed: "My name is Ana and I keep bees."'})


@builtin_model
def test_what_the_block_cannot_take_goes_to_the_archive(clerk: Decomposed) -> None:
    told = event("My neighbour Ilse repairs clocks.")
    first = clerk.reply(prompt(told))
    second = clerk.reply(prompt(told, *after(first, "It does not fit.", ok=False)))
    assert call_of(second)[0] == "archival_memory_insert"
    third = clerk.reply(prompt(told, *after(first, "no", ok=False), *after(second)))
    assert call_of(third) == ("send_message", {"message": 'Filed in the archive: "My neighbour Ilse repairs clocks."'})


@builtin_model
def test_when_nothing_can_be_filed_it_says_so(clerk: Decomposed) -> None:
    told = event("My neighbour Ilse repairs clocks.")
    first = clerk.reply(prompt(told))
    queue = [told, *after(first, "no", ok=False)]
    second = clerk.reply(prompt(*queue))
    third = clerk.reply(prompt(*queue, *after(second, "no", ok=False)))
    assert "could not file" in call_of(third)[1]["message"]


@builtin_model
def test_a_question_is_answered_with_the_stored_line_and_its_day(clerk: Decomposed) -> None:
    asked = clerk.reply(prompt(event("What is my name?"), human=ANA))
    assert call_of(asked) == ("send_message", {"message": f"You told me on {ANA[:10]}: {ANA[12:]}"})


@builtin_model
def test_what_the_block_does_not_hold_is_searched_and_quoted(clerk: Decomposed) -> None:
    asked = event("Where is the spare key?")
    first = clerk.reply(prompt(asked, human=ANA, recall=9))
    assert call_of(first)[0] == "conversation_search"
    page = (
        "Showing 1-3 of 3 results (page 0):\n"
        "[2026-11-21 09:00] user: Do you know where the spare key is?\n"
        "[2026-11-20 18:30] user: The spare key hangs behind the cellar door.\n"
        "[2026-11-20 18:31] Clerk: Filed."
    )
    second = clerk.reply(prompt(asked, *after(first, page), human=ANA, recall=9))
    message = call_of(second)[1]["message"]
    assert message == 'You told me on 2026-11-20: "The spare key hangs behind the cellar door."'


@builtin_model
def test_what_was_never_said_is_not_answered(clerk: Decomposed) -> None:
    asked = event("What is the name of my yacht?")
    first = clerk.reply(prompt(asked, human='2026-11-20: "I keep bees."', recall=3, archival=1))
    second = clerk.reply(prompt(asked, *after(first, "No results."), recall=3, archival=1))
    assert call_of(second)[0] == "archival_memory_search"
    third = clerk.reply(
        prompt(asked, *after(first, "No results."), *after(second, "No results."), recall=3, archival=1)
    )
    assert call_of(third) == ("send_message", {"message": NOTHING})


@builtin_model
def test_a_fact_and_a_question_in_one_message_both_count(clerk: Decomposed) -> None:
    said = event("I have a goat named Zilla. What is my name?")
    first = clerk.reply(prompt(said, human=ANA))
    assert call_of(first)[1]["content"] == '2026-11-23: "I have a goat named Zilla."'
    second = clerk.reply(prompt(said, *after(first), human=f"{ANA}\n{call_of(first)[1]['content']}"))
    message = call_of(second)[1]["message"]
    assert message.startswith('Filed: "I have a goat named Zilla."')
    assert "My name is Ana" in message


@builtin_model
def test_a_fact_told_twice_is_filed_once(clerk: Decomposed) -> None:
    name, arguments = call_of(clerk.reply(prompt(event("My name is Ana and I keep bees."), human=ANA)))
    assert name == "send_message"
    assert "2026-11-20" in arguments["message"]


@builtin_model
@pytest.mark.parametrize("text", ["Good evening!", "How do you do?", "Thanks a million.", "Hm."])
def test_small_talk_is_one_short_sentence_that_claims_nothing(clerk: Decomposed, text: str) -> None:
    name, arguments = call_of(clerk.reply(prompt(event(text), human=ANA)))
    assert name == "send_message"
    assert len(sentences(arguments["message"])) == 1
    assert len(arguments["message"].split()) <= 16
    assert "Ana" not in arguments["message"]


@builtin_model
def test_the_first_login_is_greeted_otherwise_than_a_return(clerk: Decomposed) -> None:
    first = call_of(clerk.reply(prompt(event("", EventKind.LOGIN, last_login="never"))))
    again = call_of(clerk.reply(prompt(event("", EventKind.LOGIN, last_login="2026-11-20T10:00:00+00:00"))))
    assert first == ("send_message", {"message": f"Hello. {OFFER}"})
    assert again == ("send_message", {"message": f"Welcome back. {OFFER}"})


@builtin_model
@pytest.mark.parametrize(
    ("human", "name"),
    [
        (ANA, "Ana"),
        ('2026-11-20: "I have a parrot."\n2026-11-21: "Good evening, I am Olena."', "Olena"),
        ('2026-11-20: "My daughter is called Lea."\n2026-11-21: "I am a nurse."', ""),
        ('2026-11-20: "My husband Henrik bakes bread."', ""),
    ],
)
def test_only_a_filed_name_is_used_in_a_greeting(clerk: Decomposed, human: str, name: str) -> None:
    login = event("", EventKind.LOGIN, last_login="2026-11-20T10:00:00+00:00")
    hello = f"Welcome back, {name}." if name else "Welcome back."
    assert call_of(clerk.reply(prompt(login, human=human)))[1]["message"] == f"{hello} {OFFER}"


def test_a_name_counts_only_if_the_line_says_it() -> None:
    assert stated_name(" Ana", "My name is Ana.") == "Ana"
    assert stated_name(" Li Wei", "I am Li Wei from Chengdu.") == "Li Wei"
    assert stated_name(" Anna", "My name is Ana.") == ""
    assert stated_name(" An", "My name is Ana.") == ""
    assert stated_name(" a nurse", "I am a nurse.") == ""
    assert stated_name("", "I am a nurse.") == ""


@builtin_model
def test_with_nothing_to_do_the_clerk_yields_quietly(clerk: Decomposed) -> None:
    hello = event("", EventKind.LOGIN)
    greeted = clerk.reply(prompt(hello))
    alert = event("Memory is getting full.", EventKind.SYSTEM_ALERT)
    assert call_of(clerk.reply(prompt(hello, *after(greeted), alert)))[0] == "pause_heartbeats"


@builtin_model
def test_a_function_that_is_not_offered_is_never_called(clerk: Decomposed) -> None:
    full = prompt(event("My name is Ana."), recall=5)
    bare = replace(full, functions=(FUNCTIONS[0],))
    assert call_of(clerk.reply(bare))[0] == "send_message"
    mute = clerk.reply(replace(full, functions=(), queue=(event("", EventKind.USER_LIKED),)))
    assert mute.calls == () and mute.text


@builtin_model
def test_the_models_small_talk_is_shown_only_if_it_is_sane(engine: Engine) -> None:
    talk = SmallTalk(engine, None, slot=2)
    assert talk.is_sane("Good night, your notes are safe with me.", "Sleep well")
    for made_up in (
        "I'm glad to have you, Sam.",
        "You love green tea.",
        "Hello. You are welcome.",
        "Good evening",
        "",
        "Your notes are in Paris.",
    ):
        assert not talk.is_sane(made_up, "Good evening"), made_up


@builtin_model
def test_a_larger_model_chooses_its_words_but_names_nobody(engine: Engine) -> None:
    talk = SmallTalk(engine, None, slot=2, larger=True)
    assert talk.is_sane("Lovely to meet somebody so cheerful today.", "Hello!")
    assert not talk.is_sane("I'm glad to have you, Sam.", "Hello!")
    assert not talk.is_sane("Lovely to see Sam again.", "Hello!")
    assert not talk.is_sane("It is 42 today.", "Hello!")


def test_the_turn_is_read_from_the_queue_alone() -> None:
    told = event("I keep bees.")
    call = FunctionCall("1", "core_memory_append", '{"content": "x"}')
    done = Message("assistant", "", "agent", "turn", calls=(call,))
    result = Message("tool", "Added.", "agent", "turn", name=call.name, call_id="1", ok=True)
    turn = current_turn((told, done, result, event("", EventKind.HEARTBEAT)))
    assert turn and turn.event is told and turn.done("core_memory_append")
    spoken = FunctionCall("2", "send_message", '{"message": "Filed."}')
    said = Message("assistant", "", "agent", "turn", calls=(spoken,))
    heard = Message("tool", "ok", "agent", "turn", name="send_message", call_id="2", ok=True)
    assert current_turn((told, done, result, said, heard)) is None
    assert current_turn(()) is None


def test_a_message_is_cut_into_sentences_but_not_after_a_title() -> None:
    assert sentences("Hi! My boss Mrs. Adu is ill.\nIs she?") == ["Hi!", "My boss Mrs. Adu is ill.", "Is she?"]
    assert sentences("我叫小林。我喜欢茶。") == ["我叫小林。", "我喜欢茶。"]
    assert len(sentences("One two. " * 30)) == 8


def test_a_filed_line_is_read_back_as_it_was_written() -> None:
    line = FiledLine('He said "no" to me', "2026-11-23")
    assert filed_lines(f"Name: Noor\n{line.as_written}\n") == [FiledLine("Name: Noor"), line]


def test_search_results_are_read_with_speaker_and_day() -> None:
    page = "Showing 1-1 of 1 results (page 0):\n[2026-11-20 18:30] user: At 10: the bus."
    assert search_hits(page, spoken=True) == [FiledLine("At 10: the bus.", "2026-11-20", "user")]
    assert search_hits("No results.", spoken=True) == []
    archived = '[2026-11-23 14:05] 2026-11-20: "I keep bees."'
    assert search_hits(archived, spoken=False) == [FiledLine("I keep bees.", "2026-11-20")]


def test_without_an_embedder_shared_words_find_the_line() -> None:
    lines = [FiledLine("I keep bees."), FiledLine("The spare key is under the pot.")]
    assert nearest_line("Where is the spare key?", lines, None) == (lines[1], True)
    assert nearest_line("What is my name?", lines, None)[1] is False
