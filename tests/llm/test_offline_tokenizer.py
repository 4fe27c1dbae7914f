"""A tokenizer without a network: the same counts everywhere, for any text, in bounded time."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from memos.llm import offline_tokenizer
from memos.llm.offline_tokenizer import ESTIMATE, pieces


def test_counts_are_those_of_the_published_vocabulary() -> None:
    tokenizer = offline_tokenizer.load()
    assert tokenizer.name == "cl100k_base"
    known = {
        "": 0,
        "hello world": 2,
        "tiktoken is great!": 6,
        "antidisestablishmentarianism": 6,
        "お誕生日おめでとう": 9,
    }
    assert {text: tokenizer.count(text) for text in known} == known


def test_what_looks_like_a_special_token_is_counted_as_text() -> None:
    assert offline_tokenizer.load().count("<|endoftext|>") > 1


@pytest.mark.parametrize("character", ["a", " ", "\n", ".", "é", "蜂", "\ud83d", "\x00", "0"])
def test_a_megabyte_of_one_character_does_not_hang(character: str) -> None:
    began = time.process_time()
    counted = offline_tokenizer.load().count(character * 1_000_000)
    assert 1_000 < counted <= 3_000_000
    assert time.process_time() - began < 5


def test_half_a_surrogate_pair_is_counted() -> None:
    assert offline_tokenizer.load().count("half \ud83d pair") >= 3
    assert ESTIMATE.count("\ud83d") >= 1


def test_a_long_text_costs_cut_in_pieces_what_it_costs_whole() -> None:
    text = "A sentence of nine words that is often repeated. " * 2_000
    assert "".join(pieces(text)) == text
    count = offline_tokenizer.load().count
    assert abs(count(text) - 2_000 * count("A sentence of nine words that is often repeated. ")) < 2_100
    assert [len(piece) for piece in pieces("x" * 9_000)] == [4_000, 4_000, 1_000]


def test_the_estimate_holds_for_any_script() -> None:
    assert [ESTIMATE.count(text) for text in ("", "a", "abcd", "abcde")] == [0, 1, 1, 2]
    assert ESTIMATE.count("我喜欢茶") >= 4
    for text in ("Where did I leave the spare key?", "Wo ist der Schlüssel?", "鍵はどこですか"):
        assert 0.5 < ESTIMATE.count(text) / offline_tokenizer.load().count(text) < 2


GUARD = """
import sys
contacts = []
sys.addaudithook(lambda event, args: contacts.append(event) if event.startswith("socket.") else None)
from memos.llm import offline_tokenizer
assert "tiktoken" not in sys.modules
assert offline_tokenizer.at_hand().name == "bytes"
assert offline_tokenizer.load() is offline_tokenizer.at_hand()
heavy = {"litellm", "requests", "httpx"} & set(sys.modules)
print(offline_tokenizer.at_hand().name, contacts, heavy)
"""


def test_loading_it_opens_no_socket_and_imports_nothing_heavy() -> None:
    run = subprocess.run([sys.executable, "-c", GUARD], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "cl100k_base [] set()"


def test_without_its_file_the_estimate_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline_tokenizer, "find_spec", lambda name: None)
    monkeypatch.setattr(offline_tokenizer, "_loaded", [])
    assert offline_tokenizer.load() is ESTIMATE


@pytest.mark.parametrize("arguments", [["--help"], ["list", "agents"], ["--version"]])
def test_no_command_that_talks_to_no_model_imports_the_tokenizer(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom memos.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        "print('tiktoken' in sys.modules, 'memos.llm.offline_tokenizer' in sys.modules, file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stderr.strip().splitlines()[-1] == "False False"
