"""The litellm road: through the real litellm in its own process, against a real server that speaks well or badly."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.fake_anthropic import fake_anthropic, thinking
from support.fake_openai import Answer, Call, FakeOpenAI, refused_url, say

from memos.errors import (
    BadInput,
    ContentFiltered,
    ContextOverflow,
    MemosError,
    NotConfigured,
    ProcessorRefused,
    ProcessorUnreachable,
    RateLimited,
)
from memos.llm import litellm_process, quiet_litellm
from memos.llm.litellm_process import LitellmProcess, shared_process
from memos.llm.litellm_road import LitellmRoad
from memos.llm.provider_errors import ErrorElsewhere, ErrorFacts, Failure, failure_of
from memos.llm.road import ChatRequest, Chunk, Road
from memos.messages import TokenUsage

ROOT = Path(__file__).parents[2]
KEY = "sk-test-canary-4711-abcdef"
HELLO = ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello."})
PARAMETERS = {"type": "object", "properties": {"message": {"type": "string"}}}
TOOLS = ({"type": "function", "function": {"name": "send_message", "description": "Say.", "parameters": PARAMETERS}},)
TWO = (Call("core_memory_append", {"name": "human", "content": "Bees."}), Call("send_message", {"message": "Noted."}))


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOpenAI]:
    asyncio.run(LitellmRoad("openai/x").warm_up())  # seconds, once, so that no test's time holds them
    with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
def ask(server: FakeOpenAI) -> Iterator[Callable[..., list[Chunk]]]:
    """Return a function that asks the server, which answers as told, and gives the chunks that came."""
    server.requests.clear()

    def ask_for(answer: Answer, request: ChatRequest | None = None, **options: Any) -> list[Chunk]:
        server.script = lambda request: answer
        return chunks_of(road(server.url, **options), request or ChatRequest(HELLO, TOOLS))

    yield ask_for
    assert server.violations == []


def road(url: str | None, model: str = "openai/fake-model", **options: Any) -> Road:
    return LitellmRoad(model, api_base=url, **{"api_key": KEY, **options})


def chunks_of(one: Road, request: ChatRequest | None = None) -> list[Chunk]:
    async def gather() -> list[Chunk]:
        try:
            return [chunk async for chunk in one.stream(request or ChatRequest(HELLO))]
        finally:
            await one.aclose()

    return asyncio.run(gather())


def text_of(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.content for chunk in chunks)


def arguments_of(chunks: Sequence[Chunk]) -> str:
    return "".join(piece.arguments or "" for chunk in chunks for piece in chunk.calls)


# --- What comes back -------------------------------------------------------------------------------------------


def test_words_calls_and_usage_come_in_pieces_and_are_whole(ask: Callable[..., list[Chunk]]) -> None:
    chunks = ask(say("Good evening, Ana. 🐝 " * 5, reasoning="She greets me."))
    assert text_of(chunks) == "I answer."
    assert "".join(chunk.reasoning for chunk in chunks) == "She greets me."
    assert json.loads(arguments_of(chunks)) == {"message": "Good evening, Ana. 🐝 " * 5}
    assert len(chunks) > 10
    assert [chunk.finish for chunk in chunks if chunk.finish] == ["tool_calls"]
    assert [chunk.usage for chunk in chunks if chunk.usage] == [TokenUsage(111, 22)]
    pieces = [piece for chunk in chunks for piece in chunk.calls]
    assert (pieces[0].index, pieces[0].name) == (0, "send_message") and pieces[0].id


def test_a_reply_that_does_not_stream_is_one_chunk(ask: Callable[..., list[Chunk]], server: FakeOpenAI) -> None:
    request = ChatRequest(HELLO, TOOLS, stream=False)
    (chunk,) = ask(Answer(text="Two.", calls=TWO, reasoning="Hm."), request)
    assert not server.requests[0].body.get("stream")
    assert (chunk.content, chunk.reasoning, chunk.finish) == ("Two.", "Hm.", "tool_calls")
    assert [(piece.index, piece.name) for piece in chunk.calls] == [(0, TWO[0].name), (1, TWO[1].name)]
    assert [json.loads(piece.arguments) for piece in chunk.calls] == [call.arguments for call in TWO]
    assert chunk.usage == TokenUsage(111, 22)


@pytest.mark.parametrize("stream", [True, False])
def test_usage_nobody_sent_is_not_made_up(ask: Callable[..., list[Chunk]], stream: bool) -> None:
    chunks = ask(Answer(text="Hi.", fault="no_usage", usage=None), ChatRequest(HELLO, stream=stream))
    assert (text_of(chunks), [chunk.usage for chunk in chunks if chunk.usage]) == ("Hi.", [])


@pytest.mark.parametrize("fault", ["cut_text", "cut_call"])
def test_a_stream_that_broke_off_has_no_finish(ask: Callable[..., list[Chunk]], fault: str) -> None:
    chunks = ask(Answer(text="I will say it.", calls=TWO, fault=fault))
    assert text_of(chunks) == "I will say it."
    assert {chunk.finish for chunk in chunks} == {None}


@pytest.mark.parametrize("fault", ["reset", "bad_chunk", "error_frame"])
def test_a_fault_in_the_middle_is_raised_after_what_came_before(server: FakeOpenAI, fault: str) -> None:
    server.script = lambda request: Answer(text="I will say it.", calls=TWO, fault=fault)

    async def read() -> list[Chunk]:
        came = []
        with pytest.raises(ErrorElsewhere):
            async for chunk in road(server.url).stream(ChatRequest(HELLO, TOOLS)):
                came.append(chunk)
        return came

    assert text_of(asyncio.run(read())) == "I will say it."


@pytest.mark.parametrize("quirk", ["dict_arguments", "missing_ids", "same_index", "legacy_call", "surrogate"])
def test_what_is_strange_is_handed_on(ask: Callable[..., list[Chunk]], quirk: str) -> None:
    calls = () if quirk == "surrogate" else TWO[1:]
    chunks = ask(Answer(text="bees", calls=calls, fault=quirk))
    assert text_of(chunks).startswith("bees")
    said = [piece.arguments for chunk in chunks for piece in chunk.calls if piece.arguments]
    if calls:
        joined = said[0] if isinstance(said[0], dict) else json.loads("".join(said))
        assert joined == {"message": "Noted."}


def test_two_streams_come_side_by_side(server: FakeOpenAI) -> None:
    server.script = lambda request: Answer(text=f"{request.messages[-1]['content']} " * 50, delay_s=0.005)

    async def one(word: str, order: list[str]) -> str:
        request = ChatRequest([*HELLO[:1], {"role": "user", "content": word}])
        text = ""
        async for chunk in road(server.url).stream(request):
            text += chunk.content
            order.append(word)
        return text

    async def both() -> tuple[list[str], list[str]]:
        order: list[str] = []
        return await asyncio.gather(one("bees", order), one("honey", order)), order

    texts, order = asyncio.run(both())
    assert texts == ["bees " * 50, "honey " * 50]
    assert sum(before != after for before, after in itertools.pairwise(order)) > 5


def test_one_event_loop_after_another_may_use_it(ask: Callable[..., list[Chunk]]) -> None:
    pid = shared_process().pid
    assert [text_of(ask(Answer(text="Hi."))) for _ in range(3)] == ["Hi."] * 3
    assert shared_process().pid == pid


def test_connections_are_kept_between_turns(ask: Callable[..., list[Chunk]], server: FakeOpenAI) -> None:
    ask(say("Hi."))
    connections = server.connections
    for _ in range(5):
        ask(say("Hi."))
    assert server.connections == connections


# --- The request -----------------------------------------------------------------------------------------------


def test_the_request_is_what_was_asked(ask: Callable[..., list[Chunk]], server: FakeOpenAI) -> None:
    ask(say("Hi."), ChatRequest(HELLO, TOOLS, params={"max_tokens": 99, "temperature": 0.5, "seed": 4}))
    body = server.requests[0].body
    assert (body["model"], body["messages"], body["tools"]) == ("fake-model", list(HELLO), list(TOOLS))
    assert (body["tool_choice"], body["max_tokens"], body["temperature"], body["seed"]) == ("auto", 99, 0.5, 4)
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    ask(say("Hi."), ChatRequest(HELLO))
    absent = {"tools", "tool_choice", "response_format", "grammar", "temperature"}
    assert absent.isdisjoint(server.requests[1].body)


def test_a_schema_and_a_grammar_arrive(ask: Callable[..., list[Chunk]], server: FakeOpenAI) -> None:
    ask(Answer(text="{}"), ChatRequest(HELLO, schema=PARAMETERS))
    given = server.requests[0].body["response_format"]
    assert (given["type"], given["json_schema"]["schema"]) == ("json_schema", PARAMETERS)
    for model in ("openai/fake-model", "lm_studio/fake-model", "hosted_vllm/fake-model"):
        ask(Answer(text="{}"), ChatRequest(HELLO, grammar='root ::= "{}"'), model=model)
        assert server.requests[-1].body["grammar"] == 'root ::= "{}"'
        assert server.requests[-1].messages == list(HELLO)


def test_what_an_endpoint_does_not_take_is_left_out(ask: Callable[..., list[Chunk]], server: FakeOpenAI) -> None:
    without = frozenset({"stream_options", "tool_choice", "seed", "grammar", "response_format"})
    given = {"seed": 4, "top_p": 0.5}
    ask(say("Hi."), ChatRequest(HELLO, TOOLS, PARAMETERS, "root ::= x", given, without=without))
    assert without.isdisjoint(server.requests[0].body)
    assert (server.requests[0].body["top_p"], server.requests[0].body["tools"]) == (0.5, list(TOOLS))


def test_signed_thoughts_come_whole_and_go_back_as_they_were() -> None:
    with fake_anthropic(thinking(["I should ", "greet ", "her."], "c2lnbmVk")) as fake:
        talk = road(fake.url, "anthropic/claude-sonnet-4-5")
        chunks = chunks_of(talk)
        signed = [block for chunk in chunks for block in chunk.signed]
        assert signed == [
            {"type": "thinking", "thinking": "I should greet her.", "signature": "c2lnbmVk"},
            {"type": "redacted_thinking", "data": "opaque"},
        ]
        assert "".join(chunk.reasoning for chunk in chunks) == "I should greet her."
        assert text_of(chunks) == "Hi."
        said = {"role": "assistant", "content": "Hi.", "thinking_blocks": signed}
        thinks = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000}
        chunks_of(talk, ChatRequest([*HELLO, said, {"role": "user", "content": "And?"}], params=thinks))
    assert fake.bodies[1]["messages"][1]["content"][:2] == signed


# --- Failures --------------------------------------------------------------------------------------------------


def failed(ask: Callable[..., list[Chunk]], answer: Answer) -> Failure:
    with pytest.raises(ErrorElsewhere) as caught:
        ask(answer)
    return failure_of(caught.value, "the server", "openai/fake-model", [KEY])


@pytest.mark.parametrize(
    ("fault", "kind", "passing"),
    [
        ("401", ProcessorRefused, False),
        ("403", ProcessorRefused, False),
        ("404", ProcessorRefused, False),
        ("400", ProcessorRefused, False),
        ("400_overflow", ContextOverflow, False),
        ("400_overflow_llama_cpp", ContextOverflow, False),
        ("400_overflow_anthropic", ContextOverflow, False),
        ("400_filter", ContentFiltered, False),
        ("500", ProcessorUnreachable, True),
        ("502_html", ProcessorUnreachable, True),
        ("503", ProcessorUnreachable, True),
        ("reset_first", ProcessorUnreachable, True),
    ],
)
def test_an_error_of_the_other_process_is_told_as_one_of_this(
    ask: Callable[..., list[Chunk]], server: FakeOpenAI, fault: str, kind: type[MemosError], passing: bool
) -> None:
    failure = failed(ask, Answer(fault=fault))
    assert (type(failure.error), failure.passing) == (kind, passing)
    assert failure.error.next_step
    said = str(failure.error)
    assert KEY not in said and "litellm" not in said.lower() and "<" not in said and "\n" not in said
    assert len(server.requests) == 1  # nothing is tried twice behind our back


def test_an_error_keeps_status_text_and_when_to_come_back(ask: Callable[..., list[Chunk]]) -> None:
    failure = failed(ask, Answer(fault="429", retry_after="7"))
    assert isinstance(failure.error, RateLimited) and failure.retry_after_s == failure.error.retry_after_s == 7
    with pytest.raises(ErrorElsewhere, match="Rate limit reached for requests") as caught:
        ask(Answer(fault="429"))
    assert caught.value.facts.status == 429
    assert "RateLimitError" in caught.value.facts.kinds


def test_facts_of_an_error_survive_the_way(ask: Callable[..., list[Chunk]]) -> None:
    try:
        raise ConnectionResetError("it broke") from TimeoutError("late")
    except ConnectionResetError as error:
        facts = ErrorFacts.of(error)
    assert ErrorFacts.from_data(json.loads(json.dumps(facts.as_data()))) == facts


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_would_fill_the_memory_is_an_error(ask: Callable[..., list[Chunk]], stream: bool) -> None:
    flood = Answer(text="x" * 9 * 1024 * 1024, chunk_chars=9 * 1024 * 1024)
    with pytest.raises(ErrorElsewhere, match="longer than") as caught:
        ask(flood, ChatRequest(HELLO, stream=stream))
    assert isinstance(failure_of(caught.value, "the server", "openai/fake-model").error, ProcessorUnreachable)


def test_a_request_cancelled_before_it_begins_is_forgotten(process: LitellmProcess) -> None:
    asked = process.ask_once({"op": "check", "model": "openai/x", "api_base": None, "has_key": True})
    assert asked.cancel()
    assert process.load().result(60) == {}


def test_a_refused_connection_is_known_by_what_lies_beneath() -> None:
    with pytest.raises(ErrorElsewhere) as caught:
        chunks_of(road(refused_url()))
    failure = failure_of(caught.value, "the server", "openai/fake-model")
    assert "refused the connection" in failure.error.what and not failure.passing


def test_a_failing_call_prints_nothing(ask: Callable[..., list[Chunk]], capfd: pytest.CaptureFixture[str]) -> None:
    for fault in ("401", "500", "dict_arguments", "reset", "non_json"):
        with contextlib.suppress(ErrorElsewhere):
            ask(Answer(text="Two.", calls=TWO, fault=fault))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("fault", "stream"),
    [(None, True), ("stall_headers", True), ("stall_first", True), ("stall_middle", True), ("stall_headers", False)],
)
def test_cancelling_closes_the_connection_within_200_ms(server: FakeOpenAI, fault: str | None, stream: bool) -> None:
    server.client_left_ns.clear()
    server.requests.clear()
    server.script = lambda request: Answer(text="word " * 4000, fault=fault, delay_s=0.01 if fault is None else 0)

    async def cancel_it() -> int:
        one = road(server.url)

        async def read() -> None:
            async for _ in one.stream(ChatRequest(HELLO, stream=stream)):
                pass

        task = asyncio.create_task(read())
        await asyncio.to_thread(server.wait_for_requests, 1)
        await asyncio.sleep(0.2)
        cancelled_ns = time.monotonic_ns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(server.wait_for_client_to_leave)
        return cancelled_ns

    cancelled_ns = asyncio.run(cancel_it())
    assert (server.client_left_ns[0] - cancelled_ns) / 1e6 < 200


def test_closing_the_iterator_closes_the_connection(server: FakeOpenAI) -> None:
    server.client_left_ns.clear()
    server.script = lambda request: Answer(text="word " * 4000, delay_s=0.01)

    async def leave() -> None:
        chunks = road(server.url).stream(ChatRequest(HELLO))
        await anext(chunks)
        await chunks.aclose()
        await asyncio.to_thread(server.wait_for_client_to_leave)

    asyncio.run(leave())


# --- Before the first byte -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("openai/gpt-4.1", "OPENAI_API_KEY"),
        ("anthropic/claude-x", "ANTHROPIC_API_KEY"),
        ("groq/llama-3.3-70b", "GROQ_API_KEY"),
    ],
)
def test_a_missing_key_is_told_by_its_name(model: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "")
    monkeypatch.setenv(variable, "")
    for _ in ("empty", "not set"):
        with pytest.raises(NotConfigured) as caught:
            asyncio.run(LitellmRoad(model).check())
        assert variable in caught.value.next_step
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(variable, "set meanwhile")
    asyncio.run(LitellmRoad(model).check())


def test_a_compatible_server_needs_no_key(
    ask: Callable[..., list[Chunk]], server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    ask(say("Hi."), api_key=None)
    assert server.requests[0].headers["authorization"] == "Bearer none"


@pytest.mark.parametrize("model", ["no-such-thing", "nobody/no-such-thing", "", "/"])
def test_a_model_string_nobody_can_place_is_bad_input(model: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadInput, match="provider") as caught:
        chunks_of(LitellmRoad(model))
    assert "openai/" in caught.value.next_step
    assert capfd.readouterr() == ("", "")


def test_a_profile_or_role_may_stand_in_for_keys_of_bedrock(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    asyncio.run(LitellmRoad("bedrock/anthropic.claude-3-haiku-20240307-v1:0").check())


@pytest.mark.parametrize("version", sorted(quiet_litellm.REFUSED_VERSIONS))
def test_a_bad_release_of_litellm_is_refused(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / f"litellm-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: litellm\nVersion: {version}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert importlib.metadata.version("litellm") == version
    with pytest.raises(NotConfigured, match=version):
        quiet_litellm.import_litellm()


# --- The process -----------------------------------------------------------------------------------------------


@pytest.fixture
def process() -> Iterator[LitellmProcess]:
    """Return a process of the test's own, not yet started."""
    one = LitellmProcess()
    yield one
    one.end()


