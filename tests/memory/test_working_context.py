"""Blocks, and what an edit may and may not do."""

from pathlib import Path

import pytest
from support.agent_home import AgentHome, agent_home

from memos.errors import FunctionFailed
from memos.messages import Block, MemoryEdited


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    blocks = [
        Block("persona", "I am Sam.", 100),
        Block("human", "The user's name is Ana.\nAna keeps bees.", 60),
        Block("rules", "Be kind.", 100, read_only=True),
    ]
    return agent_home(tmp_path, blocks)


def value(home: AgentHome, label: str) -> str:
    return next(block.value for block in home.memory.blocks() if block.label == label)


def test_an_append_is_a_line_and_a_revision_and_is_shown(home: AgentHome) -> None:
    text = home.memory.core_memory_append("persona", "I like maps.")
    assert value(home, "persona") == "I am Sam.\nI like maps."
    assert "25 of 100" not in text and "22 of 100" in text
    assert home.syscalls.take_outputs(keep=True) == [
        MemoryEdited("persona", "I am Sam.", "I am Sam.\nI like maps.", 100)
    ]
    revision = home.memory.last_edits(1)[0]
    assert (revision.before, revision.after, revision.author) == ("I am Sam.", "I am Sam.\nI like maps.", "agent")


def test_an_append_that_does_not_fit_changes_nothing_and_says_by_how_much(home: AgentHome) -> None:
    before = value(home, "human")
    with pytest.raises(FunctionFailed, match="more than its limit of 60; it is unchanged"):
        home.memory.core_memory_append("human", "She was born in a very small village by the sea.")
    assert value(home, "human") == before
    assert home.memory.last_edits(5) == []
    assert home.syscalls.take_outputs(keep=True) == []


def test_a_replacement_of_absent_words_names_the_nearest_line(home: AgentHome) -> None:
    with pytest.raises(FunctionFailed, match='The nearest line is: "Ana keeps bees'):
        home.memory.core_memory_replace("human", "Ana has bees.", "Ana keeps goats.")
    assert "goats" not in value(home, "human")


def test_a_replacement_of_words_that_stand_twice_asks_for_more_of_the_line(home: AgentHome) -> None:
    with pytest.raises(FunctionFailed, match="stand 2 times"):
        home.memory.core_memory_replace("human", "Ana", "Eva")


def test_a_replacement_by_nothing_deletes(home: AgentHome) -> None:
    home.memory.core_memory_replace("human", "Ana keeps bees.", "")
    assert value(home, "human") == "The user's name is Ana."


def test_an_empty_old_text_is_refused_rather_than_repeated_everywhere(home: AgentHome) -> None:
    with pytest.raises(FunctionFailed, match="do not stand"):
        home.memory.core_memory_replace("human", "", "x")


def test_a_block_that_is_read_only_or_unknown_is_named(home: AgentHome) -> None:
    with pytest.raises(FunctionFailed, match="read-only"):
        home.memory.core_memory_append("rules", "Be rude.")
    with pytest.raises(FunctionFailed, match="there are: persona, human, rules"):
        home.memory.core_memory_append("user", "x")


def test_a_label_in_another_case_is_understood(home: AgentHome) -> None:
    home.memory.core_memory_append(" Persona ", "I like maps.")
    assert "maps" in value(home, "persona")


def test_the_persona_can_grow_by_the_agents_own_edits(home: AgentHome) -> None:
    home.memory.core_memory_replace("persona", "I am Sam.", "I am Sam, and I have learned to be brief.")
    assert value(home, "persona") == "I am Sam, and I have learned to be brief."
