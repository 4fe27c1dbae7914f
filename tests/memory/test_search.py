"""Search: words and meaning, what is never a hit, and what goes on when a leg fails."""

import sqlite3
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.search_home import SearchHome, WordCounts, search_home

from memos.errors import EmbeddingProblem
from memos.memory import search as search_module
from memos.memory.archival_storage import insert_passages
from memos.memory.query_terms import TERM_LIMIT, fts_query, search_terms
from memos.memory.scope import Scope
from memos.memory.search import SearchResult, index_text
from memos.messages import Provenance
from memos.storage import vectors as vectors_module

INDEX = sqlite3.connect(":memory:", check_same_thread=False)
INDEX.execute("CREATE VIRTUAL TABLE said USING fts5(text, tokenize='porter unicode61')")
INDEX.execute("INSERT INTO said VALUES ('we don''t write C++ about bees: a:b, well-known')")


@pytest.fixture
def home(tmp_path: Path) -> SearchHome:
    return search_home(tmp_path)


def seqs(result: SearchResult) -> list[int]:
    return [hit.seq for hit in result.hits]


# --- the query ---------------------------------------------------------------------------------------------


@given(
    st.text()
    | st.lists(st.sampled_from(['"', "AND", "NEAR(", "*", "^", "-", ":", "don't", "\x00", "🐝"])).map(" ".join)
)
@example("don't")
@example("C++")
@example("a:b")
@example('"unbal')
@example("AND")
@example("")
@example("\x00")
@example("\ud83d")
@example("🙂 𖹀")
@example("NEAR(a b, 3) OR {x} : ^y*")
@example(" ".join(f"word{number}" for number in range(10_000)))
def test_no_text_makes_an_expression_that_full_text_search_refuses(text: str) -> None:
    expression = fts_query(text)
    assert len(search_terms(text)) <= TERM_LIMIT
    if expression is not None:
        INDEX.execute("SELECT bm25(said) FROM said WHERE said MATCH ?", (expression,)).fetchall()


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("What did Ana's sister say about the bees?", ['"Ana"', '"sister"', '"say"', '"bees"']),
        ("who is it", ['"who"', '"is"', '"it"']),
        ('where is “my red box” now, "unbal', ['"my red box"', '"now"', '"unbal"']),
        ("key 7f3e-11aa of C++ at well-known a:b", ['"key"', '"7f3e-11aa"', '"C++"', '"well-known"', '"a:b"']),
        ("I don’t know", ['"know"']),
        ("bees Bees BEES", ['"bees"']),
        ("… ? 🐝", []),
    ],
)
def test_a_question_becomes_its_telling_terms(text: str, terms: list[str]) -> None:
    assert search_terms(text) == terms


# --- what is found -----------------------------------------------------------------------------------------


def test_words_are_found_in_any_form_and_order(home: SearchHome) -> None:
    bees, _ = home.say("I am keeping bees on the roof"), home.say("The train was late", session="other")
    assert seqs(home.lexical().find("a", "What does Ana keep? bee", limit=5))[0] == bees


def test_a_row_is_found_before_and_after_its_vector_is_written(home: SearchHome) -> None:
    home.say("The weather is mild", session="1")
    wanted = home.say("I keep bees", session="2")
    before = home.search().find("a", "bees", limit=5)
    home.index_all()
    later = home.say("My bees swarmed", session="3")
    after = home.search().find("a", "bees", limit=5)
    assert seqs(before)[0] == wanted
    assert set(seqs(after)[:2]) == {wanted, later}


def test_meaning_finds_what_shares_no_word(home: SearchHome) -> None:
    wanted = home.say("photograph", session="1")
    for number in range(20):
        home.say(f"zzz {number}", session=f"other {number}")
    home.index_all()
    assert seqs(home.lexical().find("a", "photography", limit=5)) == []
    assert seqs(home.search().find("a", "photography", limit=5))[0] == wanted


def test_an_answer_is_found_through_the_question_before_it(home: SearchHome) -> None:
    home.say("What is the name of your dog?", speaker="Bob", session="1")
    answer = home.say("Rex", session="1")
    home.say("Something else", session="2")
    assert seqs(home.lexical().find("a", "name of the dog", limit=5)) == [answer, answer - 1]


@pytest.mark.parametrize("between", [0, 1])
def test_a_row_gains_by_what_was_said_next_to_it_and_next_but_one(home: SearchHome, between: int) -> None:
    """Two rows say the same in the same session: the later one would come first but for what is near the other."""
    home.say("a word of bees", session="1")
    near, far = [
        [home.say(text, session="1") for text in (*["zzz"] * rows, "honey")][-1] for rows in (between, 2 * between + 4)
    ]
    found = seqs(home.lexical().find("a", "bees honey", limit=10))
    assert found.index(near) < found.index(far)


