"""A copy in memory holds what the file held at its last commit, and reading it changes no file."""

import sqlite3
import threading
from pathlib import Path

import pytest
from support.agent_home import agent_home

from memos.errors import DataDamaged
from memos.storage.agents import Agents
from memos.storage.database import SCHEMA_VERSION, Database
from memos.storage.memory_copy import open_in_memory


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()}


def test_what_stands_in_the_write_ahead_log_alone_is_there_and_no_file_changes(tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    for number in range(50):
        home.archival.archival_memory_insert(f"Passage {number}")
        if number == 25:
            home.database.query("PRAGMA wal_checkpoint(RESTART)")
    before = files(tmp_path)
    assert len(before["memos.db-wal"][0]) > 100_000
    copy = open_in_memory(tmp_path / "memos.db")
    assert copy.query("SELECT count(*) FROM passages")[0][0] == 50
    assert copy.query("PRAGMA integrity_check")[0][0] == "ok"
    found = copy.query("SELECT rowid FROM passages_fts WHERE passages_fts MATCH 'passage AND 49'")
    assert len(found) == 1
    Agents(copy).rename(home.agent, "somebody else")
    assert files(tmp_path) == before and home.agents.find("sam")


def test_a_database_that_was_closed_is_copied_too(tmp_path: Path) -> None:
    agent_home(tmp_path).database.close()
    before = files(tmp_path)
    assert set(before) - {"memos.migration.lock"} == {"memos.db"}
    assert Agents(open_in_memory(tmp_path / "memos.db")).find("sam") and files(tmp_path) == before


def test_where_there_is_no_file_it_is_empty_and_none_is_made(tmp_path: Path) -> None:
    (tmp_path / "memos.db").touch()
    assert Agents(open_in_memory(tmp_path / "memos.db")).all() == []
    (tmp_path / "memos.db").unlink()
    copy = open_in_memory(tmp_path / "nowhere" / "memos.db")
    assert copy.query("PRAGMA user_version")[0][0] == SCHEMA_VERSION and Agents(copy).all() == []
    assert list(tmp_path.iterdir()) == []


def test_a_transaction_that_was_not_written_to_its_end_is_left_out(tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    home.archival.archival_memory_insert("Whole.")
    log = tmp_path / "memos.db-wal"
    whole = log.read_bytes()
    home.archival.archival_memory_insert("Torn. " * 2000)
    torn = log.read_bytes()[:-100]
    other = tmp_path / "other"
    other.mkdir()
    (other / "memos.db").write_bytes((tmp_path / "memos.db").read_bytes())
    for content, count in (
        (torn, 1),
        (torn[: len(whole) + 50], 1),
        (torn + b"\0" * 5000, 1),
        (whole[:10], 0),
        (b"", 0),
    ):
        (other / "memos.db-wal").write_bytes(content)
        try:
            found = open_in_memory(other / "memos.db").query("SELECT count(*) FROM passages")[0][0]
        except sqlite3.OperationalError:  # all there is stood in the log: not even a schema without it
            found = 0
        assert found == count


def test_an_older_schema_is_brought_up_in_memory_alone(tmp_path: Path) -> None:
    golden = Path(__file__).parent / "golden" / "schema-1.sql"
    with sqlite3.connect(tmp_path / "memos.db") as connection:
        connection.executescript(golden.read_text(encoding="utf-8"))
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    before = files(tmp_path)
    copy = open_in_memory(tmp_path / "memos.db")
    assert copy.query("PRAGMA user_version")[0][0] == SCHEMA_VERSION and Agents(copy).find("golden")
    assert files(tmp_path) == before


@pytest.mark.parametrize("content", [b"not a database " * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_what_is_no_database_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "memos.db").write_bytes(content)
    with pytest.raises(DataDamaged, match="damaged"):
        open_in_memory(tmp_path / "memos.db")


def test_while_somebody_writes_every_copy_is_whole(tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    home.database.query("PRAGMA wal_autocheckpoint = 5")
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            with home.database.transaction() as connection:
                for row in (1, 2):  # always two of a kind
                    connection.execute(
                        "INSERT INTO summaries (agent_id, text, author, last_seq, created_at)"
                        " VALUES (?, ?, 'x', ?, 'x')",
                        (home.agent.id, f"{number} {row} " * 500, number),
                    )
            number += 1
            done.wait(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        counts = []
        for _ in range(30):
            copy = open_in_memory(tmp_path / "memos.db")
            assert copy.query("PRAGMA integrity_check")[0][0] == "ok"
            assert not copy.query("SELECT last_seq FROM summaries GROUP BY last_seq HAVING count(*) <> 2")
            counts.append(copy.query("SELECT count(*) FROM summaries")[0][0])
            copy.close()
    finally:
        done.set()
        writer.join()
    assert counts == sorted(counts) and counts[-1] > counts[0]


def test_it_is_a_database_like_any_other(tmp_path: Path) -> None:
    agent_home(tmp_path).database.close()
    copy = open_in_memory(tmp_path / "memos.db")
    with pytest.raises(sqlite3.IntegrityError), copy.transaction() as connection:
        connection.execute("INSERT INTO blocks (agent_id, label, value, limit_chars) VALUES ('nobody', 'x', '', 1)")
    assert isinstance(copy, Database)
    copy.close()
