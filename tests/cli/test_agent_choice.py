"""What a new agent is made with: its persona and human, and what their files ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.agent_home import agent_home

from memos.cli.agent_choice import (
    FUNCTION_CLASSES,
    Machinery,
    Wish,
    create_agent,
    settings_of_portraits,
)
from memos.config import Places, Settings
from memos.errors import BadInput
from memos.functions.process_functions import ProcessFunctions
from memos.functions.table import FunctionTable, function_names
from memos.messages import Block
from memos.storage.agents import Agent
from memos.storage.database import Database

SCRIPTED = {"model": "scripted:x"}


@pytest.fixture
def machinery(tmp_path: Path) -> Iterator[Machinery]:
    places = Places.find({"MEMOS_HOME": str(tmp_path / "home"), "MEMOS_CACHE": str(tmp_path / "cache")})
    database = Database.open(places.database)
    yield Machinery(places, {}, database)
    database.close()


def write(machinery: Machinery, kind: str, front: str, text: str = "I am.", name: str = "mine") -> None:
    folder = machinery.places.portraits(kind)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(f"---\n{front}\n---\n{text}")


def made(machinery: Machinery, flags: Mapping[str, object] = SCRIPTED, human: str = "basic") -> Agent:
    wish = Wish("ana", new=True, flags={"persona": "mine", "human": human, **flags})
    return create_agent(machinery, wish, machinery.settings(wish.flags))


def blocks(machinery: Machinery, agent: Agent) -> list[Block]:
    rows = machinery.database.query("SELECT * FROM blocks WHERE agent_id = ? ORDER BY rowid", (agent.id,))
    return [Block(r["label"], r["value"], r["limit_chars"], r["description"], bool(r["read_only"])) for r in rows]


def settled(machinery: Machinery, agent: Agent, **flags: object) -> Settings:
    return machinery.settings(flags, agent)


def test_the_functions_are_known_before_there_is_an_agent(tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    table = FunctionTable([ProcessFunctions(home.syscalls), home.memory, home.recall, home.archival])
    assert function_names(*FUNCTION_CLASSES) == table.names()


def test_the_limits_of_the_files_are_kept_the_tighter_of_two(machinery: Machinery) -> None:
    write(machinery, "personas", "limits: {steps: 9, turn_tokens: 0, turn_seconds: 60}")
    write(machinery, "humans", "limits: {steps: 5, turn_tokens: 1000}")
    agent = made(machinery, {**SCRIPTED, "limits.identical_calls": 7}, human="mine")
    assert agent.settings == {
        "model": "scripted:x",
        "limits.steps": 5,
        "limits.turn_tokens": 1000,
        "limits.turn_seconds": 60.0,
        "limits.identical_calls": 7,
    }
    assert settled(machinery, agent).config.limits.steps == 5
    assert settled(machinery, agent, **{"limits.steps": 8}).config.limits.steps == 8


def test_a_flag_stands_above_a_limit_of_the_file(machinery: Machinery) -> None:
    write(machinery, "personas", "limits: {steps: 9, block_chars: 500}")
    agent = made(machinery, {**SCRIPTED, "limits.steps": 3, "memory.block_limit_chars": 700})
    assert agent.settings["limits.steps"] == 3
    assert [block.limit_chars for block in blocks(machinery, agent)] == [700, 700]


def test_sampling_parameters_of_the_files_are_kept_the_personas_first(machinery: Machinery) -> None:
    write(machinery, "personas", "params: {temperature: 0.2, seed: 7}")
    write(machinery, "humans", "params: {temperature: 0.9, top_p: 0.5}")
    agent = made(machinery, {**SCRIPTED, "seed": 8}, human="mine")
    assert agent.settings == {"model": "scripted:x", "temperature": 0.2, "top_p": 0.5, "seed": 8}
    assert settled(machinery, agent).config.top_p == 0.5


def test_fallbacks_of_a_persona_count_only_where_its_model_does(machinery: Machinery) -> None:
    write(machinery, "personas", "model: scripted:y\nfallback_models: [scripted:z]")
    assert "fallback_models" not in made(machinery).settings
    wish = Wish("eve", new=True, flags={"persona": "mine"})
    agent = create_agent(machinery, wish, settings_of_portraits(machinery, wish, machinery.settings(wish.flags)))
    assert (agent.settings["model"], agent.settings["fallback_models"]) == ("scripted:y", ["scripted:z"])


def test_later_edits_of_the_file_do_not_change_the_agent(machinery: Machinery) -> None:
    write(machinery, "personas", "functions: [archival_*]\nlimits: {steps: 9}\nblocks: [{label: a, value: b}]")
    agent = made(machinery)
    before = blocks(machinery, agent)
    write(machinery, "personas", "limits: {steps: 4}")
    again = machinery.agents.get("ana")
    assert again.settings == agent.settings and blocks(machinery, again) == before
    assert settled(machinery, again).config.limits.steps == 9


def test_functions_are_kept_by_name_and_send_message_always_stays(machinery: Machinery) -> None:
    write(machinery, "personas", "functions: [archival_*, core_memory_append]")
    assert made(machinery).settings["functions"] == [
        "send_message",
        "core_memory_append",
        "archival_memory_insert",
        "archival_memory_search",
    ]


def test_only_functions_that_both_files_allow_are_kept(machinery: Machinery) -> None:
    write(machinery, "personas", "functions: ['*_append', archival_memory_insert]")
    write(machinery, "humans", "functions: [archival_*]")
    assert made(machinery, human="mine").settings["functions"] == ["send_message", "archival_memory_insert"]


def test_an_unknown_function_is_an_error_and_leaves_no_agent(machinery: Machinery) -> None:
    write(machinery, "personas", "functions: [archival_memory_serach]")
    with pytest.raises(BadInput) as caught:
        made(machinery)
    assert "mine.md" in caught.value.what and caught.value.next_step == "archival_memory_search may be meant"
    assert machinery.agents.all() == []


def test_blocks_are_made_in_order_with_their_limits(machinery: Machinery) -> None:
    write(
        machinery,
        "personas",
        "read_only: true\nlimits: {block_chars: 300}\n"
        "blocks: [{label: garden, description: what grows, limit_chars: 50}]",
    )
    write(machinery, "humans", "blocks: [{label: rules, value: Be kind., read_only: true}]", "Name: Ana")
    made_blocks = blocks(machinery, made(machinery, human="mine"))
    assert [(b.label, b.value, b.limit_chars, b.read_only) for b in made_blocks] == [
        ("persona", "I am.", 300, True),
        ("human", "Name: Ana", 2000, False),
        ("garden", "", 50, False),
        ("rules", "Be kind.", 2000, True),
    ]
    assert made_blocks[2].description == "what grows"


def test_blocks_without_a_limit_of_their_own_share_a_fifth_of_a_known_window(machinery: Machinery) -> None:
    write(machinery, "personas", "blocks: [{label: a}, {label: b, limit_chars: 900}]")
    agent = made(machinery, {**SCRIPTED, "window_tokens": 1500})
    assert [block.limit_chars for block in blocks(machinery, agent)] == [400, 400, 400, 900]


def test_a_label_in_both_files_is_refused(machinery: Machinery) -> None:
    write(machinery, "personas", "blocks: [{label: garden}]")
    write(machinery, "humans", "blocks: [{label: Garden}]")
    with pytest.raises(BadInput, match="Garden stands in"):
        made(machinery, human="mine")


def test_a_text_too_long_for_its_block_is_refused_with_its_file(machinery: Machinery) -> None:
    write(machinery, "personas", "blocks: [{label: a, value: " + "x" * 2001 + "}]")
    with pytest.raises(BadInput, match=r"mine\.md: the a has 2001 characters"):
        made(machinery)


def test_the_model_of_a_persona_is_taken_where_nobody_named_one_and_kept(machinery: Machinery) -> None:
    write(machinery, "personas", "model: scripted:wish")
    wish = Wish("ana", new=True, flags={"persona": "mine"})
    settings = settings_of_portraits(machinery, wish, machinery.settings(wish.flags))
    assert settings.config.model == "scripted:wish"
    agent = create_agent(machinery, wish, settings)
    assert agent.model == agent.settings["model"] == "scripted:wish"


@pytest.mark.parametrize("model", ["", "scripted:human"])
def test_the_model_of_a_human_comes_after_that_of_the_persona(machinery: Machinery, model: str) -> None:
    write(machinery, "personas", f"model: {model}")
    write(machinery, "humans", "model: scripted:mine")
    wish = Wish("ana", new=True, flags={"persona": "mine", "human": "mine"})
    settings = settings_of_portraits(machinery, wish, machinery.settings(wish.flags))
    assert settings.config.model == (model or "scripted:mine")
