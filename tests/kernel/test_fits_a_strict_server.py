"""A long talk with a server that counts in its own way and refuses what is too long: it never has to.

`MEMOS_TEST_FULL=1` takes the length that the figures of the project are measured at: 500 messages.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.agent_home import AgentHome, agent_home
from support.fake_openai import FakeOpenAI
from support.listening import Listener, running
from support.strict_server import Counter, StrictServer, by_characters, by_words, mark, paragraph

from memos.config.places import Places
from memos.config.portraits import load_persona
from memos.kernel.main_context import Paging
from memos.llm import offline_tokenizer
from memos.llm.httpx_road import HttpxRoad
from memos.llm.remote_processor import RemoteProcessor
from memos.messages import Block, Evicted, Notice, Stopped, TurnDone

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer", "ignore:Accessing the 'model_")

FULL = bool(os.environ.get("MEMOS_TEST_FULL"))
MESSAGES = 500 if FULL else 60
WINDOWS = (8_192, 4_096, 2_048)
COUNTERS: dict[str, Counter] = {"words": by_words, "characters": by_characters}


@dataclass
class Talk:
    """What came of a talk."""

    home: AgentHome
    listener: Listener
    script: StrictServer
    server: FakeOpenAI

    def figures(self) -> str:
        """Return what is to be reported."""
        evicted = sum(flush.messages for flush in self.listener.of(Evicted))
        return (
            f"{len(self.server.requests)} requests, {len(self.script.refused)} refused,"
            f" {len(self.listener.of(Stopped))} errors, largest {self.script.largest} of {self.script.window_tokens},"
            f" {len(self.listener.of(Evicted))} flushes, {evicted} messages evicted"
        )


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


def blocks(window_tokens: int) -> tuple[Block, Block]:
    """Return the blocks of a new agent with the default persona, which a tiny window has no room for."""
    persona = load_persona(Places.find({"MEMOS_HOME": "/nonexistent"}), "sam").text
    if window_tokens < 4_096:
        persona = "I am Sam, a companion who lives in a terminal and has a long memory."
    return Block("persona", persona, 2000), Block("human", "Ana keeps bees.", 2000)


def talk(folder: Path, server: FakeOpenAI, script: StrictServer, said: list[str], reserve: int | None = None) -> Talk:
    """Say all of it, one message after the answer to the other, as boot wires a server with a known window."""
    home = agent_home(folder, blocks(script.window_tokens))
    server.script = script
    server.requests.clear()
    server.violations.clear()

    async def play() -> Listener:
        processor = RemoteProcessor(
            "openai/fake-model",
            HttpxRoad("fake-model", server.url),
            api_base=server.url,
            window_tokens=script.window_tokens,
            params={"max_tokens": reserve} if reserve else {},
        )
        await processor.warm_up()
        try:
            async with running(home.kernel(processor, paging=Paging(reply_tokens=reserve or 0))) as listener:
                for script.number, words in enumerate(said, 1):
                    await listener.say(words)
                return listener
        finally:
            await processor.aclose()

    return Talk(home, asyncio.run(play()), script, server)


@pytest.mark.timeout(1800 if FULL else 60)
@pytest.mark.parametrize("counter", COUNTERS.values(), ids=COUNTERS)
@pytest.mark.parametrize("window", WINDOWS)
def test_no_prompt_is_refused_and_every_message_is_found(
    tmp_path: Path, server: FakeOpenAI, window: int, counter: Counter
) -> None:
    said = [paragraph("m", number, 150) for number in range(1, MESSAGES + 1)]
    # The reply has its reserve at the server, too: what is asked for is not there for the prompt.
    done = talk(tmp_path, server, StrictServer(window, counter), said, reserve=window // 8)
    home = done.home
    home.begin_turn()
    stored = {mark(k, number): paragraph(k, number, 150) for k in "mr" for number in range(1, MESSAGES + 1)}
    lost = [word for word, text in stored.items() if text[:200] not in home.recall.conversation_search(word)]
    notices = {notice.text for notice in done.listener.of(Notice)}
    print(
        f"\n{window} {counter.__name__}: {done.figures()}, {len(stored) - len(lost)} of {len(stored)} found; {notices}"
    )
    assert (done.script.refused, done.listener.of(Stopped), server.violations, lost) == ([], [], [], [])
    assert len(done.listener.of(TurnDone)) == MESSAGES
    assert len(done.listener.of(Evicted)) >= 2
    assert done.script.largest > window * 0.7, "the window is used"


@pytest.mark.parametrize("window", WINDOWS)
def test_the_very_first_prompt_is_not_refused_however_long(tmp_path: Path, server: FakeOpenAI, window: int) -> None:
    """Nothing is known of the counter yet, and the message alone would fill the window twice."""
    said = [paragraph("m", 1, 2 * window), paragraph("m", 2, 150), paragraph("m", 3, 2 * window)]
    done = talk(tmp_path, server, StrictServer(window, by_characters), said, reserve=window // 8)
    assert (done.script.refused, done.listener.of(Stopped)) == ([], [])
    assert any("sees beginning and end" in notice.text for notice in done.listener.of(Notice))


def test_a_full_queue_is_not_refused_by_a_model_that_was_never_asked_before(tmp_path: Path, server: FakeOpenAI) -> None:
    said = [paragraph("m", number, 150) for number in range(1, 20)]
    talk(tmp_path, server, StrictServer(8_192, by_words), said).home.database.close()
    done = talk(tmp_path, server, StrictServer(8_192, by_characters), ["And who are you?"], reserve=1_024)
    assert (done.script.refused, done.listener.of(Stopped)) == ([], [])


def test_the_counter_by_characters_counts_a_third_more_than_ours(tmp_path: Path, server: FakeOpenAI) -> None:
    talk(tmp_path, server, StrictServer(8_192, by_characters), [paragraph("m", 1, 150), paragraph("m", 2, 150)])
    body = server.requests[-1].body
    ours = sum(map(offline_tokenizer.load().count, [str(body["messages"]), str(body["tools"])]))
    assert by_characters(body) > 1.3 * ours
