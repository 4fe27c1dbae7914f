"""Probes of a model: a few calls to a real server, whose replies become its capability card."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from support import fake_openai
from support.able_model import LIST, able, has_picture, honest
from support.fake_openai import Answer, FakeOpenAI, Request, refused_url

from memos.errors import MemosError, ProcessorRefused, ProcessorUnreachable
from memos.llm.capability_card import CapabilityCard, FormatName
from memos.llm.httpx_road import HttpxRoad
from memos.llm.probe import Plan, card_by_probes, plan


def whole(*, takes_grammar: bool = False) -> Plan:
    return plan("openai/fake-model", own_server=True, takes_grammar=takes_grammar)


def probed(script: Callable[[Request], Answer], *, takes_grammar: bool = False) -> tuple[CapabilityCard, FakeOpenAI]:
    with FakeOpenAI(script) as server:
        return asked(server.url, takes_grammar=takes_grammar), server


def asked(url: str, key: str | None = None, *, takes_grammar: bool = False) -> CapabilityCard:
    async def ask() -> CapabilityCard:
        road = HttpxRoad("fake-model", url, key)
        try:
            probes = whole(takes_grammar=takes_grammar).probes
            return await card_by_probes(road, "openai/fake-model", probes, who="the fake")
        finally:
            await road.aclose()

    return asyncio.run(ask())


@pytest.fixture(autouse=True)
def pictures_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake refuses content that is no text, as some gateways do; here its script decides."""
    rules = fake_openai.violations_of
    monkeypatch.setattr(
        fake_openai, "violations_of", lambda body: [text for text in rules(body) if "must be text" not in text]
    )


def test_a_model_that_can_do_all_gets_a_card_that_says_so() -> None:
    card, server = probed(able)
    assert card.record(FormatName.NATIVE).obeyed == 1 and card.best() is FormatName.NATIVE
    assert (card.parallel_calls, card.streams_arguments, card.monologue) == (True, True, "content")
    assert (card.honest_usage, card.images, card.reasoning) == (True, True, "none")
    assert card.probed and card.seen_at
    assert len(server.requests) == 5 and not server.violations
    assert all(request.body["stream"] for request in server.requests)


def test_what_it_costs_is_near_what_is_said_before() -> None:
    _, server = probed(able, takes_grammar=True)
    planned = whole(takes_grammar=True)
    sent = sum(
        len(str(request.body["messages"])) + len(str(request.body.get("tools", ""))) for request in server.requests
    )
    assert len(server.requests) == len(planned.probes) == 6
    assert sent / 4 < planned.tokens < 3_000
    assert planned.cost_usd is None
    listed = plan("openai/gpt-4.1", own_server=False, takes_grammar=False)
    assert listed.cost_usd and listed.cost_usd < 0.02


def test_a_model_whose_picture_is_dear_is_not_shown_one() -> None:
    dear = plan("openai/o1-pro", own_server=False, takes_grammar=False)
    assert "images" not in [probe.name for probe in dear.probes]


def test_a_model_that_only_talks_obeys_no_format() -> None:
    card, _ = probed(lambda request: honest(request, Answer("I have written it down for you.")))
    assert card.best() is FormatName.PLAIN
    assert card.record(FormatName.NATIVE).failures == 2 and not card.record(FormatName.NATIVE).refused
    assert (card.parallel_calls, card.monologue, card.streams_arguments) == (None, None, None)
    assert card.images is False


def test_one_call_at_a_time_without_words_and_in_one_piece() -> None:
    def script(request: Request) -> Answer:
        if request.body.get("tools"):
            return Answer(calls=(LIST,), chunk_chars=10_000, fault="dict_arguments")
        return Answer("no")

    card, _ = probed(script)
    assert (card.parallel_calls, card.streams_arguments, card.monologue) == (False, False, "argument")


def test_functions_that_the_endpoint_refuses_are_refused_and_the_rest_is_tried() -> None:
    def script(request: Request) -> Answer:
        return Answer(fault="400") if request.body.get("tools") else able(request)

    card, server = probed(script)
    assert card.record(FormatName.NATIVE).refused and card.images is True
    assert len([request for request in server.requests if request.body.get("tools")]) == 1, "not asked twice"


def test_pictures_that_are_refused_are_not_seen() -> None:
    card, _ = probed(lambda request: Answer(fault="400") if has_picture(request) else able(request))
    assert card.images is False and card.record(FormatName.NATIVE).obeyed


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200}, None], ids=["koboldcpp", "none"]
)
def test_usage_that_does_not_grow_with_the_prompt_is_not_believed(usage: dict[str, int] | None) -> None:
    card, _ = probed(lambda request: replace(able(request), usage=usage))
    assert card.honest_usage is False


