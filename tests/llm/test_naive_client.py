"""Every fault of the fake server matters: a client as people write it fails on it, in the open or without a word.

`-s` prints how. The few it does well with are listed, each with the client that does not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from support import fake_openai
from support.fake_answers import Answer, Call
from support.fake_faults import FAULTS
from support.fake_mistakes import THOUGHT
from support.fake_openai import FakeOpenAI, Request
from support.fake_rules import violations_of
from support.naive_client import NaiveAgent

TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("send_message", "core_memory_append", "conversation_search")
]
THOUGHTS, FACT, WORDS = "I answer.", "Ana keeps bees.", "Wörter 🐝 about honey."
CALLS = (Call("core_memory_append", {"name": "human", "content": FACT}), Call("send_message", {"message": WORDS}))
STEPS = 40
"""No client should go on after so many steps; here it is set right, lest a test never end."""

DOES_WELL = {
    "crlf": "httpx splits lines; a client that splits bytes at \\n\\n waits for ever (Routstr/routstr-core#543)",
    "finish_empty": "it looks at truth; who asks 'is not None' stops at the first word (adolfousier/opencrabs#1499)",
    "gzip": "httpx unpacks; who reads raw bytes sees none of it (router-for-me/CLIProxyAPI#1834)",
    "no_blank_lines": "it reads lines; a parser by the book joins them (rexxars/eventsource-parser#31)",
    "no_done": "it reads to the end; who waits for [DONE] calls it broken (NousResearch/hermes-agent#90848)",
    "refuses_response_format": "it never asks for one; the call formats that need a schema do",
    "refuses_stream_options": "it never asks for usage; who counts tokens must (openai/openai-python#1469)",
    "split_utf8": "httpx decodes across packets; who decodes each packet does not (api7/aisix#111)",
    "sse_as_json": "it never looks at the content type; who does reads no stream (BYK/loreai#1195)",
    "two_send_message": "it runs all calls; MemGPT takes the first and drops the rest (peers §4)",
}


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake, pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake_openai, "ENDLESS_LIMIT_BYTES", 4 * 1024 * 1024)
        patch.setattr(fake_openai, "ENDLESS_LIMIT_S", 1.0)
        yield fake


def how_it_fails(server: FakeOpenAI, name: str, stream: bool) -> str:
    """Return what went wrong, '' where nothing did."""
    server.requests.clear()
    server.most_sent = 0
    waits = name.startswith(("stall", "slow"))
    agent = NaiveAgent(server.url, stream, timeout_s=0.3 if waits else 5)
    delay_s = 0.6 if name == "slow_first_byte" else 0.0

    def script(request: Request) -> Answer:
        fault = name if len(server.requests) <= STEPS else None
        return Answer(THOUGHTS, CALLS, fault=fault, first_delay_s=delay_s)

    server.script = script
    began = time.monotonic()
    try:
        agent.ask("Hello.", TOOLS)
    except Exception as error:
        long = " after megabytes" if server.most_sent > 2**22 else " for as long as it is let" * (seconds(began) > 1)
        return f"crash: {type(error).__name__}{long}"
    return "; ".join(_wrong(agent, server, name))


def seconds(began: float) -> float:
    return time.monotonic() - began


def _wrong(agent: NaiveAgent, server: FakeOpenAI, name: str) -> Iterator[str]:
    kind = FAULTS[name].kind
    if len(server.requests) > STEPS:
        yield f"went on for {STEPS} steps"
    if kind in ("cut", "garbage", "silence", "refusal") and not name.startswith("refuses_"):
        yield "takes it for a whole reply"
    if kind == "mistake" and agent.said:
        yield f"ran it: {agent.said[0]!r:.40}"
    if kind != "quirk":
        return
    said = "".join(agent.said)
    if not said.endswith(WORDS):
        yield "its words are lost"
    if said and not agent.find("honey"):
        yield "its words cannot be found"
    if FACT not in agent.memory and name not in ("legacy_call", "call_bare", "call_fenced"):
        yield "a call is lost"
    if [t for t in agent.thoughts if t not in (THOUGHTS, "A step.")] or not agent.thoughts:
        yield "its thoughts are not its thoughts"
    if name in ("reasoning_content", "reasoning_field", "content_parts") and THOUGHT not in agent.thoughts:
        yield "what it reasoned is lost"
    if not agent.stream and agent.tokens != 133 * len(server.requests):
        yield "the tokens are wrong"
    if violations_of({"messages": [*agent.messages, {"role": "user", "content": "And now?"}], "tools": TOOLS}):
        yield "the next request is refused"


def wires(name: str) -> list[bool]:
    return {"both": [True, False], "stream": [True], "plain": [False]}[FAULTS[name].wire]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_it_works_with_a_server_that_does_as_openai_does(server: FakeOpenAI, stream: bool) -> None:
    agent = NaiveAgent(server.url, stream)
    server.script = lambda request: Answer(THOUGHTS, CALLS)
    agent.ask("Hello.", TOOLS)
    agent.ask("And now?", TOOLS)
    assert (agent.said, agent.memory, agent.thoughts) == ([WORDS] * 2, [FACT] * 2, [THOUGHTS] * 2)


@pytest.mark.parametrize("name", FAULTS)
def test_a_naive_client_fails(server: FakeOpenAI, name: str) -> None:
    failures = {("stream" if stream else "plain"): how_it_fails(server, name, stream) for stream in wires(name)}
    print(f"\n{name}: {failures}")
    assert any(failures.values()) is (name not in DOES_WELL)
