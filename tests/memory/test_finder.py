"""What the user looks for: typed finds of all three places, and the words of a query in any of their forms."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.agent_home import agent_home
from support.search_home import SAID_AT, search_home

from memos.memory import search
from memos.memory.finder import Finder, Finds, Span, merged
from memos.memory.index import Index
from memos.memory.word_forms import coverage, without_accents, word_patterns
from memos.storage.agents import Agents
from memos.terminal.highlighting import highlighted


def test_finds_keep_the_order_of_the_search_and_say_how_many_there_are(tmp_path: Path) -> None:
    home = search_home(tmp_path)
    (agent,) = Agents(home.database).all()
    seqs = [home.say(f"honey {number}") for number in range(5)]
    index = Index(home.database, home.legs, home.indexer)
    found = Finder(index).find(agent, "recall", "honey 3", 2)
    best = index.search("recall").find(agent.id, "honey 3", limit=2)
    assert found.total == 5 and [find.score for find in found.finds] == [hit.score for hit in best.hits]
    assert found.finds[0].text == "honey 3" and best.hits[0].seq == seqs[3]
    before = Finder(index).find(agent, "recall", "honey", 9, Span(end=SAID_AT))
    after = Finder(index).find(agent, "recall", "honey", 2, Span(SAID_AT, SAID_AT + timedelta(seconds=1)))
    assert before == Finds(0, ()) and after.total == 5 and len(after.finds) == 2
    home.database.close()


def test_a_line_of_core_memory_is_the_better_the_more_of_the_words_it_has(tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    home.memory.edit("human", "Sells honey.\nHoney yields: 40 kg.\nLikes tea.")
    found = home.finder.find(home.agent, "core", "honey yield", 10)
    assert [(find.id, find.score) for find in found.finds] == [("human:2", 1.0), ("human:1", 0.5)]
    assert found.finds[0].at == home.memory.last_edits(1)[0].created_at
    assert home.finder.find(home.agent, "core", "???", 10) == Finds(0, ())
    assert merged([], "honey", 3) == []
    home.database.close()


def test_a_common_word_is_looked_for_where_the_rarer_one_is_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "COMMON_ROWS", 3)
    home = search_home(tmp_path)
    for number in range(5):
        home.say(f"honey {number}")
    assert home.lexical().find("a", "honey Málaga", limit=10).total == 5
    home.database.close()


@pytest.mark.parametrize(
    ("query", "text", "words"),
    [
        ("bees", "Bee, beehive and a bumblebee", ["Bee", "beehive"]),
        ("cafe MALAGA", "Le Café à Málaga", ["Café", "Málaga"]),
        ("conversations", "a conversational tone", ["conversational"]),
        ('"honey yield" of', "the yields of honey", ["yields", "honey"]),
        ("über", "Ubersetzt: über", ["Ubersetzt", "über"]),
        ("?!", "what?!", []),
    ],
)
def test_each_form_of_a_word_stands_out(query: str, text: str, words: list[str]) -> None:
    shown = highlighted(text, query)
    assert sorted(shown.plain[span.start : span.end] for span in shown.spans) == sorted(words)


@given(st.text(max_size=200), st.text(max_size=60))
def test_any_text_is_harmless_and_as_long_as_before(text: str, query: str) -> None:
    assert len(without_accents(text)) == len(text)
    assert 0 <= coverage(text, word_patterns(query)) <= 1
    shown = highlighted(text, query)
    assert "\x1b" not in shown.plain and all(span.end <= len(shown.plain) for span in shown.spans)
