"""The index catches up while the agent waits; an embedder that fails only makes it wait longer."""

import asyncio
import logging
from pathlib import Path

import pytest
from support.agent_home import agent_home
from support.listening import running

from memos.errors import EmbeddingProblem, StorageProblem
from memos.kernel import housekeeping
from memos.kernel.housekeeping import index_when_idle
from memos.llm.scripted import ScriptedProcessor


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "SETTLING_S", 0.01)
    monkeypatch.setattr(housekeeping, "PAUSE_S", 0.05)


def steps_of(folder: Path, outcomes: list[int | Exception], ends: bool = False) -> list[int | Exception]:
    """Let the steps come out so, and return those that were left when it waited or ended."""

    def step() -> int:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def play() -> None:
        kernel = agent_home(folder).kernel(ScriptedProcessor([]))
        async with running(kernel):
            task = asyncio.create_task(index_when_idle(kernel, step))
            await asyncio.wait([task], timeout=0.6)
            assert task.done() is ends
            task.cancel()

    asyncio.run(play())
    return outcomes


def test_an_embedder_that_fails_is_tried_again_after_a_pause(tmp_path: Path) -> None:
    problem = EmbeddingProblem("Nothing answers there.")
    assert steps_of(tmp_path, [3, problem, problem, 5, 0]) == []


def test_any_other_failure_is_logged_and_ends_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert steps_of(tmp_path, [StorageProblem("The disk is full."), 1], ends=True) == [1]
    assert "indexing stopped" in caplog.text
