"""The words for the LLM, the personas and the humans: short enough, complete, and of our own making."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from support.fake_openai import FakeOpenAI, say

from memos.cli.agent_choice import Machinery, Wish, create_agent
from memos.cli.boot import open_session
from memos.config import Places
from memos.messages import EventKind
from memos.prompts import Profile, system_instructions
from memos.storage.database import Database

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


def first_request(folder: Path, window_tokens: int) -> dict[str, Any]:
    """Return what a new agent with the default persona and human sends first, at the login, wired as `memos run` is."""
    places = Places.find({"MEMOS_HOME": str(folder)})
    with FakeOpenAI(script=lambda request: say("Hello.")) as server:
        flags = {"model": "openai/fake-model", "api_base": server.url, "window_tokens": window_tokens}
        machinery = Machinery(places, {"MEMOS_MEMORY_EMBEDDING": "none"}, Database.open(places.database))
        wish = Wish(new=True, flags=flags)

        async def greet() -> None:
            agent = create_agent(machinery, wish, machinery.settings(flags))
            async with open_session(machinery, agent, machinery.settings(flags, agent), wish, stays=False) as session:
                assert session.login is not None
                session.kernel.post(session.login)
                await session.kernel.next_turn()

        asyncio.run(greet())
        machinery.database.close()
        return dict(server.requests[0].body)


def tokens(body: dict[str, Any], without: str = "") -> float:
    """Return messages and functions in tokens of four characters, as the client writes them: without blanks."""
    sent = {"messages": body["messages"], "tools": body["tools"]}
    return (len(json.dumps(sent, ensure_ascii=False, separators=(",", ":"))) - len(without)) / 4


def test_the_first_prompt_of_a_new_agent_has_at_most_2200_tokens(tmp_path: Path) -> None:
    body = first_request(tmp_path, 128_000)
    assert len(body["tools"]) == 8 and "I am Sam" in body["messages"][0]["content"]
    assert tokens(body) <= 2_200


@pytest.mark.parametrize("window_tokens", [2_048, 4_096])
def test_the_first_prompt_in_a_small_window_has_at_most_600_tokens_beside_its_blocks(
    tmp_path: Path, window_tokens: int
) -> None:
    body = first_request(tmp_path, window_tokens)
    blocks, _, packet = body["messages"][1]["content"].partition("\n\n{")
    assert blocks.startswith("### Core memory") and "<persona>" in blocks and '"type": "login"' in packet
    assert tokens(body, without=json.dumps(blocks, ensure_ascii=False)) <= 600