def test_reasoning_is_seen_in_its_field_and_between_tags() -> None:
    card, _ = probed(lambda request: replace(able(request), reasoning="The user wants a note."))
    assert card.reasoning == "field"

    def tagged(request: Request) -> Answer:
        answer = able(request)
        return replace(answer, text=f"<think>The user wants a note.</think>{answer.text}")

    card, _ = probed(tagged)
    assert card.reasoning == "tags" and card.monologue == "content"


def test_a_field_that_the_endpoint_does_not_take_is_left_out_and_asked_again() -> None:
    def script(request: Request) -> Answer:
        return Answer(fault="refuses_stream_options") if "stream_options" in request.body else able(request)

    card, _ = probed(script)
    assert card.record(FormatName.NATIVE).obeyed and card.honest_usage is False


@pytest.mark.parametrize("fault", ["401", "404"])
def test_a_wrong_key_or_model_ends_it_at_the_first_call(fault: str) -> None:
    with FakeOpenAI(lambda _: Answer(fault=fault)) as server:
        with pytest.raises(ProcessorRefused) as caught:
            asked(server.url, "sk-0123456789abcdefghij")
        assert len(server.requests) == 1
    assert "0123456789" not in str(caught.value)


def test_an_endpoint_that_refuses_all_is_told_as_it_said_it() -> None:
    with pytest.raises(MemosError, match="did not accept the request"):
        probed(lambda _: Answer(fault="400"))


def test_nobody_at_the_address_is_one_sentence() -> None:
    with pytest.raises(ProcessorUnreachable):
        asked(refused_url())


def test_what_passes_is_waited_for() -> None:
    busy = iter([True])

    def script(request: Request) -> Answer:
        return Answer(fault="429", retry_after="0.1") if next(busy, False) else able(request)

    card, server = probed(script)
    assert card.record(FormatName.NATIVE).obeyed and len(server.requests) == 6


def test_a_reply_without_an_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    card, _ = probed(lambda request: Answer("on and on " * 10_000, chunk_chars=5_000))
    assert card.best() is FormatName.PLAIN


def test_progress_is_told_before_each_call() -> None:
    heard: list[tuple[int, int, str]] = []

    async def ask(url: str) -> None:
        road = HttpxRoad("fake-model", url)
        tell = lambda *told: heard.append(told)  # noqa: E731
        await card_by_probes(road, "openai/fake-model", whole().probes, who="the fake", tell=tell)
        await road.aclose()

    with FakeOpenAI(able) as server:
        asyncio.run(ask(server.url))
    assert [told[0] for told in heard] == [0, 1, 2, 3, 4, 5]
    assert heard[0] == (0, 5, "function calls") and heard[-1] == (5, 5, "")


NESTED = {"thoughts": "I write it down.", "function": {"name": LIST.name, "arguments": LIST.arguments}}
FLAT = {"thoughts": "I write it down.", "function": LIST.name, "arguments": LIST.arguments}


def writing(*, schema: bool = False, grammar: bool = False, asked: bool = False) -> Callable[[Request], Answer]:
    """Return the script of a model without tools that obeys some of the other formats."""

    def script(request: Request) -> Answer:
        if request.body.get("tools"):
            return Answer(fault="400")
        if "response_format" in request.body:
            return honest(request, Answer(json.dumps(NESTED) if schema else "Written down."))
        if "grammar" in request.body:
            return honest(request, Answer(json.dumps(FLAT) if grammar else "Written down."))
        if not has_picture(request):
            return honest(request, Answer(f"Here:\n```json\n{json.dumps(FLAT)}\n```" if asked else "Written down."))
        return Answer(fault="400")

    return script


def test_json_is_obeyed_where_the_call_comes_and_taken_in_its_order() -> None:
    card, _ = probed(writing(schema=True, grammar=True, asked=True), takes_grammar=True)
    assert {name: card.record(name).usable for name in card.formats} == {
        FormatName.NATIVE: False,
        FormatName.JSON_SCHEMA: True,
        FormatName.GRAMMAR: True,
        FormatName.JSON_PROMPT: True,
    }
    assert card.best() is FormatName.GRAMMAR and card.honest_usage is True
    card, _ = probed(writing(schema=True, asked=True))
    assert card.best() is FormatName.JSON_SCHEMA
    card, _ = probed(writing(asked=True))
    assert card.best() is FormatName.JSON_PROMPT and card.record(FormatName.JSON_SCHEMA).failures == 2
    card, _ = probed(writing())
    assert card.best() is FormatName.PLAIN