def wait_until(condition: Callable[[], bool], limit_s: float = 10.0) -> bool:
    end = time.monotonic() + limit_s
    while not (holds := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return holds


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_process_is_told_once_and_started_anew(server: FakeOpenAI) -> None:
    server.script = lambda request: Answer(text="word " * 4000, delay_s=0.01)
    one = road(server.url)

    async def lose_it() -> int:
        chunks = one.stream(ChatRequest(HELLO))
        await anext(chunks)
        pid = shared_process().pid
        assert pid is not None and one.is_ready
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ProcessorUnreachable, match="ended unexpectedly") as caught:
            async for _ in chunks:
                pass
        assert caught.value.next_step and not one.is_ready
        return pid

    lost = asyncio.run(lose_it())
    server.script = lambda request: Answer(text="Here again.")
    assert text_of(chunks_of(one)) == "Here again."
    assert shared_process().pid not in (None, lost)


def test_a_process_killed_while_nobody_asks_is_started_anew_unnoticed(process: LitellmProcess) -> None:
    waiting = process.load()
    assert wait_until(lambda: process.pid is not None)
    first = process.pid
    process.end()
    with pytest.raises(ProcessorUnreachable):
        waiting.result(10)
    second = process.load()
    assert wait_until(lambda: process.pid not in (None, first))
    assert not second.done()


