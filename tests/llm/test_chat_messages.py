"""Main context becomes chat messages that any provider accepts, and whose beginning stays the same."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_rules import violations_of

from memos.errors import MemosError
from memos.llm.chat_messages import chat_messages, event_packet, local_time, sendable_arguments, tools
from memos.messages import (
    Block,
    Counters,
    EventKind,
    FunctionCall,
    FunctionSchema,
    Message,
    MessageState,
    Prompt,
)

NOON = datetime(2026, 11, 23, 13, 5, 9, tzinfo=UTC)
SCHEMA = FunctionSchema("send_message", "Say it.", {"type": "object", "properties": {"message": {"type": "string"}}})


def event(text: str = "Hello.", kind: EventKind = EventKind.USER_MESSAGE, **payload: Any) -> Message:
    payload = {"utc_offset_min": 60, **payload}
    return Message("user", text, "a", "t", kind=kind, payload=payload, created_at=NOON)


def reply(*calls: FunctionCall, text: str = "A thought.", **fields: Any) -> Message:
    return Message("assistant", text, "a", "t", calls=calls, created_at=NOON, **fields)


def call(call_id: str, arguments: str = '{"message": "Hi."}', name: str = "send_message") -> FunctionCall:
    return FunctionCall(call_id, name, arguments)


def result(call_id: str, ok: bool = True, text: str = "Sent.") -> Message:
    payload = {"utc_offset_min": 60}
    return Message("tool", text, "a", "t", call_id=call_id, ok=ok, payload=payload, created_at=NOON)


def prompt(*queue: Message, **fields: Any) -> Prompt:
    counters = Counters(NOON, recall_count=12, archival_count=3)
    blocks = (Block("persona", "I am kind.", 2000), Block("human", "Keeps bees.", 2000, "the person"))
    whole = Prompt("Be kind.", (SCHEMA,), blocks, queue, counters)
    return replace(whole, **fields)


def request(messages: list[dict[str, Any]]) -> dict[str, Any]:
    return {"messages": messages, "tools": tools([SCHEMA])}


def test_instructions_come_first_then_blocks_then_the_summary() -> None:
    system = chat_messages(prompt(event(), summary="They met."))[0]["content"]
    places = [system.index(words) for words in ("Be kind.", "I am kind.", "Keeps bees.", "They met.")]
    assert places == sorted(places)
    assert system.startswith("Be kind.")


def test_a_block_is_shown_with_its_description_and_whether_it_is_read_only() -> None:
    blocks = (Block("rules", "Be kind.", 100, "how we talk", read_only=True), Block("human", "", 100))
    system = chat_messages(prompt(event(), blocks=blocks))[0]["content"]
    assert "<rules> (how we talk) (read-only)\nBe kind.\n</rules>\n<human>\n" in system


def test_a_small_window_has_its_blocks_beside_the_newest_event() -> None:
    messages = chat_messages(prompt(event("One."), reply(text="Yes."), event("Two."), profile="small"))
    assert "Keeps bees." not in messages[0]["content"]
    assert "Keeps bees." not in messages[1]["content"]
    assert "Keeps bees." in messages[-1]["content"]
    assert messages[-1]["content"].index("Keeps bees.") < messages[-1]["content"].index('{"type"')


def test_an_event_is_a_packet_with_local_time_and_offset() -> None:
    assert json.loads(event_packet(event("Good evening."))) == {
        "type": "user_message",
        "message": "Good evening.",
        "time": "2026-11-23 02:05:09 PM UTC+0100",
    }
    login = json.loads(event_packet(event("", EventKind.LOGIN, last_login="2026-11-02 10:00:00 AM UTC+0100")))
    assert login["last_login"] == "2026-11-02 10:00:00 AM UTC+0100"
    assert "utc_offset_min" not in login
    heartbeat = json.loads(event_packet(event("A call failed.", EventKind.HEARTBEAT)))
    assert heartbeat["reason"] == "A call failed."


def test_a_payload_cannot_pass_for_the_words_of_the_user() -> None:
    packet = json.loads(event_packet(event("Hello.", message="forged", type="login")))
    assert (packet["type"], packet["message"]) == ("user_message", "Hello.")


def test_noon_and_midnight_are_twelve() -> None:
    assert local_time(NOON.replace(hour=0), 0) == "2026-11-23 12:05:09 AM UTC+0000"
    assert local_time(NOON.replace(hour=12), 0) == "2026-11-23 12:05:09 PM UTC+0000"
    assert local_time(NOON, -210).endswith("09:35:09 AM UTC-0330")


def test_only_the_newest_event_tells_clock_counters_and_use_of_the_blocks() -> None:
    messages = chat_messages(prompt(event("One."), reply(text="Yes."), event("Two.")))
    newest = json.loads(messages[-1]["content"])
    assert newest["messages_in_recall_storage"] == 12
    assert newest["core_memory_characters"]["human"] == "11 of 2000"
    assert "now" in newest
    assert "recall" not in messages[1]["content"]
    assert "2000" not in messages[0]["content"]


def test_old_rows_render_to_the_same_bytes_when_the_queue_grows() -> None:
    first = [event("One."), reply(call("c1")), result("c1")]
    later = [*first, event("Two."), reply(call("c2")), result("c2"), event("Three.")]
    short = chat_messages(prompt(*first, event("Two.")))
    moved = Counters(NOON + timedelta(hours=3), recall_count=99, archival_count=99)
    long = chat_messages(prompt(*later, counters=moved))
    assert json.dumps(short[:4]) == json.dumps(long[:4])


def test_calls_and_results_are_paired() -> None:
    messages = chat_messages(prompt(event(), reply(call("c1"), call("c2")), result("c2", ok=False), result("c1")))
    assert messages[2]["tool_calls"][0]["id"] == "c1"
    assert json.loads(messages[3]["content"])["status"] == "Failed"
    assert json.loads(messages[4]["content"])["status"] == "OK"
    assert violations_of(request(messages)) == []


@pytest.mark.parametrize(
    "queue",
    [
        (event(), reply(call("c1"))),
        (event(), reply(call("c1")), event(), result("c1")),
        (event(), result("c1")),
        (event(), reply(call("c1")), result("c1"), result("c1")),
        (event(), reply(call("c1"), call("c1")), result("c1"), result("c1")),
        (event(), reply(call("c1")), result("c1"), reply(call("c1")), result("c1")),
    ],
)
def test_a_broken_pair_is_a_bug_and_is_not_sent(queue: tuple[Message, ...]) -> None:
    with pytest.raises(MemosError, match="A bug in memos"):
        chat_messages(prompt(*queue))


def test_a_reply_that_broke_off_keeps_what_was_shown_and_no_call() -> None:
    cut = reply(call("c1"), state=MessageState.INCOMPLETE, payload={"speech": "Good eve"})
    message = chat_messages(prompt(event(), cut, event()))[2]
    assert "tool_calls" not in message
    assert "A thought." in message["content"]
    assert "Good eve" in message["content"]
    assert "cut off" in message["content"]


def test_a_reply_without_words_is_left_out() -> None:
    empty = reply(text="")
    cut = reply(text="", state=MessageState.INCOMPLETE)
    assert [m["role"] for m in chat_messages(prompt(event(), empty, cut, event()))] == ["system", "user", "user"]


@pytest.mark.parametrize(
    "raw",
    [
        "{",
        '{"a": 1',
        "[1]",
        '"text"',
        "null",
        "NaN",
        '{"a": NaN}',
        "[" * 100_000,
        '{"a": 1' + "0" * 5000 + "}",
        "\ud83d",
    ],
)
def test_arguments_that_are_no_object_are_sent_as_one(raw: str) -> None:
    sent = sendable_arguments(raw)
    assert "malformed_arguments" in json.loads(sent)
    sent.encode()


@pytest.mark.parametrize("given", ["functions.send_message:0", f"chatcmpl-tool-{'0' * 32}", "", "half \ud83d"])
def test_an_id_of_one_server_is_one_that_the_next_takes_too(given: str) -> None:
    messages = chat_messages(prompt(event(), reply(call(given)), result(given), event()))
    assert violations_of(request(messages)) == []
    assert messages[2]["tool_calls"][0]["id"] == messages[3]["tool_call_id"]
    assert chat_messages(prompt(event(), reply(call("call_1")), result("call_1")))[3]["tool_call_id"] == "call_1"


def test_no_arguments_are_an_empty_object() -> None:
    assert sendable_arguments("") == "{}"
    assert sendable_arguments(" ") == "{}"


def test_good_arguments_are_sent_as_they_were_written() -> None:
    assert sendable_arguments('{"b":1,  "a": "é"}') == '{"b":1,  "a": "é"}'


@settings(max_examples=200)
@given(raw=st.text(alphabet=st.characters(exclude_categories=()), max_size=40), name=st.text(max_size=80))
def test_no_call_a_model_made_poisons_the_history(raw: str, name: str) -> None:
    for arguments in (raw, '{"message": "' + raw, json.dumps({"message": raw})):
        messages = chat_messages(prompt(event(), reply(call("c1", arguments, name)), result("c1"), event()))
        assert violations_of(request(messages)) == []
        sent = messages[2]["tool_calls"][0]["function"]["arguments"]
        json.dumps(json.loads(sent), ensure_ascii=False).encode()
