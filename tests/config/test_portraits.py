"""Personas and humans are found by name, and a name is never a path."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos.config import Places, list_humans, list_personas, load_human, load_persona
from memos.errors import BadInput


def own(places: Places, name: str, text: str | bytes) -> Path:
    folder = places.portraits("personas")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.md"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_all_that_ships_can_be_loaded(places: Places) -> None:
    personas, humans = list_personas(places), list_humans(places)
    assert {"sam", "clerk"} <= {persona.name for persona in personas}
    assert "basic" in {human.name for human in humans}
    for persona in personas:
        assert load_persona(places, persona.name) == persona
        assert persona.text and persona.description and not persona.own and not persona.problem
    for human in humans:
        assert load_human(places, human.name) == human


def test_a_persona_of_ones_own_comes_before_the_shipped_one(places: Places) -> None:
    own(places, "sam", "---\nname: Samuel\ndescription: mine: truly\n---\n\nI am mine.\n")
    sam = load_persona(places, "sam")
    assert (sam.title, sam.description, sam.text, sam.own) == ("Samuel", "mine: truly", "I am mine.", True)
    assert [persona.own for persona in list_personas(places) if persona.name == "sam"] == [True]


@pytest.mark.parametrize("text", ["I am.", "--- not a head\nI am.", "---\nname: x\nI never close it."])
def test_without_a_whole_front_matter_everything_is_text(places: Places, text: str) -> None:
    own(places, "odd", text)
    assert load_persona(places, "odd").text == text


def test_an_unknown_name_is_answered_with_the_nearest(places: Places) -> None:
    with pytest.raises(BadInput) as caught:
        load_persona(places, "Clark")
    assert '"clerk" may be meant' in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "../sam",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a/b",
        "a\\b",
        "a\0b",
        "-x",
        " sam",
        "sam.",
        "x" * 65,
        "~root",
        "a\nb",
        "C:sam",
    ],
)
def test_a_path_is_not_a_name(places: Places, name: str) -> None:
    with pytest.raises(BadInput):
        load_persona(places, name)


@given(name=st.text(max_size=80))
def test_no_name_whatever_leads_out_of_the_folders(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    root = tmp_path_factory.mktemp("home")
    (root / "data" / "personas").mkdir(parents=True)
    (root / "data" / "secret.md").write_text("secret")
    try:
        assert load_persona(Places.find({"MEMOS_HOME": str(root)}), name).text != "secret"
    except BadInput as error:
        assert error.next_step


def test_a_link_is_refused(places: Places, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    own(places, "x", "x").unlink()
    (places.portraits("personas") / "linked.md").symlink_to(secret)
    with pytest.raises(BadInput, match="link"):
        load_persona(places, "linked")


def test_a_named_pipe_is_refused_and_not_waited_for(places: Places) -> None:
    own(places, "x", "x").unlink()
    os.mkfifo(places.portraits("personas") / "pipe.md")
    with pytest.raises(BadInput, match="ordinary file"):
        load_persona(places, "pipe")


@pytest.mark.parametrize(("content", "words"), [(b"\xff\xfe", "UTF-8"), (b"a" * 65_537, "larger")])
def test_a_file_that_cannot_be_used_is_named_and_listed_with_its_problem(
    places: Places, content: bytes, words: str
) -> None:
    own(places, "broken", content)
    with pytest.raises(BadInput, match=words):
        load_persona(places, "broken")
    assert [words in persona.problem for persona in list_personas(places) if persona.name == "broken"] == [True]


def test_a_text_longer_than_its_own_limit_is_refused(places: Places) -> None:
    path = own(places, "long", f"---\nlimits: {{block_chars: 100}}\n---\n{'x' * 101}")
    with pytest.raises(
        BadInput, match=re.escape(f"{path}: the text has 101 characters, and limits.block_chars is 100")
    ):
        load_persona(places, "long")


def test_a_fault_in_the_front_matter_is_listed_with_its_line(places: Places) -> None:
    path = own(places, "broken", "---\nname: x\nmodle: y\n---\nI am.")
    (persona,) = [persona for persona in list_personas(places) if persona.name == "broken"]
    assert persona.problem == f"{path}, line 3: modle is not a key memos knows."


def test_a_line_of_hyphens_inside_a_value_does_not_end_the_front_matter(places: Places) -> None:
    own(places, "x", "---\nblocks:\n- label: a\n  value: |\n    one\n    ---\n    two\n--- \nI am.\n---\nStill I.")
    persona = load_persona(places, "x")
    assert persona.front.blocks[0].value == "one\n---\ntwo"
    assert persona.text == "I am.\n---\nStill I."


def test_both_normal_forms_of_a_name_find_the_file(places: Places) -> None:
    own(places, "Zoe\u0301", "decomposed")
    assert load_persona(places, "Zo\u00e9").text == "decomposed"
    assert load_persona(places, "Zoe\u0301").text == "decomposed"
    assert "Zo\u00e9" in [persona.name for persona in list_personas(places)]


def test_windows_line_ends_and_a_byte_order_mark_are_taken(places: Places) -> None:
    own(places, "win", b"\xef\xbb\xbf---\r\nname: Win\r\n---\r\nline one\r\nline two\r\n")
    win = load_persona(places, "win")
    assert (win.title, win.text) == ("Win", "line one\nline two")