def test_a_process_nobody_holds_ends_after_a_while(process: LitellmProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm_process, "LINGER_S", 0.2)
    holder = LitellmRoad("openai/x")
    process.hold(holder)
    process.load().result(60)
    time.sleep(1)
    assert process.is_loaded
    process.let_go(holder)
    assert wait_until(lambda: process.pid is None)
    assert not process.is_loaded


START = """
import sys, time
from memos.llm.litellm_process import shared_process
loading = shared_process().load()
while not (pid := shared_process().pid):
    time.sleep(0.01)
print(pid, flush=True)
if "wait" in sys.argv: loading.result()
print("started", flush=True)
if "stay" in sys.argv: time.sleep(60)
"""


@pytest.mark.parametrize("when", ["while it loads", "wait"])
def test_the_process_ends_when_memos_is_killed(when: str) -> None:
    with started(START, when, "stay") as memos:
        pid = int(memos.stdout.readline())
        assert memos.stdout.readline() == "started\n"
        assert is_running(pid)
        memos.kill()
        assert wait_until(lambda: not is_running(pid))


def test_the_process_ends_with_memos() -> None:
    with started(START, "and go") as memos:
        pid = int(memos.stdout.readline())
        assert memos.wait(10) == 0
        assert not is_running(pid)  # not a moment later
        assert memos.stderr.read() == ""


