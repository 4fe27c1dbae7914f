"""`memos bench retrieval`: what its figures mean, what it reads, and that it asks the real search."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.command_line import memos

from memos.cli.bench.retrieval_tally import RetrievalTally, measures

IDS = [f"m{number}" for number in range(30)]
SAID = (
    ("a1", "user", "I keep bees on the roof of the bakery."),
    ("a2", "assistant", "How many hives fit there?"),
    ("a3", "user", "Six, and they give forty jars in June."),
    ("a4", "user", "My sister Nadia plays the cello."),
    ("a5", "assistant", "Which composer does she like?"),
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def message(conversation: str, message_id: str, role: str, content: str, minute: int = 0) -> dict[str, Any]:
    at = f"2026-03-01T10:{minute:02d}:00"
    return {"conversation": conversation, "id": message_id, "role": role, "content": content, "created_at": at}


def query(text: str, *gold: str, conversation: str = "a", **more: str) -> dict[str, Any]:
    return {"conversation": conversation, "query": text, "gold": list(gold), **more}


MESSAGES = [message("a", *said, minute=minute) for minute, said in enumerate(SAID)]


def written(path: Path, entries: Sequence[Mapping[str, Any]]) -> str:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return str(path)


def bench(
    home: Path, messages: Sequence[Mapping[str, Any]], queries: Sequence[Mapping[str, Any]], *words: str
) -> subprocess.CompletedProcess[str]:
    home.mkdir(exist_ok=True)
    files = ("--messages", written(home / "m.jsonl", messages), "--queries", written(home / "q.jsonl", queries))
    return memos(home, "bench", "retrieval", *files, *words)


def numbers_of(
    home: Path, messages: Sequence[Mapping[str, Any]], queries: Sequence[Mapping[str, Any]], *words: str
) -> dict[str, Any]:
    done = bench(home, messages, queries, "--json", *words)
    assert done.returncode == 0, done.stderr
    numbers: dict[str, Any] = json.loads(done.stdout)
    return numbers


# --- the figures ---------------------------------------------------------------------------------------------


def test_each_figure_is_what_its_name_says() -> None:
    """Two of three are found, at places 2 and 7."""
    found = measures(IDS[:20], {"m1", "m6", "elsewhere"}, k=10)
    assert found["recall@5"] == pytest.approx(1 / 3)
    assert found["recall@10"] == found["recall@20"] == pytest.approx(2 / 3)
    assert (found["hit@10"], found["mrr"]) == (1.0, 0.5)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert found["ndcg@10"] == pytest.approx((1 / math.log2(3) + 1 / math.log2(8)) / ideal)


def test_what_comes_too_late_or_never_is_worth_nothing() -> None:
    late = measures(IDS[:20], {"m12"}, k=10)
    assert (late["recall@10"], late["recall@20"], late["hit@10"], late["ndcg@10"]) == (0, 1, 0, 0)
    assert late["mrr"] == pytest.approx(1 / 13)
    assert set(measures([], {"m1"}, k=10).values()) == {0.0}


def test_k_adds_a_recall_and_moves_the_other_figures() -> None:
    found = measures(IDS[:20], {"m2"}, k=3)
    assert list(found) == ["recall@3", "recall@5", "recall@10", "recall@20", "hit@3", "mrr", "ndcg@3"]
    assert measures(IDS[:20], {"m2"}, k=2)["hit@2"] == 0


def test_more_gold_than_k_can_still_be_found_ideally() -> None:
    assert measures(IDS, set(IDS), k=10)["ndcg@10"] == pytest.approx(1)


def test_intervals_are_the_same_at_every_run_and_those_of_a_share() -> None:
    """Of 100 questions half are found: the interval of such a share is 0.5 ± 1.96 · 0.05."""
    tally = RetrievalTally("none", baseline=False, k=10, queries_wanted=100, left_out=0)
    for number in range(100):
        tally.count("odd" if number % 2 else "even", IDS[:20], {IDS[0] if number % 2 else "elsewhere"}, 1.0)
    numbers = tally.as_json()
    low, high = numbers["intervals"]["recall@10"]
    assert numbers["recall@10"] == 0.5
    assert (low, high) == (pytest.approx(0.402, abs=0.02), pytest.approx(0.598, abs=0.02))
    assert numbers["categories"]["odd"]["intervals"]["mrr"] == [1.0, 1.0]
    assert tally.as_json() == numbers


# --- from end to end -----------------------------------------------------------------------------------------


def test_the_real_search_is_asked_and_its_hits_are_counted_by_category(home: Path) -> None:
    queries = [
        query("Where are the bees?", "a1", category="single"),
        query("What does Nadia play?", "a4", category="single"),
        query("Which trumpet?", "a1", "a2"),
    ]
    numbers = numbers_of(home, MESSAGES, queries, "--embedding", "none", "--k", "1")
    assert (numbers["embedding"], numbers["baseline"], numbers["k"], numbers["stopped"]) == ("none", False, 1, None)
    assert (numbers["conversations"], numbers["messages"]) == (1, 5)
    assert (numbers["queries"], numbers["queries_wanted"], numbers["left_out"]) == (3, 3, 0)
    single, none = numbers["categories"]["single"], numbers["categories"]["none"]
    assert (single["queries"], single["recall@1"], single["recall@5"], single["mrr"]) == (2, 1.0, 1.0, 1.0)
    assert (none["queries"], none["recall@20"], none["mrr"], none["ndcg@1"]) == (1, 0.0, 0.0, 0.0)
    assert numbers["hit@1"] == numbers["recall@1"] == pytest.approx(2 / 3, abs=1e-4)
    assert 0 < numbers["latency_ms"]["p50"] <= numbers["latency_ms"]["p95"]
    assert not (home / "data" / "memos.db").exists(), "the user's own agents are not touched"


def test_neighbours_lend_weight_to_what_bm25_alone_misses(home: Path) -> None:
    queries = [query("How many hives?", "a3")]
    assert numbers_of(home, MESSAGES, queries, "--baseline")["recall@5"] == 0
    assert numbers_of(home, MESSAGES, queries, "--embedding", "none")["recall@5"] == 1


def test_meaning_finds_what_shares_no_word(home: Path) -> None:
    queries = [query("Tell me about musical instruments", "a4")]
    assert numbers_of(home, MESSAGES, queries, "--embedding", "none")["recall@5"] == 0
    numbers = numbers_of(home, MESSAGES, queries)
    assert (numbers["embedding"], numbers["recall@5"]) == ("builtin/minilm", 1.0)


def test_conversations_with_the_same_ids_do_not_mix(home: Path) -> None:
    others = [message("b", "a1", "user", "The bees of Bob are in the garden."), message("b", "b2", "user", "Nothing.")]
    queries = [query("bees", "a1"), query("bees garden", "a1", conversation="b")]
    numbers = numbers_of(home, [*others, *MESSAGES], queries, "--embedding", "none", "--k", "1")
    assert (numbers["conversations"], numbers["messages"], numbers["recall@1"]) == (2, 7, 1.0)


def test_a_table_shows_means_and_intervals(home: Path) -> None:
    done = bench(home, MESSAGES, [query("Where are the bees?", "a1", category="single")], "--embedding", "none")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 0 and lines[0] == ["embedding", "none:", "1", "questions", "to", "5", "messages"]
    assert lines[1] == ["category", "questions", "recall@5", "recall@10", "recall@20", "hit@10", "mrr", "ndcg@10"]
    assert lines[2][:3] == ["single", "1", "100.0%"] and lines[3][0] == "100.0-100.0" and lines[4][0] == "all"
    assert lines[-1][:4] == ["latency", "of", "a", "search:"]


# --- what it reads -------------------------------------------------------------------------------------------


def test_gold_without_a_message_is_left_out_and_told(home: Path) -> None:
    queries = [query("bees", "a1", "a99"), query("cello", "a98"), query("unanswerable")]
    done = bench(home, MESSAGES, queries, "--embedding", "none", "--json")
    numbers = json.loads(done.stdout)
    assert (numbers["queries"], numbers["left_out"], numbers["recall@5"]) == (1, 2, 1.0)
    assert "a99 (line 1), a98 (line 2)" in done.stderr and "answers them: 2 of" in done.stderr


@pytest.mark.parametrize(
    ("messages", "queries", "told"),
    [
        ([*MESSAGES, {"role": "user"}], [query("bees", "a1")], "Line 6 of {m}: content is missing"),
        ([{**MESSAGES[0], "conversation": ""}], [query("bees", "a1")], "Line 1 of {m}: conversation is no text"),
        ([{**MESSAGES[0], "id": None}], [query("bees", "a1")], "Line 1 of {m}: id is missing"),
        ([MESSAGES[0], MESSAGES[0]], [query("bees", "a1")], 'Line 2 of {m}: id "a1" was given'),
        (MESSAGES, [query("bees", "a1"), {"conversation": "a", "query": "x"}], "Line 2 of {q}: gold is no list"),
        (MESSAGES, [query("bees", "a1", conversation="z")], 'Line 1 of {q}: no message is of the conversation "z"'),
        (MESSAGES, [{"conversation": "a", "gold": ["a1"]}], "Line 1 of {q}: query is missing"),
        (MESSAGES, [query("bees", "nowhere")], "{q} asks nothing that a message of {m} answers"),
        (MESSAGES, [], "{q} asks nothing that a message of {m} answers"),
    ],
)
def test_bad_input_is_one_sentence_that_names_the_line(
    home: Path, messages: Sequence[Mapping[str, Any]], queries: Sequence[Mapping[str, Any]], told: str
) -> None:
    done = bench(home, messages, queries)
    assert done.returncode == 2
    assert told.format(m=home / "m.jsonl", q=home / "q.jsonl") in done.stderr


def test_what_is_no_json_names_its_line(home: Path) -> None:
    home.mkdir()
    messages, queries = written(home / "m.jsonl", MESSAGES), home / "q.jsonl"
    queries.write_text("\n\n{oops\n", encoding="utf-8")
    done = memos(home, "bench", "retrieval", "--messages", messages, "--queries", str(queries))
    assert done.returncode == 2 and f"Line 3 of {queries}: no JSON" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--k", "0"), "--k 0 is no number of hits"),
        (("--baseline", "--embedding", "builtin/minilm"), "--baseline ranks without an embedder"),
    ],
)
def test_flags_that_cannot_be_used_are_told(home: Path, words: Sequence[str], told: str) -> None:
    done = bench(home, MESSAGES, [query("bees", "a1")], *words)
    assert done.returncode == 2 and told in done.stderr


def test_a_missing_file_is_told(home: Path) -> None:
    done = memos(home, "bench", "retrieval", "--messages", "nowhere.jsonl", "--queries", "nowhere.jsonl")
    assert done.returncode == 2 and "nowhere.jsonl cannot be read" in done.stderr


# --- LoCoMo's own form -----------------------------------------------------------------------------------------


def locomo(**more: Any) -> dict[str, Any]:
    return {
        "sample_id": "conv-1",
        "conversation": {
            "speaker_a": "Ada",
            "speaker_b": "Ben",
            "session_2_date_time": "9:05 am on 3 June, 2026",
            "session_2": [{"speaker": "Ben", "dia_id": "D2:1", "text": "The bees swarmed."}],
            "session_1_date_time": "1:56 pm on 8 May, 2026",
            "session_1": [
                {"speaker": "Ada", "dia_id": "D1:1", "text": "Look!", "blip_caption": "a photo of a hive"},
                {"speaker": "Ben", "dia_id": "D1:2", "text": "Lovely."},
            ],
        },
        "qa": [
            {"question": "When did they swarm?", "evidence": ["D2:1"], "category": 2},
            {"question": "Whose hive is it?", "evidence": ["D1:1; D1:2"], "category": 1},
            {"question": "Why did Ben sell it?", "evidence": ["D2:1"], "category": 5},
        ],
        **more,
    }


def converted(home: Path, samples: Sequence[Any]) -> tuple[subprocess.CompletedProcess[str], Path, Path]:
    home.mkdir(exist_ok=True)
    file, messages, queries = home / "locomo.json", home / "m.jsonl", home / "q.jsonl"
    file.write_text(json.dumps(samples), encoding="utf-8")
    words = ("--messages", str(messages), "--queries", str(queries))
    return memos(home, "bench", "locomo2jsonl", str(file), *words), messages, queries


def test_locomo_becomes_turns_in_order_with_captions_and_the_questions_of_four_categories(home: Path) -> None:
    done, messages, queries = converted(home, [locomo()])
    assert done.returncode == 0 and "3 messages" in done.stdout and "2 queries" in done.stdout
    said = [json.loads(line) for line in messages.read_text(encoding="utf-8").splitlines()]
    assert said[0] == {
        "conversation": "conv-1",
        "id": "D1:1",
        "session": "1",
        "role": "user",
        "name": "Ada",
        "created_at": "2026-05-08T13:56:00",
        "content": "Look! [shares a photo of a hive]",
    }
    assert [(each["id"], each["role"]) for each in said[1:]] == [("D1:2", "assistant"), ("D2:1", "assistant")]
    asked = [json.loads(line) for line in queries.read_text(encoding="utf-8").splitlines()]
    assert [(each["category"], each["gold"]) for each in asked] == [
        ("temporal", ["D2:1"]),
        ("multi-hop", ["D1:1", "D1:2"]),
    ]


def test_what_was_converted_can_be_measured(home: Path) -> None:
    _, messages, queries = converted(home, [locomo()])
    files = ("--messages", str(messages), "--queries", str(queries))
    done = memos(home, "bench", "retrieval", *files, "--embedding", "none", "--json")
    numbers = json.loads(done.stdout)
    assert (numbers["queries"], numbers["hit@10"]) == (2, 1.0) and set(numbers["categories"]) == {
        "temporal",
        "multi-hop",
    }


@pytest.mark.parametrize("sample", [{}, [], {"sample_id": "x", "conversation": {"session_1": []}, "qa": []}])
def test_what_is_not_locomo_is_told_with_its_entry(home: Path, sample: Any) -> None:
    done, _, _ = converted(home, [locomo(), sample])
    assert done.returncode == 2 and "Entry 2 of" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="folders are no files there either, with another message")
def test_a_place_that_cannot_be_written_is_told(home: Path) -> None:
    home.mkdir()
    (home / "l.json").write_text(json.dumps([locomo()]), encoding="utf-8")
    done = memos(home, "bench", "locomo2jsonl", str(home / "l.json"), "--messages", str(home), "--queries", "q")
    assert done.returncode == 10 and "cannot be written" in done.stderr
