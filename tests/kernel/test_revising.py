"""`/rethink` and `/rewrite`: what the agent thought or said last reads otherwise, and the old rows are kept."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from support.agent_home import AgentHome, agent_home
from support.listening import append, running, speak

from memos.errors import BadInput
from memos.kernel.operator import Operator
from memos.llm.chat_messages import check_pairing
from memos.llm.scripted import ScriptedCall, ScriptedProcessor, ScriptedReply
from memos.memory.message_rows import spoken_words
from memos.memory.prompt_records import PromptRecords
from memos.messages import Message

SAID = ScriptedReply("Be brief.", calls=(ScriptedCall("send_message", {"message": "Hello Ana."}),))


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    return agent_home(tmp_path)


def stored(home: AgentHome) -> list[Message]:
    queue = home.recall.queue(0)
    check_pairing(queue)
    return queue


def revise(home: AgentHome, script: list[ScriptedReply], *how: tuple[str, str]) -> list[Message]:
    """Let the agent answer once, then revise it; return the queue as it stands in memory, which is that on disk."""

    async def play() -> list[Message]:
        kernel = home.kernel(ScriptedProcessor(script))
        async with running(kernel) as listener:
            await listener.say("I am Ana.")
            operator: Operator = home.operator(kernel)
            for name, text in how:
                await getattr(operator, name)(text)
            return list(operator.queue)

    queue = asyncio.run(play())
    assert queue == stored(home)
    return queue


def test_the_last_message_reads_otherwise_and_its_result_follows_it(home: AgentHome) -> None:
    queue = revise(home, [SAID], ("rewrite", "Good evening, Ana."))
    assert [row.role for row in queue] == ["user", "assistant", "tool"]
    assert spoken_words(queue[1]) == "Good evening, Ana." and queue[1].content == "Be brief."


def test_the_old_rows_stay_superseded_by_the_new_ones_and_are_found_no_more(home: AgentHome) -> None:
    queue = revise(home, [SAID], ("rewrite", "Good evening."))
    rows = home.database.query("SELECT id, said, superseded_by FROM messages WHERE superseded_by IS NOT NULL")
    assert [row["said"] for row in rows] == ["Hello Ana.", ""]
    assert [row["superseded_by"] for row in rows] == [row.id for row in queue[1:]]
    assert home.recall.counts()[0] == 2


def test_the_last_thought_reads_otherwise(home: AgentHome) -> None:
    queue = revise(home, [SAID], ("rethink", "She is new here."))
    assert queue[1].content == "She is new here." and spoken_words(queue[1]) == "Hello Ana."


def test_a_step_before_the_last_is_revised_with_all_that_came_after_it(home: AgentHome) -> None:
    both = ScriptedReply(calls=(*SAID.calls, *append("Name: Ana").calls))
    queue = revise(home, [both, append("Likes tea.", heartbeat=False)], ("rewrite", "Good day."))
    assert [row.role for row in queue] == ["user", "assistant", "tool", "tool", "user", "assistant", "tool"]
    assert spoken_words(queue[1]) == "Good day." and len(queue[1].calls) == 2


def test_words_without_a_call_are_revised_too(home: AgentHome) -> None:
    queue = revise(home, [ScriptedReply(text="Hello.")], ("rewrite", "Good day."))
    assert spoken_words(queue[1]) == queue[1].content == "Good day."


def test_the_grounds_of_a_revised_reply_are_those_of_the_old_one(home: AgentHome) -> None:
    revise(home, [SAID], ("rewrite", "Good day."), ("rethink", "Hm."))
    reply, grounds = PromptRecords(home.database, home.agent.id).last()
    assert reply and reply.text == "Good day."
    assert grounds and [message.text for message in grounds.queue] == ["I am Ana."]


def test_where_nothing_was_said_nothing_is_revised(home: AgentHome) -> None:
    async def play() -> None:
        kernel = home.kernel(ScriptedProcessor([]))
        async with running(kernel):
            with pytest.raises(BadInput, match="There is no message of the agent in the queue"):
                await home.operator(kernel).rewrite("x")

    asyncio.run(play())


def test_a_long_message_that_stood_shortened_is_whole_in_its_copy(home: AgentHome) -> None:
    async def play() -> None:
        kernel = home.kernel(ScriptedProcessor([speak("Long."), speak("Yes.")]))
        async with running(kernel) as listener:
            await listener.say("x" * 500)
            manager = kernel.machine.queue_manager
            await manager.shorten(replace(manager.queue[0], content="x…x"))
            await manager.revise(0, lambda message: message)
            assert manager.queue[0].content == "x" * 500

    asyncio.run(play())
