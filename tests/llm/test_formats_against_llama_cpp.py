"""A real llama.cpp server holds a real model to our schema and to our grammar: every reply is a call that can be run.

The weakest model there is, so that nothing but the form can make the calls valid: streamed, at a temperature. Ten
turns each in every run, MEMOS_TEST_FULL=1 for fifty, and MEMOS_TEST_GGUF names a larger model to try as well.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.agent_home import agent_home

from memos.functions.arguments import parse_arguments
from memos.functions.process_functions import ProcessFunctions
from memos.functions.table import FunctionTable
from memos.llm.httpx_road import HttpxRoad
from memos.llm.remote_processor import Patience, RemoteProcessor
from memos.llm.weights import builtin_weights
from memos.messages import (
    Block,
    Counters,
    EventKind,
    Finish,
    FunctionCall,
    Message,
    MonologueDelta,
    Prompt,
    Reply,
    SpeechDelta,
    utc_now,
)
from memos.prompts import system_instructions

TURNS = 50 if os.environ.get("MEMOS_TEST_FULL") else 10
LARGER_TURNS = 10 if os.environ.get("MEMOS_TEST_FULL") else 3
WINDOW_TOKENS = 4096
REPLY_TOKENS = 2500
SAID = (
    "Hello!",
    "My name is Ana.",
    "What is my name?",
    "I keep bees. Please remember it.",
    "Look in your notes for honey.",
    "It is three hives now, not two.",
    'Say "{}" and nothing else.',
    "What did I tell you in May?",
    "Tell me about the sea.",
    "Good night.",
)

# In a process of its own: the way models are served, and its CPU time is not ours.
SERVER = """
import sys, xllamacpp
settings = xllamacpp.CommonParams()
settings.model.path = sys.argv[1]
settings.n_ctx = int(sys.argv[2])
settings.n_parallel = 1
settings.n_batch = settings.n_ubatch = 128
settings.cache_ram_mib = 0
settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
settings.verbosity = -1
settings.warmup = settings.fit_params = settings.ui = False
settings.use_jinja = True
settings.hostnames = ["127.0.0.1"]
settings.port = 0
server = xllamacpp.Server(settings)
server.handle_completions({"prompt": ".", "n_predict": 1}, lambda chunk: False)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@contextmanager
def llama_cpp(weights: Path) -> Iterator[str]:
    command = [sys.executable, "-c", SERVER, str(weights), str(WINDOW_TOKENS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def address(builtin_cache: Path) -> Iterator[str]:
    with llama_cpp(builtin_weights(builtin_cache, lambda _: None)) as started:
        yield started


def prompts(table: FunctionTable, turns: int) -> Iterator[Prompt]:
    """Yield the prompts of so many turns, each after one past turn, so that a call and a result are in view."""
    blocks = (Block("persona", "I am Sam.", 2000), Block("human", "The user is called Ana.", 2000))
    call = FunctionCall("c1", "send_message", '{"message": "Good to see you."}')
    past = (
        Message("user", "Are you there?", "a", "t0", kind=EventKind.USER_MESSAGE),
        Message("assistant", "I greet them.", "a", "t0", calls=(call,)),
        Message("tool", "None", "a", "t0", name=call.name, call_id=call.id, ok=True),
    )
    instructions, schemas = system_instructions("small"), table.schemas_for("small")
    for turn in range(turns):
        newest = Message("user", SAID[turn % len(SAID)], "a", f"t{turn + 1}", kind=EventKind.USER_MESSAGE)
        yield Prompt(instructions, schemas, blocks, (*past, newest), Counters(utc_now()), profile="small")


async def checked_reply(processor: RemoteProcessor, prompt: Prompt, table: FunctionTable) -> Reply:
    """Return the reply to `prompt`, which must be a call that can be run, shown as it came."""
    parts = [part async for part in processor.infer(prompt)]
    reply = parts[-1]
    assert isinstance(reply, Reply)
    assert reply.finish is Finish.STOP, reply
    (call,) = reply.calls
    function = table.get(call.name)
    assert function is not None
    arguments, _ = parse_arguments(call.arguments, function)
    spoken = "".join(part.text for part in parts if isinstance(part, SpeechDelta))
    assert spoken == (arguments["message"] if call.name == "send_message" else "")
    assert "".join(part.text for part in parts if isinstance(part, MonologueDelta)).strip() == reply.monologue
    return reply


async def all_turns(address: str, call_format: str, table: FunctionTable, turns: int) -> None:
    for number, prompt in enumerate(prompts(table, turns)):
        processor = RemoteProcessor(
            "openai/any",
            HttpxRoad("any", f"{address}/v1"),
            api_base=f"{address}/v1",
            window_tokens=WINDOW_TOKENS,
            params={"max_tokens": REPLY_TOKENS, "temperature": 0.8, "frequency_penalty": 0.3, "seed": number},
            call_format=call_format,
            patience=Patience(first_byte_s=300.0),
        )
        reply = await checked_reply(processor, prompt, table)
        print(f"{number}: {reply.usage.reply_tokens} tokens, {reply.calls[0].name} {reply.calls[0].arguments[:60]}")
        await processor.aclose()


@pytest.fixture
def table(tmp_path: Path) -> FunctionTable:
    home = agent_home(tmp_path)
    return FunctionTable([ProcessFunctions(home.syscalls), home.memory, home.recall, home.archival])


@pytest.mark.builtin_model
@pytest.mark.timeout(1800 if TURNS > 10 else 300)
@pytest.mark.parametrize("call_format", ["json_schema", "grammar"])
def test_every_streamed_reply_is_a_call_that_can_be_run(address: str, table: FunctionTable, call_format: str) -> None:
    asyncio.run(all_turns(address, call_format, table, TURNS))


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("call_format", ["json_schema", "grammar"])
def test_a_larger_models_calls_can_be_run_too(table: FunctionTable, call_format: str) -> None:
    named = os.environ.get("MEMOS_TEST_GGUF")
    if not named:
        pytest.skip("MEMOS_TEST_GGUF names no larger model")
    with llama_cpp(Path(named)) as started:
        asyncio.run(all_turns(started, call_format, table, LARGER_TURNS))
