"""`memos forget`: the whole command, its locks, its JSON; and kill -9 in the middle of it."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.command_line import clean_environ, memos
from support.planted import PATHS, SECRET, cells_with, files_with, play, stems_in_full_text
from support.screens import memos_screen, saying

from memos.memory.archival_storage import insert_passages
from memos.messages import Provenance
from memos.storage.agent_lock import AgentLock
from memos.storage.agents import Agents
from memos.storage.database import Database

KILLS = 20 if os.environ.get("MEMOS_TEST_FULL") else 6
WAYS = ("typed", "archive", "summary", "files", "forked", "vectors, before and after 128 rows")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    play(tmp_path / "home", [PATHS["typed"], PATHS["forked"], PATHS["files"]])
    return tmp_path / "home"


def test_without_yes_and_without_a_person_it_only_shows(home: Path) -> None:
    before = files_with(home)
    done = memos(home, "forget", SECRET)
    assert done.returncode == 2 and "add --yes" in done.stderr
    assert "things hold these words." in done.stdout and "what was typed, for the up key" in done.stdout
    assert files_with(home) == before


def test_all_agents_forget_and_the_certificate_is_printed(home: Path) -> None:
    done = memos(home, "forget", "--yes", *SECRET.split())
    assert done.returncode == 0, done.stderr
    assert "for copy, sam" in done.stdout and "0 hits remain" in done.stdout
    assert files_with(home) == [] and cells_with(home / "data" / "memos.db") == []
    assert "Nothing in memory or its files holds these words" in memos(home, "forget", "--yes", SECRET).stdout


def test_one_agent_forgets_and_the_other_is_told(home: Path) -> None:
    done = memos(home, "forget", "--agent", "sam", "--yes", "--json", SECRET)
    certificate = json.loads(done.stdout)
    assert certificate["agents"] == ["sam"] and certificate["hits"] > 0
    assert {left["agent"] for left in certificate["left"] if "agent" in left} == {"copy"}


def test_json_without_yes_says_what_would_be_erased(home: Path) -> None:
    shown = json.loads(memos(home, "forget", "--json", SECRET).stdout)
    assert {thing["agent"] for thing in shown["would_erase"]} == {"sam", "copy", ""}
    assert files_with(home)


def test_the_words_can_come_through_a_pipe(home: Path) -> None:
    done = memos(home, "forget", "--yes", "-", typed=f"{SECRET}\n")
    assert done.returncode == 0 and files_with(home) == []


def test_an_agent_that_is_open_elsewhere_is_left_alone(home: Path) -> None:
    database = Database.open(home / "data" / "memos.db")
    agent = Agents(database).get("copy")
    database.close()
    lock = AgentLock(home / "state" / "locks", agent.id, agent.name)
    lock.acquire()
    done = memos(home, "forget", "--yes", SECRET)
    lock.release()
    assert done.returncode == 7 and "use /forget in that conversation" in done.stderr
    assert files_with(home)


def test_where_there_is_nothing_nothing_is_made(tmp_path: Path) -> None:
    assert memos(tmp_path, "forget", "plum 4711", "--yes").returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.crash
@pytest.mark.timeout(600)
def test_a_kill_at_any_point_breaks_nothing_and_the_same_words_complete_it(tmp_path: Path) -> None:
    chance, completed = random.Random(4711), 0
    for point in range(KILLS):
        home = tmp_path / str(point)
        play(home, [PATHS[way] for way in WAYS])
        began = time.monotonic()
        if not point:  # how long it takes here and now
            assert memos(home, "forget", "--yes", SECRET).returncode == 0
            whole_s = time.monotonic() - began
            continue
        process = subprocess.Popen(
            [sys.executable, "-m", "memos", "forget", "--yes", SECRET],
            env=clean_environ(home),
            cwd="/",
            stdout=subprocess.DEVNULL,
        )
        mark = home / "data" / "memos.erasing"
        while not mark.exists() and process.poll() is None:
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, whole_s / 2))
        process.send_signal(signal.SIGKILL)
        completed += process.wait() == 0
        with sqlite3.connect(home / "data" / "memos.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        if mark.exists():
            assert json.loads(memos(home, "forget", "--json", SECRET).stdout)["broken_off"]
        done = memos(home, "forget", "--yes", SECRET)
        assert done.returncode == 0, done.stderr
        database = home / "data" / "memos.db"
        assert (files_with(home), cells_with(database), stems_in_full_text(database)) == ([], [], [])
        assert not mark.exists()
    assert completed < KILLS - 1, "every kill came too late"


@pytest.mark.terminal
def test_an_agent_that_holds_none_of_it_goes_on_in_another_terminal(tmp_path: Path) -> None:
    script = [saying("Good evening."), saying("Kept.")]
    with memos_screen(tmp_path, script, "--new", "eve") as screen:
        screen.until("Good evening.")
        database = Database.open(tmp_path / "data" / "memos.db")
        agent = Agents(database).create("sam", model="x", persona_name="sam", human_name="basic", blocks=())
        insert_passages(database, agent.id, [f"I know {SECRET}."], Provenance.USER)
        database.close()
        done = memos(tmp_path, "forget", "--yes", SECRET)
        assert done.returncode == 0 and "0 hits remain" in done.stdout, done.stderr
        screen.type("I keep bees.\r")
        screen.until("Kept.")
    assert files_with(tmp_path) == []
