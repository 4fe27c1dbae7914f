"""`memos search`: all that any agent remembers, marked for a person, exact for a program."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.agent_home import AgentHome, agent_home
from support.command_line import memos, memos_on_a_terminal

from memos.cli.search import search
from memos.config import Places
from memos.errors import AgentNotFound, BadInput
from memos.memory.finder import Place
from memos.memory.imported_messages import ImportedMessage, store
from memos.messages import Block


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEMOS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEMOS_MEMORY_EMBEDDING", "none")
    return Places.find(os.environ).database.parent


@pytest.fixture
def sam(folder: Path) -> Iterator[AgentHome]:
    home = agent_home(folder, [Block("human", "Name: Ana\nKeeps bees in Málaga\nLikes tea", 2000)])
    yield home
    home.database.close()


@pytest.fixture
def eve(folder: Path, sam: AgentHome) -> Iterator[AgentHome]:
    home = agent_home(folder, name="eve [red]")
    yield home
    home.database.close()


def said(home: AgentHome, text: str, day: str = "2026-05-17", name: str = "") -> None:
    at = datetime.fromisoformat(f"{day}T12:00").astimezone(UTC)
    store(home.database, home.agent, [ImportedMessage("user", text, at, name)])


def found(
    capsys: pytest.CaptureFixture[str],
    query: str,
    *,
    agent: str | None = None,
    places: tuple[Place, ...] = (),
    since: str | None = None,
    until: str | None = None,
    limit: int = 20,
) -> list[dict[str, Any]]:
    assert search(query, agent=agent, places=places, since=since, until=until, limit=limit, as_json=True) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


def lines(capsys: pytest.CaptureFixture[str], query: str) -> list[str]:
    assert search(query, agent=None, places=(), since=None, until=None, limit=20, as_json=False) == 0
    return capsys.readouterr().out.splitlines()


def test_each_place_is_searched_and_says_who_when_and_which_row(
    sam: AgentHome, capsys: pytest.CaptureFixture[str]
) -> None:
    said(sam, "My bees made honey.", name="Ana")
    sam.archival.archival_memory_insert("Ana sells the honey of her bees.")
    rows = {row["in"]: row for row in found(capsys, "bee")}
    assert set(rows) == {"recall", "archival", "core"}
    assert all(list(row) == ["agent", "in", "when", "speaker", "text", "score", "id"] for row in rows.values())
    recall, core = rows["recall"], rows["core"]
    assert (recall["agent"], recall["speaker"], recall["text"]) == ("sam", "Ana", "My bees made honey.")
    assert datetime.fromisoformat(recall["when"]).utcoffset() is not None and recall["when"].endswith("+00:00")
    assert (core["speaker"], core["text"], core["id"]) == ("human", "Keeps bees in Málaga", "human:2")
    (row,) = sam.database.query("SELECT id FROM messages")
    assert recall["id"] == row["id"]
    assert [row["in"] for row in found(capsys, "bee", places=("core",))] == ["core"]
    assert {row["in"] for row in found(capsys, "bee", places=("core", "archival", "core"))} == {"core", "archival"}


def test_all_agents_are_searched_or_one(sam: AgentHome, eve: AgentHome, capsys: pytest.CaptureFixture[str]) -> None:
    said(sam, "honey of sam")
    said(eve, "honey of eve")
    assert {row["agent"] for row in found(capsys, "honey")} == {"sam", "eve [red]"}
    assert [row["text"] for row in found(capsys, "honey", agent="SAM")] == ["honey of sam"]
    with pytest.raises(AgentNotFound):
        found(capsys, "honey", agent="nobody")


def test_of_several_places_the_one_with_most_of_the_words_comes_first(
    sam: AgentHome, eve: AgentHome, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        said(sam, f"honey {number}")
    eve.archival.archival_memory_insert("the yield of honey in 2019")
    rows = found(capsys, "honey yield", limit=3)
    assert rows[0]["text"] == "the yield of honey in 2019" and len(rows) == 3


def test_days_are_local_and_the_last_is_included(sam: AgentHome, capsys: pytest.CaptureFixture[str]) -> None:
    for day in (16, 17, 18):
        said(sam, f"honey {day}", f"2026-05-{day}")

    def days(since: str | None, until: str | None) -> list[str]:
        return sorted(row["text"][-2:] for row in found(capsys, "honey", since=since, until=until))

    assert days("2026-05-17", None) == ["17", "18"]
    assert days(None, "2026-05-17") == ["16", "17"]
    assert days("2026-05-17", "2026-05-17") == ["17"]
    assert len(found(capsys, "honey", since="2026-05-01", limit=2)) == 2
    assert found(capsys, "tea", until="2020-01-01") == []


@pytest.mark.parametrize(
    ("since", "until"),
    [("soon", None), (None, "2026-13-01"), ("2026-05-18", "2026-05-17"), (None, "9999-12-31"), ("0001-01-01", None)],
)
def test_a_day_that_cannot_be_meant_is_one_sentence(folder: Path, since: str | None, until: str | None) -> None:
    try:
        search("x", agent=None, places=(), since=since, until=until, limit=1, as_json=True)
    except BadInput as error:
        assert error.next_step
    else:
        assert since == "0001-01-01"  # exists where local time is not ahead of UTC


def test_nothing_found_is_said_beside_an_empty_list(sam: AgentHome, capsys: pytest.CaptureFixture[str]) -> None:
    assert search("zzz", agent=None, places=(), since=None, until=None, limit=1, as_json=True) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == ([], "Nothing was found.\n")
    with pytest.raises(BadInput):
        search(" ", agent=None, places=(), since=None, until=None, limit=1, as_json=True)


def test_looking_creates_nothing(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(capsys, "honey") == []
    with pytest.raises(AgentNotFound):
        found(capsys, "honey", agent="sam")
    assert list(tmp_path.iterdir()) == []


def test_what_was_taken_back_is_not_found(sam: AgentHome, capsys: pytest.CaptureFixture[str]) -> None:
    said(sam, "honey")
    with sam.database.transaction() as connection:
        connection.execute("UPDATE messages SET superseded_by = 'x'")
    assert found(capsys, "honey") == []


def test_a_pipe_gets_one_plain_line_a_hit_with_the_part_around_the_words(
    sam: AgentHome, eve: AgentHome, capsys: pytest.CaptureFixture[str]
) -> None:
    said(sam, "filler " * 500 + "the honey\nof\x1b[2J May \u202e" + "filler " * 500)
    said(eve, "[bold]honey[/bold]")
    shown = lines(capsys, "honey")
    assert len(shown) == 2 and all(len(line) < 800 for line in shown)
    text = "\n".join(shown)
    assert "the honey of␛[2J May �" in text and "[bold]honey[/bold]" in text and "2026-05-17 12:00" in text
    assert not {"\x1b", "\u202e"} & set(text)


def on_a_terminal(folder: Path, *words: str, **environ: str) -> str:
    return memos_on_a_terminal(folder.parent, "search", *words, MEMOS_MEMORY_EMBEDDING="none", **environ)


@pytest.mark.terminal
def test_on_a_terminal_each_form_of_the_words_stands_out_unless_nobody_wants_colours(
    folder: Path, sam: AgentHome
) -> None:
    said(sam, "Honey, beehives and a Málaga café")
    shown = on_a_terminal(folder, "hone", "malaga", "cafes")
    assert "\x1b[1;33mMálaga\x1b[0m" in shown and "\x1b[1;33mcafé\x1b[0m" in shown
    assert "\x1b" not in on_a_terminal(folder, "malaga", NO_COLOR="1")


def test_the_program_takes_words_as_they_come_and_finds_by_meaning(tmp_path: Path) -> None:
    home = agent_home(tmp_path / "home" / "data")
    said(home, "My hives stand behind the orchard, the swarm came back in spring.")
    home.database.close()
    done = memos(tmp_path / "home", "search", "beekeeping", "insects", "--in", "recall", "--json")
    assert done.returncode == 0, done.stderr
    assert "hives" in json.loads(done.stdout)[0]["text"]
    assert memos(tmp_path / "home", "search", "x", "--in", "nowhere").returncode == 2
