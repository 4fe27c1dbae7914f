"""Self-echo: a statement outranks an earlier copy of the question that is asked now."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.search_home import SearchHome, search_home

from memos.memory.echoes import is_echo, stems
from memos.memory.scope import Scope

PEOPLE = ("Ana", "Bruno", "my sister", "Mrs Ito", "our neighbour")
FACTS = (
    ("Where does {} live?", "{} moved to a flat in Ghent last spring."),
    ("What does {} play?", "On Sundays {} plays the cello."),
    ("What is {} allergic to?", "By the way, {} is allergic to walnuts."),
    ("When is the birthday of {}?", "The birthday of {} is on the ninth of March."),
    ("Which car does {} drive?", "{} drives an old green Saab."),
    ("What is the name of the dog of {}?", "The dog of {} is called Rex."),
    ("Where did {} study?", "{} studied law in Leiden."),
    ("Do you know what {} collects?", "{} collects stamps from Peru."),
    ("How does {} take coffee?", "{} takes coffee black, with honey."),
    ("Who is the boss of {}?", "{} has a new boss, Mr Okafor."),
)
CASES = [(question.format(person), fact.format(person)) for question, fact in FACTS for person in PEOPLE]
ASKED_AGAIN = ("{}", "{}", "Hi Sam, {}", "{}")
ANSWERS = ("I have nothing about that.", "I do not know that yet; would you tell me?", "You have not told me.")


@pytest.fixture
def home(tmp_path: Path) -> SearchHome:
    return search_home(tmp_path)


@pytest.mark.parametrize("asked_first", [False, True], ids=["told, then asked", "asked, then told"])
@pytest.mark.parametrize("leg", ["words", "words and meaning"])
def test_fifty_of_fifty_statements_outrank_the_earlier_question(home: SearchHome, leg: str, asked_first: bool) -> None:
    pairs = []
    for number, (question, fact) in enumerate(CASES):
        rows: dict[str, int] = {}

        def tell(fact: str = fact, number: int = number, rows: dict[str, int] = rows) -> None:
            rows["fact"] = home.say(fact, session=f"told {number}")

        def ask(question: str = question, number: int = number, rows: dict[str, int] = rows) -> None:
            asked = ASKED_AGAIN[number % len(ASKED_AGAIN)].format(question)
            rows["question"] = home.say(asked, session=f"asked {number}")
            home.say(ANSWERS[number % len(ANSWERS)], speaker="sam", session=f"asked {number}")

        for step in (ask, tell) if asked_first else (tell, ask):
            step()
        pairs.append((question, rows["fact"], rows["question"]))
    search = home.lexical()
    if leg == "words and meaning":
        home.index_all()
        search = home.search()
    outranked = 0
    for question, fact, echo in pairs:
        order = [hit.seq for hit in search.find("a", question, limit=1_000).hits]
        outranked += order.index(fact) < order.index(echo)
    assert outranked == len(CASES) == 50


@pytest.mark.parametrize(
    ("query", "row"),
    [
        ("Where does Ana live?", "where does ana live"),
        ("Where does Ana live?", "Hey Sam, where is Ana living now?"),
        ("Ana live", "Tell me where Ana lives."),
        ("アナはどこに住んでいますか", "アナはどこに住んでいますか？"),
    ],
)
def test_a_question_without_a_word_of_its_own_is_an_echo(query: str, row: str) -> None:
    assert is_echo(row, stems(query))


@pytest.mark.parametrize(
    ("query", "row"),
    [
        ("Where does Ana live?", "Ana lives in Ghent."),
        ("Ana keeps bees", "Ana keeps bees"),
        ("Where does Ana live?", "Where does Bob live?"),
        ("Where does Ana live?", "Does Ana still live in Ghent?"),
        ("", "Where?"),
    ],
)
def test_what_says_something_is_no_echo(query: str, row: str) -> None:
    assert not is_echo(row, stems(query))


@given(st.text(), st.text())
def test_any_text_can_be_compared(query: str, row: str) -> None:
    is_echo(row, stems(query))


def test_an_echo_is_still_a_hit(home: SearchHome) -> None:
    question = home.say("Where does Ana live?")
    assert [hit.seq for hit in home.lexical().find("a", "Where does Ana live?", limit=5).hits] == [question]
    assert home.lexical().find("a", "Where does Ana live?", limit=5, scope=Scope(question)).total == 0
