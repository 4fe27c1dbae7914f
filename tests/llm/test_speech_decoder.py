"""Words appear as they are written, and only words the finished call says."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from memos.llm.speech_decoder import SpeechDecoder
from memos.safe_text import storable

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=60)
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)
CUTS = st.lists(st.integers(min_value=1, max_value=9), min_size=1, max_size=30)


def split(raw: str, cuts: list[int]) -> list[str]:
    """Return `raw` in pieces whose sizes repeat `cuts`."""
    parts, start, turn = [], 0, 0
    while start < len(raw):
        size = cuts[turn % len(cuts)]
        parts.append(raw[start : start + size])
        start, turn = start + size, turn + 1
    return parts


def said_by(raw: str, cuts: list[int], decoder: SpeechDecoder | None = None) -> str:
    decoder = decoder or SpeechDecoder()
    said = "".join(decoder.feed(part) for part in split(raw, cuts))
    assert said == decoder.said
    return said


def test_words_appear_while_the_arguments_grow() -> None:
    decoder = SpeechDecoder()
    assert decoder.feed('{"mess') == ""
    assert decoder.feed('age": "Good eve') == "Good eve"
    assert decoder.feed("ning,\\nAna") == "ning,\nAna"
    assert decoder.feed('.", "request_heartbeat": true}') == "."


def test_a_line_break_that_should_be_escaped_is_one_all_the_same() -> None:
    assert said_by('{"message": "a\nb"}', [3]) == "a\nb"  # the executor mends it to the same


def test_half_an_escape_is_held_back() -> None:
    decoder = SpeechDecoder()
    assert decoder.feed('{"message": "a\\') == "a"
    assert decoder.feed("u00") == ""
    assert decoder.feed("e9\\ud83d") == "é"
    assert decoder.feed("\\ude00") == "😀"


def test_half_a_character_is_held_back() -> None:
    decoder = SpeechDecoder()
    assert decoder.feed('{"message": "a\ud83d') == "a"
    assert decoder.feed('\ude00"}') == "😀"


def test_another_argument_is_not_spoken() -> None:
    assert said_by('{"content": "a secret", "message": 7}', [3]) == ""
    assert said_by('{"inner": {"message": "not this"}}', [3]) == ""
    assert said_by('["message", "nor this"]', [3]) == ""


def test_what_is_not_json_gives_no_words() -> None:
    for raw in ("hello", "{message: 'x'}", "[" * 100_000, '{"message": 1' + "0" * 5000):
        assert said_by(raw, [len(raw)]) == ""


@settings(max_examples=500)
@example(message="half \ud83d pair", others={}, ascii_only=True, cuts=[1])
@example(message="half \ude00\ud83d pair", others={}, ascii_only=False, cuts=[1])
@example(message="\x00", others={}, ascii_only=True, cuts=[2])
@given(message=ANY_TEXT, others=st.dictionaries(ANY_TEXT, VALUES, max_size=3), ascii_only=st.booleans(), cuts=CUTS)
def test_what_was_said_begins_what_the_call_says(
    message: str, others: dict[str, Any], ascii_only: bool, cuts: list[int]
) -> None:
    raw = json.dumps({**others, "message": message}, ensure_ascii=ascii_only)
    finished = storable(json.loads(storable(raw))["message"])
    said = said_by(raw, cuts)
    assert finished.startswith(said)
    clean = storable(json.dumps(others, ensure_ascii=False)) == json.dumps(others, ensure_ascii=False)
    if clean and storable(message) == message:
        assert said == finished


@settings(max_examples=500)
@given(raw=ANY_TEXT | st.binary(max_size=60).map(lambda b: b.decode("utf-8", "replace")), cuts=CUTS)
def test_nothing_a_model_writes_raises(raw: str, cuts: list[int]) -> None:
    said_by(raw, cuts)
    said_by('{"message": "' + raw, cuts)
