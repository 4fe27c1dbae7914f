"""Ollama by its own API: what is sent, what comes back, and that the window is what memos reckons with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.agent_home import agent_home
from support.fake_answers import Answer, Call
from support.fake_ollama import FakeOllama
from support.listening import running
from support.minds import GREETED, HELLO

from memos.cli.boot import processor_for
from memos.config import Places, Settings
from memos.errors import ContextOverflow, ProcessorRefused
from memos.llm.litellm_road import LitellmRoad
from memos.llm.ollama_road import OllamaRoad
from memos.llm.remote_processor import RemoteProcessor
from memos.llm.road import CallPiece, ChatRequest, Chunk, WireError
from memos.messages import Finish, Notice, ReplyStored, TokenUsage

TOOLS = ({"type": "function", "function": {"name": "send_message", "parameters": {"type": "object"}}},)
CALL = {"id": "c1", "type": "function", "function": {"name": "send_message", "arguments": '{"message": "Hi."}'}}
HISTORY = (
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hello."},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "None"},
    {"role": "user", "content": "And now?"},
)
TWO = Answer("I answer.", (Call("send_message", {"message": "One."}), Call("send_message", {"message": "Two."})))


@pytest.fixture
def server() -> Iterator[FakeOllama]:
    with FakeOllama(lambda request: TWO) as fake:
        yield fake
    assert fake.violations == []


def chunks(server: FakeOllama, request: ChatRequest, address: str = "") -> list[Chunk]:
    async def gather() -> list[Chunk]:
        road = OllamaRoad("llama3.2", address or server.url)
        try:
            return [chunk async for chunk in road.stream(request)]
        finally:
            await road.aclose()

    return asyncio.run(gather())


@pytest.mark.parametrize("stream", [True, False])
def test_thoughts_words_calls_and_counts_come_as_they_are(server: FakeOllama, stream: bool) -> None:
    got = chunks(server, ChatRequest(HISTORY, TOOLS, stream=stream, window_tokens=4_096))
    assert "".join(chunk.reasoning for chunk in got) == "They want something."
    assert "".join(chunk.content for chunk in got) == "I answer."
    calls = [piece for chunk in got for piece in chunk.calls]
    assert calls == [
        CallPiece(0, None, "send_message", {"message": "One."}),
        CallPiece(1, None, "send_message", {"message": "Two."}),
    ]
    assert [chunk.finish for chunk in got if chunk.finish] == ["stop"]
    assert got[-1].usage == TokenUsage(got[-1].usage.prompt_tokens if got[-1].usage else None, 20)


def test_what_is_sent_is_in_ollamas_own_words(server: FakeOllama) -> None:
    params = {"temperature": 0.5, "max_tokens": 300, "seed": 7, "top_p": 0.9, "reasoning_effort": "low"}
    chunks(server, ChatRequest(HISTORY, TOOLS, {"type": "object"}, params=params, window_tokens=6_000))
    (sent,) = server.raw
    assert sent["options"] == {"temperature": 0.5, "num_predict": 300, "seed": 7, "top_p": 0.9, "num_ctx": 6_000}
    assert (sent["think"], sent["format"], sent["truncate"]) == (True, {"type": "object"}, False)
    assert "tool_choice" not in sent
    assert sent["messages"][2]["tool_calls"][0]["function"]["arguments"] == {"message": "Hi."}
    assert sent["messages"][3]["tool_name"] == "send_message"


def test_images_stand_beside_the_words(server: FakeOllama) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    shown = {"role": "user", "content": [picture, {"type": "text", "text": "What is this?"}]}
    chunks(server, ChatRequest((HISTORY[0], shown), TOOLS, window_tokens=4_096))
    (sent,) = server.raw
    assert (sent["messages"][1]["content"], sent["messages"][1]["images"]) == ("What is this?", ["iVBORw0KGgo="])


@pytest.mark.parametrize(("effort", "name", "think"), [("none", "qwen3", False), ("high", "gpt-oss:20b", "high")])
def test_how_much_to_think_is_a_degree_for_gpt_oss_alone(effort: str, name: str, think: object) -> None:
    with FakeOllama(lambda request: TWO) as server:
        server.models = (name,)

        async def ask() -> None:
            road = OllamaRoad(name, server.url)
            async for _ in road.stream(ChatRequest(HISTORY, params={"reasoning_effort": effort})):
                pass
            await road.aclose()

        asyncio.run(ask())
    assert server.raw[0]["think"] == think


@pytest.mark.parametrize("path", ["", "/", "/v1", "/api"])
def test_any_address_people_write_for_it_will_do(server: FakeOllama, path: str) -> None:
    assert chunks(server, ChatRequest(HISTORY, TOOLS), server.root + path)


def test_an_error_in_the_middle_is_told_and_what_came_is_kept(server: FakeOllama) -> None:
    server.breaks = "an error was encountered while running the model: unexpected EOF"
    with pytest.raises(WireError, match="unexpected EOF"):
        chunks(server, ChatRequest(HISTORY, TOOLS))


def test_an_error_of_llama_cpp_within_the_text_is_its_message() -> None:
    inner = {"error": {"code": 400, "message": "request (2622 tokens) exceeds the available context size (512 tokens)"}}

    class Full(FakeOllama):
        def _refusal(self, body: Any) -> Any:
            from support.wire_server import as_json

            return as_json({"error": json.dumps(inner)}, 400)

    with Full() as server, pytest.raises(WireError) as caught:
        chunks(server, ChatRequest(HISTORY))
    assert caught.value.message == inner["error"]["message"]
    assert caught.value.status_code == 400


# --- With a processor and an agent -----------------------------------------------------------------------------


def processor(url: str, home: Path, model: str = "ollama/llama3.2", **flags: object) -> RemoteProcessor:
    environ = {"MEMOS_HOME": str(home)}
    settings = Settings.resolve({"model": model, "api_base": url, **flags}, environ, {}, {})
    made = processor_for(settings, Places.find(environ), environ)
    assert isinstance(made, RemoteProcessor)
    return made


def say_hello(server: FakeOllama, home: Path, made: RemoteProcessor) -> list[object]:
    async def run() -> list[object]:
        try:
            await made.warm_up()
            async with running(agent_home(home).kernel(made)) as listener:
                return list(await listener.say(HELLO))
        finally:
            await made.aclose()

    return asyncio.run(run())


def with_parameters(text: str) -> Callable[[FakeOllama], None]:
    return lambda server: setattr(server, "parameters", text)


WINDOWS: dict[str, tuple[Callable[[FakeOllama], None], dict[str, object], int]] = {
    "the setting": (lambda server: None, {"window_tokens": 12_000}, 12_000),
    "the Modelfile": (with_parameters("num_ctx 24576"), {}, 24_576),
    "what is loaded": (lambda server: setattr(server, "loaded_tokens", 32_768), {}, 32_768),
    "what most machines bear": (lambda server: None, {}, 8_192),
}


@pytest.mark.parametrize(("prepare", "flags", "expected"), WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize("prefix", ["ollama", "ollama_chat"])
def test_the_window_that_is_reckoned_with_is_the_window_that_is_asked_for(
    prepare: Callable[[FakeOllama], None], flags: dict[str, object], expected: int, prefix: str, tmp_path: Path
) -> None:
    with FakeOllama() as server:
        prepare(server)
        made = processor(server.url, tmp_path, f"{prefix}/llama3.2", **flags)
        say_hello(server, tmp_path, made)
        assert made.window_tokens == expected
        assert server.raw[-1]["options"]["num_ctx"] == expected
        assert server.loaded_tokens == expected


def test_a_model_that_cannot_think_is_asked_without_from_then_on(tmp_path: Path) -> None:
    with FakeOllama(thinks=False) as server:
        bodies = say_hello(server, tmp_path, processor(server.url, tmp_path, reasoning_effort="high"))
    assert [notice.text for notice in bodies if isinstance(notice, Notice)] == [
        f"{server.root.removeprefix('http://')} does not take reasoning_effort; it is left out from now on."
    ]
    assert "think" not in server.raw[-1]


def test_a_prompt_that_does_not_fit_is_refused_in_words_that_are_understood(tmp_path: Path) -> None:
    with FakeOllama(trained_tokens=256) as server:
        made = processor(server.url, tmp_path, window_tokens=8_192)
        bodies = say_hello(server, tmp_path, made)
    assert server.violations == []
    assert not any(isinstance(body, ReplyStored) for body in bodies)
    assert any(ContextOverflow.__name__ in repr(body) or "window" in repr(body) for body in bodies)


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    async def run() -> None:
        made = processor(server.url, tmp_path, "ollama/nowhere")
        from memos.messages import Counters, EventKind, Message, Prompt, utc_now

        row = Message("user", "Hi.", "a", "t", kind=EventKind.USER_MESSAGE)
        try:
            async for _ in made.infer(Prompt("Be kind.", (), (), (replace(row, seq=1),), Counters(utc_now()))):
                pass
        finally:
            await made.aclose()

    with FakeOllama() as server, pytest.raises(ProcessorRefused, match=r"does not know the model ollama/nowhere"):
        asyncio.run(run())


def test_an_error_in_mid_stream_leaves_what_was_said(tmp_path: Path) -> None:
    with FakeOllama() as server:
        server.breaks = "unexpected EOF"
        bodies = say_hello(server, tmp_path, processor(server.url, tmp_path, streaming=True))
    (stored,) = [body for body in bodies if isinstance(body, ReplyStored)]
    assert stored.reply.finish is Finish.CUT


@pytest.mark.parametrize("prefix", ["ollama", "ollama_chat"])
def test_no_litellm_is_needed_unless_it_is_asked_for(prefix: str, tmp_path: Path) -> None:
    made = processor("", tmp_path, f"{prefix}/llama3.2")
    assert isinstance(made._road, OllamaRoad)
    assert made._api_base == "http://127.0.0.1:11434"
    assert isinstance(processor("", tmp_path, f"{prefix}/llama3.2", road="litellm")._road, LitellmRoad)


def test_the_environment_may_say_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeOllama() as server:
        monkeypatch.setenv("OLLAMA_API_BASE", server.url)
        bodies = say_hello(server, tmp_path, processor("", tmp_path, "ollama_chat/llama3.2"))
    assert any(GREETED in repr(body) for body in bodies)
