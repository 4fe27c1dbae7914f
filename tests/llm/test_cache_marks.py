"""Marks for providers that cache only what is marked: where they stand, who gets them, and that they arrive."""

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.fake_anthropic import fake_anthropic
from support.fake_openai import FakeOpenAI, say
from support.prompts import invented_prompt

from memos.llm.cache_marks import MOST_MARKS, marked, wants_marks
from memos.llm.chat_messages import ChatMessage, chat_messages
from memos.llm.litellm_road import LitellmRoad
from memos.llm.remote_processor import RemoteProcessor
from memos.messages import Prompt, Reply, TokenUsage

MARK = {"type": "ephemeral"}


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        ("anthropic/claude-sonnet-4-5", True),
        ("claude-sonnet-4-5", True),
        ("anthropic/claude-that-is-not-in-the-table-yet", True),
        ("openrouter/anthropic/claude-sonnet-4.5", True),
        ("bedrock/us.anthropic.claude-3-5-haiku-20241022-v1:0", True),
        ("bedrock/converse/eu.anthropic.claude-sonnet-4-5-20250929-v1:0", True),
        ("vertex_ai/claude-opus-4-5", True),
        ("bedrock/anthropic.claude-3-haiku-20240307-v1:0", False),
        ("bedrock/anthropic.claude-not-in-the-table", False),
        ("vertex_ai/claude-3-opus", False),
        ("vertex_ai/gemini-2.5-pro", False),
        ("anthropic/served-by-somebody-else", False),
        ("openai/claude-by-a-compatible-server", False),
        ("openrouter/openai/gpt-4.1", False),
        ("scripted", False),
        ("", False),
    ],
)
def test_only_models_sure_to_take_marks_get_them(model: str, wanted: bool) -> None:
    assert wants_marks(model) is wanted


def marks_in(value: Any) -> int:
    if isinstance(value, dict):
        return ("cache_control" in value) + sum(map(marks_in, value.values()))
    return sum(map(marks_in, value)) if isinstance(value, list) else 0


def unmarked(messages: list[ChatMessage]) -> Iterator[ChatMessage]:
    for message in messages:
        content = message["content"]
        words = "".join(part["text"] for part in content) if isinstance(content, list) else content
        yield {key: value for key, value in message.items() if key != "cache_control"} | {"content": words}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("profile", ["full", "small"])
def test_marks_change_no_word_and_are_never_too_many(seed: int, profile: Any) -> None:
    prompt = dataclasses.replace(invented_prompt(seed), profile=profile)
    plain = chat_messages(prompt)
    with_marks = marked(plain, len(prompt.instructions))
    assert list(unmarked(with_marks)) == plain == chat_messages(prompt)
    assert 2 <= marks_in(with_marks) <= MOST_MARKS
    assert marks_in(with_marks[-1]) == 0  # the newest event, whose state never comes again


def wire_of(model: str, address: str, prompt: Prompt) -> TokenUsage:
    processor = RemoteProcessor(model, LitellmRoad(model, api_base=address, api_key="k"), api_base=address)

    async def ask() -> TokenUsage:
        try:
            return [part.usage async for part in processor.infer(prompt) if isinstance(part, Reply)][-1]
        finally:
            await processor.aclose()

    return asyncio.run(ask())


def test_the_marks_arrive_at_anthropic_and_what_it_cached_comes_back() -> None:
    prompt = invented_prompt(3, turns=3)
    with fake_anthropic() as server:
        usage = wire_of("anthropic/claude-sonnet-4-5", server.url, prompt)
    assert usage == TokenUsage(1_000, 5, 900, 70)
    body = server.bodies[0]
    instructions, rest = body["system"]
    assert instructions == {"type": "text", "text": prompt.instructions, "cache_control": MARK}
    assert "Core memory" in rest["text"] and rest["cache_control"] == MARK
    # Anthropic's form has results and events in one message of the user; a mark stands on a block of it.
    blocks = [block for message in body["messages"] for block in message["content"]]
    assert marks_in(body) == MOST_MARKS
    assert blocks[-1]["type"] == "text" and "messages_in_recall_storage" in blocks[-1]["text"]
    assert blocks[-2]["type"] == "tool_result" and blocks[-2]["cache_control"] == MARK
    events = [place for place, block in enumerate(blocks) if '"type": "user_message"' in block.get("text", "")]
    assert blocks[events[-2] - 1]["cache_control"] == MARK


def test_no_other_provider_sees_a_mark() -> None:
    prompt = invented_prompt(3, turns=3)
    with FakeOpenAI() as server:
        server.script = lambda request: say("Hi.")
        wire_of("openai/claude-sonnet-4-5", server.url, prompt)
    body = server.requests[0].body
    assert json.dumps(body["messages"]) == json.dumps(chat_messages(prompt))
    assert marks_in(body) == 0
