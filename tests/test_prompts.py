"""The words for the LLM, the personas and the humans: short enough, complete, and of our own making."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import get_args

import pytest
from support.agent_home import agent_home

from memos.functions.process_functions import ProcessFunctions
from memos.functions.table import FunctionTable
from memos.llm.chat_messages import chat_messages, tools
from memos.memory.message_rows import event_message
from memos.messages import Block, Counters, Event, EventKind, Prompt
from memos.prompts import Profile, system_instructions

CHECKOUT = Path(__file__).parents[1]
PERSONAS = sorted((CHECKOUT / "personas").glob("*.md"))
HUMANS = sorted((CHECKOUT / "humans").glob("*.md"))
LIMIT_CHARS: dict[Profile, int] = {"full": 900 * 4, "small": 300 * 4}


@pytest.mark.parametrize("profile", get_args(Profile))
def test_the_instructions_fit_their_budget(profile: Profile) -> None:
    assert 0 < len(system_instructions(profile)) <= LIMIT_CHARS[profile]


def test_the_instructions_explain_every_event_an_agent_can_meet() -> None:
    unexplained = {kind for kind in EventKind if f"`{kind}`" not in system_instructions("full")}
    assert unexplained == {EventKind.ANSWER}  # an answer resumes a call; the LLM sees its result


@pytest.mark.parametrize("profile", get_args(Profile))
def test_nothing_that_changes_stands_in_the_instructions(profile: Profile) -> None:
    assert not re.search(r"[{}]|\d{4}", system_instructions(profile))


@pytest.mark.parametrize("path", PERSONAS + HUMANS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_portrait_has_its_front_matter_and_fits_a_block(path: Path) -> None:
    head = re.match(r"---\nname: (\S[^\n]*)\ndescription: (\S[^\n]*)\n---\n", path.read_text(encoding="utf-8"))
    assert head, "front matter of two lines: name, description"
    assert head[1].lower() == path.stem
    text = path.read_text(encoding="utf-8")[head.end() :]
    assert len(text) <= 1200, "room must be left for what the agent adds"
    if path.parent.name == "personas":
        assert re.match(r"I am |I'm ", text), "a persona speaks in the first person"


def test_a_new_human_block_is_empty() -> None:
    assert (CHECKOUT / "humans" / "basic.md").read_text(encoding="utf-8").endswith("---\n")


def test_the_first_prompt_with_all_functions_leaves_room_for_what_is_said(tmp_path: Path) -> None:
    persona = (CHECKOUT / "personas" / "sam.md").read_text(encoding="utf-8").split("---\n")[2]
    home = agent_home(tmp_path, (Block("persona", persona, 2000), Block("human", "", 2000)))
    table = FunctionTable([ProcessFunctions(home.syscalls), home.memory, home.recall, home.archival])
    event = Event(EventKind.USER_MESSAGE, "Hello, I am Ana.")
    row = replace(event_message(event, home.agent.id, event.id), seq=1)
    now = Counters(datetime.now().astimezone())
    prompt = Prompt(system_instructions("full"), table.schemas, home.memory.blocks(), (row,), now)
    said = "".join(str(message["content"]) for message in chat_messages(prompt))
    offered = json.dumps(tools(prompt.functions), separators=(",", ":"), ensure_ascii=False)
    assert len(said + offered) <= 2_200 * 4
