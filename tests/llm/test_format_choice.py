"""The capability card decides how a model is asked: learned from its replies, kept, and told when it changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fake_openai import Answer, Call, FakeOpenAI, Request, Script, in_turn, say

from memos.errors import ProcessorRefused
from memos.llm.capability_card import CapabilityCard, FormatName, FormatRecord
from memos.llm.httpx_road import HttpxRoad
from memos.llm.remote_processor import REPLY_LIMIT_CHARS, Patience, RemoteProcessor
from memos.messages import (
    Counters,
    EventKind,
    Finish,
    FunctionCall,
    FunctionSchema,
    Message,
    MonologueDelta,
    Notice,
    Prompt,
    Reply,
    ReplyPart,
    SpeechDelta,
    TokenUsage,
    utc_now,
)
from memos.storage.database import Database
from memos.storage.model_notes import ModelNotes

SAY = FunctionSchema("send_message", "Say it.", {"type": "object", "properties": {"message": {"type": "string"}}})
BARE = '{"name": "send_message", "arguments": {"message": "Hello, [Ana]."}}'
OURS = '{"thoughts": "She is new.", "function": "send_message", "arguments": {"message": "Hello, [Ana]."}}'
NESTED = '{"thoughts":"She is new.","function":{"name":"send_message","arguments":{"message":"Hello, [Ana]."}}}'
SILENT = Answer(calls=(Call("send_message", {"message": "Hi."}),))


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake
    assert fake.violations == []


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[ModelNotes]:
    database = Database.open(tmp_path / "memos.db")
    yield ModelNotes(database)
    database.close()


def processor(server: FakeOpenAI, **options: Any) -> RemoteProcessor:
    road = HttpxRoad("fake-model", server.url, "k")
    return RemoteProcessor("openai/fake-model", road, api_base=server.url, patience=Patience(5, 5, 3, 0.01), **options)


def prompt(*queue: Message) -> Prompt:
    first = Message("user", "Hello.", "a", "t", kind=EventKind.USER_MESSAGE)
    return Prompt("Be kind.", (SAY,), (), (first, *queue), Counters(utc_now()))


def replies(server: FakeOpenAI, script: Script | Answer, times: int = 1, **options: Any) -> list[list[ReplyPart]]:
    """Ask one processor several times, and return what each reply was made of."""
    server.script = (lambda request: script) if isinstance(script, Answer) else script
    one = options.pop("processor", None) or processor(server, **options)

    async def ask() -> list[list[ReplyPart]]:
        try:
            return [[part async for part in one.infer(prompt())] for _ in range(times)]
        finally:
            await one.aclose()

    return asyncio.run(ask())


def final(parts: list[ReplyPart]) -> Reply:
    assert isinstance(parts[-1], Reply)
    return parts[-1]


def notices(answers: list[list[ReplyPart]]) -> list[str]:
    return [part.text for parts in answers for part in parts if isinstance(part, Notice)]


def kinds(server: FakeOpenAI) -> list[str]:
    """Return in which format each request asked for calls."""
    return [
        "native"
        if "tools" in request.body
        else str(request.body["response_format"]["type"])
        if "response_format" in request.body
        else "grammar"
        if "grammar" in request.body
        else "json_prompt"
        if '"function"' in json.dumps(request.messages[0]).replace("\\", "")
        else "plain"
        for request in server.requests
    ]


def test_a_model_that_answers_in_plain_words_twice_is_asked_for_json(server: FakeOpenAI) -> None:
    answers = replies(server, Answer(text="Hello, Ana."), 7)
    assert kinds(server) == [*["native"] * 2, *["json_schema"] * 2, *["json_prompt"] * 2, "plain"]
    assert [final(parts).text for parts in answers] == ["Hello, Ana."] * 7
    told = notices(answers)
    assert len(told) == 3 and "openai/fake-model" in told[0] and "talk" in told[2]


def test_a_model_known_never_to_call_speaks_at_once(server: FakeOpenAI) -> None:
    (parts,) = replies(server, Answer(text="Hello, Ana."), call_format="plain")
    assert "".join(part.text for part in parts if isinstance(part, SpeechDelta)) == "Hello, Ana."
    assert not [part for part in parts if isinstance(part, MonologueDelta)]


def test_a_model_that_has_called_may_answer_in_plain_words_for_ever(server: FakeOpenAI) -> None:
    answers = replies(server, in_turn([say("Hi."), *[Answer(text="Plain.")] * 5]), 6)
    assert kinds(server) == ["native"] * 6
    assert notices(answers) == []


@pytest.mark.parametrize(
    ("fault", "expected"),
    [("refuses_tools", ["native", "json_schema"]), ("refuses_tool_choice", ["native", "json_schema"])],
)
def test_an_endpoint_that_refuses_functions_is_asked_for_json_in_the_same_step(
    server: FakeOpenAI, fault: str, expected: list[str]
) -> None:
    def script(request: Request) -> Answer:
        return Answer(fault=fault) if request.body.get("tools") else Answer(text=NESTED)

    (parts,) = replies(server, script)
    assert kinds(server) == expected
    assert json.loads(final(parts).calls[0].arguments) == {"message": "Hello, [Ana]."}
    assert final(parts).monologue == "She is new."
    assert len(notices([parts])) == 1


def test_an_endpoint_without_schemas_is_asked_in_words(server: FakeOpenAI) -> None:
    def script(request: Request) -> Answer:
        if request.body.get("tools"):
            return Answer(fault="refuses_tools")
        return Answer(fault="refuses_response_format") if request.body.get("response_format") else Answer(text=OURS)

    (parts,) = replies(server, script)
    assert kinds(server) == ["native", "json_schema", "json_prompt"]
    assert final(parts).calls[0].name == "send_message"


def test_a_call_written_as_text_is_run_and_after_two_the_model_is_asked_for_json(server: FakeOpenAI) -> None:
    answers = replies(server, Answer(text=BARE), 3)
    assert kinds(server) == ["native", "native", "json_schema"]
    for parts in answers:
        assert json.loads(final(parts).calls[0].arguments) == {"message": "Hello, [Ana]."}
        assert "".join(part.text for part in parts if isinstance(part, SpeechDelta)) == "Hello, [Ana]."


def test_two_calls_that_nobody_can_read_lead_to_the_next_format(server: FakeOpenAI) -> None:
    answers = replies(server, Answer(text="I say it.", calls=(Call("send_message", '{"message": oops'),)), 3)
    assert kinds(server) == ["native", "native", "json_schema"]
    assert final(answers[0]).calls[0].arguments == '{"message": oops'  # the executor tells the model


def test_a_good_call_in_between_forgives_a_bad_one(server: FakeOpenAI) -> None:
    bad = Answer(text="I say it.", calls=(Call("send_message", '{"message": oops'),))
    replies(server, in_turn([bad, say("Hi."), bad, say("Hi."), bad, say("Hi."), bad]), 7)
    assert kinds(server) == ["native"] * 7


def test_a_model_that_has_always_called_is_forgiven_too(server: FakeOpenAI) -> None:
    bad = Answer(text="I say it.", calls=(Call("send_message", '{"message": oops'),))
    replies(server, in_turn([say("Hi."), say("Hi."), bad, say("Hi."), bad, say("Hi."), bad]), 7)
    assert kinds(server) == ["native"] * 7


@pytest.mark.parametrize("name", [name for name in FormatName if name is not FormatName.PLAIN])
def test_a_format_that_the_user_chose_stays(server: FakeOpenAI, name: FormatName) -> None:
    answers = replies(server, Answer(text="Plain."), 4, call_format=name.value)
    assert len(set(kinds(server))) == 1
    assert notices(answers) == []


def test_a_chosen_format_that_is_refused_is_an_error_of_one_sentence(server: FakeOpenAI) -> None:
    with pytest.raises(ProcessorRefused, match="does not support tools"):
        replies(server, Answer(fault="refuses_tools"), call_format="native")
    assert len(server.requests) == 1


@pytest.mark.parametrize("written", [OURS, f"```json\n{OURS}\n```", f"Well.\n<tool_call>{BARE}</tool_call>", NESTED])
@pytest.mark.parametrize("streamed", [True, False])
def test_json_is_read_in_all_its_dresses(server: FakeOpenAI, written: str, streamed: bool) -> None:
    (parts,) = replies(server, Answer(text=written, chunk_chars=3), call_format="json_prompt", stream=streamed)
    assert [json.loads(call.arguments) for call in final(parts).calls] == [{"message": "Hello, [Ana]."}]
    assert "".join(part.text for part in parts if isinstance(part, SpeechDelta)) == "Hello, [Ana]."


def test_a_function_that_does_not_exist_is_for_the_executor_to_refuse(server: FakeOpenAI) -> None:
    written = OURS.replace("send_message", "respond_to_user")
    (parts,) = replies(server, Answer(text=written), call_format="json_prompt")
    assert (final(parts).text, [call.name for call in final(parts).calls]) == ("", ["respond_to_user"])


def test_a_field_the_endpoint_does_not_take_is_left_out_from_then_on(server: FakeOpenAI) -> None:
    def script(request: Request) -> Answer:
        return Answer(fault="refuses_stream_options") if "stream_options" in request.body else say("Hi.")

    answers = replies(server, script, 2)
    assert ["stream_options" in request.body for request in server.requests] == [True, False, False]
    assert notices(answers) == [f"127.0.0.1:{server.port} does not take stream_options; it is left out from now on."]


def test_a_model_silent_beside_its_calls_is_asked_for_thoughts_in_them(server: FakeOpenAI) -> None:
    thinking = Answer(calls=(Call("send_message", {"inner_thoughts": "She is new.", "message": "Hi."}),))
    answers = replies(server, in_turn([SILENT, SILENT, thinking]), 3)
    asked = [next(iter(r.body["tools"][0]["function"]["parameters"]["properties"])) for r in server.requests]
    assert asked == ["message", "message", "inner_thoughts"]
    assert final(answers[2]).monologue == "She is new."
    assert "".join(part.text for part in answers[2] if isinstance(part, MonologueDelta)) == "She is new."
    assert json.loads(final(answers[2]).calls[0].arguments) == {"message": "Hi."}


def test_thoughts_of_the_past_stand_where_the_model_is_to_write_them(server: FakeOpenAI, notes: ModelNotes) -> None:
    notes.note_card("openai/fake-model", server.url, CapabilityCard(monologue="argument").as_json())
    server.script = lambda request: SILENT
    past = (
        Message(
            "assistant", "She is new.", "a", "t", calls=(FunctionCall("c1", "send_message", '{"message": "Hi."}'),)
        ),
        Message("tool", "Sent.", "a", "t", call_id="c1", ok=True, name="send_message"),
        Message("user", "And?", "a", "t", kind=EventKind.USER_MESSAGE),
    )
    one = processor(server, notes=notes)

    async def ask() -> None:
        assert [part async for part in one.infer(prompt(*past))]
        await one.aclose()

    asyncio.run(ask())
    reply = server.requests[0].messages[2]
    assert json.loads(reply["tool_calls"][0]["function"]["arguments"]) == {
        "inner_thoughts": "She is new.",
        "message": "Hi.",
    }
    assert not reply.get("content")


def test_what_was_learned_outlives_the_process(server: FakeOpenAI, notes: ModelNotes) -> None:
    replies(server, Answer(text="Plain."), 2, notes=notes)
    notes.store()
    server.requests.clear()
    replies(server, Answer(text=NESTED), 1, notes=notes)
    assert kinds(server) == ["json_schema"]


def test_a_card_says_what_was_seen(server: FakeOpenAI) -> None:
    one = processor(server)
    two = (Call("send_message", {"message": "A sentence that is longer than forty characters."}), Call("x", {}))
    replies(server, Answer(text="I think.", calls=two), processor=one)
    card = one.card
    assert card.record(FormatName.NATIVE).obeyed == 1
    assert (card.parallel_calls, card.streams_arguments, card.honest_usage) == (True, True, True)
    assert (card.monologue, card.reasoning) == ("content", "none")
    assert CapabilityCard.from_json(card.as_json()) == card


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200}])
def test_usage_that_is_missing_or_made_up_is_not_believed(server: FakeOpenAI, usage: dict[str, int] | None) -> None:
    one = processor(server)
    replies(server, Answer(text="I think.", calls=SILENT.calls, usage=usage), processor=one)
    assert one.card.honest_usage is False


def test_a_card_that_cannot_be_read_is_a_blank_one() -> None:
    for text in ("", "{", "[]", "null", '{"formats": 3}', '{"formats": {"telepathy": {}}}', '{"window_tokens": []'):
        assert CapabilityCard.from_json(text) == CapabilityCard()
    assert CapabilityCard.from_json('{"from_tomorrow": 1, "images": true}') == CapabilityCard(images=True)


def test_what_failed_or_was_refused_is_passed_over() -> None:
    card = CapabilityCard(
        formats={FormatName.NATIVE: FormatRecord(3, 2), FormatName.JSON_SCHEMA: FormatRecord(0, 0, True)}
    )
    assert card.best() is FormatName.JSON_PROMPT


@pytest.mark.parametrize("streamed", [True, False])
def test_a_reply_without_an_end_is_ended(server: FakeOpenAI, streamed: bool) -> None:
    (parts,) = replies(server, Answer(text="word " * 300_000, chunk_chars=50_000), stream=streamed)
    assert final(parts).finish is Finish.CUT
    assert len(final(parts).monologue) <= REPLY_LIMIT_CHARS + 500_000
    assert any("without an end" in text for text in notices([parts]))


def test_reasoning_in_tags_is_monologue_and_noted(server: FakeOpenAI) -> None:
    one = processor(server)
    (parts,) = replies(server, Answer(text="<think>She is new.</think>Hello.", chunk_chars=3), processor=one)
    assert (final(parts).monologue, final(parts).text) == ("She is new.", "Hello.")
    assert one.card.reasoning == "tags"


def test_a_window_that_the_server_does_not_tell_is_asked_for_once(server: FakeOpenAI, notes: ModelNotes) -> None:
    asked: list[int] = []
    for _ in range(2):
        one = processor(server, notes=notes)
        before = server.connections

        async def find(one: RemoteProcessor = one) -> None:
            await one.find_window()
            await one.aclose()

        asyncio.run(find())
        asked.append(server.connections - before)
        notes.store()
    assert asked[0] > 0 and asked[1] == 0


def test_usage_is_learned_from(server: FakeOpenAI) -> None:
    one = processor(server)
    before = one.measure(prompt())
    one.learn(before, TokenUsage(2 * before.total))
    assert one.measure(prompt()).total > before.total
