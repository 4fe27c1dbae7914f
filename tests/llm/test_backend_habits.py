"""What single backends do that others do not: paths, refusals, errors in odd places, and being told to stop."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import boto3
import pytest
from botocore.eventstream import EventStreamBuffer
from support.agent_home import AgentHome, agent_home
from support.backends import AWS, CLAUDE_3
from support.fake_answers import Answer, Call
from support.fake_converse import SIGNATURE, FakeConverse, event_frame
from support.fake_openai_like import (
    FakeGateway,
    FakeGroq,
    FakeKobold,
    FakeLmStudio,
    FakeOpenRouter,
    FakeVllm,
    OpenAiLike,
)
from support.listening import running
from support.minds import FACT, GREETED, HELLO, SAVE, SAVED
from support.wire_server import Sent, WireServer, sse

from memos.cli.boot import processor_for
from memos.config import Places, Settings
from memos.llm.capability_card import FormatName
from memos.llm.remote_processor import RemoteProcessor
from memos.messages import Finish, Notice, OutputBody, ReplyStored, RetryIn, Stopped

SEARCHED = "/openai/v1/models"
"""A path that nobody asks but the search for the right one."""
GATEWAY_MODEL = f"openai/{CLAUDE_3}"


def processor(model: str, url: str, home: Path, **flags: object) -> RemoteProcessor:
    environ = {"MEMOS_HOME": str(home)}
    settings = Settings.resolve({"model": model, "api_base": url, **flags}, environ, {}, {})
    made = processor_for(settings, Places.find(environ), environ)
    assert isinstance(made, RemoteProcessor)
    return made


def play(made: RemoteProcessor, home: AgentHome, *words: str) -> list[OutputBody]:
    """Say these words, one after another, and return all that was published."""

    async def run() -> list[OutputBody]:
        try:
            async with running(home.kernel(made)) as listener:
                for word in words:
                    await listener.say(word)
                return listener.bodies
        finally:
            await made.aclose()

    return asyncio.run(run())


def notices(bodies: list[OutputBody]) -> list[str]:
    return [body.text for body in bodies if isinstance(body, Notice)]


# --- Addresses ------------------------------------------------------------------------------------------------

PATHS = {
    "the article's gateway": (FakeGateway, GATEWAY_MODEL, "/api"),
    "the gateway's root": (FakeGateway, GATEWAY_MODEL, ""),
    "the gateway, as for OpenAI": (FakeGateway, GATEWAY_MODEL, "/v1"),
    "a whole address": (FakeGateway, GATEWAY_MODEL, "/api/v1/chat/completions"),
    "vLLM without /v1": (lambda: FakeVllm(calls_tools=True), "openai/fake-model", ""),
    "LM Studio without /v1": (FakeLmStudio, "openai/fake-model", ""),
    "a needless /api": (OpenAiLike, "openai/fake-model", "/api/v1"),
}


@pytest.mark.parametrize(("serve", "model", "path"), PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("streaming", [True, False])
def test_an_address_with_the_wrong_path_is_found_out_and_mended_with_one_sentence(
    serve: type[WireServer], model: str, path: str, streaming: bool, tmp_path: Path
) -> None:
    with serve() as server:
        bodies = play(
            processor(model, server.root + path, tmp_path, streaming=streaming), agent_home(tmp_path), HELLO, SAVE
        )
    (sentence,) = notices(bodies)
    assert f"{server.url} does, and is used" in sentence
    assert f"{server.root}{path}" in sentence
    assert GREETED in repr(bodies)
    assert SAVED in repr(bodies)
    assert server.gets.count(SEARCHED) == 1


@pytest.mark.parametrize("path", ["", "/"])
def test_a_kind_that_is_named_needs_no_path(path: str, tmp_path: Path) -> None:
    with FakeKobold() as server:
        bodies = play(processor("koboldcpp/any", server.root + path, tmp_path), agent_home(tmp_path), HELLO)
    assert notices(bodies) == []
    assert GREETED in repr(bodies)


def test_where_no_path_answers_the_refusal_stands(tmp_path: Path) -> None:
    with WireServer() as server:
        bodies = play(processor("openai/fake-model", server.root, tmp_path), agent_home(tmp_path), HELLO)
    assert "does not know the model" in repr(bodies) or "did not accept" in repr(bodies)
    assert server.gets.count(SEARCHED) == 1


def test_a_right_path_is_never_doubted(tmp_path: Path) -> None:
    with FakeGateway() as server:
        bodies = play(processor("openai/gpt-of-nobody", server.url, tmp_path), agent_home(tmp_path), HELLO)
    assert SEARCHED not in server.gets
    assert "Unsupported model gpt-of-nobody" in repr(bodies)


# --- The Bedrock Access Gateway -------------------------------------------------------------------------------


def test_a_tool_in_the_first_block_has_the_index_minus_one_and_is_one_call_all_the_same(tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    two = (
        Call("core_memory_append", {"name": "human", "content": FACT}),
        Call("send_message", {"message": SAVED}),
    )
    with FakeGateway(lambda request: Answer("", two)) as server:
        server.thinks = False
        bodies = play(processor(GATEWAY_MODEL, server.url, tmp_path), home, SAVE)
    assert server.violations == []
    (reply,) = [body.reply for body in bodies if isinstance(body, ReplyStored)]
    assert [call.name for call in reply.calls] == ["core_memory_append", "send_message"]
    assert SAVED in repr(bodies)


def test_thoughts_in_tags_are_no_words(tmp_path: Path) -> None:
    with FakeGateway() as server:
        bodies = play(processor(GATEWAY_MODEL, server.url, tmp_path), agent_home(tmp_path), HELLO)
    assert "<think>" not in repr(bodies)


def test_words_dropped_beside_calls_are_asked_for_as_an_argument_in_the_end(tmp_path: Path) -> None:
    with FakeGateway() as server:
        made = processor(GATEWAY_MODEL, server.url, tmp_path, streaming=False)
        play(made, agent_home(tmp_path), HELLO, SAVE)
    assert made.card.monologue == "argument"
    assert "inner_thoughts" in repr(server.raw[-1]["tools"])


def test_an_error_frame_without_an_end_is_a_failure_that_passes(tmp_path: Path) -> None:
    with FakeGateway() as server:
        server.breaks_at = 1
        bodies = play(processor(GATEWAY_MODEL, server.url, tmp_path), agent_home(tmp_path), HELLO)
    assert len([body for body in bodies if isinstance(body, RetryIn)]) == 1
    assert GREETED in repr(bodies)


def test_a_refusal_in_such_a_frame_is_not_asked_for_again(tmp_path: Path) -> None:
    with FakeGateway() as server:
        server.breaks_at = 1
        server.breaks_with = "400: An error occurred (ValidationException) when calling ConverseStream: No."
        bodies = play(processor(GATEWAY_MODEL, server.url, tmp_path), agent_home(tmp_path), HELLO)
    assert len(server.requests) == 1
    assert "did not accept the request" in repr(bodies)


# --- Groq, OpenRouter, vLLM -----------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [True, False])
def test_a_call_that_groq_refuses_is_taken_from_what_the_model_wrote(streaming: bool, tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    with FakeGroq() as server:
        bodies = play(processor("groq/fake-model", server.url, tmp_path, streaming=streaming), home, HELLO, SAVE)
    assert server.requests[1].packets()[-1]["message"] == SAVE  # the one whose call was refused
    assert FACT in next(block.value for block in home.memory.blocks() if block.label == "human")
    assert SAVED in repr(bodies)
    assert notices(bodies) == []


@pytest.mark.parametrize("streaming", [True, False])
def test_a_failure_of_openrouters_provider_names_it_and_is_tried_again(streaming: bool, tmp_path: Path) -> None:
    with FakeOpenRouter() as server:
        made = processor("openrouter/fake-model", server.url, tmp_path, streaming=streaming)
        bodies = play(made, agent_home(tmp_path), HELLO, SAVE)
    (retry,) = [body for body in bodies if isinstance(body, RetryIn)]
    assert "Somebody" in retry.reason
    assert "upstream connect error" in retry.reason
    assert SAVED in repr(bodies)


def test_vllm_without_its_flags_goes_on_with_a_schema_in_the_same_step(tmp_path: Path) -> None:
    with FakeVllm() as server:
        made = processor("hosted_vllm/fake-model", server.url, tmp_path)
        bodies = play(made, agent_home(tmp_path), HELLO, SAVE)
    assert made.format_name is FormatName.JSON_SCHEMA
    assert len(notices(bodies)) == 1
    assert SAVED in repr(bodies)


# --- koboldcpp ------------------------------------------------------------------------------------------------


def test_koboldcpp_is_asked_under_a_grammar_for_a_reply_that_leaves_the_prompt_whole(tmp_path: Path) -> None:
    with FakeKobold() as server:
        made = processor("koboldcpp/any", server.url, tmp_path)

        async def run() -> None:
            await made.warm_up()

        asyncio.run(run())
        assert made.window_tokens == server.context_tokens
        bodies = play(made, agent_home(tmp_path), HELLO)
    (sent,) = server.raw
    assert sent["grammar"].startswith("root ::=")
    assert "tools" not in sent
    assert sent["max_tokens"] == server.context_tokens // 8
    assert sent["genkey"].startswith("memos")
    assert server.violations == []
    assert made.card.honest_usage is False
    assert GREETED in repr(bodies)


def test_its_counts_of_a_hundred_are_never_believed(tmp_path: Path) -> None:
    with FakeKobold() as server:
        made = processor("koboldcpp/any", server.url, tmp_path, streaming=False)
        play(made, agent_home(tmp_path), HELLO)
    assert made.card.honest_usage is False


def test_after_a_result_the_last_message_is_the_users_so_that_its_tools_are_seen(tmp_path: Path) -> None:
    with FakeKobold() as server:
        made = processor("koboldcpp/any", server.url, tmp_path, call_format="native")
        bodies = play(made, agent_home(tmp_path), HELLO, SAVE)
    assert {request.messages[-1]["role"] for request in server.requests} == {"user"}
    assert SAVED in repr(bodies)


def test_a_full_queue_is_waited_for(tmp_path: Path) -> None:
    with FakeKobold() as server:
        server.is_busy = True
        made = processor("koboldcpp/any", server.url, tmp_path)

        async def run() -> list[OutputBody]:
            try:
                async with running(agent_home(tmp_path).kernel(made)) as listener:
                    asyncio.get_running_loop().call_later(0.2, lambda: setattr(server, "is_busy", False))
                    await listener.say(HELLO)
                    return listener.bodies
            finally:
                await made.aclose()

        bodies = asyncio.run(run())
    retries = [body for body in bodies if isinstance(body, RetryIn)]
    assert retries
    assert "Server is busy" in retries[0].reason
    assert "{" not in retries[0].reason
    assert GREETED in repr(bodies)


def test_a_failure_with_status_200_is_no_reply(tmp_path: Path) -> None:
    with FakeKobold() as server:
        server.fails = True
        bodies = play(processor("koboldcpp/any", server.url, tmp_path), agent_home(tmp_path), HELLO)
    assert all(body.reply.finish is Finish.CUT for body in bodies if isinstance(body, ReplyStored))
    assert any(isinstance(body, Stopped | Notice | RetryIn) for body in bodies)


def test_who_stops_listening_stops_the_model_too(tmp_path: Path) -> None:
    class Slow(FakeKobold):
        def streamed(self, request: object, answer: Answer) -> Sent:
            def words() -> object:
                for _ in range(200):
                    yield {"choices": [{"index": 0, "delta": {"content": "{"}, "finish_reason": None}]}
                    time.sleep(0.02)

            return sse(words())  # type: ignore[arg-type]

    async def run() -> None:
        made = processor("koboldcpp/any", server.url, tmp_path)
        try:
            async with running(agent_home(tmp_path).kernel(made)) as listener:
                turn = asyncio.create_task(listener.say(HELLO))
                await asyncio.to_thread(server.came.wait, 5)
                await asyncio.sleep(0.1)
                listener.kernel.cancel()
                await turn
        finally:
            await made.aclose()

    with Slow() as server:
        asyncio.run(run())
        assert server.aborted == [server.raw[0]["genkey"]]


# --- Bedrock Converse -----------------------------------------------------------------------------------------


def test_the_frames_of_the_fake_are_those_that_amazons_own_parser_reads() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(
        event_frame("messageStart", {"role": "assistant"}) + event_frame("messageStop", {"stopReason": "x"})
    )
    events = [message.to_response_dict() for message in buffer]
    assert [event["headers"][":event-type"] for event in events] == ["messageStart", "messageStop"]
    assert events[0]["body"] == b'{"role": "assistant"}'


@pytest.mark.parametrize("thinks", [True, False])
def test_amazons_own_client_reads_the_fake(thinks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    said = {"messages": [{"role": "user", "content": [{"text": "Hello!"}]}], "modelId": CLAUDE_3}
    tool = {"toolSpec": {"name": "send_message", "inputSchema": {"json": {"type": "object"}}}}
    with FakeConverse(thinks=thinks) as server:
        client = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=server.url)
        whole = client.converse(**said, toolConfig={"tools": [tool]})
        events = list(client.converse_stream(**said, toolConfig={"tools": [tool]})["stream"])
        with pytest.raises(client.exceptions.ValidationException, match="start with a user message"):
            client.converse(modelId=CLAUDE_3, messages=[{"role": "assistant", "content": [{"text": "Hi."}]}])
    uses = [block["toolUse"] for block in whole["output"]["message"]["content"] if "toolUse" in block]
    assert [use["input"] for use in uses] == [{"message": GREETED}]
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    written = "".join(delta["toolUse"]["input"] for delta in deltas if "toolUse" in delta)
    assert json.loads(written) == {"message": GREETED}
    assert any("reasoningContent" in delta for delta in deltas) is thinks
    assert events[-1]["metadata"]["usage"]["outputTokens"] == 20


def test_signed_thoughts_go_back_to_bedrock_before_their_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    model = "us.anthropic.claude-sonnet-4-20250514-v1:0"
    with FakeConverse(thinks=True) as server:
        server.models = (model,)
        made = processor(f"bedrock/{model}", server.url, tmp_path, reasoning_effort="low")
        bodies = play(made, agent_home(tmp_path), HELLO, SAVE)
    assert server.violations == []
    assert SAVED in repr(bodies)
    assert "thinking" in server.raw[0]["additionalModelRequestFields"]
    assert SIGNATURE in repr(server.raw[-1]["messages"])


@pytest.mark.parametrize(("serve", "prefix"), [(FakeConverse, "bedrock"), (FakeGateway, "openai")])
def test_a_summary_is_written_from_plain_text_without_tools(
    serve: type[WireServer], prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    home = agent_home(tmp_path)
    with serve() as server:
        made = processor(f"{prefix}/{CLAUDE_3}", server.url, tmp_path)

        async def run() -> None:
            try:
                async with running(home.kernel(made)) as listener:
                    for words in (HELLO, SAVE, HELLO, SAVE):
                        await listener.say(words)
                    await home.operator(listener.kernel).summarise()
            finally:
                await made.aclose()

        asyncio.run(run())
    assert server.violations == []
    summary = server.raw[-1]
    assert not summary.get("tools")
    assert not summary.get("toolConfig")
