"""The index with a remote embedder: found at once, told once, healed by itself, and a change that breaks nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_embeddings import FakeEmbeddings
from support.search_home import SearchHome, WordCounts, search_home

from memos.errors import EmbeddingProblem
from memos.llm.remote_embedder import RemoteEmbedder
from memos.memory.index import Index, known_dims

MODEL = "openai/fake-embedding"
PAUSE_S = 0.3


@pytest.fixture
def server() -> Iterator[FakeEmbeddings]:
    with FakeEmbeddings() as server:
        yield server


def remote(server: FakeEmbeddings, dims: int = 0) -> RemoteEmbedder:
    return RemoteEmbedder(MODEL, api_base=server.url, dims=dims, timeout_s=2, pause_s=PAUSE_S)


def test_a_single_row_is_found_by_meaning_as_soon_as_it_is_stored(tmp_path: Path, server: FakeEmbeddings) -> None:
    home = search_home(tmp_path, remote(server))
    for number in range(10):
        home.say(f"message number {number}")
    home.index_all()
    wanted = home.say("beekeepers")
    result = home.search().find("a", "beekeeping", limit=1)  # shares no word, but parts of words
    assert [hit.seq for hit in result.hits] == [wanted]
    passage = home.keep("the winter is mild")
    assert [hit.seq for hit in home.search("archival").find("a", "mildest winters", limit=1).hits] == [passage]


def test_how_long_a_vector_is_is_learned_from_the_first_answer_and_kept(tmp_path: Path, server: FakeEmbeddings) -> None:
    home = search_home(tmp_path, remote(server))
    home.say("bees")
    home.keep("honey")
    assert known_dims(home.database, home.embedder.name) == 0
    assert home.index_all() == 2
    assert known_dims(home.database, home.embedder.name) == 64
    again = home.reopened(remote(server, dims=64))
    again.say("more bees")
    assert again.index_all() == 1 and again.tables["recall"].count() == 2


@pytest.mark.parametrize("fault", ["500", "nan", "null", "hang"])
def test_an_endpoint_that_fails_is_told_once_and_used_again_when_it_is_back(
    tmp_path: Path, server: FakeEmbeddings, fault: str
) -> None:
    home = search_home(tmp_path, remote(server))
    wanted = home.say("beekeepers in winter")
    home.keep("beekeepers in spring")
    home.index_all()
    server.fault = fault
    recall, archival = home.search(), home.search("archival")
    asked = len(server.bodies)
    first = recall.find("a", "winter", limit=5)
    assert first.degraded and "words alone" in first.degraded and [hit.seq for hit in first.hits] == [wanted]
    began = time.monotonic()
    others = [archival.find("a", "spring", limit=5), recall.find("a", "winter", limit=5)]
    if time.monotonic() - began < PAUSE_S:
        assert len(server.bodies) == asked + 1  # nobody asks a dead endpoint at every search
    assert [other.degraded for other in others] == [None, None] and all(other.hits for other in others)
    server.fault = ""
    time.sleep(PAUSE_S)
    assert [hit.seq for hit in recall.find("a", "beekeeping", limit=1).hits] == [wanted]
    server.fault = fault
    assert recall.find("a", "winter", limit=5).degraded  # a new outage is told anew


def test_indexing_pauses_at_a_dead_endpoint_and_goes_on_afterwards(tmp_path: Path, server: FakeEmbeddings) -> None:
    home = search_home(tmp_path, remote(server))
    home.say("bees")
    server.fault = "500"
    for _ in range(3):
        with pytest.raises(EmbeddingProblem):
            home.indexer.step(flush=True)
    assert home.indexer.pending() == 1 and len(server.bodies) <= 2
    server.fault = ""
    time.sleep(PAUSE_S)
    assert home.index_all() == 1


def test_a_text_without_a_vector_is_left_to_its_words(tmp_path: Path, server: FakeEmbeddings) -> None:
    home = search_home(tmp_path, remote(server))
    poison = home.say("poison ivy")
    home.say("bees")
    server.fault = "some_null"
    assert home.index_all() == 2 and home.tables["recall"].count() == 1
    assert [hit.seq for hit in home.search().find("a", "ivy", limit=1).hits] == [poison]


def test_a_change_of_embedder_leaves_the_old_vectors_and_searches_only_the_new(
    tmp_path: Path, server: FakeEmbeddings
) -> None:
    local = search_home(tmp_path)
    wanted = local.say("beekeepers in winter")
    local.index_all()
    home = local.reopened(remote(server))
    assert home.indexer.due() == 1
    home.say("apples")
    assert [hit.seq for hit in home.search().find("a", "winter", limit=1).hits] == [wanted]
    assert home.index_all() == 2
    assert [hit.seq for hit in home.search().find("a", "beekeeping", limit=1).hits] == [wanted]
    folders = {path.name for path in home.tables["recall"].folder.glob("recall-*.lance")}
    assert len(folders) == 2


def test_of_two_processes_with_different_embedders_the_one_that_began_later_indexes(tmp_path: Path) -> None:
    first = search_home(tmp_path, WordCounts("test/first"))
    first.say("bees")
    assert first.index_all() == 1
    second = search_home(tmp_path, WordCounts("test/second", dims=32))
    assert second.index_all() == 1
    first.say("honey")
    assert first.index_all() == 0  # else each would undo the other's work for ever
    assert second.index_all() == 1 and second.indexer.pending() == 0


def test_starting_over_lets_all_rows_wait_before_a_vector_is_thrown_away(tmp_path: Path) -> None:
    home: SearchHome = search_home(tmp_path)
    home.say("bees")
    home.index_all()
    assert home.indexer.start_over()
    assert home.indexer.pending() == 1 and home.tables["recall"].count() == 0
    assert home.index_all() == 1 and home.tables["recall"].count() == 1


def test_without_an_embedder_there_are_words(tmp_path: Path) -> None:
    home = search_home(tmp_path)
    wanted = home.say("beekeepers in winter")
    index = Index.open(tmp_path / "lance", home.database, "none")
    result = index.search("recall").find("a", "winter", limit=5)
    assert [hit.seq for hit in result.hits] == [wanted] and result.degraded is None and index.indexer is None
    index.close()
