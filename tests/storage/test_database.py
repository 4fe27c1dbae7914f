"""The one database file."""

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from memos.errors import AgentInUse, AgentNotFound, BadInput, DataDamaged, MemosError, StorageProblem
from memos.messages import Block
from memos.storage.agent_lock import AgentLock
from memos.storage.agents import Agents
from memos.storage.database import SCHEMA_VERSION, Database
from memos.storage.model_notes import ModelNotes


@pytest.fixture
def database(tmp_path: Path):  # type: ignore[no-untyped-def]
    database = Database.open(tmp_path / "data" / "memos.db")
    yield database
    database.close()


def values(database: Database) -> list[str]:
    return [row["name"] for row in database.query("SELECT name FROM agents ORDER BY name")]


def add(database: Database, name: str) -> None:
    Agents(database).create(name, model="m", persona_name="p", human_name="h", blocks=[])


def test_a_new_database_is_the_users_alone_and_durable(database: Database) -> None:
    assert stat.S_IMODE(database.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(database.path.parent.stat().st_mode) == 0o700
    assert database.query("PRAGMA journal_mode")[0][0] == "wal"
    assert database.query("PRAGMA synchronous")[0][0] == 2
    assert database.query("PRAGMA user_version")[0][0] == SCHEMA_VERSION


def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError), database.transaction():
        add(database, "sam")
        raise RuntimeError
    assert values(database) == []


def test_an_inner_transaction_is_undone_alone(database: Database) -> None:
    with database.transaction():
        add(database, "kept")
        with pytest.raises(RuntimeError), database.transaction():
            add(database, "undone")
            raise RuntimeError
        add(database, "also kept")
    assert values(database) == ["also kept", "kept"]


def test_a_full_disk_is_one_sentence_and_loses_nothing(database: Database) -> None:
    add(database, "sam")
    pages = database.query("PRAGMA page_count")[0][0]
    database.query(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageProblem, match="full"):
        for number in range(200):
            add(database, f"agent {number} " + "x" * 40)
    kept = len(values(database))
    database.query("PRAGMA max_page_count = 1000000")
    add(database, "later")
    assert len(values(database)) == kept + 1 and "sam" in values(database)


def test_what_is_no_database_is_named_with_a_next_step_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "memos.db"
    path.write_bytes(b"this is not a database at all" * 50)
    with pytest.raises(DataDamaged) as caught:
        Database.open(path)
    assert str(path) in caught.value.what and caught.value.next_step
    assert path.read_bytes().startswith(b"this is not")


def test_a_database_of_a_newer_memos_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "memos.db"
    Database.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(DataDamaged, match="newer memos"):
        Database.open(path)


def test_a_path_through_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MemosError) as caught:
        Database.open(tmp_path / "file" / "memos.db")
    assert caught.value.exit_code == 10


def test_two_processes_that_open_a_new_home_at_once_both_succeed(tmp_path: Path) -> None:
    path = str(tmp_path / "memos.db")
    code = (
        f"from pathlib import Path; from memos.storage.database import Database\nDatabase.open(Path({path!r})).close()"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(4)]
    assert [(p.wait(60), p.stderr.read() if p.stderr else b"") for p in processes] == [(0, b"")] * 4


def test_the_golden_database_of_schema_1_opens_and_keeps_every_row(tmp_path: Path) -> None:
    path = tmp_path / "memos.db"
    with sqlite3.connect(path) as connection:
        connection.executescript((Path(__file__).parent / "golden" / "schema-1.sql").read_text(encoding="utf-8"))
        connection.execute("PRAGMA user_version = 1")
    database = Database.open(path)
    agent = Agents(database).get("golden")
    assert agent.summary == "What was before."
    assert [row["content"] for row in database.query("SELECT content FROM messages ORDER BY seq")] == [
        "My name is Ana and I keep bees.",
        "She told me her name.",
        "Added to human (29 of 2000 characters).",
    ]
    found = database.query("SELECT rowid FROM messages_fts WHERE messages_fts MATCH '\"bee\"'")
    assert [row["rowid"] for row in found] == [1]
    assert database.query("SELECT recall, archival FROM counts")[0][:] == (1, 1)
    database.close()


def test_a_database_of_schema_2_keeps_what_was_learned_of_models(tmp_path: Path) -> None:
    path = tmp_path / "memos.db"
    with sqlite3.connect(path) as connection:
        for number in (1, 2):
            golden = Path(__file__).parent / "golden" / f"schema-{number}.sql"
            connection.executescript(golden.read_text(encoding="utf-8"))
        connection.execute("PRAGMA user_version = 2")
    database = Database.open(path)
    notes = ModelNotes(database)
    scales = {"cl100k_base": '{"observations": []}', "bytes": "B"}
    assert notes.load("openai/one", "http://127.0.0.1:8080/v1") == scales
    assert notes.load("anthropic/two", "") == {"cl100k_base": "C"}
    assert notes.load_card("openai/one", "http://127.0.0.1:8080/v1") == ""
    kept = database.query("SELECT updated_at FROM model_notes WHERE note = 'C'")
    assert [row["updated_at"] for row in kept] == ["2026-11-24T10:00:02+00:00"]
    assert not database.query("SELECT name FROM sqlite_master WHERE name = 'token_scales'")
    assert Agents(database).get("golden").summary == "What was before."
    database.close()
    assert path.with_suffix(f".before-schema-{SCHEMA_VERSION}.db").exists()


def test_agents_are_found_whatever_the_case_and_missing_ones_name_the_next_step(database: Database) -> None:
    agents = Agents(database)
    with pytest.raises(AgentNotFound, match="--new"):
        agents.get("sam")
    made = agents.create("Sam", model="m", persona_name="p", human_name="h", blocks=[Block("human", "x", 10)])
    assert agents.get("SAM").id == made.id
    with pytest.raises(AgentNotFound, match="there is: Sam"):
        agents.get("eve")
    with pytest.raises(BadInput, match="already"):
        agents.create("sam", model="m", persona_name="p", human_name="h", blocks=[])


@pytest.mark.parametrize("name", ["", "  ", "x" * 65, "a\x1b[2Jb", "-rf", "a\nb\x00"])
def test_a_name_that_could_harm_is_refused(database: Database, name: str) -> None:
    with pytest.raises(BadInput):
        Agents(database).create(name, model="m", persona_name="p", human_name="h", blocks=[])


def test_one_process_holds_an_agent_and_a_second_is_told_who(tmp_path: Path) -> None:
    held = AgentLock(tmp_path, "id", "sam")
    held.acquire()
    with pytest.raises(AgentInUse) as caught:
        AgentLock(tmp_path, "id", "sam").acquire()
    assert f"process {os.getpid()}" in caught.value.what and "--take-over" in caught.value.next_step
    held.release()


def test_a_lock_dies_with_its_holder_and_can_be_taken_over(tmp_path: Path) -> None:
    code = (
        "import time; from pathlib import Path; from memos.storage.agent_lock import AgentLock\n"
        f"lock = AgentLock(Path({str(tmp_path)!r}), 'id', 'sam')\n"
        "lock.acquire(); print('held', flush=True); time.sleep(60)"
    )
    for leave in ("kill", "take over"):
        holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        lock = AgentLock(tmp_path, "id", "sam")
        if leave == "kill":
            holder.kill()
            holder.wait()
        lock.acquire(take_over=leave == "take over")
        lock.release()
        holder.wait(10)
