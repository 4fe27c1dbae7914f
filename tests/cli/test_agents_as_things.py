"""`memos rename`, `copy`, `delete`, `restore`: what they do, what they refuse, and what they say."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from support.agent_home import AgentHome, agent_home
from support.command_line import clean_environ, memos
from support.lived_agent import lived

from memos.cli.agent_choice import Machinery, Wish
from memos.cli.boot import open_session
from memos.config import Places, write_config
from memos.errors import AgentNotFound
from memos.memory.message_rows import event_message
from memos.messages import Event, EventKind, utc_now
from memos.storage.agent_lock import AgentLock
from memos.storage.trash import Trash
from memos.storage.vectors import VectorRow, VectorTable


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places.find({"MEMOS_HOME": str(tmp_path)})


@pytest.fixture
def sam(places: Places) -> Iterator[AgentHome]:
    home = lived(places.data)
    yield home
    home.database.close()


def test_rename_says_the_new_name_and_where_a_setting_has_the_old_one(
    tmp_path: Path, places: Places, sam: AgentHome
) -> None:
    write_config(places.config_file, {"agent": "sam"})
    done = memos(tmp_path, "rename", "SAM", "Ana  Maria")
    assert done.returncode == 0 and done.stdout == ""
    assert "The agent is called Ana Maria now." in done.stderr and 'memos run "Ana Maria"' in done.stderr
    assert 'The setting agent still says "sam". Next: memos configure --set agent="Ana Maria"' in done.stderr
    assert [agent.id for agent in sam.agents.all()] == [sam.agent.id]
    taken = memos(tmp_path, "rename", "ana maria", "--", "-x")
    assert taken.returncode == 2 and "does not begin with a hyphen" in taken.stderr


def test_copy_makes_a_second_agent_with_the_same_memory(tmp_path: Path, places: Places, sam: AgentHome) -> None:
    done = memos(tmp_path, "copy", "sam", "eve")
    assert done.returncode == 0
    assert re.search(r'"eve" remembers the same: \d+ rows of recall storage, 1 passage, 1 edit copied', done.stderr)
    assert "My dog is Rex." in agent_home(places.data, name="eve").recall.conversation_search("dog")
    again = memos(tmp_path, "copy", "sam", "Eve")
    assert again.returncode == 2 and 'There is already an agent named "eve"' in again.stderr


@pytest.mark.parametrize("words", [("rename", "sam", "x"), ("copy", "sam", "x"), ("delete", "sam", "--yes")])
def test_an_agent_that_is_open_is_refused_with_the_process_that_has_it(
    tmp_path: Path, places: Places, sam: AgentHome, words: tuple[str, ...]
) -> None:
    lock = AgentLock(places.locks, sam.agent.id, "sam")
    lock.acquire()
    done = memos(tmp_path, *words)
    lock.release()
    assert done.returncode == 7
    assert f'"sam" is open in another terminal (process {os.getpid()}, since' in done.stderr
    assert "Next: leave it there first" in done.stderr
    assert [agent.name for agent in sam.agents.all()] == ["sam"]


@pytest.mark.parametrize("words", [("rename", "eve", "x"), ("copy", "eve", "x"), ("delete", "eve"), ("restore", "eve")])
def test_an_agent_that_is_not_there_is_one_sentence(tmp_path: Path, sam: AgentHome, words: tuple[str, ...]) -> None:
    done = memos(tmp_path, *words)
    assert done.returncode == 6 and "Next: " in done.stderr and "eve" in done.stderr
    nowhere = memos(tmp_path / "nowhere", *words)
    assert nowhere.returncode == 6 and "there is none at all yet" in nowhere.stderr
    assert not (tmp_path / "nowhere").exists()


def test_a_deleted_agent_is_nowhere_but_in_the_trash_and_comes_back(
    tmp_path: Path, places: Places, sam: AgentHome
) -> None:
    asked = memos(tmp_path, "delete", "sam")
    assert asked.returncode == 2 and "memos delete sam --yes asks nothing" in asked.stderr
    done = memos(tmp_path, "delete", "sam", "--yes")
    until = (utc_now() + timedelta(days=30)).astimezone()
    assert done.returncode == 0 and f"kept until {until:%Y-%m-%d}" in done.stderr
    assert "memos restore sam brings it back whole" in done.stderr
    assert json.loads(memos(tmp_path, "list", "--json").stdout) == []
    assert memos(tmp_path, "search", "dog").stdout == ""
    for words in (
        ("show", "sam"),
        ("run", "sam", "-p", "Hello"),
        ("usage", "sam"),
        ("search", "dog", "--agent", "sam"),
    ):
        told = memos(tmp_path, *words)
        assert told.returncode == 6 and "Next: memos restore sam" in told.stderr, words
    (row,) = json.loads(memos(tmp_path, "list", "trash", "--json").stdout)
    assert (row["name"], row["messages"], row["passages"]) == ("sam", 4, 1)
    shown = memos(tmp_path, "list", "trash").stdout
    assert "29 days yet" in shown and row["id"] in shown
    back = memos(tmp_path, "restore", "sam")
    assert back.returncode == 0 and '"sam" is back, with all it had: 4 messages, 1 passages' in back.stderr
    assert "Rex" in memos(tmp_path, "search", "dog").stdout
    assert memos(tmp_path, "list", "trash").stderr == "The trash is empty.\n"


def test_restore_with_another_name_where_its_own_is_taken(tmp_path: Path, places: Places, sam: AgentHome) -> None:
    memos(tmp_path, "delete", "sam", "--yes")
    second = agent_home(places.data)
    refused = memos(tmp_path, "restore", "sam")
    assert refused.returncode == 2 and "Next: memos restore sam --as NAME" in refused.stderr
    assert memos(tmp_path, "restore", "sam", "--as", "old sam").returncode == 0
    assert {agent.name: agent.id for agent in sam.agents.all()} == {"sam": second.agent.id, "old sam": sam.agent.id}


@pytest.mark.terminal
@pytest.mark.parametrize(("typed", "code", "left"), [("SAM", 0, 0), ("yes", 130, 1), ("", 130, 1)])
def test_on_a_terminal_its_name_is_typed_again(
    tmp_path: Path, sam: AgentHome, typed: str, code: int, left: int
) -> None:
    import pexpect

    child = pexpect.spawn(
        sys.executable,
        ["-m", "memos", "delete", "sam"],
        env=clean_environ(tmp_path, TERM="xterm"),
        encoding="utf-8",
        timeout=30,
        cwd="/",
    )
    child.expect('"sam": 4 messages, 1 passages, last used')
    child.expect("Type its name to delete it: ")
    child.sendline(typed)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code and len(sam.agents.all()) == left
    assert ("Nothing is deleted." in str(child.before)) == bool(left)


def grown_old(home: AgentHome) -> None:
    """Let what lies in the trash have lain there for more than its time."""
    with home.database.transaction() as connection:
        connection.execute("UPDATE agents SET deleted_at = '2020-01-01T12:00:00+00:00' WHERE deleted_at IS NOT NULL")


def test_after_thirty_days_the_next_start_erases_it_and_says_so(tmp_path: Path, places: Places, sam: AgentHome) -> None:
    memos(tmp_path, "delete", "sam", "--yes")
    grown_old(sam)
    assert "erased at the next start" in memos(tmp_path, "list", "trash").stdout
    script = tmp_path / "script.json"
    script.write_text('[{"text": "Hello."}]')
    words = ("run", "--new", "--model", f"scripted:{script}", "--set", "memory.embedding=none", "-p", "Hi")
    done = memos(tmp_path, *words)
    assert done.returncode == 0 and done.stdout == "Hello.\n"
    assert '"sam" was 30 days in the trash (since 2020-01-01) and is erased: 4 messages, 1 passages' in done.stderr
    assert "erased" not in memos(tmp_path, *words).stderr
    assert memos(tmp_path, "list", "trash").stderr == "The trash is empty.\n"


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("first_into_the_trash", [True, False])
def test_purge_leaves_no_byte_of_it_in_any_file(
    tmp_path: Path, places: Places, sam: AgentHome, first_into_the_trash: bool
) -> None:
    import sqlite3

    import numpy as np

    other = agent_home(places.data, name="eve")
    other.recall.append(event_message(Event(EventKind.USER_MESSAGE, "Hello."), other.agent.id, "turn"))
    table = VectorTable(places.vectors, "recall", "space", 3)
    table.create()
    ones = np.ones(3, np.float32)
    rows = sam.database.query("SELECT id, agent_id, seq FROM messages WHERE search_text <> ''")
    table.upsert([VectorRow(row["id"], row["agent_id"], row["seq"], ones) for row in rows])
    last = rows[-1]["seq"]
    table.delete(["nothing"])
    with sqlite3.connect(places.data / "memos.before-schema-6.db") as snapshot:
        sam.database._connection.backup(snapshot)
    snapshot.close()
    places.state.mkdir(exist_ok=True)
    places.history_file.write_text("\n# 1\n+My dog is Rex.\n\n# 2\n+Something else.\n")
    assert b"Rex" in everything_in(places.data) and sam.agent.id.encode() in everything_in(places.vectors)
    sam.database.close()
    other.database.close()
    if first_into_the_trash:
        memos(tmp_path, "delete", "sam", "--yes")
    done = memos(tmp_path, "delete", "sam", "--yes", "--purge")
    assert done.returncode == 0 and '"sam" is erased: 4 messages, 1 passages' in done.stderr, done.stderr
    left = everything_in(tmp_path)
    assert b"Rex" not in left and sam.agent.id.encode() not in left
    assert VectorTable(places.vectors, "recall", "space", 3).nearest(other.agent.id, ones).seqs.tolist() == [last]
    assert [row["name"] for row in json.loads(memos(tmp_path, "list", "--json").stdout)] == ["eve"]
    gone = memos(tmp_path, "delete", "sam", "--purge")
    assert gone.returncode == 6 and "There is no agent" in gone.stderr


@pytest.mark.crash
@pytest.mark.parametrize("delay_s", [0.35, 0.5, 0.65, 0.8, 1.0])
def test_an_erasure_that_is_killed_is_completed_by_the_next_start(
    tmp_path: Path, places: Places, sam: AgentHome, delay_s: float
) -> None:
    sam.database.close()
    words = [sys.executable, "-m", "memos", "delete", "sam", "--yes", "--purge"]
    killed = subprocess.Popen(words, env=clean_environ(tmp_path), cwd="/", stderr=subprocess.DEVNULL)
    with suppress(subprocess.TimeoutExpired):
        killed.wait(delay_s)
    killed.kill()
    killed.wait()
    script = tmp_path / "script.json"
    script.write_text('[{"text": "Hello."}]')
    start = ("run", "--new", "eve", "--model", f"scripted:{script}", "--set", "memory.embedding=none", "-p", "Hi")
    assert memos(tmp_path, *start).returncode == 0
    if memos(tmp_path, "show", "sam").returncode == 0:  # it had not begun: all of it is there
        assert agent_home(places.data).recall.counts() == (4, 1)
    else:
        assert memos(tmp_path, "list", "trash", "--json").stdout.strip() == "[]"
        assert b"Rex" not in everything_in(places.data)


def test_one_that_is_deleted_while_it_is_being_opened_is_not_talked_to(
    tmp_path: Path, places: Places, sam: AgentHome
) -> None:
    machinery = Machinery(places, {}, sam.database)
    settings = machinery.settings({"model": "scripted:x", "memory.embedding": "none"}, sam.agent)
    Trash(sam.database).put(sam.agent)

    async def open_it() -> None:
        async with open_session(machinery, sam.agent, settings, Wish("sam"), stays=False):
            raise AssertionError("it was opened")

    with pytest.raises(AgentNotFound, match="lies in the trash"):
        asyncio.run(open_it())


def test_lists_are_sorted_and_cut(tmp_path: Path, places: Places, sam: AgentHome) -> None:
    for name in ("Bea", "ann"):
        agent_home(places.data, name=name)

    def names(*words: str) -> list[str]:
        return [row["name"] for row in json.loads(memos(tmp_path, "list", *words, "--json").stdout)]

    assert names("--sort", "name") == ["ann", "Bea", "sam"]
    assert names("--sort", "messages", "--limit", "1") == ["sam"]
    assert names("--sort", "created") == names("--sort", "used") == names()
    assert names("personas", "--sort", "name", "--limit", "2") == ["analyst", "clerk"]
    refused = memos(tmp_path, "list", "humans", "--sort", "used")
    assert refused.returncode == 2 and 'memos list humans cannot be sorted by "used"' in refused.stderr
    assert "Next: one of: name" in refused.stderr
