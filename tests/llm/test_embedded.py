"""The embedded processor: a real model behind the seam every processor has."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from memos.errors import BadInput, EmbeddingProblem, ProcessorUnreachable
from memos.llm.embedded import EmbeddedProcessor
from memos.llm.weights import builtin_weights
from memos.memory.index import builtin_embedder
from memos.messages import (
    Block,
    Counters,
    EventKind,
    FunctionSchema,
    Message,
    MonologueDelta,
    Progress,
    Prompt,
    Reply,
    ReplyPart,
    SpeechDelta,
    TokenUsage,
)

if TYPE_CHECKING:
    from memos.memory.embedders import States

Weights = Callable[[Callable[[Progress], None]], Path]
SPEAK = FunctionSchema(
    "send_message",
    "",
    {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
)


def token_states(texts: Sequence[str]) -> list[States]:
    return builtin_embedder().token_states(texts)


def prompt(text: str, human: str = "") -> Prompt:
    queue = (Message("user", text, "agent", "turn", kind=EventKind.USER_MESSAGE),)
    return Prompt("", (SPEAK,), (Block("human", human, 2000),), queue, Counters(datetime(2026, 11, 23, tzinfo=UTC)))


async def parts_of(processor: EmbeddedProcessor, asked: Prompt, *, close: bool = True) -> list[ReplyPart]:
    try:
        return [part async for part in processor.infer(asked)]
    finally:
        if close:
            await processor.aclose()


@pytest.fixture(scope="module")
def weights(builtin_cache: Path) -> Weights:
    return lambda report: builtin_weights(builtin_cache, report)


@pytest.mark.builtin_model
def test_a_reply_comes_after_progress_and_its_words_and_only_once(weights: Weights) -> None:
    processor = EmbeddedProcessor("builtin/tiny", weights, token_states, threads=1)
    parts = asyncio.run(parts_of(processor, prompt("Where do I live?", '2026-11-20: "I live in Lima."')))
    assert parts[0] == Progress("loading the model")
    (thought,) = [part for part in parts if isinstance(part, MonologueDelta)]
    (speech,) = [part for part in parts if isinstance(part, SpeechDelta)]
    reply = parts[-1]
    assert isinstance(reply, Reply)
    assert [part for part in parts if isinstance(part, Reply)] == [reply]
    assert reply.monologue == thought.text
    assert json.loads(reply.calls[0].arguments)["message"] == speech.text
    assert "I live in Lima." in speech.text


@pytest.fixture(scope="module")
def loaded(weights: Weights) -> Iterator[EmbeddedProcessor]:
    def never(_: object) -> Path:
        raise AssertionError("weights were asked for though the user named a file")

    processor = EmbeddedProcessor(f"gguf:{weights(lambda _: None)}", never, token_states, threads=1)
    asyncio.run(processor.warm_up())
    yield processor
    asyncio.run(processor.aclose())


@pytest.mark.builtin_model
def test_a_file_the_user_names_answers_without_holding_up_the_event_loop(loaded: EmbeddedProcessor) -> None:
    async def longest_pause_s() -> float:
        work = asyncio.create_task(parts_of(loaded, prompt("Good morning!"), close=False))
        longest, before = 0.0, time.monotonic()
        while not work.done():
            await asyncio.sleep(0.01)
            longest, before = max(longest, time.monotonic() - before), time.monotonic()
        assert isinstance((await work)[-1], Reply)
        return longest

    assert asyncio.run(longest_pause_s()) < 0.5


@pytest.mark.builtin_model
def test_an_abandoned_reply_leaves_the_processor_usable(loaded: EmbeddedProcessor) -> None:
    async def abandon() -> list[ReplyPart]:
        first = asyncio.create_task(parts_of(loaded, prompt("Good morning!"), close=False))
        await asyncio.sleep(0.01)
        first.cancel()
        return await parts_of(loaded, prompt("Good evening!"), close=False)

    assert isinstance(asyncio.run(abandon())[-1], Reply)


@pytest.mark.builtin_model
def test_closing_while_it_warms_up_does_not_wait_for_the_end(weights: Weights) -> None:
    async def close_early() -> None:
        processor = EmbeddedProcessor("builtin/tiny", weights, token_states, threads=1)
        warming = asyncio.create_task(processor.warm_up())
        await asyncio.sleep(0.05)
        await processor.aclose()
        with pytest.raises(ProcessorUnreachable, match="closed"):
            await warming

    asyncio.run(close_early())


@pytest.mark.builtin_model
def test_one_json_call_streams_its_thoughts_and_ends_in_a_call_that_is_offered(weights: Weights) -> None:
    processor = EmbeddedProcessor("builtin/tiny", weights, token_states, threads=1, call_format="json_schema")
    parts = asyncio.run(parts_of(processor, prompt("Good morning!")))
    reply = parts[-1]
    assert isinstance(reply, Reply)
    assert [call.name for call in reply.calls] == ["send_message"]
    spoken = "".join(part.text for part in parts if isinstance(part, SpeechDelta))
    assert spoken == json.loads(reply.calls[0].arguments)["message"]
    assert "".join(part.text for part in parts if isinstance(part, MonologueDelta)) == reply.monologue


def test_weights_that_cannot_be_had_fail_the_inference_not_the_process() -> None:
    def offline(_: object) -> Path:
        raise ProcessorUnreachable("The built-in model could not be fetched: no network.", "check the network")

    processor = EmbeddedProcessor("builtin/tiny", offline, token_states)
    with pytest.raises(ProcessorUnreachable, match="no network"):
        asyncio.run(parts_of(processor, prompt("Hello")))


@pytest.mark.parametrize("model", ["builtin/huge", "gguf:", "gguf:/nowhere/model.gguf", "openai/gpt"])
def test_a_model_that_cannot_be_loaded_is_refused_with_a_next_step(model: str) -> None:
    with pytest.raises(BadInput) as caught:
        EmbeddedProcessor(model, lambda _: Path(), token_states)
    assert caught.value.next_step


def test_what_the_clerk_keeps_at_hand_is_estimated_part_by_part() -> None:
    processor = EmbeddedProcessor("builtin/tiny", lambda _: Path(), token_states)
    measured = processor.measure(prompt("Hello, world", "Likes tea."))
    assert (measured.exact, measured.margin, len(measured.queue)) == (False, 0, 1)
    assert measured.queue[0] > 5 and measured.blocks > 5 and measured.functions > 5
    processor.learn(measured, TokenUsage(10_000))
    assert processor.measure(prompt("Hello, world", "Likes tea.")) == measured


@pytest.mark.builtin_model
@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX system")
def test_in_one_call_the_models_own_tokenizer_counts_what_the_model_then_reports(weights: Weights) -> None:
    async def main() -> None:
        processor = EmbeddedProcessor("builtin/tiny", weights, token_states, threads=1, call_format="json_schema")
        assert not processor.measure(prompt("Good morning!")).exact
        await processor.warm_up()
        measured = processor.measure(prompt("Good morning!"))
        assert measured.exact
        reply = (await parts_of(processor, prompt("Good morning!")))[-1]
        assert isinstance(reply, Reply) and reply.usage.prompt_tokens == measured.total
        assert not processor.measure(prompt("Good morning!")).exact

    asyncio.run(main())


def test_naming_the_processor_imports_no_engine() -> None:
    code = (
        "import sys; from memos.llm.embedded import EmbeddedProcessor; from pathlib import Path;"
        "EmbeddedProcessor('builtin/tiny', lambda r: Path(), lambda texts: []);"
        "print([m for m in ('xllamacpp', 'litellm', 'httpx', 'numpy', 'onnxruntime') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.builtin_model
def test_reading_ahead_gives_way_to_a_message_and_goes_on_after_it(weights: Weights, tmp_path: Path) -> None:
    login = Message("user", "", "agent", "turn", kind=EventKind.LOGIN, payload={"last_login": "never"})
    asked = Prompt("", (SPEAK,), (), (login,), Counters(datetime(2026, 11, 23, tzinfo=UTC)))

    async def scene() -> None:
        processor = EmbeddedProcessor("builtin/tiny", weights, token_states, prefix_folder=tmp_path)
        warming = asyncio.create_task(processor.warm_up())
        await asyncio.sleep(0.1)
        assert isinstance((await parts_of(processor, asked, close=False))[-1], Reply)
        assert not warming.done(), "the greeting waited until everything was read"
        await warming
        await processor.aclose()

    asyncio.run(scene())
    assert list(tmp_path.iterdir()), "nothing was kept for later processes"


@pytest.mark.builtin_model
def test_a_clerk_without_its_embedder_says_what_to_do_and_is_no_bug(weights: Weights) -> None:
    def broken(_: Sequence[str]) -> list[States]:
        raise EmbeddingProblem("The weights are missing.", "install them again")

    processor = EmbeddedProcessor("builtin/tiny", weights, broken, threads=1)
    with pytest.raises(ProcessorUnreachable, match="embedder") as caught:
        asyncio.run(parts_of(processor, prompt("Hello")))
    assert caught.value.next_step == "install them again"
