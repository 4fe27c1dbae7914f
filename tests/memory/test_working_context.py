"""Blocks, and what an edit may and may not do."""

import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.agent_home import AgentHome, agent_home

from memos.errors import BadInput, FunctionFailed
from memos.memory.working_context import without_edit
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
        MemoryEdited("persona", "I am Sam.", "I am Sam.\nI like maps.", 100, 1)
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


# --- edits by the user ----------------------------------------------------------------------------------------


def test_the_user_edits_any_block_also_one_that_is_read_only(home: AgentHome) -> None:
    revision = home.memory.edit("Rules", "Be kind and brief.\n")
    assert value(home, "rules") == "Be kind and brief."
    assert revision == home.memory.last_edits(1)[0]
    assert (revision.before, revision.after, revision.author) == ("Be kind.", "Be kind and brief.", "user")
    assert home.syscalls.take_outputs(keep=True) == []


def test_an_edit_of_the_user_that_does_not_fit_changes_nothing_and_says_by_how_much(home: AgentHome) -> None:
    with pytest.raises(BadInput, match="shorten it by 40"):
        home.memory.edit("human", "x" * 100)
    with pytest.raises(BadInput, match="there are: persona, human, rules"):
        home.memory.edit("user", "x")
    assert home.memory.last_edits(5) == []


def test_an_edit_that_changes_nothing_is_no_revision(home: AgentHome) -> None:
    assert home.memory.edit("rules", " Be kind. ") is None
    assert home.memory.last_edits(5) == []


# --- taking back ----------------------------------------------------------------------------------------------


def test_all_edits_of_a_turn_are_taken_back_newest_first(home: AgentHome) -> None:
    home.memory.core_memory_append("persona", "I like maps.")
    turn = home.begin_turn()
    home.memory.core_memory_append("persona", "I like tea.")
    home.memory.core_memory_replace("human", "Ana keeps bees.", "")
    home.memory.core_memory_replace("persona", "tea", "coffee")
    assert home.memory.changed_since(turn.id) == []
    made = home.memory.take_back(turn.id)
    assert [(revision.label, revision.author) for revision in made] == [
        ("persona", "user"),
        ("human", "user"),
        ("persona", "user"),
    ]
    assert value(home, "persona") == "I am Sam.\nI like maps."
    assert value(home, "human") == "The user's name is Ana.\nAna keeps bees."
    assert home.memory.last_edits(3) == made[::-1]


def test_a_block_that_was_changed_since_is_named_and_left(home: AgentHome) -> None:
    turn = home.begin_turn()
    home.memory.core_memory_append("persona", "I like maps.")
    home.memory.core_memory_append("human", "She sails.")
    home.memory.edit("persona", "I am Sam.\nI like globes.")
    assert home.memory.changed_since(turn.id) == ["persona"]
    assert [revision.label for revision in home.memory.take_back(turn.id)] == ["human"]
    assert value(home, "persona") == "I am Sam.\nI like globes."


def test_what_the_turn_did_before_an_edit_of_the_user_stays(home: AgentHome) -> None:
    turn = home.begin_turn()
    home.memory.core_memory_append("persona", "I like maps.")
    home.memory.edit("persona", "I am Sam. I like globes.")
    home.memory.core_memory_append("persona", "I like tea.")
    assert home.memory.changed_since(turn.id) == ["persona"]
    assert len(home.memory.take_back(turn.id)) == 1
    assert value(home, "persona") == "I am Sam. I like globes."


def test_a_taking_back_can_itself_be_taken_back(home: AgentHome) -> None:
    turn = home.begin_turn()
    home.memory.core_memory_append("persona", "I like maps.")
    (undone,) = home.memory.take_back(turn.id)
    assert home.memory.take_back("no such turn") == []
    home.memory.take_back(undone.turn_id)
    assert value(home, "persona") == "I am Sam.\nI like maps."


def test_a_taking_back_that_fails_half_way_leaves_everything(home: AgentHome) -> None:
    turn = home.begin_turn()
    home.memory.core_memory_append("persona", "I like maps.")
    home.memory.core_memory_replace("human", "Ana keeps bees.", "")
    with home.database.transaction() as connection:
        connection.execute(
            "CREATE TRIGGER fails BEFORE INSERT ON revisions WHEN new.label = 'persona'"
            " BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    with pytest.raises(sqlite3.IntegrityError):
        home.memory.take_back(turn.id)
    assert value(home, "human") == "The user's name is Ana."
    assert len(home.memory.last_edits(9)) == 2


LABELS = st.sampled_from(["persona", "human", "rules"])
WORDS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=25)
STEPS = st.one_of(
    st.tuples(st.just("append"), LABELS, WORDS),
    st.tuples(st.just("replace"), LABELS, WORDS),
    st.tuples(st.just("edit"), LABELS, st.text(max_size=70)),
    st.tuples(st.just("take back"), st.integers(0, 5), st.just("")),
    st.just(("turn", "", "")),
)


