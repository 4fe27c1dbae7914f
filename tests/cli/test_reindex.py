"""`memos reindex`: after a change of embedder, killed in its middle, beside another one, against a dead endpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import clean_environ, memos
from support.fake_embeddings import FakeEmbeddings
from support.fake_openai import refused_url
from support.screens import saying, write_script
from support.search_home import search_home

from memos.config import Places
from memos.storage.database import Database
from memos.storage.usage_ledger import UsageLedger
from memos.storage.vectors import VectorTable

MODEL = "openai/fake-embedding"


@pytest.fixture
def server() -> Iterator[FakeEmbeddings]:
    with FakeEmbeddings() as server:
        yield server


def places_of(home: Path) -> Places:
    return Places.find({"MEMOS_HOME": str(home)})


def filled(home: Path, rows: int) -> Places:
    places = places_of(home)
    made = search_home(places.database.parent)
    made.add_agent("b")
    for number in range(rows):
        made.say(f"message number {number}", agent_id="a" if number % 2 else "b")
    made.keep("a passage about honey")
    made.database.close()
    return places


def chosen(server: FakeEmbeddings | None, url: str = "") -> list[str]:
    base = f"memory.embedding_api_base={url or (server.url if server else '')}"
    return ["--set", f"memory.embedding={MODEL}", "--set", base]


def stored(places: Places, server: FakeEmbeddings, dims: int = 64) -> tuple[int, int]:
    space = f"{MODEL} at {server.url.removeprefix('http://')}"
    tables = [VectorTable(places.vectors, tier, space, dims) for tier in ("recall", "archival")]
    recall, archival = (table.count() for table in tables)
    return recall, archival


def rows_waiting(places: Places) -> int:
    database = Database.open(places.database)
    try:
        sql = "SELECT (SELECT count(*) FROM messages WHERE indexed_at IS NULL)"
        return int(database.query(sql + " + (SELECT count(*) FROM passages WHERE indexed_at IS NULL)")[0][0])
    finally:
        database.close()


def test_every_row_gets_a_vector_of_the_embedder_that_is_chosen_now(tmp_path: Path, server: FakeEmbeddings) -> None:
    places = filled(tmp_path, 150)
    run = memos(tmp_path, "reindex", "--json", *chosen(server))
    assert run.returncode == 0, run.stderr
    done = json.loads(run.stdout)
    assert (done["embedding"], done["rows"], done["left"]) == (MODEL, 151, 0)
    assert "goes to 127.0.0.1" in run.stderr and "151 texts wait" in run.stderr
    assert stored(places, server) == (150, 1) and len(server.texts) == 151

    again = memos(tmp_path, "reindex", *chosen(server))
    assert again.returncode == 0 and "0 rows indexed" in again.stderr and len(server.texts) == 151

    everything = memos(tmp_path, "reindex", "--all", *chosen(server))
    assert everything.returncode == 0 and "151 rows indexed" in everything.stderr, everything.stderr
    assert len(server.texts) == 302 and stored(places, server) == (150, 1)


def test_what_it_used_is_put_down_to_the_agent_whose_texts_they_were(tmp_path: Path, server: FakeEmbeddings) -> None:
    places = filled(tmp_path, 10)
    memos(tmp_path, "reindex", *chosen(server))
    database = Database.open(places.database)
    totals = {total.agent: total for total in UsageLedger(database).totals()}
    database.close()
    assert set(totals) == {"a", "b"}
    assert all((total.model, total.purpose) == (MODEL, "embed") for total in totals.values())
    words = sum(len(text.split()) for text in server.texts)
    assert sum(total.spent.prompt_tokens or 0 for total in totals.values()) == words
    assert totals["a"].spent.cost_usd is None  # a server of one's own has no price


def test_killed_in_its_middle_it_goes_on_where_it_was(tmp_path: Path, server: FakeEmbeddings) -> None:
    places = filled(tmp_path, 700)
    server.delay_s = 0.1
    command = [sys.executable, "-m", "memos", "reindex", *chosen(server)]
    process = subprocess.Popen(command, env=clean_environ(tmp_path), cwd="/", stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while len(server.texts) < 300 and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    waiting = rows_waiting(places)
    assert 0 < waiting < 701
    server.delay_s = 0.0
    run = memos(tmp_path, "reindex", "--json", *chosen(server))
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["rows"] == waiting
    assert stored(places, server) == (700, 1) and rows_waiting(places) == 0
    twice = [text for text, times in Counter(server.texts).items() if times > 1]
    assert len(twice) <= 160  # the batch that was under way, and the request that was


def test_two_processes_at_once_leave_no_vector_twice(tmp_path: Path, server: FakeEmbeddings) -> None:
    places = filled(tmp_path, 500)
    server.delay_s = 0.05
    command = [sys.executable, "-m", "memos", "reindex", *chosen(server)]
    environ = clean_environ(tmp_path)
    both = [subprocess.Popen(command, env=environ, cwd="/", stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert "take turns" in "".join(told)
    assert stored(places, server) == (500, 1) and rows_waiting(places) == 0
    assert len(server.texts) <= 501 + 256


def test_a_dead_endpoint_is_told_and_the_rows_keep_waiting(tmp_path: Path) -> None:
    places = filled(tmp_path, 3)
    run = memos(tmp_path, "reindex", *chosen(None, refused_url()))
    assert run.returncode == 5 and "4 rows wait" in run.stderr and "then memos reindex" in run.stderr, run.stderr
    assert rows_waiting(places) == 4


def test_another_dimension_stops_it_until_all_is_made_again(tmp_path: Path, server: FakeEmbeddings) -> None:
    places = filled(tmp_path, 5)
    memos(tmp_path, "reindex", *chosen(server))
    database = Database.open(places.database)
    with database.transaction() as connection:
        connection.execute("UPDATE messages SET indexed_at = NULL WHERE seq = 1")
    database.close()
    server.dims = 32
    refused = memos(tmp_path, "reindex", *chosen(server))
    assert refused.returncode != 0 and "32 dimensions" in refused.stderr and "--all" in refused.stderr
    assert stored(places, server) == (5, 1)
    again = memos(tmp_path, "reindex", "--all", *chosen(server))
    assert again.returncode == 0, again.stderr
    assert stored(places, server, dims=32) == (5, 1)


def test_without_an_embedder_or_a_database_there_is_nothing_to_make(tmp_path: Path) -> None:
    empty = memos(tmp_path, "reindex")
    assert empty.returncode == 0 and not places_of(tmp_path).database.exists()
    filled(tmp_path, 1)
    run = memos(tmp_path, "reindex", "--set", "memory.embedding=none")
    assert run.returncode == 2 and "words alone" in run.stderr


def test_the_built_in_embedder_sends_nothing_and_asks_nothing(tmp_path: Path) -> None:
    places = filled(tmp_path, 3)
    run = memos(tmp_path, "reindex", "--json", environ={"RUST_LOG": "trace", "LANCE_LOG": "trace"})
    assert run.returncode == 0 and json.loads(run.stdout)["rows"] == 4
    assert run.stderr == "", run.stderr  # neither LanceDB nor the runtime has a word to say
    assert rows_waiting(places) == 0


def test_show_says_who_gets_the_text(tmp_path: Path) -> None:
    named = {"MEMOS_MEMORY_EMBEDDING": MODEL, "MEMOS_MEMORY_EMBEDDING_API_BASE": "http://me:secret@host.example:1/v1"}
    run = memos(tmp_path, "configure", "--show", environ=named)
    assert f"the text of all messages and passages goes to host.example:1 ({MODEL})." in run.stdout
    assert "secret" not in run.stdout
    assert "goes to" not in memos(tmp_path, "configure", "--show").stdout


def test_a_conversation_goes_on_by_words_where_the_embedder_is_dead(tmp_path: Path) -> None:
    search = {"name": "conversation_search", "arguments": {"query": "honey", "request_heartbeat": True}}
    script = write_script(tmp_path / "script.json", [{"calls": [search]}, {"calls": [search]}, saying("I looked.")])
    run = memos(tmp_path, "run", "-m", script, *chosen(None, refused_url()), typed="Where is the honey?\nAnd now?\n")
    assert run.returncode == 0 and "I looked." in run.stdout, run.stderr
    assert (run.stdout + run.stderr).count("refused the connection") == 1
    assert "goes to 127.0.0.1" in run.stdout + run.stderr


def test_a_missing_key_of_the_embedder_is_no_reason_not_to_talk(tmp_path: Path) -> None:
    script = write_script(tmp_path / "script.json", [saying("Hello.")])
    options = ("-m", script, "--set", "memory.embedding=openai/text-embedding-3-small")
    run = memos(tmp_path, "run", *options, typed="Hi.\n")
    assert run.returncode == 0 and "Hello." in run.stdout, run.stderr
    assert "OPENAI_API_KEY is not set" in run.stdout + run.stderr
