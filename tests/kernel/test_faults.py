"""Whatever a model, a server or the wire does: one sentence at most, bounds that hold, nothing lost, and on it goes.

A real agent on a real database, its model behind real HTTP, on the fake server's every fault, streamed and plain, with
Ctrl-C in the middle and without. `test_naive_client.py` shows that each fault matters.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.agent_home import AgentHome, agent_home
from support.fake_answers import Answer
from support.fake_faults import FAULTS, Fault
from support.fake_mistakes import THOUGHT
from support.fake_openai import FakeOpenAI, Script, echo, refused_url
from support.fault_cases import (
    CASES,
    FACT,
    LIMITS,
    MIDDLE_S,
    PATIENT,
    RETRIES,
    THOUGHTS,
    WORDS,
    faulty,
    limits_in,
    over_httpx,
    patience_with,
)
from support.listening import Listener, running

from memos.kernel.control import Limits
from memos.kernel.processor_line import ProcessorLine
from memos.llm.chat_messages import check_pairing
from memos.llm.litellm_road import LitellmRoad
from memos.llm.processor import Processor
from memos.llm.remote_processor import Patience, RemoteProcessor
from memos.memory.message_rows import spoken_words
from memos.messages import (
    CallFinished,
    CallStarted,
    Event,
    EventKind,
    Finish,
    Message,
    MessageState,
    MonologueDelta,
    Notice,
    OutputBody,
    ReplyStored,
    RetryIn,
    Said,
    SpeechDelta,
    StepStarted,
    Stopped,
    TurnDone,
)

FIRST, SECOND = "Tell me of quinces.", "And now of medlars?"
MIB = 1024 * 1024
PASSING = (
    *("429", "429_soon", "500", "502_html", "503", "529", "reset_first", "error_200"),
    *("null_choices", "empty_choices", "empty_body", "non_json"),
)
"""What may be over in a moment, and so is asked again, three times; all else is told at once."""


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


@dataclass
class Scene:
    """What came of one message on a faulty server and of the next on a sound one."""

    home: AgentHome
    rows: list[Message]
    first: list[OutputBody] = field(default_factory=list)
    second: list[OutputBody] = field(default_factory=list)
    requests: int = 0
    most_sent: int = 0
    tools_offered: bool = True
    streamed: bool = True
    seconds_to_stop: float = 0.0
    came_too_late: bool = False
    """Whether the server had answered when Ctrl-C came: the reply may be a whole one, stored though not told of."""

    def of_turn(self, bodies: list[OutputBody]) -> list[Message]:
        """Return the replies stored in the turn that gave `bodies`, in order."""
        events = [row.turn_id for row in self.rows if row.kind is EventKind.USER_MESSAGE]
        turn = events[0 if bodies is self.first else 1]
        return [row for row in self.rows if row.turn_id == turn and row.role == "assistant"]


def said(bodies: list[OutputBody]) -> str:
    """Return all that was said to the user, by function or in plain words."""
    plain = [body.reply.text for body in bodies if isinstance(body, ReplyStored)]
    return "\n".join([body.text for body in bodies if isinstance(body, Said)] + plain)


def play(
    home: AgentHome, server: FakeOpenAI, processor: Processor, script: Script, cancel: bool, limits: Limits = LIMITS
) -> Scene:
    """Say the first message to the faulty server, the second to the sound one."""
    server.script = script
    server.requests.clear()
    server.violations.clear()
    server.answered_ns.clear()
    server.most_sent = 0
    scene = Scene(home, [])

    async def run() -> None:
        try:
            async with running(home.kernel(processor, limits)) as listener:
                if cancel:
                    await _break_into(listener, server, scene)
                else:
                    await listener.say(FIRST)
                scene.first = list(listener.bodies)
                scene.streamed = not server.requests or bool(server.requests[0].body.get("stream"))
                scene.tools_offered = bool(server.requests and server.requests[0].body.get("tools"))
                scene.requests, scene.most_sent = len(server.requests), server.most_sent
                server.script = echo
                scene.second = await listener.say(SECOND)
        finally:
            await processor.aclose()

    asyncio.run(run())
    home.begin_turn()
    scene.rows = home.recall.queue(0)
    return scene


async def _break_into(listener: Listener, server: FakeOpenAI, scene: Scene) -> None:
    """Interrupt when words show, or, where none do, a little after the request has come."""
    listener.kernel.post(Event(EventKind.USER_MESSAGE, FIRST))
    deadline = time.monotonic() + 4 * MIDDLE_S
    while not (listener.of(SpeechDelta) or listener.of(MonologueDelta)) and time.monotonic() < deadline:
        if server.requests:
            deadline = min(deadline, server.requests[-1].received_ns / 1e9 + MIDDLE_S)
        await asyncio.sleep(0.005)
    scene.came_too_late = len(server.answered_ns) == len(server.requests)
    began = time.monotonic()
    listener.kernel.cancel()
    await listener.until(lambda: bool(listener.of(TurnDone)))
    scene.seconds_to_stop = time.monotonic() - began


# --- What holds after everything -------------------------------------------------------------------------------


def check_told_in_one_sentence(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    for body in [*scene.first, *scene.second]:
        if isinstance(body, Stopped):
            assert "bug" not in body.reason and "Traceback" not in body.reason, body.reason
            assert "\n" not in body.reason and len(body.reason) < 700, body.reason
            assert body.code == "cancelled" or "Next: " in body.reason, body.reason
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert sum(isinstance(body, Stopped) for body in scene.first) <= 1


def check_bounds(scene: Scene) -> None:
    steps = max((body.number for body in scene.first if isinstance(body, StepStarted)), default=0)
    retries = [body for body in scene.first if isinstance(body, RetryIn)]
    assert steps <= LIMITS.steps
    assert max((body.attempt for body in retries), default=0) <= RETRIES
    assert scene.requests <= steps * (1 + RETRIES) + 3, "what a server does not take is left out once each"
    # 1 MiB of text, its frames, and what lies between a client that reads no more and a server that writes on; or a
    # whole answer, of 8 MiB.
    assert scene.most_sent <= (4 if scene.streamed else 9) * MIB


def check_the_next_message_works(scene: Scene) -> None:
    assert [body for body in scene.second if isinstance(body, Stopped)] == []
    assert SECOND in said(scene.second)


def check_nothing_is_lost(scene: Scene) -> None:
    """What was typed and what was shown is in recall storage; what broke off is marked, and found all the same."""
    assert [row.content for row in scene.rows if row.kind is EventKind.USER_MESSAGE] == [FIRST, SECOND]
    found = scene.home.recall.conversation_search("quinces") + scene.home.recall.conversation_search("medlars")
    assert FIRST in found and SECOND in found
    replies = scene.of_turn(scene.first)
    aloud = [_letters(spoken_words(row)) + _letters(*(call.arguments for call in row.calls)) for row in replies]
    for shown in _shown_in_each_step(scene.first, SpeechDelta):
        assert any(_letters(shown) in words for words in aloud), (shown[:200], aloud)
    inward = [_letters(str((row.reasoning or {}).get("text", "")), row.content, spoken_words(row)) for row in replies]
    for shown in _shown_in_each_step(scene.first, MonologueDelta):
        assert any(_letters(shown) in words for words in inward), (shown[:200], inward)
    check_pairing(scene.rows)


def _letters(*texts: str) -> str:
    """Return texts one after another without white space, by which what is shown and what is kept may differ."""
    return "".join("".join(texts).split())


def _shown_in_each_step(bodies: list[OutputBody], kind: type[SpeechDelta] | type[MonologueDelta]) -> list[str]:
    steps: list[list[str]] = [[]]
    for body in bodies:
        if isinstance(body, StepStarted):
            steps.append([])
        elif isinstance(body, kind):
            steps[-1].append(body.text)
    return [text for step in steps if (text := "".join(step)).strip()]


def check_what_broke_off_is_marked(scene: Scene) -> None:
    """What came of a reply that broke off does not count as a whole one, and none of its calls ran."""
    stored = sum(isinstance(body, ReplyStored) and body.reply.finish is not Finish.CUT for body in scene.first)
    if not scene.came_too_late:
        assert {row.state for row in scene.of_turn(scene.first)[stored:]} <= {MessageState.INCOMPLETE}
    whole = {call.id for row in scene.of_turn(scene.first)[:stored] for call in row.calls}
    assert {body.call.id for body in scene.first if isinstance(body, CallStarted)} <= whole


def check_the_words_came(scene: Scene, name: str) -> None:
    assert [body for body in scene.first if isinstance(body, Stopped)] == []
    assert WORDS in said(scene.first), said(scene.first)
    thought = "".join(body.text for body in scene.first if isinstance(body, MonologueDelta))
    if name.startswith("think_") or name in ("reasoning_content", "reasoning_field", "content_parts"):
        assert THOUGHT in thought and "think>" not in thought + said(scene.first)
        assert THOUGHT not in said(scene.first)
    one_call = ("legacy_call", "call_bare", "call_fenced", "empty_arguments", "null_arguments")
    if scene.tools_offered and name not in one_call and not name.startswith("refuses_tool"):
        human = next(block.value for block in scene.home.memory.blocks() if block.label == "human")
        assert human.count(FACT) == (2 if name == "heartbeat_string" else 1)


def check_it_is_no_whole_reply(scene: Scene, name: str) -> None:
    """Only at a limit of length do calls run, those that are whole; what was shown is marked, and it is told."""
    replies = scene.of_turn(scene.first)
    if name == "length":
        assert any("limit of length" in body.text for body in scene.first if isinstance(body, Notice))
    else:
        assert [body.code for body in scene.first if isinstance(body, Stopped)] == ["error"]
    if name == "length" and scene.tools_offered:
        assert [call.name for row in replies for call in row.calls] == ["core_memory_append"]
    else:
        assert {row.state for row in replies} <= {MessageState.INCOMPLETE}


def check_mistakes_go_to_the_model(scene: Scene) -> None:
    """A mistake is a failed call, told to the model and shown as such; nothing wrong is said, the turn is bounded.

    A model whose calls cannot be read twice is asked for them in another form, which it may get right.
    """
    failed = [b.result for b in scene.first if isinstance(b, CallFinished) and not b.result.ok]
    assert failed and all(result.text for result in failed)
    assert {body.text for body in scene.first if isinstance(body, Said)} <= {WORDS}
    assert {body.code for body in scene.first if isinstance(body, Stopped)} <= {"limit"}


# --- The matrix ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cancel", [False, True], ids=["", "ctrl-c"])
@pytest.mark.parametrize(("name", "stream"), CASES, ids=[f"{n}-{'stream' if s else 'plain'}" for n, s in CASES])
def test_a_fault(
    tmp_path: Path, server: FakeOpenAI, name: str, stream: bool, cancel: bool, caplog: pytest.LogCaptureFixture
) -> None:
    processor = over_httpx(server.url, stream, patience_with(name))
    scene = play(agent_home(tmp_path), server, processor, faulty(name, cancel), cancel, limits_in(name))
    check(scene, FAULTS[name], name, cancel, caplog)
    assert server.violations == []


def check(scene: Scene, fault: Fault, name: str, cancel: bool, caplog: pytest.LogCaptureFixture) -> None:
    check_told_in_one_sentence(scene, caplog)
    check_bounds(scene)
    check_the_next_message_works(scene)
    check_nothing_is_lost(scene)
    check_what_broke_off_is_marked(scene)
    if cancel:
        assert scene.seconds_to_stop < 2
    elif fault.kind == "quirk" or name.startswith("refuses_"):
        check_the_words_came(scene, name)
    elif fault.kind == "mistake":
        check_mistakes_go_to_the_model(scene)
    elif name.startswith("tool_use_failed"):  # the server could not read the call, and hands on what was written
        assert "Hello there." in said(scene.first)
    elif fault.kind == "cut":
        check_it_is_no_whole_reply(scene, name)
    elif fault.kind in ("refusal", "silence", "garbage"):
        asked = 1 + RETRIES if name in PASSING else 2 if "overflow" in name else 1
        assert scene.requests == asked, "a prompt that is too long is tried once more, shorter"
        assert [body.code for body in scene.first if isinstance(body, Stopped)] == ["error"]
    elif fault.kind == "endless":
        by_limit = name in ("endless_heartbeats", "endless_identical", "endless_trickle")
        assert [b.code for b in scene.first if isinstance(b, Stopped)] == ["limit" if by_limit else "error"]
        assert scene.requests == (LIMITS.steps if "heart" in name else LIMITS.identical_calls if "ident" in name else 1)


IN_JSON = (
    *("500", "stall_middle", "cut_text", "reset", "error_frame", "finish_filter", "bad_chunk", "length"),
    *("empty_reply", "blank_reply", "think_tags", "think_unopened", "reasoning_field", "content_parts"),
    *("split_utf8", "event_lines", "plain_for_stream", "no_finish", "endless_text", "endless_thoughts"),
)


@pytest.mark.parametrize("cancel", [False, True], ids=["", "ctrl-c"])
@pytest.mark.parametrize("name", IN_JSON)
@pytest.mark.parametrize("call_format", ["json_schema", "json_prompt"])
def test_a_fault_where_calls_are_written_as_json(
    tmp_path: Path, server: FakeOpenAI, call_format: str, name: str, cancel: bool, caplog: pytest.LogCaptureFixture
) -> None:
    call: dict[str, object] = {"function": "send_message", "arguments": {"message": WORDS}}
    if call_format == "json_schema":
        call = {"function": {"name": "send_message", "arguments": {"message": WORDS}}}
    text = json.dumps({"thoughts": THOUGHTS, **call}, ensure_ascii=False)
    pace = {"first_delay_s": 0.02, "delay_s": 0.02} if cancel else {}
    processor = over_httpx(server.url, True, patience_with(name), call_format)
    script: Script = lambda request: Answer(text, fault=name, **pace)  # noqa: E731
    scene = play(agent_home(tmp_path), server, processor, script, cancel)
    assert not scene.tools_offered
    check(scene, FAULTS[name], name, cancel, caplog)
    assert server.violations == []


@pytest.mark.parametrize("url", [refused_url(), "http://memos.invalid/v1"], ids=["refused", "dns"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("cancel", [False, True], ids=["", "ctrl-c"])
def test_nobody_is_there(
    tmp_path: Path, server: FakeOpenAI, url: str, stream: bool, cancel: bool, caplog: pytest.LogCaptureFixture
) -> None:
    home = agent_home(tmp_path)

    wrong, right = over_httpx(url, stream, PATIENT), over_httpx(server.url, stream, PATIENT)
    server.script = echo
    scene = Scene(home, [])

    async def run() -> None:
        try:
            kernel = home.kernel(wrong, LIMITS)
            async with running(kernel) as listener:
                if cancel:
                    await _break_into(listener, server, scene)
                else:
                    await listener.say(FIRST)
                scene.first = list(listener.bodies)
                kernel.machine.processors = ProcessorLine(right)
                scene.second = await listener.say(SECOND)
        finally:
            await wrong.aclose()
            await right.aclose()

    server.requests.clear()
    asyncio.run(run())
    home.begin_turn()
    scene.rows = home.recall.queue(0)
    check_told_in_one_sentence(scene, caplog)
    check_the_next_message_works(scene)
    check_nothing_is_lost(scene)


BY_LITELLM = (
    *("401", "429_hours", "500", "502_html", "refuses_tools", "stall_middle", "cut_text", "cut_call", "reset"),
    *("error_frame", "empty_choices", "non_json", "same_index", "missing_ids", "dict_arguments"),
    *("reasoning_content", "think_tags", "call_tags", "surrogate_arguments", "endless_text", "endless_identical"),
)
# litellm takes a whole answer whole: only the clock of the turn bounds one without an end.
LITELLM_SAMPLE = [case for case in CASES if case[0] in BY_LITELLM and case != ("endless_text", False)]


def over_litellm(url: str, stream: bool, patience: Patience) -> RemoteProcessor:
    road = LitellmRoad("openai/fake-model", api_base=url, api_key="none", connect_timeout_s=2)
    return RemoteProcessor(
        "openai/fake-model", road, api_base=url, window_tokens=32_768, stream=stream, patience=patience
    )


@pytest.mark.parametrize("cancel", [False, True], ids=["", "ctrl-c"])
@pytest.mark.parametrize(
    ("name", "stream"), LITELLM_SAMPLE, ids=[f"{n}-{'stream' if s else 'plain'}" for n, s in LITELLM_SAMPLE]
)
def test_a_fault_on_the_litellm_road(
    tmp_path: Path, server: FakeOpenAI, name: str, stream: bool, cancel: bool, caplog: pytest.LogCaptureFixture
) -> None:
    patience = patience_with(name)
    processor = over_litellm(server.url, stream, patience)
    asyncio.run(processor.warm_up())
    scene = play(agent_home(tmp_path), server, processor, faulty(name, cancel), cancel)
    check(scene, FAULTS[name], name, cancel, caplog)
    assert server.violations == []
