"""The clerk's call format over the real built-in model and the real embedder: ordinary calls, nothing made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memos.llm.decomposed import NOTHING, OFFER, SLOTS, TALK_SLOT, Decomposed, current_turn, stated_name
from memos.llm.engine import Engine
from memos.llm.filed_lines import FiledLine, filed_lines, search_hits
from memos.llm.filing import NOTHING_TO_FORGET
from memos.llm.finding import NOT_READ
from memos.llm.meaning import Meaning
from memos.llm.nearness import ANSWERS, Nearness
from memos.llm.sentences import sentences
from memos.llm.small_talk import SmallTalk
from memos.llm.weights import builtin_weights
from memos.memory.index import builtin_embedder
from memos.messages import Block, Counters, EventKind, FunctionCall, FunctionSchema, Message, Prompt, Reply

NOW = datetime(2026, 11, 23, 14, 5, tzinfo=UTC)
ANA = '2026-11-20: "My name is Ana and I keep bees."'


def schema(name: str, *parameters: str) -> FunctionSchema:
    return FunctionSchema(name, "", {"type": "object", "properties": {p: {"type": "string"} for p in parameters}})


FUNCTIONS = (
    schema("send_message", "message"),
    schema("pause_heartbeats", "minutes"),
    schema("core_memory_append", "name", "content", "request_heartbeat"),
    schema("core_memory_replace", "name", "old_content", "new_content", "request_heartbeat"),
    schema("archival_memory_insert", "content", "request_heartbeat"),
    schema("conversation_search_date", "start_date", "end_date", "page", "request_heartbeat"),
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
def meaning() -> Meaning:
    return Meaning(builtin_embedder().token_states)


@pytest.fixture(scope="module")
def clerk(engine: Engine, meaning: Meaning) -> Decomposed:
    return Decomposed(engine, meaning)


builtin_model = pytest.mark.builtin_model


@builtin_model
def test_each_fact_is_filed_in_the_users_own_words_and_then_said(clerk: Decomposed) -> None:
    told = event("My name is Ana and I keep bees.")
    first = clerk.reply(prompt(told))
    name, arguments = call_of(first)
    assert name == "core_memory_append"
    assert arguments == {
        "name": "human",
        "content": '2026-11-23: "My name is Ana"\n2026-11-23: "I keep bees."',
        "request_heartbeat": True,
    }
    assert first.monologue
    heartbeat = event("", EventKind.HEARTBEAT, reason="asked for")
    second = clerk.reply(prompt(told, *after(first), heartbeat, human=arguments["content"]))
    assert call_of(second) == ("send_message", {"message": 'Filed: "My name is Ana", "I keep bees."'})


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
    known = '2026-11-20: "I keep bees."'
    name, arguments = call_of(clerk.reply(prompt(event("I keep bees."), human=known)))
    assert name == "send_message"
    assert "2026-11-20" in arguments["message"]


@builtin_model
@pytest.mark.parametrize("text", ["Good evening!", "How do you do?", "Thanks a million.", "Hm."])
def test_small_talk_is_one_short_sentence_that_claims_nothing(clerk: Decomposed, text: str) -> None:
    name, arguments = call_of(clerk.reply(prompt(event(text), human=ANA)))
    assert name == "send_message"
    assert len(sentences(arguments["message"])) == 1
    assert len(arguments["message"].split()) <= 16
    assert "bees" not in arguments["message"]


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
def test_the_models_small_talk_is_shown_only_if_it_is_sane(engine: Engine, meaning: Meaning) -> None:
    talk = SmallTalk(engine, meaning.similarity, slot=TALK_SLOT)
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
def test_a_larger_model_chooses_its_words_but_names_nobody(engine: Engine, meaning: Meaning) -> None:
    talk = SmallTalk(engine, meaning.similarity, slot=TALK_SLOT, larger=True)
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


def test_a_filed_line_is_read_back_as_it_was_written() -> None:
    line = FiledLine('He said "no" to me', "2026-11-23")
    assert filed_lines(f"Name: Noor\n{line.as_written}\n") == [FiledLine("Name: Noor"), line]


def test_search_results_are_read_with_speaker_and_day() -> None:
    page = "Showing 1-1 of 1 results (page 0):\n[2026-11-20 18:30] user: At 10: the bus."
    assert search_hits(page, spoken=True) == [FiledLine("At 10: the bus.", "2026-11-20", "user")]
    assert search_hits("No results.", spoken=True) == []
    archived = '[2026-11-23 14:05] 2026-11-20: "I keep bees."'
    assert search_hits(archived, spoken=False) == [FiledLine("I keep bees.", "2026-11-20")]


def test_a_line_of_two_facts_is_near_to_a_question_about_each(meaning: Meaning) -> None:
    line = FiledLine("My dog is called Rex, and the car is parked behind the church.")
    for question in ("What's my dog's name?", "Where is the car?"):
        assert Nearness(meaning).answers(question, [line])[0].score >= ANSWERS, question


TEA = '2026-11-20: "I drink green tea in the morning."'
OLD_HOME = '2026-11-20: "I live in Tallinn near the harbour."'


@builtin_model
def test_a_correction_takes_the_place_of_the_line_it_corrects(clerk: Decomposed) -> None:
    told = event("Actually I live in Riga now, no longer in Tallinn.")
    first = clerk.reply(prompt(told, human=f"{TEA}\n{OLD_HOME}"))
    new = '2026-11-23: "Actually I live in Riga now, no longer in Tallinn."'
    assert call_of(first) == (
        "core_memory_replace",
        {"name": "human", "old_content": OLD_HOME, "new_content": new, "request_heartbeat": True},
    )
    second = clerk.reply(prompt(told, *after(first), human=f"{TEA}\n{new}"))
    name, arguments = call_of(second)
    assert name == "send_message"
    assert arguments["message"].startswith('Changed: "I live in Tallinn near the harbour." is now "Actually')


@builtin_model
def test_a_correction_that_the_block_refuses_is_filed_beside_the_old_line(clerk: Decomposed) -> None:
    told = event("Actually I live in Riga now, no longer in Tallinn.")
    first = clerk.reply(prompt(told, human=OLD_HOME))
    second = clerk.reply(prompt(told, *after(first, "not found", ok=False), human=OLD_HOME))
    assert call_of(second)[0] == "core_memory_append"


@builtin_model
def test_a_correction_of_one_of_two_facts_in_a_line_loses_neither(clerk: Decomposed) -> None:
    both = '2026-11-20: "My name is Ana and I keep bees."'
    name, arguments = call_of(clerk.reply(prompt(event("Actually I keep goats now, not bees."), human=both)))
    assert name == "core_memory_append" and "goats" in arguments["content"]


@builtin_model
def test_a_fact_of_another_kind_leaves_the_lines_alone(clerk: Decomposed) -> None:
    name, _ = call_of(clerk.reply(prompt(event("My neighbour Ilse repairs clocks."), human=f"{TEA}\n{OLD_HOME}")))
    assert name == "core_memory_append"


@builtin_model
def test_of_two_lines_about_the_same_the_newer_is_quoted_first(clerk: Decomposed) -> None:
    human = f'{OLD_HOME}\n{TEA}\n2026-11-22: "I live in Riga now."'
    message = call_of(clerk.reply(prompt(event("Where do I live?"), human=human)))[1]["message"]
    assert message.startswith('You told me on 2026-11-22: "I live in Riga now."')


@builtin_model
def test_a_line_is_taken_out_when_the_user_wants_it_forgotten(clerk: Decomposed) -> None:
    told = event("Please forget that I drink green tea.")
    first = clerk.reply(prompt(told, human=f"{TEA}\n{OLD_HOME}"))
    name, arguments = call_of(first)
    assert (name, arguments["old_content"], arguments["new_content"]) == ("core_memory_replace", TEA, "")
    name, arguments = call_of(clerk.reply(prompt(told, *after(first), human=OLD_HOME)))
    assert name == "send_message"
    assert arguments["message"].startswith('Taken out of my notes: "I drink green tea in the morning."')


@builtin_model
def test_nothing_is_taken_out_when_nothing_is_near(clerk: Decomposed) -> None:
    reply = clerk.reply(prompt(event("Please delete my bank account number."), human=OLD_HOME))
    assert call_of(reply) == ("send_message", {"message": NOTHING_TO_FORGET})


@builtin_model
def test_what_was_taken_back_is_not_quoted_from_the_record(clerk: Decomposed) -> None:
    asked = event("What do I drink in the morning?")
    first = clerk.reply(prompt(asked, recall=9))
    page = (
        "Showing 1-2 of 2 results (page 0):\n"
        "[2026-11-20 09:00] user: I drink green tea in the morning.\n"
        "[2026-11-21 09:00] user: Please forget that I drink green tea."
    )
    second = clerk.reply(prompt(asked, *after(first, page), recall=9))
    assert call_of(second) == ("send_message", {"message": NOTHING})


@builtin_model
def test_asked_what_it_knows_the_clerk_lists_its_lines(clerk: Decomposed) -> None:
    reply = clerk.reply(prompt(event("What do you know about me?"), human=f"{TEA}\n{OLD_HOME}", archival=2))
    message = call_of(reply)[1]["message"]
    assert TEA in message and OLD_HOME in message and "archive holds 2 more" in message


@builtin_model
def test_a_question_about_yesterday_is_looked_up_by_date(clerk: Decomposed) -> None:
    asked = event("What did I tell you yesterday?")
    first = clerk.reply(prompt(asked, recall=9))
    name, arguments = call_of(first)
    assert name == "conversation_search_date"
    assert (arguments["start_date"], arguments["end_date"]) == ("2026-11-22", "2026-11-22")
    page = (
        "Showing 1-2 of 2 results (page 0):\n"
        "[2026-11-22 09:00] user: My sister plays the harp.\n"
        "[2026-11-22 09:00] Clerk: Filed."
    )
    message = call_of(clerk.reply(prompt(asked, *after(first, page), recall=9)))[1]["message"]
    assert message == 'On 2026-11-22 you told me: "My sister plays the harp."'


@builtin_model
def test_what_belongs_into_the_archive_goes_there(clerk: Decomposed) -> None:
    told = event("Put into the archive that the boiler was serviced in May.")
    name, arguments = call_of(clerk.reply(prompt(told)))
    assert name == "archival_memory_insert" and "boiler was serviced in May" in arguments["content"]


@builtin_model
def test_a_full_block_moves_its_oldest_lines_to_the_archive_and_loses_nothing(clerk: Decomposed) -> None:
    told = event("My neighbour Ilse repairs clocks.")
    lines = [f'2026-11-{day:02}: "On day {day} I counted {day * 7} herons by the river."' for day in range(1, 20)]
    queue: list[Message] = [told]
    human, archive = "\n".join(lines), []
    limit_chars = len(human) + 10
    for _ in range(6):
        blocks = (Block("human", human, limit_chars),)
        reply = clerk.reply(Prompt("", FUNCTIONS, blocks, tuple(queue), Counters(NOW, 0, len(archive))))
        name, arguments = call_of(reply)
        if name == "send_message":
            break
        if name == "archival_memory_insert":
            archive.append(arguments["content"])
        elif name == "core_memory_replace":
            assert human.count(arguments["old_content"]) == 1
            human = human.replace(arguments["old_content"], arguments["new_content"]).strip()
        else:
            human = f"{human}\n{arguments['content']}"
        assert len(human) <= limit_chars
        queue += after(reply)
    kept = human + "\n".join(archive)
    assert all(line in kept for line in lines) and "Ilse repairs clocks" in human
    assert search_hits(f"[2026-11-23 14:05] {archive[0]}", spoken=False)[0] == filed_lines(lines[0])[0]


@builtin_model
def test_a_fact_in_another_language_is_filed_and_found(clerk: Decomposed) -> None:
    name, arguments = call_of(clerk.reply(prompt(event("Mi hermana trabaja en un hospital de Bilbao."))))
    assert name == "core_memory_append"
    asked = clerk.reply(prompt(event("¿Dónde trabaja mi hermana?"), human=arguments["content"]))
    assert "Bilbao" in call_of(asked)[1]["message"]


@builtin_model
def test_a_question_it_cannot_read_is_not_guessed_at(clerk: Decomposed) -> None:
    asked = clerk.reply(prompt(event("Wie heißt die Schule meiner Tochter?"), human=OLD_HOME))
    assert call_of(asked) == ("send_message", {"message": NOT_READ})
