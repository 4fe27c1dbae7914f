"""The outbox of the vector index: at least once, no duplicates, and rebuilt whenever it must be."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from support.search_home import SearchHome, WordCounts, search_home

from memos.errors import EmbeddingProblem
from memos.memory.indexer import BATCH_ROWS


@pytest.fixture
def home(tmp_path: Path) -> SearchHome:
    return search_home(tmp_path)


def test_every_row_that_was_heard_gets_its_vector(home: SearchHome) -> None:
    for number in range(BATCH_ROWS + 6):
        home.say(f"message number {number}")
    home.say("")  # a result or a monologue: nobody heard it
    home.keep("a passage")
    assert home.indexer.pending() == BATCH_ROWS + 7
    assert [home.indexer.step(flush=True) for _ in range(4)] == [BATCH_ROWS, 6, 1, 0]
    assert home.indexer.pending() == 0
    assert (home.tables["recall"].count(), home.tables["archival"].count()) == (BATCH_ROWS + 6, 1)


def test_text_still_streaming_waits_until_it_is_complete(home: SearchHome) -> None:
    seq = home.say("half a sen", state="provisional")
    assert home.indexer.step(flush=True) == 0
    with home.database.transaction() as connection:
        connection.execute("UPDATE messages SET state = 'complete' WHERE seq = ?", (seq,))
    assert home.indexer.step(flush=True) == 1


def test_rows_too_few_for_a_batch_are_read_once_and_wait_in_memory(home: SearchHome) -> None:
    for number in range(BATCH_ROWS - 1):
        home.say(f"message number {number}")
    assert home.indexer.step() == 0 and not home.tables["recall"].exists()
    assert len(home.embedder.embedded) == BATCH_ROWS - 1  # type: ignore[attr-defined]
    home.say("the last of the batch")
    assert home.indexer.step() == BATCH_ROWS and home.indexer.pending() == 0
    assert len(home.embedder.embedded) == BATCH_ROWS  # type: ignore[attr-defined]


def test_a_vector_written_twice_after_a_crash_is_there_once(home: SearchHome) -> None:
    home.say("bees")
    home.index_all()
    with home.database.transaction() as connection:  # as if killed between the vector and its mark
        connection.execute("UPDATE messages SET indexed_at = NULL")
    again = home.reopened()
    assert again.index_all() == 1
    assert again.tables["recall"].count() == 1


def test_a_lost_index_is_made_again_from_the_database(home: SearchHome) -> None:
    home.say("bees")
    home.keep("honey")
    home.index_all()
    shutil.rmtree(home.tables["recall"].folder)
    again = home.reopened()
    assert again.index_all() == 2
    assert again.tables["recall"].count() == again.tables["archival"].count() == 1


def test_a_damaged_index_is_made_again_from_the_database(home: SearchHome) -> None:
    home.say("bees")
    home.index_all()
    for file in home.tables["recall"].folder.rglob("*.manifest"):
        file.write_bytes(b"broken")
    again = home.reopened()
    again.say("honey")
    assert again.index_all() == 2
    assert again.tables["recall"].count() == 2


def test_another_embedder_gets_vectors_of_its_own_for_every_row(home: SearchHome) -> None:
    home.say("bees")
    home.index_all()
    other = WordCounts("test/other", dims=32)
    again = home.reopened(other)
    assert again.index_all() == 1 and len(other.embedded) == 1
    back = again.reopened(home.embedder)
    back.say("said in between")
    assert back.index_all() == 2
    assert back.tables["recall"].count() == 2


def test_rows_that_were_taken_back_get_no_vector(home: SearchHome) -> None:
    home.take_back(home.say("never mind"))
    home.say("bees")
    assert home.index_all() == 2
    assert home.tables["recall"].count() == 1


def test_a_vector_that_is_not_a_number_does_not_block_the_others(tmp_path: Path) -> None:
    class SometimesNan(WordCounts):
        def embed(self, texts):  # type: ignore[no-untyped-def]
            vectors = super().embed(texts)
            vectors[["poison" in text for text in texts]] = np.nan
            return vectors

    home = search_home(tmp_path, SometimesNan())
    home.say("poison")
    home.say("bees")
    assert home.index_all() == 2 and home.indexer.pending() == 0
    assert home.tables["recall"].count() == 1


def test_rows_keep_waiting_while_the_embedder_fails(tmp_path: Path) -> None:
    class Failing(WordCounts):
        def embed(self, texts):  # type: ignore[no-untyped-def]
            raise EmbeddingProblem("The embedder is out of order.")

    home = search_home(tmp_path, Failing())
    home.say("bees")
    with pytest.raises(EmbeddingProblem):
        home.indexer.step()
    assert home.indexer.pending() == 1
    mended = home.reopened(WordCounts())
    assert mended.index_all() == 1


def test_only_one_process_works_at_the_outbox_at_a_time(home: SearchHome) -> None:
    home.say("bees")
    folder = home.tables["recall"].folder
    folder.mkdir()
    with FileLock(folder / "indexer.lock"):
        assert home.indexer.step(flush=True) == 0
    assert home.indexer.step(flush=True) == 1
