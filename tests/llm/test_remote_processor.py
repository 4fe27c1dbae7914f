"""A remote model, over real HTTP, against a server that speaks well or badly."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.fake_openai import Answer, Call, FakeOpenAI, Script, in_turn, refused_url, say

from memos.errors import (
    ContentFiltered,
    ContextOverflow,
    MemosError,
    ProcessorRefused,
    ProcessorUnreachable,
    RateLimited,
)
from memos.llm.httpx_road import HttpxRoad
from memos.llm.litellm_road import LitellmRoad
from memos.llm.remote_processor import Patience, RemoteProcessor
from memos.llm.road import Road
from memos.llm.token_scale import UNTRIED_MARGIN
from memos.messages import (
    Block,
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
    RetryIn,
    SpeechDelta,
    TokenUsage,
    utc_now,
)

KEY = "sk-test-canary-4711-abcdef"
SAY = FunctionSchema("send_message", "Say it.", {"type": "object", "properties": {"message": {"type": "string"}}})
TWO = (Call("core_memory_append", {"name": "human", "content": "Bees."}), Call("send_message", {"message": "Noted."}))


ROADS: dict[str, Callable[[str, str | None], Road]] = {
    "httpx": lambda url, key: HttpxRoad("fake-model", url, key),
    "litellm": lambda url, key: LitellmRoad("openai/fake-model", api_base=url, api_key=key),
}


taken = ["httpx"]


@pytest.fixture(scope="module", params=ROADS)
def server(request: pytest.FixtureRequest) -> Iterator[FakeOpenAI]:
    """Return the server of all tests, which are held once for each road to it."""
    taken[0] = request.param
    if request.param == "litellm":
        asyncio.run(LitellmRoad("openai/x").warm_up())  # seconds, once, so that no test's time holds them
    with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
def ask(server: FakeOpenAI) -> Iterator[Callable[..., list[ReplyPart]]]:
    """Return a function that asks the server, which answers by a script, and gives what the processor yielded."""
    server.requests.clear()

    def ask_by(script: Script | Answer, prompt: Prompt | None = None, **options: Any) -> list[ReplyPart]:
        server.script = (lambda request: script) if isinstance(script, Answer) else script
        return parts_of(processor(server.url, **options), prompt)

    yield ask_by
    assert server.violations == []


def processor(url: str | None, *, first_byte_s: float = 60.0, gap_s: float = 30.0, **options: Any) -> RemoteProcessor:
    key = options.setdefault("api_key", KEY)
    road: Road = ROADS[taken[0]](url or "http://127.0.0.1:1/v1", key)
    model = options.pop("model", "openai/fake-model")
    return RemoteProcessor(model, road, api_base=url, patience=Patience(first_byte_s, gap_s, 3, 0.01), **options)


def parts_of(one: RemoteProcessor, prompt: Prompt | None = None) -> list[ReplyPart]:
    async def gather() -> list[ReplyPart]:
        try:
            return [part async for part in one.infer(prompt or hello())]
        finally:
            await one.aclose()

    return asyncio.run(gather())


def hello(*queue: Message, functions: tuple[FunctionSchema, ...] = (SAY,)) -> Prompt:
    first = Message("user", "Hello.", "a", "t", kind=EventKind.USER_MESSAGE)
    return Prompt("Be kind.", functions, (), (first, *queue), Counters(utc_now()))


def reply_of(parts: list[ReplyPart]) -> Reply:
    assert isinstance(parts[-1], Reply)
    assert sum(isinstance(part, Reply) for part in parts) == 1
    return parts[-1]


def spoken(parts: list[ReplyPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, SpeechDelta))


def thought(parts: list[ReplyPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, MonologueDelta))


def test_monologue_and_words_arrive_in_pieces_and_the_reply_is_whole(ask: Callable[..., list[ReplyPart]]) -> None:
    parts = ask(say("Good evening, Ana. 🐝"))
    assert thought(parts) == "I answer."
    assert spoken(parts) == "Good evening, Ana. 🐝"
    assert len([p for p in parts if isinstance(p, SpeechDelta)]) > 2
    reply = reply_of(parts)
    assert (reply.monologue, reply.text, reply.finish) == ("I answer.", "", Finish.STOP)
    assert json.loads(reply.calls[0].arguments) == {"message": "Good evening, Ana. 🐝"}
    assert (reply.usage.prompt_tokens, reply.usage.reply_tokens) == (111, 22)


def test_the_request_is_what_the_prompt_says(ask: Callable[..., list[ReplyPart]], server: FakeOpenAI) -> None:
    ask(say("Hi."), params={"max_tokens": 99, "temperature": 0.5})
    body = server.requests[0].body
    assert body["model"] == "fake-model"
    assert body["messages"][0] == {"role": "system", "content": "Be kind."}
    assert body["tools"][0]["function"]["name"] == "send_message"
    assert (body["tool_choice"], body["max_tokens"], body["temperature"]) == ("auto", 99, 0.5)
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_text_without_a_call_is_the_text_of_the_reply(ask: Callable[..., list[ReplyPart]]) -> None:
    parts = ask(Answer(text="Hello, [Ana].", reasoning="She greets."))
    reply = reply_of(parts)
    assert (reply.text, reply.monologue, reply.calls) == ("Hello, [Ana].", "She greets.", ())


def test_a_prompt_without_functions_asks_for_plain_text(
    ask: Callable[..., list[ReplyPart]], server: FakeOpenAI
) -> None:
    parts = ask(Answer(text="They talked of bees."), hello(functions=()))
    assert reply_of(parts).text == "They talked of bees."
    assert "tools" not in server.requests[0].body


def test_an_empty_reply_is_a_reply(ask: Callable[..., list[ReplyPart]]) -> None:
    assert reply_of(ask(Answer(fault="empty_reply"))).finish is Finish.STOP


@pytest.mark.parametrize(
    "quirk",
    [
        "null_content",
        "same_index",
        "index_minus_one",
        "missing_ids",
        "empty_ids",
        "repeated_ids",
        "id_each_chunk",
        "dict_arguments",
        "no_done",
        "no_usage",
        "keep_alive_comments",
    ],
)
def test_calls_come_whole_however_a_provider_numbers_them(ask: Callable[..., list[ReplyPart]], quirk: str) -> None:
    for chunk_chars in (1, 7, 10_000):
        reply = reply_of(ask(Answer(text="Two.", calls=TWO, fault=quirk, chunk_chars=chunk_chars)))
        assert [(c.name, json.loads(c.arguments)) for c in reply.calls] == [(c.name, c.arguments) for c in TWO]
        assert len({c.id for c in reply.calls}) == 2
        assert all(c.id for c in reply.calls)
        assert reply.finish is Finish.STOP


def test_two_calls_of_the_same_function_stay_two(ask: Callable[..., list[ReplyPart]]) -> None:
    calls = (Call("send_message", {"message": "One."}), Call("send_message", {"message": "Two."}))
    for quirk in (None, "same_index", "missing_ids", "repeated_ids"):
        parts = ask(Answer(calls=calls, fault=quirk, chunk_chars=4))
        assert [json.loads(c.arguments)["message"] for c in reply_of(parts).calls] == ["One.", "Two."]
        assert spoken(parts) == "One.Two."


def test_the_function_call_of_2023_is_a_call(ask: Callable[..., list[ReplyPart]]) -> None:
    parts = ask(Answer(calls=TWO[1:], fault="legacy_call"))
    assert reply_of(parts).calls[0].name == "send_message"
    assert spoken(parts) == "Noted."


def test_an_id_the_history_already_has_is_replaced(ask: Callable[..., list[ReplyPart]]) -> None:
    history = (
        Message("assistant", "", "a", "t", calls=(FunctionCall("call_0", "send_message", '{"message": "Hi."}'),)),
        Message("tool", "Sent.", "a", "t", call_id="call_0", ok=True),
        Message("user", "And?", "a", "t", kind=EventKind.USER_MESSAGE),
    )
    reply = reply_of(ask(Answer(calls=TWO, fault="repeated_ids"), hello(*history)))
    assert "call_0" not in {call.id for call in reply.calls}


def test_half_of_a_surrogate_pair_does_not_get_through(ask: Callable[..., list[ReplyPart]]) -> None:
    parts = ask(Answer(text="bees", fault="surrogate"))
    reply_of(parts).text.encode()
    thought(parts).encode()


def test_raw_arguments_that_are_no_json_are_handed_on_as_written(ask: Callable[..., list[ReplyPart]]) -> None:
    reply = reply_of(ask(Answer(calls=(Call("send_message", '{"message": oops'),))))
    assert reply.calls[0].arguments == '{"message": oops'


# --- A reply that breaks off ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", ["cut_text", "cut_call", "reset", "stall_middle", "bad_chunk", "error_frame", "finish_error"]
)
def test_a_reply_that_breaks_off_is_cut_and_has_no_call(ask: Callable[..., list[ReplyPart]], fault: str) -> None:
    parts = ask(Answer(text="I will say it.", calls=TWO, fault=fault), gap_s=0.5)
    reply = reply_of(parts)
    assert (reply.finish, reply.calls) == (Finish.CUT, ())
    assert reply.monologue == thought(parts) == "I will say it."
    assert reply.text == spoken(parts)


def test_text_that_breaks_off_keeps_what_was_shown(ask: Callable[..., list[ReplyPart]]) -> None:
    parts = ask(Answer(text="A long sentence that will not come to its end.", fault="cut_text"))
    reply = reply_of(parts)
    assert reply.finish is Finish.CUT
    assert reply.monologue == thought(parts).strip() != ""


def test_at_the_length_limit_only_whole_calls_remain(ask: Callable[..., list[ReplyPart]]) -> None:
    parts = ask(Answer(text="Two.", calls=TWO, fault="length", chunk_chars=5))
    reply = reply_of(parts)
    assert (reply.finish, [call.name for call in reply.calls]) == (Finish.LENGTH, ["core_memory_append"])
    assert reply.text == spoken(parts) != ""


@pytest.mark.parametrize("fault", ["non_json", "empty_choices", "reset_first"])
def test_an_answer_without_a_word_is_tried_again_and_then_an_error(
    ask: Callable[..., list[ReplyPart]], server: FakeOpenAI, fault: str
) -> None:
    with pytest.raises(ProcessorUnreachable) as caught:
        ask(Answer(fault=fault))
    assert caught.value.next_step
    assert len(server.requests) == 4


# --- Errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "exit_code"),
    [
        ("401", ProcessorRefused, 4),
        ("403", ProcessorRefused, 4),
        ("404", ProcessorRefused, 4),
        ("400", ProcessorRefused, 4),
        ("400_overflow", ContextOverflow, 4),
        ("400_overflow_llama_cpp", ContextOverflow, 4),
        ("400_overflow_anthropic", ContextOverflow, 4),
        ("400_filter", ContentFiltered, 4),
    ],
)
def test_a_no_is_told_once_and_not_asked_again(
    ask: Callable[..., list[ReplyPart]], server: FakeOpenAI, fault: str, kind: type[MemosError], exit_code: int
) -> None:
    with pytest.raises(kind) as caught:
        ask(Answer(fault=fault))
    assert caught.value.exit_code == exit_code
    assert caught.value.next_step
    assert "\n" not in str(caught.value)
    assert "litellm" not in str(caught.value).lower()
    assert KEY not in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("fault", ["500", "502_html", "503"])
def test_a_passing_failure_is_asked_again_three_times_and_announced(
    ask: Callable[..., list[ReplyPart]], server: FakeOpenAI, fault: str
) -> None:
    parts = ask(in_turn([Answer(fault=fault), Answer(fault=fault), Answer(fault=fault), say("At last.")]))
    assert [(p.attempt, p.limit) for p in parts if isinstance(p, RetryIn)] == [(1, 3), (2, 3), (3, 3)]
    assert spoken(parts) == "At last."
    server.requests.clear()
    with pytest.raises(ProcessorUnreachable) as caught:
        ask(Answer(fault=fault))
    assert len(server.requests) == 4
    assert "<" not in str(caught.value)


def test_too_many_requests_waits_as_long_as_the_provider_asks(ask: Callable[..., list[ReplyPart]]) -> None:
    started = time.monotonic()
    parts = ask(in_turn([Answer(fault="429", retry_after="0.4"), say("Now.")]))
    assert [p.seconds for p in parts if isinstance(p, RetryIn)] == [0.4]
    assert 0.4 <= time.monotonic() - started < 2
    assert spoken(parts) == "Now."


def test_a_wait_that_is_too_long_is_left_to_the_user(ask: Callable[..., list[ReplyPart]], server: FakeOpenAI) -> None:
    with pytest.raises(RateLimited) as caught:
        ask(Answer(fault="429", retry_after="3600"))
    assert caught.value.retry_after_s == 3600
    assert len(server.requests) == 1


def test_a_refused_connection_is_one_sentence_and_not_asked_again() -> None:
    with pytest.raises(ProcessorUnreachable, match="refused the connection") as caught:
        parts_of(processor(refused_url()))
    assert "api_base" in caught.value.next_step


@pytest.mark.parametrize("fault", ["stall_headers", "stall_first"])
def test_silence_before_the_first_piece_ends_in_time(
    ask: Callable[..., list[ReplyPart]], server: FakeOpenAI, fault: str
) -> None:
    started = time.monotonic()
    with pytest.raises(ProcessorUnreachable, match=r"nothing for 0\.3 s"):
        ask(Answer(fault=fault), first_byte_s=0.3)
    assert time.monotonic() - started < 1.5
    assert len(server.requests) == 1


def test_silence_in_the_middle_is_told(ask: Callable[..., list[ReplyPart]]) -> None:
    parts = ask(Answer(text="A sentence that stops somewhere.", fault="stall_middle"), gap_s=0.3)
    assert [p.text for p in parts if isinstance(p, Notice)] == [f"{_host(parts)} sent nothing for 0.3 s."]


def _host(parts: list[ReplyPart]) -> str:
    return next(p.text.split(" ")[0] for p in parts if isinstance(p, Notice))


@pytest.mark.parametrize("fault", [None, "stall_headers", "stall_first", "stall_middle"])
def test_cancelling_closes_the_connection_within_200_ms(server: FakeOpenAI, fault: str | None) -> None:
    server.client_left_ns.clear()
    server.requests.clear()
    words = "word " * 4000
    server.script = lambda request: Answer(text=words, fault=fault, delay_s=0.01 if fault is None else 0)

    async def cancel_it() -> int:
        one = processor(server.url)

        async def read() -> None:
            async for _ in one.infer(hello()):
                pass

        task = asyncio.create_task(read())
        await asyncio.to_thread(server.wait_for_requests, 1)
        await asyncio.sleep(0.2)
        cancelled_ns = time.monotonic_ns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(server.wait_for_client_to_leave)
        await one.aclose()
        return cancelled_ns

    cancelled_ns = asyncio.run(cancel_it())
    assert (server.client_left_ns[0] - cancelled_ns) / 1e6 < 200


def test_closing_the_iterator_closes_the_connection(server: FakeOpenAI) -> None:
    server.client_left_ns.clear()
    server.script = lambda request: Answer(text="word " * 4000, delay_s=0.01)

    async def leave() -> None:
        one = processor(server.url)
        parts = one.infer(hello())
        await anext(parts)
        await parts.aclose()  # type: ignore[attr-defined]
        await asyncio.to_thread(server.wait_for_client_to_leave)
        await one.aclose()

    asyncio.run(leave())


def test_connections_are_kept_between_turns(server: FakeOpenAI) -> None:
    server.script = lambda request: say("Hi.")
    server.requests.clear()

    async def ten_times() -> None:
        one = processor(server.url)
        for _ in range(10):
            assert [part async for part in one.infer(hello())]
        await one.aclose()

    asyncio.run(ten_times())
    assert len({request.connection for request in server.requests}) == 1


def test_a_closed_processor_leaves_others_able_to_talk(server: FakeOpenAI) -> None:
    server.script = lambda request: say("Hi.")

    async def both() -> None:
        first, second = processor(server.url), processor(server.url)
        assert [part async for part in first.infer(hello())]
        await first.aclose()
        assert [part async for part in second.infer(hello())]
        await second.aclose()
        third = processor(server.url)
        assert [part async for part in third.infer(hello())]
        await third.aclose()

    asyncio.run(both())


# --- Before the first byte -----------------------------------------------------------------------------------


def test_a_small_window_has_its_blocks_at_the_end(ask: Callable[..., list[ReplyPart]], server: FakeOpenAI) -> None:
    asked = dataclasses.replace(hello(), blocks=(Block("human", "Keeps bees.", 200),), profile="small")
    ask(say("Hi."), asked)
    system, event = server.requests[0].messages
    assert "Keeps bees." in event["content"]
    assert "Keeps bees." not in system["content"]


def test_a_failing_call_prints_nothing(ask: Callable[..., list[ReplyPart]], capfd: pytest.CaptureFixture[str]) -> None:
    for fault in ("401", "500", "dict_arguments", "reset", "non_json"):
        with contextlib.suppress(MemosError):
            ask(Answer(text="Two.", calls=TWO, fault=fault))
    assert capfd.readouterr() == ("", "")


def test_a_key_a_provider_repeats_is_not_repeated_by_us(ask: Callable[..., list[ReplyPart]]) -> None:
    with pytest.raises(ProcessorRefused) as caught:
        ask(Answer(fault="401"))
    assert "Incorrect API key provided: [key]" in str(caught.value)


def test_the_window_is_the_users_word_else_what_the_list_says() -> None:
    assert processor(None, model="openai/gpt-4o", window_tokens=777).window_tokens == 777
    assert processor(None, model="openai/gpt-4o").window_tokens == 128_000
    assert processor("http://127.0.0.1:1/v1", model="openai/gpt-4o").window_tokens is None
    assert processor(None, model="openai/nobody-knows-it").window_tokens is None


def test_what_the_provider_reports_corrects_the_next_count() -> None:
    one = processor(None)
    asyncio.run(one.warm_up())
    asked = hello()
    before = one.measure(asked)
    assert before.total > 0 and before.margin == round(UNTRIED_MARGIN * before.total)
    one.learn(before, TokenUsage(2 * before.total))
    assert abs(one.measure(asked).total - 2 * before.total) < 0.1 * before.total


# --- Money -----------------------------------------------------------------------------------------------------


def test_a_listed_model_has_its_price_and_any_other_none(server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_BASE", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    used = TokenUsage(1_000_000, 0)
    priced = processor(None, model="openai/gpt-4o").cost_usd(used)
    assert priced is not None and 0.1 < priced < 100
    assert processor(None, model="gpt-4o").cost_usd(used) == priced
    assert processor(None, model="openai/unheard-of").cost_usd(used) is None
    assert processor(None, model="openai/gpt-4o").cost_usd(TokenUsage()) is None


def test_a_server_of_ones_own_has_no_price_whatever_it_calls_its_model(
    server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = TokenUsage(1_000, 10)
    assert processor(server.url, model="openai/gpt-4o").cost_usd(used) is None
    for name in ("OPENAI_API_BASE", "OPENAI_BASE_URL"):
        with monkeypatch.context() as environment:
            environment.setenv(name, server.url)
            assert processor(None, model="openai/gpt-4o").cost_usd(used) is None
            assert processor(None, model="gpt-4o").cost_usd(used) is None