CTRL_C = """
import asyncio, os, signal, time
from memos.llm.litellm_process import shared_process
from memos.llm.litellm_road import LitellmRoad
from memos.llm.road import ChatRequest
from support.fake_openai import Answer, FakeOpenAI
times = []
signal.signal(signal.SIGINT, lambda *_: times.append(1))
async def main(url):
    road = LitellmRoad("openai/x", api_base=url)
    warming = asyncio.create_task(road.warm_up())
    while not shared_process().pid: await asyncio.sleep(0.001)
    pid = shared_process().pid
    os.killpg(0, signal.SIGINT)                      # while Python starts there
    await warming
    text = ""
    async for chunk in road.stream(ChatRequest([{"role": "user", "content": "."}])):
        if not text:
            os.killpg(0, signal.SIGINT)
            os.kill(pid, signal.SIGINT)              # even if it came through
        text += chunk.content
    assert text == "word " * 20, text
    assert pid == shared_process().pid and len(times) == 2, times
with FakeOpenAI(script=lambda request: Answer(text="word " * 20, delay_s=0.01)) as server:
    asyncio.run(main(server.url))
print("well")
"""


def test_ctrl_c_in_the_terminal_leaves_the_process_alone() -> None:
    with started(CTRL_C) as memos:
        assert memos.communicate(timeout=60) == ("well\n", "")


