"""`memos bench agent`: who is invented, how answers are judged, and what is printed in the end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from io import StringIO
from itertools import combinations
from pathlib import Path

import pytest
from support.command_line import ROOT, clean_environ, memos
from support.fake_openai import Answer, Call, FakeOpenAI

from memos.cli.bench import judge
from memos.cli.bench.people import (
    ARCHIVED,
    CORRECTIONS,
    FACTS,
    NAME,
    UNKNOWN,
    Fact,
    Kind,
    Line,
    Person,
    attribute,
    attributes,
    names,
    people,
    talk,
)
from memos.cli.bench.report import ProgressLine
from memos.cli.bench.tally import MEASURES, Tally
from memos.llm.weights import builtin_weights

WITHOUT_VECTORS = {"MEMOS_MEMORY_EMBEDDING": "none"}
OTHER_ATTRIBUTES = [each for each in attributes() if each.key != NAME]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


# --- the people ----------------------------------------------------------------------------------------------


def test_the_same_seed_invents_the_same_people_and_another_one_others() -> None:
    assert people(5, seed=3) == people(5, seed=3)
    assert people(5, seed=3) != people(5, seed=4)
    assert people(5, seed=3) == people(9, seed=3)[:5], "more people leave the first ones as they are"


def test_at_least_a_quarter_of_the_names_are_not_english_even_of_one_person() -> None:
    for count in (1, 4, 20, 60):
        assert sum(not person.english for person in people(count, seed=1)) * 4 >= count
    others = names()["other"]
    assert sum(not name.isascii() for name in others) * 2 > len(others)
    assert any(ord(name[0]) > 0x2E80 for name in others) and any("\u0400" <= name[0] <= "\u04ff" for name in others)


def test_every_attribute_can_be_spoken_of_in_five_ways() -> None:
    assert len(OTHER_ATTRIBUTES) >= 25
    for each in OTHER_ATTRIBUTES:
        for phrasings in (each.tell, each.ask, each.correct):
            assert len(set(phrasings)) >= 5, each.key
        assert len(set(each.values)) >= 6, each.key
        assert all(text.count("{}") == 1 for text in (*each.tell, *each.correct)), each.key
        assert not any("{" in text for text in each.ask), each.key
        assert not any("{old}" in text for text in each.tell), each.key
    assert len(attribute(NAME).tell) >= 5 and len(attribute(NAME).ask) >= 5


def test_each_person_tells_corrects_greets_and_asks_as_promised() -> None:
    for person in people(40, seed=11):
        told = [fact for line in person.first if line.kind is Kind.TELL for fact in line.facts]
        corrected = [line.facts[0] for line in person.first if line.kind is Kind.CORRECT]
        asked = [line.facts[0] for line in person.second if line.kind is Kind.ASK]
        never = [line.facts[0].attribute for line in person.second if line.kind is Kind.UNKNOWN]
        assert sorted(told, key=str) == sorted(person.told, key=str) and len(told) == FACTS
        assert len(corrected) == CORRECTIONS and all(fact.value != fact.old for fact in corrected)
        assert {fact.attribute for fact in asked} == {fact.attribute for fact in told}
        assert len(never) == UNKNOWN and not {fact.attribute for fact in told} & set(never)
        assert all(line.kind is not Kind.CORRECT for line in person.second)
        assert any(len(line.facts) == 2 for line in person.first)
        assert Kind.TALK in {line.kind for line in person.first}
        for lines in (person.first, person.second):
            assert [line.kind for line in lines[:2]] == [Kind.LOGIN, Kind.GREET]


def test_what_is_asked_for_in_the_new_session_is_what_holds_after_the_corrections() -> None:
    for person in people(20, seed=5):
        corrected = {line.facts[0] for line in person.first if line.kind is Kind.CORRECT}
        asked = {line.facts[0] for line in person.second if line.kind is Kind.ASK}
        assert corrected <= asked


def test_some_of_what_was_never_told_is_near_to_what_was() -> None:
    for person in people(20, seed=5):
        groups = {attribute(fact.attribute).group for fact in person.told}
        never = [line.facts[0].attribute for line in person.second if line.kind is Kind.UNKNOWN]
        assert sum(attribute(key).group in groups for key in never) >= 2


def test_no_value_can_be_mistaken_for_another_attributes_or_stands_in_a_phrasing() -> None:
    for one, two in combinations(attributes(), 2):
        for value in one.values:
            assert not any(judge.said(value, other) for other in two.values), (value, two.key)
    for each in attributes():
        for text in (*each.tell, *each.ask, *each.correct, *talk("greeting"), *talk("small_talk")):
            for other in attributes():
                assert not any(judge.said(value, text) for value in other.values), (text, other.key)
        for one_value, other_value in combinations(each.values, 2):
            assert not judge.said(one_value, other_value) and not judge.said(other_value, one_value)


PROMPTS = sorted((ROOT / "memos" / "prompts").rglob("*.*"))
TRAINED_ON = sorted((ROOT / "tests" / "benchmarks" / "meaning").glob("*.tsv"))


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[\w{}]+", text.replace("’", "'").casefold()))


def test_no_sentence_of_the_bench_stands_in_a_prompt_or_was_trained_on() -> None:
    sentences = [text for each in attributes() for text in (*each.tell, *each.ask, *each.correct)]
    sentences += [*talk("greeting"), *talk("small_talk"), *talk("archive")]
    lines = [
        _plain(line.replace("\t", ": "))
        for path in PROMPTS
        if path.suffix in {".txt", ".tsv", ".md", ".json"}
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    lines += [
        _plain(cell)
        for path in TRAINED_ON
        for line in path.read_text(encoding="utf-8").splitlines()
        for cell in line.split("\t")[1:]
        if "\tvalues\t" not in line
    ]
    assert len(lines) > 10_000
    everything = "\n".join(lines)
    for sentence in sentences:
        parts = re.split(r"\{(?:old)?\}", _plain(sentence))
        pattern = re.compile(r"\b" + r"[\w{}][\w{} ]{0,40}".join(map(re.escape, parts)) + r"\b")
        assert not pattern.search(everything), sentence
    assert re.search(r"\b" + re.escape(_plain("Who do you think I am?")) + r"\b", everything), "it can be seen"


# --- the judge -----------------------------------------------------------------------------------------------

TOLD = (Fact(NAME, "Łucja"), Fact("colour", "maroon"), Fact("town", "São Luís"), Fact("dish", "bibimbap", "haggis"))


def asked(key: str, value: str = "", old: str = "") -> Line:
    return Line(Kind.ASK if value else Kind.UNKNOWN, attribute(key).ask[0], (Fact(key, value, old),))


@pytest.mark.parametrize(
    ("value", "text", "is_said"),
    [
        ("a glassblower", 'You told me on 2026-11-23: "By trade I\'m a GLASSBLOWER."', True),
        ("a glassblower", "Your windows were blown by glass.", False),
        ("3 March", "It is on March 3.", True),
        ("3 March", "You told me on 2026-03-03 that you march.", False),
        ("39", "You told me at 10:39 on 2026-11-23.", False),
        ("39", "Size 39!", True),
        ("39", "Size 390", False),
        ("São Luís", "You live in SAO LUIS, I think.", True),
        ("Łódź", "ŁÓDŹ.", True),
        ("the harp", "You have a sharp ear", False),
        ("walnuts", "no walnut for you", True),
        ("ポチ", "犬の名前はポチです。", True),
        ("Toni Morrison", "Jim Morrison", False),
        ("mustard yellow", "Yellow as mustard", True),
        ("maroon", "", False),
    ],
)
def test_a_value_is_said_where_its_words_stand(value: str, text: str, is_said: bool) -> None:
    assert judge.said(value, text) is is_said


@pytest.mark.parametrize(
    "answer",
    [
        "I have nothing about that.",
        "You haven't told me which flowers you like.",
        "I don’t know that yet; would you tell me?",
        "I couldn't find it in my notes.",
        "There is no record of it.",
        "I'm not sure, you never mentioned it.",
    ],
)
def test_not_knowing_can_be_said_in_many_ways(answer: str) -> None:
    assert judge.says_it_is_unknown(asked("flower"), answer, TOLD)
    assert not judge.is_wrong_statement(asked("flower"), answer, TOLD)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Let me think about that for a moment.",
        "Your flowers are always fresh.",
        "I don't know, but perhaps it is lilac.",  # a value, however hedged
        'I have nothing but this: "no colour beats maroon for me".',  # another fact in its place
        "Nothing? You surely mean the peonies on your table.",
    ],
)
def test_an_answer_that_dodges_guesses_or_quotes_something_else_does_not_say_unknown(answer: str) -> None:
    assert not judge.says_it_is_unknown(asked("flower"), answer, TOLD)


@pytest.mark.parametrize(
    ("line", "answer", "wrong"),
    [
        (asked("flower"), "Your vases are filled with lilac.", True),
        (asked("flower"), "I don't know, but perhaps it is lilac.", True),
        (asked("flower"), "Your favourite flowers are orchids.", True),  # on no list, but it states
        (asked("flower"), "You have orchids in your vases.", True),
        (asked("town"), "You live in Paris.", True),
        (asked("flower"), "I am glad you are here.", False),
        (asked("flower"), "What flowers do you have?", False),
        (asked("flower"), 'You told me on 2026-11-23: "No colour beats maroon for me."', False),  # true, only no answer
        (asked("colour", "maroon"), "Your colour is indigo.", True),
        (asked("colour", "maroon"), "Your colour is maroon.", False),
        (asked("dish", "bibimbap", "haggis"), "It was haggis, now it is bibimbap.", False),
        (asked("dish", "bibimbap", "haggis"), "You love feijoada.", True),
        (asked(NAME, "Łucja"), "You are Harriet.", True),
        (asked(NAME, "Łucja"), "People call you Łucja.", False),
    ],
)
def test_a_statement_nothing_told_supports_is_wrong(line: Line, answer: str, wrong: bool) -> None:
    assert judge.is_wrong_statement(line, answer, TOLD) is wrong


@pytest.mark.parametrize(
    ("answer", "calls", "sane"),
    [
        ("Hello, good to hear from you.", ("send_message",), True),
        ("Hello, Łucja!", ("send_message",), True),
        ("Bonjour, ça va bien", (), True),
        ("Hello, Sam!", (), False),
        ("Good evening, Harriet, how nice.", (), False),
        ("I have nothing about that.", (), False),
        ('You told me on 2026-11-23: "A very good evening!"', (), False),
        ("Filed.", ("core_memory_append", "send_message"), False),
        ("Hello. How are you? I am fine.", (), False),
        ("hello " * 26, (), False),
        ("", (), False),
    ],
)
def test_a_greeting_is_one_short_sentence_that_states_and_files_nothing(
    answer: str, calls: tuple[str, ...], sane: bool
) -> None:
    assert judge.is_sane_greeting(answer, "Łucja", calls) is sane


# --- what is printed -----------------------------------------------------------------------------------------


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_tells_rate_and_time_left_on_a_line_that_is_cleared() -> None:
    stream = Terminal()
    line = ProgressLine(people=2, turns=60, stream=stream)
    line.show(1, 0)
    line._drawn_at = float("-inf")
    line.show(1, 20)
    assert re.search(r"person 1 of 2 · 20 of 60 turns · [\d.]+ a second · about \d+ s left", stream.getvalue())
    line.close()
    assert stream.getvalue().rsplit("\r", 2)[1].strip() == "" and "\n" not in stream.getvalue()


def test_json_has_the_same_keys_whether_much_or_nothing_was_measured() -> None:
    empty, full = Tally("m", 1, 20), Tally("m", 1, 20)
    full.cpu_s, full.wall_s, full.tokens, full.start_cpu_s = [1.0, 3.0, 2.0], [1.0], [900, 1000, 2000], [4.0, 2.0]
    full.count("saved", True, "x", "y", "z")
    full.count("saved", False, "x", "y", "z")
    one, two = empty.as_json(misses=False), full.as_json(misses=True)
    assert one.keys() == two.keys() and tuple(one["scores"]) == tuple(two["scores"]) == MEASURES
    assert (one["turn_tokens"], one["turn_cpu_s"]["median"], one["scores"]["saved"]["share"]) == (None, None, None)
    assert (two["turn_tokens"], two["turn_cpu_s"]["median"], two["scores"]["saved"]["share"]) == (1000, 2.0, 0.5)
    assert two["start_cpu_s"] == {"first": 4.0, "median": 3.0}
    assert [miss["measure"] for miss in two["misses"]] == ["saved"]


# --- from end to end, on a scripted model --------------------------------------------------------------------


def say(text: str, **more: object) -> dict[str, object]:
    return {"calls": [{"name": "send_message", "arguments": {"message": text}}], **more}


def keep(text: str, **more: object) -> dict[str, object]:
    arguments = {"name": "human", "content": text, "request_heartbeat": True}
    return {"calls": [{"name": "core_memory_append", "arguments": arguments}], **more}


def perfect_script(person: Person) -> list[dict[str, object]]:
    """Return what a model that makes no mistake would reply to this person, each reply waiting for its line.

    The script is read anew for each session: its first reply greets at both logins.
    """
    replies = [say("Hello there.")]
    for line in (*person.first, *person.second):
        match line.kind:
            case Kind.GREET | Kind.TALK:
                replies.append(say("A good day to you.", match=line.text))
            case Kind.TELL | Kind.CORRECT | Kind.ARCHIVE:
                kept = "; ".join(f"{fact.attribute}: {fact.value}" for fact in line.facts)
                replies += [keep(kept, match=line.text), say("Noted.", match="human")]
            case Kind.ASK | Kind.ASK_ARCHIVE:
                replies.append(say(f"It is {line.facts[0].value}.", match=line.text))
            case Kind.UNKNOWN:
                replies.append(say("You have not told me that.", match=line.text))
    return replies


def scripted(folder: Path, replies: list[dict[str, object]]) -> str:
    path = folder / "script.json"
    path.write_text(json.dumps(replies), encoding="utf-8")
    return f"scripted:{path}"


def test_a_model_without_a_fault_gets_full_marks(home: Path, tmp_path: Path) -> None:
    (person,) = people(1, seed=8)
    model = scripted(tmp_path, perfect_script(person))
    words = ("bench", "agent", "-m", model, "--people", "1", "--seed", "8", "--json", "--misses")
    done = memos(home, *words, environ=WITHOUT_VECTORS)
    assert done.returncode == 0, done.stderr
    numbers = json.loads(done.stdout)
    assert numbers["misses"] == [] and numbers["wrong_statements"] == 0 and numbers["failed_turns"] == 0
    assert {name: score["of"] for name, score in numbers["scores"].items()} == {
        "saved": FACTS,
        "corrected": CORRECTIONS,
        "recalled": FACTS,
        "archive_found": ARCHIVED,
        "unknown_said": UNKNOWN,
        "greeted": 2,
    }
    assert all(score["share"] == 1.0 for score in numbers["scores"].values())
    assert (numbers["model"], numbers["people"], numbers["turns"]) == (model, 1, person.lines)
    assert numbers["turn_tokens"] is None and numbers["start_cpu_s"]["median"] is not None
    assert not (home / "data" / "memos.db").exists(), "the user's own agents are not touched"


def test_a_model_that_keeps_nothing_and_guesses_is_seen_through(home: Path, tmp_path: Path) -> None:
    (person,) = people(1, seed=8)
    replies = [say("Welcome, Harriet!")]
    for line in (*person.first, *person.second):
        if line.kind is Kind.ASK and line.facts[0].old:
            replies.append(say(f"It is {line.facts[0].old}.", match=line.text))
        elif line.kind is Kind.UNKNOWN:
            guess = attribute(line.facts[0].attribute).values[0]
            replies.append(say(f"That is {guess}.", match=line.text))
        elif line.kind is not Kind.LOGIN:
            replies.append(say("Wonderful. Tell me more.", match=line.text))
    model = scripted(tmp_path, replies)
    words = ("bench", "agent", "-m", model, "--people", "1", "--seed", "8", "--misses")
    done = memos(home, *words, environ=WITHOUT_VECTORS)
    assert done.returncode == 0, done.stderr
    rows = dict(re.findall(r"^([a-z -]+?)  +(\S+)", done.stdout, re.MULTILINE))
    assert (rows["saved"], rows["corrected"], rows["recalled"]) == ("0.0%", "0.0%", "0.0%")
    assert (rows["unknown said"], rows["greeted"]) == ("0.0%", "0.0%")
    assert int(rows["wrong statements"]) == UNKNOWN + 2  # each guess, and Harriet at both logins
    assert rows["tokens a turn"] == "unknown" and "answer: That is " in done.stdout


def test_a_model_that_only_fails_ends_the_run_with_its_own_exit_code(home: Path, tmp_path: Path) -> None:
    model = scripted(tmp_path, [{"error": "refused"}] * 5)
    done = memos(home, "bench", "agent", "-m", model, "--people", "3", "--json", environ=WITHOUT_VECTORS)
    assert done.returncode == 4 and "3 turns in a row failed" in done.stderr
    assert json.loads(done.stdout or "{}").get("people", 0) == 0


def test_ctrl_c_prints_what_was_measured(home: Path, tmp_path: Path) -> None:
    slow = [{**reply, "delay_s": 0.02} for reply in perfect_script(people(1, seed=8)[0])]
    words = ["bench", "agent", "-m", scripted(tmp_path, slow), "--people", "9", "--seed", "8", "--json"]
    child = subprocess.Popen(
        [sys.executable, "-m", "memos", *words],
        env=clean_environ(home, **WITHOUT_VECTORS),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert child.stderr is not None
    while "person 2" not in child.stderr.readline():
        assert child.poll() is None
    time.sleep(0.1)
    os.kill(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=30)
    numbers = json.loads(out)
    assert child.returncode == 130 and "numbers so far" in err and "Traceback" not in err
    assert numbers["stopped"] == "interrupted" and numbers["people"] >= 1 and numbers["scores"]["saved"]["of"] >= FACTS


def test_a_servers_requests_are_announced_and_its_tokens_counted(home: Path) -> None:
    (person,) = people(1, seed=1)
    spoken = Answer(calls=(Call("send_message", {"message": "I am glad you are here."}),))
    with FakeOpenAI(script=lambda _: spoken) as server:
        words = (
            "bench",
            "agent",
            "-m",
            "openai/fake",
            "--api-base",
            server.url,
            "--people",
            "1",
            "--json",
            "--set",
            "window_tokens=60000",
        )
        done = memos(home, *words, environ=WITHOUT_VECTORS)
        assert done.returncode == 0, done.stderr
        assert len(server.requests) == person.lines and not server.violations
    assert f"send {person.lines} messages to openai/fake" in done.stderr
    numbers = json.loads(done.stdout)
    assert numbers["turn_tokens"] == 133 and numbers["wrong_statements"] == 0
    assert numbers["scores"]["unknown_said"]["good"] == 0 and numbers["scores"]["greeted"]["share"] == 1.0


@pytest.mark.builtin_model
@pytest.mark.timeout(300)
def test_the_built_in_model_is_measured_from_end_to_end(home: Path, builtin_cache: Path) -> None:
    builtin_weights(builtin_cache, lambda _: None)
    done = memos(
        home,
        *("bench", "agent", "-m", "builtin/tiny", "--people", "1", "--json", "--misses"),
        environ={"MEMOS_CACHE": str(builtin_cache)},
        timeout_s=240,
    )
    assert done.returncode == 0, done.stderr
    numbers = json.loads(done.stdout)
    assert numbers["people"] == 1 and numbers["failed_turns"] == 0
    assert numbers["scores"]["saved"]["good"] >= FACTS * 0.7, numbers["misses"]
    assert numbers["wrong_statements"] == 0, numbers["misses"]
