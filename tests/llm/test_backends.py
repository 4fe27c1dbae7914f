"""Every backend in every call format it obeys: a greeting, a fact kept, a chain of five calls, an answer by search.

A real agent on a real database, wired as boot wires it, over real HTTP to a fake that is faithful to the backend's
wire. The table in `memos help backends` is made from what is run here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from support.agent_home import AgentHome, agent_home
from support.backends import BACKENDS, HELP, Backend, table
from support.fake_answers import Answer, Call
from support.fake_openai import Request
from support.help_pages import filled
from support.listening import Listener, running
from support.minds import CHAIN, CHAINED, FACT, FOUND, GREETED, HELLO, LOOK, SAVE, SAVED, SEARCH, SEEN
from support.pictures import picture
from support.wire_server import WireServer

from memos.cli.boot import processor_for
from memos.config import Places, Settings
from memos.kernel.control import Limits
from memos.kernel.processor_line import ProcessorLine
from memos.llm.remote_processor import RemoteProcessor
from memos.messages import CallFinished, Event, EventKind, Notice, ReplyStored, RetryIn, Said, Stopped
from memos.storage.attachments import images_payload

CASES = [(backend, case) for backend in BACKENDS for case in backend.cases]
LIMITS = Limits(turn_seconds=60)


def processor_of(backend: Backend, url: str, home: Path, **more: object) -> RemoteProcessor:
    """Return the processor of a backend at an address, as boot makes it."""
    flags = {"model": backend.model, "api_base": url, **more}
    environ: Mapping[str, str] = {"MEMOS_HOME": str(home)}
    processor = processor_for(Settings.resolve(flags, environ, {}, {}), Places.find(environ), environ)
    assert isinstance(processor, RemoteProcessor)
    return processor


def said_in(bodies: list[object]) -> str:
    """Return all that was said to the user, by function or in plain words."""
    plain = [body.reply.text for body in bodies if isinstance(body, ReplyStored)]
    return "\n".join([body.text for body in bodies if isinstance(body, Said)] + plain).strip()


def human_block(home: AgentHome) -> str:
    """Return what the agent knows about the person."""
    return next(block.value for block in home.memory.blocks() if block.label == "human")


async def everyday(listener: Listener, home: AgentHome) -> None:
    """Have the conversation of all backends, and hold each turn to what it must do."""
    assert GREETED in said_in(list(await listener.say(HELLO)))
    turn = await listener.say(SAVE)
    assert SAVED in said_in(list(turn))
    assert FACT in human_block(home)
    turn = await listener.say(CHAIN)
    assert CHAINED in said_in(list(turn))
    done = [body for body in turn if isinstance(body, CallFinished)]
    assert [body.result.ok for body in done] == [True] * len(done)
    assert len(done) >= 5
    assert "Got five things." in human_block(home)
    assert FOUND in said_in(list(await listener.say(SEARCH)))


def play(backend: Backend, server: WireServer, home: AgentHome, processor: RemoteProcessor) -> Listener:
    """Play the conversation with a processor that is closed at the end."""
    kept: list[Listener] = []

    async def run() -> None:
        try:
            await processor.warm_up()
            async with running(home.kernel(processor, LIMITS)) as listener:
                kept.append(listener)
                await everyday(listener, home)
        finally:
            await processor.aclose()

    asyncio.run(run())
    return kept[0]


@pytest.mark.parametrize("streaming", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(("backend", "case"), CASES, ids=[f"{backend.name}-{case}" for backend, case in CASES])
def test_every_backend_does_the_everyday_in_every_format_it_obeys(
    backend: Backend, case: str, streaming: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in backend.environ.items():
        monkeypatch.setenv(name, value)
    with backend.serve() as server:
        home = agent_home(tmp_path)
        processor = processor_of(backend, server.url, tmp_path, call_format=case, streaming=streaming)
        listener = play(backend, server, home, processor)
    assert server.violations == []
    assert listener.of(Stopped) == []
    notices = [notice.text for notice in listener.of(Notice)]
    assert len(notices) <= backend.notices, notices
    if case == "auto":
        assert processor.format_name is backend.auto
    elif case == "native":
        assert processor.card.record(processor.format_name).obeyed, processor.card
    assert len(listener.of(RetryIn)) <= 1


@pytest.mark.parametrize("backend", [backend for backend in BACKENDS if backend.sees], ids=lambda backend: backend.name)
def test_a_model_that_sees_gets_an_image_on_every_wire(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in backend.environ.items():
        monkeypatch.setenv(name, value)
    path = picture(tmp_path / "cat.png")

    async def run() -> str:
        try:
            async with running(agent_home(tmp_path).kernel(processor, LIMITS)) as listener:
                await listener.say(HELLO)
                images = await listener.kernel.attach([str(path)])
                await listener.post(Event(EventKind.USER_MESSAGE, LOOK, images_payload(list(images))))
                return said_in(list(listener.bodies))
        finally:
            await processor.aclose()

    with backend.serve() as server:
        processor = processor_of(backend, server.url, tmp_path)
        assert SEEN in asyncio.run(run())
    assert server.violations == []
    assert server.requests[-1].pictures[0].startswith((b"\x89PNG", b"\xff\xd8"))


def test_the_help_page_says_what_is_run_here() -> None:
    text = HELP.read_text(encoding="utf-8")
    assert filled(text, table()) == text, "cd tests && python -m support.backends"


ROUND = ("openai", "anthropic", "koboldcpp", "ollama", "bedrock")


def test_one_agent_goes_on_across_five_backends_in_mid_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each backend gets the history that the others made, keeps a fact of its own, and all facts are there."""
    backends = {backend.name: backend for backend in BACKENDS}
    home = agent_home(tmp_path)

    def keeps(name: str) -> Callable[[Request], Answer]:
        call = Call("core_memory_append", {"name": "human", "content": f"Met at {name}.", "request_heartbeat": True})

        def mind(request: Request) -> Answer:
            said = Call("send_message", {"message": f"Kept at {name}."})
            return Answer("I answer.", (said if request.results_since() else call,))

        return mind

    async def visit(listener: Listener, name: str, turn: int) -> None:
        backend = backends[name]
        for variable, value in backend.environ.items():
            monkeypatch.setenv(variable, value)
        with backend.serve() as server:
            server.mind = keeps(f"{name}, turn {turn}")
            processor = processor_of(backend, server.url, tmp_path)
            listener.kernel.machine.processors = ProcessorLine(processor)
            try:
                turn_bodies = await listener.say(f"Do you remember, {name}?")
            finally:
                await processor.aclose()
        assert f"Kept at {name}, turn {turn}." in said_in(list(turn_bodies))
        assert server.violations == []

    async def run() -> None:
        processor = processor_of(backends["openai"], "http://127.0.0.1:9/v1", tmp_path)
        async with running(home.kernel(processor, LIMITS)) as listener:
            for turn in (1, 2):
                for name in ROUND:
                    await visit(listener, name, turn)
            assert listener.of(Stopped) == []

    asyncio.run(run())
    kept = human_block(home).splitlines()
    assert [line for line in kept if line] == [f"Met at {name}, turn {turn}." for turn in (1, 2) for name in ROUND]
