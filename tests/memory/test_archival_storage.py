"""Archival storage: tags, time, what is there already, and what is corrected."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.agent_home import AgentHome, agent_home

from memos.errors import FunctionFailed
from memos.memory.archival_storage import TAG_LIMIT, checked_tags, insert_passages, normalised
from memos.messages import Provenance


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    return agent_home(tmp_path)


def test_tags_are_kept_in_lower_case_shown_and_any_of_them_finds(home: AgentHome) -> None:
    home.archival.archival_memory_insert("Ana keeps bees.", tags=["Bees", "the roof"])
    home.archival.archival_memory_insert("Ana keeps goats.", tags=["goats"])
    home.archival.archival_memory_insert("Ana keeps time.")
    search = home.archival.archival_memory_search
    assert "of 3 results" in search("Ana")
    assert " #bees #the-roof] Ana keeps bees." in search("Ana", tags=["BEES"])
    assert "of 2 results" in search("Ana", tags=["goats", "The Roof"])
    assert "of 2 results" in search("", tags=["goats", "bees"])
    assert search("Ana", tags=["cellos"]) == "No results."


def test_passages_are_found_by_the_time_of_storing(home: AgentHome) -> None:
    home.archival.archival_memory_insert("Ana keeps bees.")
    long_ago = (datetime.now(UTC) - timedelta(days=800)).isoformat()
    with home.database.transaction() as connection:
        connection.execute("UPDATE passages SET created_at = ?", (long_ago,))
    home.archival.archival_memory_insert("Ana keeps goats.")
    search = home.archival.archival_memory_search
    assert "goats" in (found := search("Ana", start="today")) and "of 1 results" in found
    assert "bees" in (found := search("Ana", end="last year")) and "of 1 results" in found
    assert "of 2 results" in search("Ana", start="0", end="now")


def test_the_same_passage_is_stored_once_and_gets_the_new_tags(home: AgentHome) -> None:
    insert = home.archival.archival_memory_insert
    assert insert("Ana keeps bees.", tags=["a"]) == "Stored in archival memory."
    told = insert("  ana KEEPS\n bees", tags=["a", "b"])
    assert f"already, since {datetime.now().astimezone():%Y-%m-%d}" in told and "nothing was stored twice" in told
    assert home.recall.counts() == (0, 1)
    assert "#a #b" in home.archival.archival_memory_search("bees")
    insert("🐝")
    assert "already" in insert("🐝")
    insert("Ana keeps no bees.")
    assert home.recall.counts() == (0, 3)


def test_another_agents_passage_is_not_there_already(home: AgentHome, tmp_path: Path) -> None:
    other = agent_home(tmp_path, name="eve")
    other.archival.archival_memory_insert("Ana keeps bees.")
    assert home.archival.archival_memory_insert("Ana keeps bees.") == "Stored in archival memory."
    with pytest.raises(FunctionFailed):
        other.archival.archival_memory_insert("Ana keeps goats.", replaces="no such words")


def test_a_corrected_passage_is_found_no_more_and_kept(home: AgentHome) -> None:
    insert = home.archival.archival_memory_insert
    insert("Ana lives in Ghent, near the canal.")
    told = insert("Ana lives in Leiden.", replaces="lives in  GHENT")
    assert "in place of that of" in told and "near the canal" in told
    assert "of 1 results" in (found := home.archival.archival_memory_search("Ana lives")) and "Leiden" in found
    assert home.recall.counts() == (0, 1)
    old, new = home.database.query("SELECT id, superseded_by FROM passages ORDER BY seq")
    assert old["superseded_by"] == new["id"] and new["superseded_by"] is None


def test_a_correction_that_was_taken_back_brings_the_old_passage_back(home: AgentHome) -> None:
    home.archival.archival_memory_insert("Ana lives in Ghent.")
    turn = home.begin_turn()
    home.archival.archival_memory_insert("Ana lives in Leiden.", replaces="Ana lives in Ghent.")
    assert home.archival.take_back(turn.id, "undo") == 1
    found = home.archival.archival_memory_search("Ana lives")
    assert "Ghent" in found and "Leiden" not in found and home.recall.counts() == (0, 1)


def test_a_correction_to_what_is_there_already_lets_the_wrong_one_go(home: AgentHome) -> None:
    for text in ("Ana lives in Ghent.", "Ana lives in Leiden."):
        home.archival.archival_memory_insert(text)
    told = home.archival.archival_memory_insert("Ana lives in Leiden.", replaces="Ghent")
    assert "already" in told and "Ghent" in told
    assert "of 1 results" in home.archival.archival_memory_search("Ana lives")


def test_words_of_no_passage_or_of_several_correct_nothing(home: AgentHome) -> None:
    insert = home.archival.archival_memory_insert
    for text in ("Ana lives in Ghent.", "Ana lives in Ghent with a cat.", "Bob sings."):
        insert(text)
    with pytest.raises(FunctionFailed, match=r"2 passages .*with a cat"):
        insert("Ana lives in Leiden.", replaces="lives in Ghent")
    with pytest.raises(FunctionFailed, match="No passage"):
        insert("Ana lives in Leiden.", replaces="lives in Paris")
    assert home.recall.counts() == (0, 3)
    assert "in place of" in insert("Ana lives in Leiden.", replaces="Ana lives in Ghent")  # the whole of one


@given(st.lists(st.text(max_size=40), max_size=TAG_LIMIT))
def test_any_words_become_tags_that_stay_as_they_are(tags: list[str]) -> None:
    kept = checked_tags(tags)
    assert checked_tags(kept) == kept and not any(set(tag) & set(" #[]\n") for tag in kept)


def test_too_many_or_too_long_tags_are_refused() -> None:
    for tags in ([str(number) for number in range(TAG_LIMIT + 1)], ["x" * 41]):
        with pytest.raises(FunctionFailed, match="at most"):
            checked_tags(tags)


def test_duplicates_are_recognised_among_many(home: AgentHome) -> None:
    texts = [f"The key of door {number} hangs on hook {number % 7}." for number in range(2_000)]
    insert_passages(home.database, home.agent.id, texts, Provenance.DOCUMENT)
    assert "already" in home.archival.archival_memory_insert(texts[1_234].upper())
    assert normalised(" A  b. ") == "a b"
