"""`memos bench nested-kv`: what is asked, what counts as solved, and that following the keys solves it."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.command_line import memos
from support.fake_openai import Answer, Call, FakeOpenAI

from memos.cli.bench.key_values import LEVELS, PAIRS, Task, archives, chosen
from memos.cli.configure import absolute_model
from memos.llm.chain_follower import CHAIN_FOLLOWER


def key(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number * 7:012x}"


ANSWER, OTHER, ASKED = key(1), key(2), key(3)
TASK = Task(2, ASKED, ANSWER)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def written(folder: Path, entries: object) -> str:
    path = folder / "tasks.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    return str(path)


def entry(pairs: list[tuple[str, str]], *tasks: tuple[int, str, str]) -> dict[str, Any]:
    return {
        "seed": 0,
        "kv": [list(pair) for pair in pairs],
        "tasks": [{"level": level, "key": asked, "answer": answer} for level, asked, answer in tasks],
    }


def numbers_of(home: Path, *words: str) -> dict[str, Any]:
    done = memos(home, "bench", "nested-kv", "-m", CHAIN_FOLLOWER, "--json", *words)
    assert done.returncode == 0, done.stderr
    numbers: dict[str, Any] = json.loads(done.stdout)
    return numbers


# --- the tasks -----------------------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_tasks_and_another_one_others() -> None:
    assert archives(7, seed=3) == archives(7, seed=3)
    assert archives(7, seed=3)[:1] == archives(1, seed=3), "more tasks leave the first ones as they are"
    assert not set(archives(1, seed=3)[0].pairs) & set(archives(1, seed=4)[0].pairs)


def test_every_task_leads_through_as_many_keys_as_its_level_says() -> None:
    for archive in archives(13, seed=5):
        assert len(archive.pairs) == len(archive.passages) == PAIRS
        assert Counter(task.level for task in archive.tasks) == dict.fromkeys(LEVELS, 6)
        assert len(set(archive.pairs.values())) == PAIRS
        for task in archive.tasks:
            assert task.key not in archive.pairs.values() and task.question.count(task.key) == 1
            value = archive.pairs[task.key]
            for _ in range(task.level):
                value = archive.pairs[value]
            assert value == task.answer and value not in archive.pairs


def test_tasks_are_taken_from_one_archive_after_the_other() -> None:
    given = archives(7, seed=1)
    taken = chosen(given, 3, 7)
    assert [archive for archive, _ in taken] == [given[0]] * 6 + [given[1]]
    assert {task.level for _, task in taken} == {3} and len(chosen(given, 3, None)) == 12


@pytest.mark.parametrize(
    ("said", "solved"),
    [
        (ANSWER, True),
        (f"The last value of {ASKED} is {ANSWER.upper()}.", True),
        (f"{ASKED} leads to {OTHER}.\nSo the answer is {ANSWER}.\nAnything else?", True),
        (OTHER, False),
        (f"{ANSWER}\nNo, it is {OTHER}.", False),
        (f"It is {ANSWER} or {OTHER}.", False),
        (ANSWER[:-1], False),
        (f"{ANSWER}0", False),
        (ASKED, False),
        ("I do not know.", False),
        ("", False),
    ],
)
def test_only_the_right_value_alone_solves_a_task(said: str, solved: bool) -> None:
    assert TASK.is_solved_by(said) is solved


# --- from end to end -----------------------------------------------------------------------------------------


def test_following_the_keys_solves_every_level(home: Path) -> None:
    numbers = numbers_of(home, "--tasks", "2", "--seed", "4")
    assert (numbers["model"], numbers["seed"], numbers["file"]) == (CHAIN_FOLLOWER, 4, None)
    assert (numbers["stopped"], numbers["failed_turns"]) == (None, 0)
    assert [level["level"] for level in numbers["levels"]] == list(LEVELS)
    for level in numbers["levels"]:
        assert (level["solved"], level["of"], level["wanted"], level["share"]) == (2, 2, 2, 1.0)
        assert level["mean_searches"] == level["level"] + 2, "one more shows that the last value is no key"
        assert level["mean_steps"] == level["mean_searches"] + 1 and level["mean_tokens"] is None
    assert (numbers["all"]["solved"], numbers["all"]["of"]) == (10, 10)
    assert not (home / "data" / "memos.db").exists(), "the user's own agents are not touched"


def test_a_file_of_tasks_is_asked_in_place_of_made_ones(home: Path, tmp_path: Path) -> None:
    chain = [key(number) for number in range(10, 15)]
    file = written(
        tmp_path,
        [
            entry([*pairwise(chain), (key(20), key(21))], (3, chain[0], chain[-1]), (0, key(20), key(21))),
            entry([(key(30), key(31).upper())], (0, key(30), key(31))),
        ],
    )
    numbers = numbers_of(home, "--file", file, "--levels", "0")
    assert (numbers["file"], numbers["seed"]) == (file, None)
    assert [(level["level"], level["solved"], level["of"]) for level in numbers["levels"]] == [(0, 2, 2)]
    numbers = numbers_of(home, "--file", file, "--levels", "3", "--tasks", "1")
    assert [(level["level"], level["solved"], level["of"]) for level in numbers["levels"]] == [(3, 1, 1)]


def test_a_key_on_the_second_page_of_results_is_found(home: Path, tmp_path: Path) -> None:
    pairs = [(key(1), key(2)), *((key(number), key(1)) for number in range(10, 17))]
    numbers = numbers_of(home, "--file", written(tmp_path, [entry(pairs, (1, key(10), key(2)))]), "--levels", "1")
    assert (numbers["all"]["solved"], numbers["all"]["mean_searches"]) == (1, 4)


def test_a_model_that_stops_at_the_first_value_solves_level_0_alone(home: Path, tmp_path: Path) -> None:
    (archive,) = archives(1, seed=6)
    script = tmp_path / "script.json"
    script.write_text(
        json.dumps(
            [
                {
                    "match": task.key,
                    "calls": [{"name": "send_message", "arguments": {"message": archive.pairs[task.key]}}],
                }
                for task in archive.tasks
            ]
        ),
        encoding="utf-8",
    )
    words = ("bench", "nested-kv", "-m", f"scripted:{script}", "--levels", "0-1", "--tasks", "1", "--seed", "6")
    done = memos(home, *words)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^(\d|all) +(\S+) +(\d of \d) +(\S+) +(\S+) +unknown$", done.stdout, re.MULTILINE) == [
        ("0", "100.0%", "1 of 1", "1.00", "0.00"),
        ("1", "0.0%", "0 of 1", "1.00", "0.00"),
        ("all", "50.0%", "1 of 2", "1.00", "0.00"),
    ]


def test_a_servers_requests_are_announced_and_its_tokens_counted(home: Path) -> None:
    spoken = Answer(calls=(Call("send_message", {"message": "I cannot say."}),))
    with FakeOpenAI(script=lambda _: spoken) as server:
        words = ("bench", "nested-kv", "-m", "openai/fake", "--api-base", server.url, "--levels", "2", "--tasks", "2")
        done = memos(home, *words, "--json")
        assert done.returncode == 0, done.stderr
        assert len(server.requests) == 2 and not server.violations
    assert "2 tasks are given to openai/fake" in done.stderr
    (level,) = json.loads(done.stdout)["levels"]
    assert (level["solved"], level["of"], level["mean_tokens"]) == (0, 2, 133)


def test_a_model_that_repeats_its_search_is_stopped_and_has_not_solved(home: Path, tmp_path: Path) -> None:
    search = {"name": "archival_memory_search", "arguments": {"query": "key", "request_heartbeat": True}}
    script = tmp_path / "script.json"
    script.write_text(json.dumps([{"calls": [search]}] * 5), encoding="utf-8")
    words = ("bench", "nested-kv", "-m", f"scripted:{script}", "--levels", "0", "--tasks", "4", "--json")
    done = memos(home, *words)
    assert done.returncode == 0, "a bound that is reached is no failure of the model's provider"
    together = json.loads(done.stdout)["all"]
    assert (together["solved"], together["of"], together["mean_steps"], together["mean_searches"]) == (0, 4, 3, 3)


def test_a_model_that_only_fails_ends_the_run_with_its_own_exit_code(home: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps([{"error": "refused"}]), encoding="utf-8")
    done = memos(home, "bench", "nested-kv", "-m", f"scripted:{script}", "--json")
    assert done.returncode == 4 and "3 turns in a row failed" in done.stderr
    numbers = json.loads(done.stdout)
    assert "3 turns in a row failed" in numbers["stopped"] and numbers["all"]["solved"] == 0
    assert (numbers["failed_turns"], numbers["all"]["of"], numbers["all"]["wanted"]) == (3, 3, 30)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--levels", "0-5"), "--levels 0-5 names no levels"),
        (("--levels", "3-1"), "--levels 3-1 names no levels"),
        (("--levels", "deep"), "--levels deep names no levels"),
        (("--tasks", "0"), "--tasks 0 asks for nothing"),
        (("--file", "/nowhere/tasks.json"), "cannot be read"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused_in_one_sentence(home: Path, words: tuple[str, ...], said: str) -> None:
    done = memos(home, "bench", "nested-kv", "-m", CHAIN_FOLLOWER, *words)
    assert done.returncode == 2 and said in done.stderr and not done.stdout


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({}, "is not a list"),
        ([[]], "Entry 1 of"),
        ([entry([("one", "two")])], "has another form"),
        ([entry([(key(1), key(2)), (key(1), key(3))])], "two values for one key"),
        ([entry([(key(1), key(2))], (0, key(1), key(3)))], "do not lead to that answer on level 0"),
        ([entry([(key(1), key(2))], (1, key(1), key(2)))], "do not lead to that answer on level 1"),
        ([entry([(key(1), key(1))], (1, key(1), key(1)))], "do not lead to that answer"),
        ([entry([(key(1), key(2))], (0, key(1), key(2)))], "has 0 tasks of level 1"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place(home: Path, tmp_path: Path, entries: Any, said: str) -> None:
    done = memos(home, "bench", "nested-kv", "-m", CHAIN_FOLLOWER, "--file", written(tmp_path, entries))
    assert done.returncode == 2 and said in done.stderr and not done.stdout


def test_the_name_of_the_rule_is_not_taken_for_a_path() -> None:
    assert absolute_model(CHAIN_FOLLOWER) == CHAIN_FOLLOWER
    assert absolute_model("scripted:./nested-kv") == f"scripted:{Path.cwd() / 'nested-kv'}"
