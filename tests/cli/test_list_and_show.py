"""`memos list` and `memos show`: what there is, for a person and for a program."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import memos_on_a_terminal
from support.fake_openai import FakeOpenAI, refused_url

from memos.cli.list import list_things
from memos.cli.show import show
from memos.config import Places, write_config
from memos.errors import AgentNotFound, DataDamaged
from memos.kernel.syscalls import KernelSyscalls
from memos.llm.capability_card import CapabilityCard, FormatName
from memos.memory.message_rows import event_message
from memos.memory.recall_storage import RecallStorage
from memos.memory.search import Search
from memos.messages import Block, Event, EventKind
from memos.storage.agents import Agent, Agents
from memos.storage.database import Database
from memos.storage.model_notes import ModelNotes


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("MEMOS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEMOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    return Places.find({"MEMOS_HOME": str(tmp_path / "home"), "MEMOS_CACHE": str(tmp_path / "cache")})


@pytest.fixture
def database(places: Places) -> Iterator[Database]:
    database = Database.open(places.database)
    yield database
    database.close()


def agent(database: Database, name: str = "ana", human: str = "Name: Ana\nBees: 3 hives") -> Agent:
    blocks = [Block("persona", "I am.", 2000), Block("human", human, 100, read_only=True)]
    return Agents(database).create(
        name,
        model="builtin/tiny",
        persona_name="clerk",
        human_name="basic",
        blocks=blocks,
        settings={"limits.steps": 4},
    )


def said(database: Database, someone: Agent, text: str) -> None:
    """What the user typed, stored as the kernel stores it."""
    search, syscalls = Search(database, "recall"), KernelSyscalls(Agents(database), someone)
    recall = RecallStorage(database, someone.id, someone.name, search, syscalls)
    recall.append(event_message(Event(EventKind.USER_MESSAGE, text), someone.id, "turn"))


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_looking_creates_nothing(places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for what in ("agents", "personas", "humans"):
        assert list_things(what, as_json=True) == 0
    with pytest.raises(AgentNotFound):
        show("ana", as_json=False)
    assert list(tmp_path.iterdir()) == []
    assert json.loads(capsys.readouterr().out.split("]")[0] + "]") == []


def test_no_agent_yet_is_said_with_the_next_step(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    list_things("agents", as_json=False)
    out, err = capsys.readouterr()
    assert out == "" and "memos run" in err


def test_agents_are_listed_the_one_used_last_first(
    places: Places, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _second = agent(database, "first"), agent(database, "second")
    said(database, first, "I keep bees.")
    list_things("agents", as_json=True)
    rows = json.loads(printed(capsys))
    assert [row["name"] for row in rows] == ["second", "first"]
    assert rows[1]["messages"] == 1 and rows[1]["model"] == "builtin/tiny" and rows[1]["passages"] == 0
    list_things("agents", as_json=False)
    lines = printed(capsys).splitlines()
    assert lines[0].split()[:2] == ["agent", "model"] and lines[1].startswith("second")


@pytest.mark.parametrize("what", ["personas", "humans"])
def test_what_ships_is_listed_and_ones_own_is_marked(
    places: Places, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    folder = places.portraits(what)  # type: ignore[arg-type]
    folder.mkdir(parents=True)
    (folder / "mine.md").write_text("---\ndescription: my \x1b[31mown [red]\nmodel: openai/x\n---\ntext")
    (folder / "broken.md").write_bytes(b"\xff")
    list_things(what, as_json=True)
    rows = {row["name"]: row for row in json.loads(printed(capsys))}
    assert rows["mine"]["own"] and not rows["basic" if what == "humans" else "sam"]["own"]
    assert rows["mine"]["model"] == "openai/x" and rows["mine"]["description"].endswith("own [red]")
    assert "UTF-8" in rows["broken"]["problem"]
    list_things(what, as_json=False)
    text = printed(capsys)
    assert "\x1b" not in text and "own [red] (model: openai/x)" in text and "cannot be used" in text


# --- models ---------------------------------------------------------------------------------------------------


def model_rows(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    assert list_things("models", as_json=True) == 0
    return {row["model"]: row for row in json.loads(printed(capsys))}


def test_the_built_in_model_is_listed_and_whether_it_is_on_disk(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    row = model_rows(capsys)["builtin/tiny"]
    assert row["on_disk"] is False and isinstance(row["size_bytes"], int)
    assert not places.cache.exists()


def test_gguf_files_in_the_cache_are_listed(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    (places.cache / "more").mkdir(parents=True)
    path = places.cache / "more" / "big.gguf"
    path.write_bytes(b"GGUF" * 10)
    assert model_rows(capsys)[f"gguf:{path}"]["size_bytes"] == 40


def test_models_of_the_configured_server_are_listed(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeOpenAI(models=("one", "two")) as server:
        write_config(places.config_file, {"model": "openai/one", "api_base": server.url})
        rows = model_rows(capsys)
    assert rows["openai/one"]["source"] == "configured"
    assert rows["openai/two"]["api_base"] == server.url


def test_what_was_measured_of_a_model_is_listed_with_it(
    places: Places, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = ModelNotes(database)
    with FakeOpenAI(models=("one", "two", "three", "four")) as server:
        write_config(places.config_file, {"model": "openai/one", "api_base": server.url})
        native = CapabilityCard(window_tokens=8192).after(FormatName.NATIVE, "obeyed")
        json_alone = CapabilityCard().after(FormatName.NATIVE, "refused").after(FormatName.JSON_SCHEMA, "obeyed")
        never = CapabilityCard()
        for name in (FormatName.NATIVE, FormatName.JSON_SCHEMA, FormatName.JSON_PROMPT):
            never = never.after(name, "refused")
        for name, card in (("one", native), ("two", json_alone), ("three", never)):
            notes.note_card(f"openai/{name}", server.url, card.as_json())
        notes.note_card("openai/four", "http://elsewhere/v1", native.as_json())
        notes.store()
        rows = model_rows(capsys)
        assert list_things("models", as_json=False) == 0
    words = {name: rows[f"openai/{name}"]["calls"] for name in server.models}
    assert words == {"one": "native", "two": "JSON", "three": "none", "four": "?"}
    assert rows["openai/four"]["card"] is None and rows["builtin/tiny"]["calls"] == ""
    card = rows["openai/one"]["card"]
    assert isinstance(card, dict) and card["window_tokens"] == 8192
    assert card["formats"] == {"native": {"obeyed": 1, "failures": 0, "refused": False}}
    heading, *lines = printed(capsys).splitlines()
    assert heading.split() == ["model", "from", "calls", "size", "where"]
    assert any(line.split()[:3] == ["openai/one", "configured", "native"] for line in lines)


def test_listing_models_makes_no_database(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    model_rows(capsys)
    assert not places.database.exists()


def test_a_configured_server_that_is_down_is_one_sentence_beside_the_list(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(places.config_file, {"model": "openai/one", "api_base": refused_url()})
    assert list_things("models", as_json=True) == 0
    out, err = capsys.readouterr()
    assert "builtin/tiny" in out and "could not be asked" in err and "Next:" in err


def test_without_a_key_a_provider_is_not_contacted(
    places: Places, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    write_config(places.config_file, {"model": "openai/one"})
    rows = model_rows(capsys)
    assert [name for name in rows if name.startswith("openai/")] == ["openai/one"]


# --- show -----------------------------------------------------------------------------------------------------


def test_an_agent_is_shown_with_blocks_limits_counts_and_last_messages(
    places: Places, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    ana = agent(database)
    for number in range(12):
        said(database, ana, f"message {number}")
    assert show("ANA", as_json=True) == 0
    picture = json.loads(printed(capsys))
    assert picture["model"] == "builtin/tiny" and picture["settings"] == {"limits.steps": 4}
    assert [(b["label"], b["used_chars"], b["limit_chars"], b["read_only"]) for b in picture["blocks"]] == [
        ("persona", 5, 2000, False),
        ("human", 23, 100, True),
    ]
    assert (picture["recall"], picture["archival"]) == (12, 0)
    assert [m["said"] for m in picture["last_messages"]] == [f"message {n}" for n in range(2, 12)]
    assert show("ana", as_json=False) == 0
    text = printed(capsys)
    assert "human: 23 of 100 characters, read-only" in text and "Bees: 3 hives" in text
    assert "message 11" in text and "message 1\n" not in text


def test_what_memory_holds_cannot_steer_the_terminal(
    places: Places, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    ana = agent(database, human="\x1b]0;owned\x07 [bold]kept[/bold] \u202ereversed")
    said(database, ana, "\x9b2Jgone? [/foo] stays")
    show("ana", as_json=False)
    text = printed(capsys)
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(text)
    assert "[bold]kept[/bold]" in text and "[/foo] stays" in text


def test_a_long_message_is_clipped_and_says_so(
    places: Places, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    said(database, agent(database), "word " * 1000)
    show("ana", as_json=False)
    text = printed(capsys)
    assert "5,000 characters" in text and len(text) < 2000


def test_a_row_that_was_taken_back_is_not_shown(
    places: Places, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    said(database, agent(database), "taken back")
    with database.transaction() as connection:
        connection.execute("UPDATE messages SET superseded_by = 'x'")
    show("ana", as_json=True)
    assert json.loads(printed(capsys))["last_messages"] == []


def test_a_damaged_database_is_one_sentence(places: Places) -> None:
    places.database.parent.mkdir(parents=True)
    places.database.write_bytes(b"not a database " * 100)
    with pytest.raises(DataDamaged):
        list_things("agents", as_json=False)
    with pytest.raises(DataDamaged):
        show("ana", as_json=False)


@pytest.mark.terminal
def test_on_a_terminal_a_table_is_drawn_and_markup_stays_text(
    places: Places, database: Database, tmp_path: Path
) -> None:
    agent(database, "[red]ana[/red]")
    database.close()
    shown = memos_on_a_terminal(tmp_path / "home", "list")
    assert "─" in shown and "[red]ana[/red]" in shown