@given(steps=st.lists(STEPS, max_size=25))
@settings(max_examples=40, deadline=None)
def test_whatever_is_edited_and_taken_back_the_revisions_tell_the_whole_story(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str]]
) -> None:
    home = agent_home(tmp_path_factory.mktemp("home"), BLOCKS_OF_A_STORY)
    turns = [home.begin_turn().id]
    for what, where, words in steps:
        with suppress(FunctionFailed, BadInput):
            if what == "append":
                home.memory.core_memory_append(where, words)
            elif what == "replace":
                home.memory.core_memory_replace(where, value(home, where)[:7], words)
            elif what == "edit":
                home.memory.edit(where, words)
            elif what == "take back":
                home.memory.take_back(turns[int(where) % len(turns)])
            else:
                turns.append(home.begin_turn().id)
        check_story(home)
    home.database.close()


BLOCKS_OF_A_STORY = (
    Block("persona", "I am Sam.", 60),
    Block("human", "", 40),
    Block("rules", "Be kind.", 30, read_only=True),
)


def check_story(home: AgentHome) -> None:
    revisions = home.memory.last_edits(1000)[::-1]
    for first, now in zip(BLOCKS_OF_A_STORY, home.memory.blocks(), strict=True):
        story = [revision for revision in revisions if revision.label == first.label]
        texts = [first.value]
        for revision in story:
            assert revision.before == texts[-1]
            texts.append(revision.after)
        assert now.value == texts[-1]
        assert all(len(text) <= now.limit_chars for text in texts)
        if first.read_only:
            assert all(revision.author == "user" for revision in story)


def test_one_edit_is_taken_back_and_later_ones_in_other_lines_stay(home: AgentHome) -> None:
    home.memory.core_memory_append("persona", "I like maps.")
    home.memory.core_memory_append("persona", "I like tea.")
    first, second = (edit.seq for edit in reversed(home.memory.last_edits(2)))
    made = home.memory.undo(first)
    assert value(home, "persona") == "I am Sam.\nI like tea."
    assert (made.author, made.before.count("\n"), made.seq) == ("user", 2, second + 1)
    home.memory.undo(made.seq)  # and an undoing can be taken back
    assert value(home, "persona") == "I am Sam.\nI like maps.\nI like tea."


def test_without_a_number_the_newest_edit_is_taken_back(home: AgentHome) -> None:
    home.memory.edit("rules", "Be cruel.")
    home.memory.undo()
    assert value(home, "rules") == "Be kind."


def test_an_edit_whose_lines_were_changed_since_is_not_taken_back(home: AgentHome) -> None:
    home.memory.core_memory_append("persona", "I like maps.")
    home.memory.core_memory_replace("persona", "I like maps.", "I love maps.")
    with pytest.raises(BadInput, match=r"Edit 1 of persona .*: later edits changed the same lines\."):
        home.memory.undo(1)
    assert value(home, "persona") == "I am Sam.\nI love maps."
    with pytest.raises(BadInput, match=r"There is no edit 9\."):
        home.memory.undo(9)


def test_an_edit_of_another_agent_has_no_number_here(home: AgentHome, tmp_path: Path) -> None:
    home.memory.edit("persona", "I am Eve.")
    other = agent_home(tmp_path, name="other")
    with pytest.raises(BadInput, match="There is no edit 1"):
        other.memory.undo(1)


def test_taking_back_may_not_exceed_the_limit(home: AgentHome) -> None:
    home.memory.core_memory_replace("human", "\nAna keeps bees.", "")
    home.memory.edit("human", f"{'x' * 30}\nThe user's name is Ana.")
    with pytest.raises(BadInput, match="holds 60 characters, and this has 70; it is unchanged"):
        home.memory.undo(1)


LINES = st.lists(st.sampled_from(["a", "b", "c", "d", ""]), max_size=6).map("\n".join)


@given(LINES, LINES)
def test_without_later_edits_an_undo_restores_exactly_what_was(before: str, after: str) -> None:
    assert without_edit(before, after, after) == before


@given(LINES, LINES, st.lists(st.sampled_from(["x", "y"]), max_size=3).map("\n".join))
def test_what_was_added_later_survives_an_undo(before: str, after: str, added: str) -> None:
    undone = without_edit(before, after, f"{after}\n{added}")
    assert undone is None or undone.endswith(added)
