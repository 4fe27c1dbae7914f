"""Every model call leaves its row in the ledger, in one transaction with its reply; money bounds a turn."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.agent_home import AgentHome, agent_home
from support.command_line import clean_environ
from support.listening import Listener, append, call, running, speak
from support.metered import COST_USD, USAGE, MeteredProcessor

from memos.kernel.control import Limits
from memos.kernel.processor_line import ProcessorLine
from memos.llm.processor import model_call
from memos.llm.scripted import ScriptedProcessor
from memos.messages import Event, EventKind, SpeechDelta, StepStarted, Stopped, TokenUsage, TurnDone


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    return agent_home(tmp_path)


def talk(
    home: AgentHome, processor: ScriptedProcessor, scene: Callable[[Listener], Awaitable[None]], **limits: Any
) -> None:
    async def play() -> None:
        async with running(home.kernel(processor, Limits(**limits))) as listener:
            await scene(listener)

    asyncio.run(play())


def rows(home: AgentHome) -> list[tuple[Any, ...]]:
    names = "turn_id, model, purpose, prompt_tokens, reply_tokens, cached_tokens, cost_usd"
    return [tuple(row) for row in home.database.query(f"SELECT {names} FROM model_calls ORDER BY seq")]


def replies(home: AgentHome) -> list[str]:
    found = home.database.query("SELECT turn_id FROM messages WHERE role = 'assistant' ORDER BY seq")
    return [row["turn_id"] for row in found]


async def say_x(listener: Listener) -> None:
    await listener.say("x")


def test_each_step_of_a_turn_has_its_row(home: AgentHome) -> None:
    talk(home, MeteredProcessor([append("a"), append("b"), speak("Done.")]), say_x)
    assert [row[0] for row in rows(home)] == replies(home) and len(rows(home)) == 3
    assert {row[1:] for row in rows(home)} == {("metered/model", "chat", 1_000, 20, 600, COST_USD)}


def test_what_a_server_reports_is_stored_as_it_is_however_odd(home: AgentHome) -> None:
    talk(home, MeteredProcessor([speak("Hi.")], TokenUsage(100, 100, 200), priced=False), say_x)
    assert rows(home)[0][3:] == (100, 100, 200, None)


def test_a_model_that_reports_nothing_has_a_row_that_says_so(home: AgentHome) -> None:
    talk(home, ScriptedProcessor([speak("Hi.")]), say_x)
    assert rows(home)[0][3:] == (None, None, None, 0.0)


def test_a_reply_that_broke_off_has_its_row(home: AgentHome) -> None:
    cut = call("send_message", {"message": "This is never finished."}, finish="cut")
    talk(home, MeteredProcessor([cut]), say_x)
    assert [row[0] for row in rows(home)] == replies(home) and rows(home)[0][3:] == (None, None, None, None)


def test_a_long_reply_has_one_row_however_often_its_draft_is_refreshed(home: AgentHome) -> None:
    talk(home, MeteredProcessor([speak("Slowly, slowly. " * 12, delay_s=0.05)]), say_x)
    assert [row[0] for row in rows(home)] == replies(home) and rows(home)[0][3:] == (1_000, 20, 600, COST_USD)


@pytest.mark.parametrize("shown", [0, 3, 15])
def test_a_cancelled_reply_has_its_row_also_where_nothing_was_shown(home: AgentHome, shown: int) -> None:
    async def scene(listener: Listener) -> None:
        listener.kernel.post(Event(EventKind.USER_MESSAGE, "x"))
        await listener.until(lambda: bool(listener.of(StepStarted)))
        if shown:
            await listener.until(lambda: len(listener.of(SpeechDelta)) >= shown)
        else:
            await asyncio.sleep(0.1)
        listener.kernel.cancel()
        await listener.until(lambda: bool(listener.of(TurnDone)))

    talk(home, MeteredProcessor([speak("A story. " * 50, delay_s=0.06 if shown else 5.0)]), scene)
    assert len(rows(home)) == 1 and rows(home)[0][1:] == ("metered/model", "chat", None, None, None, None)
    assert len(replies(home)) == bool(shown)


@pytest.mark.parametrize("error", ["refused", "unreachable"])
def test_a_request_that_was_refused_has_no_row(home: AgentHome, error: str) -> None:
    refused = call("send_message", {"message": "x"}, error=error)
    talk(home, MeteredProcessor([refused]), say_x)
    assert rows(home) == [] == replies(home)


def test_the_reply_and_its_row_are_stored_together_or_not_at_all(home: AgentHome) -> None:
    with home.database.transaction() as connection:
        connection.execute(
            "CREATE TRIGGER refused BEFORE INSERT ON model_calls BEGIN SELECT RAISE(ABORT, 'no row'); END"
        )

    async def scene(listener: Listener) -> None:
        await listener.say("x")
        assert "no row" in listener.of(Stopped)[0].reason
        assert replies(home) == []

    talk(home, MeteredProcessor([append("a", heartbeat=False)]), scene)
    assert home.memory.blocks()[1].value == "", "a call ran although its reply was not on disk"


def test_another_purpose_is_recorded_by_one_line(home: AgentHome) -> None:
    home.ledger.record(home.agent.id, "turn", model_call(MeteredProcessor([]), "summarise", USAGE))
    assert rows(home) == [("turn", "metered/model", "summarise", 1_000, 20, 600, COST_USD)]


def test_a_switch_of_models_within_a_reply_leaves_the_row_to_the_model_that_wrote_it(home: AgentHome) -> None:
    async def scene(listener: Listener) -> None:
        listener.kernel.post(Event(EventKind.USER_MESSAGE, "x"))
        await listener.until(lambda: bool(listener.of(SpeechDelta)))
        listener.kernel.machine.processors = ProcessorLine(ScriptedProcessor([]))
        await listener.until(lambda: bool(listener.of(TurnDone)))

    talk(home, MeteredProcessor([speak("A few words more.", delay_s=0.05)]), scene)
    assert rows(home)[0][1:] == ("metered/model", "chat", 1_000, 20, 600, COST_USD)


# --- bounds ---------------------------------------------------------------------------------------------------


def test_the_money_of_a_turn_has_a_bound(home: AgentHome) -> None:
    async def scene(listener: Listener) -> None:
        await listener.say("x")
        (stopped,) = listener.of(Stopped)
        assert "0.75 USD" in stopped.reason and "/continue" in stopped.reason and "limits.turn_usd" in stopped.reason
        assert (stopped.code, stopped.exit_code) == ("limit", 8) and len(listener.of(StepStarted)) == 3

    talk(home, MeteredProcessor([append(f"line {n}") for n in range(9)]), scene, turn_usd=0.6)


def test_money_without_a_bound_or_without_a_price_stops_nothing(home: AgentHome) -> None:
    async def scene(listener: Listener) -> None:
        await listener.say("x")
        assert listener.of(Stopped) == []

    talk(home, MeteredProcessor([append("a"), append("b"), speak("Done.")]), scene)
    talk(home, MeteredProcessor([append("c"), append("d"), speak("Done.")], priced=False), scene, turn_usd=0.01)


def test_the_tokens_of_a_turn_have_a_bound(home: AgentHome) -> None:
    async def scene(listener: Listener) -> None:
        await listener.say("x")
        assert "2,040 tokens" in listener.of(Stopped)[0].reason and len(listener.of(StepStarted)) == 2

    talk(home, MeteredProcessor([append(f"line {n}") for n in range(9)]), scene, turn_tokens=2_000)


# --- a crash --------------------------------------------------------------------------------------------------

SPEAKER = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from support.agent_home import agent_home
    from support.listening import append, running, speak
    from support.metered import MeteredProcessor
    from memos.messages import Event, EventKind

    async def main():
        home = agent_home(Path(sys.argv[1]))
        script = [append("a"), speak("Slowly, very slowly. " * 200, delay_s=0.02)]
        async with running(home.kernel(MeteredProcessor(script))) as listener:
            await listener.say("x")

    asyncio.run(main())
    """
)


def test_a_kill_within_a_reply_leaves_no_row_without_its_reply_and_none_twice(tmp_path: Path) -> None:
    agent_home(tmp_path).database.close()
    path = os.pathsep.join([clean_environ(tmp_path)["PYTHONPATH"], str(Path(__file__).parents[1])])
    child = subprocess.Popen(
        [sys.executable, "-c", SPEAKER, str(tmp_path)], env=clean_environ(tmp_path, PYTHONPATH=path)
    )
    try:
        _wait_for_a_draft(tmp_path / "memos.db", child)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(20)
    home = agent_home(tmp_path)

    async def scene(listener: Listener) -> None:
        await listener.say("Go on.")

    talk(home, MeteredProcessor([speak("As I said.")]), scene)
    assert [row[0] for row in rows(home)] == replies(home) and len(replies(home)) == 3
    assert [row[3] for row in rows(home)] == [1_000, None, 1_000], "what was killed is there, its tokens unknown"


def _wait_for_a_draft(path: Path, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline and child.poll() is None:
        with sqlite3.connect(path) as connection:
            if connection.execute("SELECT count(*) FROM messages WHERE state = 'provisional'").fetchone()[0]:
                return
        time.sleep(0.05)
    raise AssertionError("no draft was stored")