def test_a_row_gains_by_the_best_row_of_its_session(home: SearchHome) -> None:
    best = home.say("the bees of the bakery gave honey", session="1")
    for _ in range(5):
        home.say("zzz", session="1")
    within = home.say("bees fly", session="1")
    elsewhere = home.say("bees fly", session="2")
    assert seqs(home.lexical().find("a", "bees bakery honey", limit=10))[0] == best
    found = seqs(home.lexical().find("a", "bees bakery honey", limit=10))
    assert found.index(within) < found.index(elsewhere)


@pytest.mark.parametrize(("words", "asks"), [("Which dog barked at the postman?", True), ("A dog barked.", False)])
def test_what_follows_a_question_is_worth_more_than_what_led_to_it(home: SearchHome, words: str, asks: bool) -> None:
    before, _, after = [home.say(text, session="1") for text in ("zzz", words, "zzz")]
    scores = {hit.seq: hit.score for hit in home.lexical().find("a", "dog and postman at the gate", limit=5).hits}
    assert (scores[after] > scores[before]) is asks


def test_the_speaker_whom_the_query_names_comes_before_who_only_speaks_of_them(home: SearchHome) -> None:
    bob = home.say("Rome was lovely", speaker="Bob", session="1")
    ana = home.say("Bob, Bob, Rome, Rome", speaker="Ana", session="1")
    assert seqs(home.lexical().find("a", "What does Bob say of Rome", limit=5)) == [bob, ana]


def test_the_speaker_whom_the_query_names_comes_first(home: SearchHome) -> None:
    bob = home.say("a holiday in Rome", speaker="Bob", session="1")
    ana = home.say("a holiday in Rome", speaker="Ana", session="2")
    assert seqs(home.lexical().find("a", "Bob holiday", limit=5)) == [bob, ana]
    assert seqs(home.lexical().find("a", "Ana holiday", limit=5)) == [ana, bob]


def test_an_identifier_is_found_as_a_whole(home: SearchHome) -> None:
    home.say("4f1c and 9d2e and 77ab", session="1")
    wanted = home.say("the key is 4f1c-9d2e-77ab", session="2")
    assert seqs(home.lexical().find("a", "4f1c-9d2e-77ab", limit=5)) == [wanted]


def test_passages_are_found_the_same_way(home: SearchHome) -> None:
    home.say("bees")
    wanted, _ = home.keep("Ana keeps bees"), home.keep("Bob drives a train")
    home.index_all()
    assert seqs(home.search("archival").find("a", "bees", limit=5))[0] == wanted