NOISE = """
import os, sys, threading, time
if "memos.llm.litellm_host" in sys.orig_argv:
    os.write(1, b"a banner without an end")
    def print_on():
        while True:
            print("noise", flush=True)
            os.write(1, b'{"id": 1, "brought": [], "ended": true}\\n')
            time.sleep(0.001)
    threading.Thread(target=print_on, daemon=True).start()
"""


def test_what_libraries_print_does_not_spoil_the_protocol(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NOISE)
    with started(CTRL_C, path=str(tmp_path)) as memos:
        assert memos.communicate(timeout=60) == ("well\n", "")


WATCH = """
import atexit, json, os, sys
if "memos.llm.litellm_host" in sys.orig_argv:
    log = open(os.environ["CONTACTS"], "a", buffering=1)
    def watch(event, args):
        if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
            print(json.dumps([event, str(args[0]), args[1] if event == "socket.getaddrinfo" else None]), file=log)
        elif event in ("socket.connect", "socket.sendto"):
            to = args[1][:2] if isinstance(args[1], tuple) else (str(args[1]), None)
            print(json.dumps([event, *to]), file=log)
    sys.addaudithook(watch)
"""
GUARD = """
import asyncio, json, os, sys
from pathlib import Path
from support.fake_embeddings import FakeEmbeddings
from support.fake_openai import Answer, Call, FakeOpenAI
before = set(sys.modules)
from memos.llm.litellm_process import shared_process
from memos.llm.litellm_road import LitellmRoad
from memos.llm.remote_embedder import RemoteEmbedder
from memos.llm.road import ChatRequest
KEY = "sk-only-for-the-pipe-4711"
tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
async def main(url):
    for fault in (None, "no_usage", "dict_arguments", "400"):
        server.script = lambda request: Answer(calls=(Call("f", {"message": "Hi."}),), fault=fault)
        road = LitellmRoad("openai/meta-llama/llama-3-8b", api_base=url, api_key=KEY)
        await road.warm_up()
        try:
            async for chunk in road.stream(ChatRequest([{"role": "user", "content": "Hello."}], tools)):
                pass
        except Exception as error:
            assert fault == "400", error
    await road.aclose()
with FakeOpenAI() as server, FakeEmbeddings() as embeddings:
    asyncio.run(main(server.url))
    assert RemoteEmbedder("openai/e", api_base=embeddings.url, api_key=KEY).embed(["a"]).shape == (1, 64)
    contacts = [json.loads(line) for line in Path(os.environ["CONTACTS"]).read_text().splitlines()]
    ports = (server.port, int(embeddings.url.split(":")[2].split("/")[0]), None)
    strange = [c for c in contacts if c[1] != "127.0.0.1" or c[2] not in ports]
    assert len(server.requests) == 4
    assert any(c[0] == "socket.connect" for c in contacts), "the watch sees nothing"
assert not strange, strange
place = Path(f"/proc/{shared_process().pid}")
assert KEY.encode() not in (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
here = dict(entry.split(b"=", 1) for entry in (place / "environ").read_bytes().split(b"\\0") if entry)
assert set(here) <= {name.encode() for name in os.environ}, set(here) - {name.encode() for name in os.environ}
heavy = {"litellm", "httpx", "openai", "jiter", "tiktoken"} & set(sys.modules) - before
assert not heavy, heavy
print("well")
"""


def test_litellm_is_only_there_contacts_only_the_endpoint_and_has_the_key_by_the_pipe_alone(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    with started(GUARD, path=str(tmp_path), CONTACTS=str(tmp_path / "contacts"), HOME=os.devnull) as memos:
        assert memos.communicate(timeout=90) == ("well\n", "")


@contextlib.contextmanager
def started(program: str, *arguments: str, path: str = "", **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program as memos, in a session of its own as a terminal gives one."""
    packages = os.pathsep.join(filter(None, [path, str(ROOT), str(ROOT / "tests")]))
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": packages, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()