def test_pages_neither_repeat_nor_lose_a_hit(home: SearchHome) -> None:
    for number in range(450):
        home.say(f"bees number {number % 50}", session=str(number // 9))
    home.index_all()
    for search in (home.search(), home.lexical()):
        whole = search.find("a", "bees number 7", limit=1_000)
        pages = [
            seq for page in range(0, 500, 25) for seq in seqs(search.find("a", "bees number 7", limit=25, offset=page))
        ]
        assert pages == seqs(whole) and len(set(pages)) == whole.total == 450


# --- what is never found -----------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["bees", "' OR agent_id = 'b", 'agent_id : "b"', "b OR 1=1", "honey bees a b"])
def test_an_agent_never_sees_a_row_of_another(home: SearchHome, query: str) -> None:
    home.add_agent("b")
    mine, _ = home.say("bees and honey"), home.say("secret bees b honey 1=1", agent_id="b")
    home.keep("secret bees b honey", agent_id="b")
    home.index_all()
    assert set(seqs(home.search().find("a", query, limit=50))) <= {mine}
    assert seqs(home.search("archival").find("a", query, limit=50)) == []


def test_an_index_that_names_the_wrong_agent_is_not_believed(home: SearchHome) -> None:
    home.add_agent("b")
    home.index_all()
    secret = home.say("bees", agent_id="b")
    home.index_all()
    from memos.storage.vectors import VectorRow

    vector = home.embedder.embed(["bees"])[0]
    home.tables["recall"].upsert([VectorRow("stray", "a", secret, vector), VectorRow("gone", "a", 9_999, vector)])
    assert home.search().find("a", "bees", limit=5) == SearchResult(0, ())


def test_what_was_taken_back_is_no_hit(home: SearchHome) -> None:
    wrong, right = home.say("my bees are blue"), home.say("my bees are brown")
    home.index_all()
    home.take_back(wrong)
    result = home.search().find("a", "bees", limit=5)
    assert seqs(result) == [right] and result.total == 1


def test_what_nobody_heard_is_no_hit(home: SearchHome) -> None:
    home.say("")
    assert home.search().find("a", "Ana", limit=5).total == 0


def test_the_question_itself_and_what_follows_are_no_hits(home: SearchHome) -> None:
    told = home.say("I keep bees")
    question = home.say("Do I keep bees?")
    home.index_all()
    for search in (home.search(), home.lexical()):
        assert seqs(search.find("a", "Do I keep bees?", limit=5, scope=Scope(question))) == [told]


def test_a_query_without_any_word_finds_nothing(home: SearchHome) -> None:
    home.say("I keep bees")
    assert home.lexical().find("a", "?!", limit=5) == home.lexical().find("a", "", limit=5) == SearchResult(0, ())


# --- what goes on ------------------------------------------------------------------------------------------


def test_a_failing_embedder_leaves_words_and_is_told_once(tmp_path: Path) -> None:
    class Failing(WordCounts):
        def embed(self, texts):  # type: ignore[no-untyped-def]
            raise EmbeddingProblem("The embedder is out of order.")

    home = search_home(tmp_path, Failing())
    search = home.search()
    assert search.find("a", "bees", limit=5) == SearchResult(0, ())  # nothing is stored yet: no embedder is needed
    wanted = home.say("I keep bees")
    first, second = search.find("a", "bees", limit=5), search.find("a", "bees", limit=5)
    assert seqs(first) == seqs(second) == [wanted]
    assert first.degraded == "The embedder is out of order." and second.degraded is None


def test_a_row_is_found_by_its_meaning_before_the_index_has_it(home: SearchHome) -> None:
    for other in ("a long walk by the sea", "the train was late again"):
        home.say(other, session="1")
    home.index_all()
    wanted = home.say("the railways", session="2")
    assert seqs(home.lexical().find("a", "railwayman", limit=5)) == []
    assert seqs(home.search().find("a", "railwayman", limit=1)) == [wanted]


def test_a_row_whose_words_have_changed_since_it_was_indexed_is_found_by_the_new_ones(home: SearchHome) -> None:
    seq = home.say("beekeeping")
    home.index_all()
    with home.database.transaction() as connection:
        connection.execute("UPDATE messages SET search_text = 'railways', indexed_at = NULL WHERE seq = ?", (seq,))
    found = home.legs["recall"].nearest("a", "railway")
    assert found is not None and found.seqs.tolist() == [seq] and found.cosines[0] > 0.5


def test_a_broken_index_leaves_words(home: SearchHome) -> None:
    wanted = home.say("I keep bees")
    home.index_all()
    for file in home.tables["recall"].folder.rglob("*.lance"):
        if file.is_file():
            file.write_bytes(b"broken")
    again = home.reopened()
    result = again.search().find("a", "bees", limit=5)
    assert seqs(result) == [wanted] and "nothing is lost" in str(result.degraded)


def test_a_common_word_makes_no_hits_beside_a_rare_one_and_is_capped_alone(
    home: SearchHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "COMMON_ROWS", 20)
    monkeypatch.setattr(search_module, "CAPPED_HITS", 10)
    monkeypatch.setattr(search_module, "NEIGHBOUR_WEIGHT", 0.0)
    rare = home.say("honey and wax", session="rare")
    last = [home.say("honey", session=str(number)) for number in range(40)][-10:]
    assert seqs(home.lexical().find("a", "honey wax", limit=50)) == [rare]
    assert sorted(seqs(home.lexical().find("a", "honey", limit=50))) == last


def test_of_many_rare_words_the_rarest_make_hits_and_the_others_lift_those_that_have_them_too(
    home: SearchHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "COMMON_ROWS", 20)
    monkeypatch.setattr(search_module, "RANKED_ROWS", 12)
    both = home.say("honey, wax and a good deal more of what nobody asks about", session="both")
    wax = [home.say("wax", session=f"w{number}") for number in range(5)]
    honey = [home.say("honey", session=f"h{number}") for number in range(10)]
    for number in range(20):
        home.say("smoke", session=f"s{number}")
    found = seqs(home.lexical().find("a", "honey wax", limit=50))
    assert found[0] == both and sorted(found[1:]) == wax and not set(honey) & set(found)


def test_of_common_words_alone_the_rows_with_most_of_them_come_first(
    home: SearchHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.add_agent("b")
    monkeypatch.setattr(search_module, "COMMON_ROWS", 20)
    monkeypatch.setattr(search_module, "CAPPED_HITS", 30)
    for number in range(30):
        home.say("honey", session=f"h{number}")
        home.say("wax and honey", agent_id="b")
        home.say("wax", session=f"w{number}")
    both = home.say("wax honey", session="both")
    last = [home.say("wax", session=f"l{number}") for number in range(5)]
    found = seqs(home.lexical().find("a", "honey wax", limit=50))
    assert found[0] == both and len(found) == 30 and set(last) < set(found)


@pytest.fixture
def big(home: SearchHome, monkeypatch: pytest.MonkeyPatch) -> SearchHome:
    """More rows than are held in memory, of two agents, with an index that the indexer had built."""
    home.add_agent("b")
    things = ["bees", "boats", "trains", "violins", "tents", "maps", "clocks", "kites"]
    for number in range(320):
        home.say(f"{things[number % 8]} {number}", session=f"s{number // 4}", agent_id="b" if number % 5 == 4 else "a")
    home.index_all()
    monkeypatch.setattr(vectors_module, "MATRIX_LIMIT_ROWS", 60)
    assert home.indexer.step() == 0
    upkeep = home.tables["recall"]._upkeep
    assert upkeep is not None and upkeep.wait(timeout=120) == 0
    assert home.indexer.step() == 0 and home.tables["recall"]._upkeep is upkeep
    return home


def test_a_big_agent_finds_by_the_index_what_comparing_all_rows_finds(
    big: SearchHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = ["bees", "what about the violins", "kites 7", "a map of train lines"]
    by_index = [big.search().find("a", query, limit=10) for query in queries]
    monkeypatch.setattr(vectors_module, "MATRIX_LIMIT_ROWS", 10_000)
    by_all = [big.search().find("a", query, limit=10) for query in queries]
    for some, exact in zip(by_index, by_all, strict=True):
        assert some.degraded is None and len(set(seqs(some)) & set(seqs(exact))) >= 9
        assert all(seq % 5 for seq in seqs(some)), "no row of the other agent"


def test_a_new_row_of_a_big_agent_is_found_by_meaning_before_and_after_its_vector_is_written(big: SearchHome) -> None:
    new = big.say("beehives", session="new")
    assert seqs(big.search().find("a", "beehive", limit=5))[0] == new
    big.index_all()
    assert seqs(big.search().find("a", "beehive", limit=5))[0] == new


def test_what_the_queue_of_a_big_agent_shows_is_no_hit(big: SearchHome) -> None:
    found = seqs(big.search().find("a", "bees", limit=50, scope=Scope(hidden_from=200)))
    assert found and max(found) < 200


def test_waiting_rows_are_looked_for_in_the_outbox_and_not_in_all_an_agent_has(home: SearchHome) -> None:
    asked: list[str] = []
    home.database._connection.set_trace_callback(asked.append)
    home.search().find("a", "bees", limit=5)
    waiting = next(statement for statement in asked if "indexed_at IS NULL" in statement)
    home.database._connection.set_trace_callback(None)
    plan = home.database.query(f"EXPLAIN QUERY PLAN {waiting}")
    assert ["messages_outbox" in row["detail"] for row in plan] == [True]


def test_index_text_names_day_and_month_whatever_the_locale() -> None:
    at = datetime(2026, 11, 23, 4, 5).astimezone()
    assert index_text(at, "Ana", "Hello") == "[2026-11-23 04:05, Monday November] Ana: Hello"
    assert index_text(at, "", "Hello") == "[2026-11-23 04:05, Monday November] Hello"


@pytest.mark.parametrize(
    "query",
    ["{}", "{}?", "value of key {}", "Key: {}", 'What is the value of "{}"?', "`{}`", "<{}>", "the {}'s value, please"],
)
def test_a_uuid_finds_the_pairs_that_name_it_before_all_others(home: SearchHome, query: str) -> None:
    uuids = [str(UUID(int=number**9, version=4)) for number in range(1, 142)]
    pairs = [home.keep(f"Key: {key}, value: {value}") for key, value in pairwise(uuids)]
    for number in (1, 70, 139):
        for wanted in (uuids[number], uuids[number].upper()):
            result = home.lexical("archival").find("a", query.format(wanted), limit=5)
            assert set(seqs(result)[:2]) == {pairs[number - 1], pairs[number]}
            if "value" not in query and "Key" not in query:
                assert result.total == 2


def test_passages_stored_together_are_found_and_counted(home: SearchHome) -> None:
    insert_passages(home.database, "a", ["The red door", "The blue door"], Provenance.DOCUMENT)
    assert home.lexical("archival").find("a", "door", limit=5).total == 2
    assert home.database.query("SELECT archival FROM counts WHERE agent_id = 'a'")[0][0] == 2
