"""What models write as arguments, and what memos makes of it."""

import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos.errors import FunctionFailed
from memos.functions.arguments import RAW_LIMIT_CHARS, parse_arguments, parsed_leniently
from memos.functions.table import Function, FunctionTable, function


class Examples:
    """Functions with every kind of argument."""

    @function()
    def note(self, text: str, copies: int = 1, loud: bool = False) -> str:
        """Note something.

        Args:
            text: What to note.
            copies: How often.
            loud: Whether to shout.
        """
        return text

    @function(asks_heartbeat=False)
    def choose(self, colour: Literal["red", "green"], tags: list[str] | None = None, weight: float = 1.0) -> str:
        """Choose a colour.

        Args:
            colour: Which.
            tags: Words beside it.
            weight: How heavy.
        """
        return colour


TABLE = FunctionTable([Examples()])


def entry(name: str) -> Function:
    found = TABLE.get(name)
    assert found
    return found


@pytest.mark.parametrize("truth", [True, "true", "True", 1, "1", " TRUE ", "yes"])
def test_everything_that_means_true_asks_for_a_heartbeat(truth: object) -> None:
    raw = json.dumps({"text": "x", "request_heartbeat": truth})
    assert parse_arguments(raw, entry("note")) == ({"text": "x"}, True)


@pytest.mark.parametrize("falsehood", [False, "false", 0, "0", None, "", "no"])
def test_everything_that_means_false_yields(falsehood: object) -> None:
    raw = json.dumps({"text": "x", "request_heartbeat": falsehood})
    assert parse_arguments(raw, entry("note")) == ({"text": "x"}, False)


def test_a_call_that_says_nothing_of_a_heartbeat_yields() -> None:
    assert parse_arguments('{"text": "x"}', entry("note"))[1] is False


def test_numbers_come_as_words_and_words_as_numbers() -> None:
    assert parse_arguments('{"text": 12, "copies": "3"}', entry("note"))[0] == {"text": "12", "copies": 3}


@pytest.mark.parametrize("copies", ["three", 1.5, True, [], "1e999", "nan"])
def test_what_is_no_whole_number_is_refused_in_one_sentence(copies: object) -> None:
    with pytest.raises(FunctionFailed, match='"copies" is a whole number'):
        parse_arguments(json.dumps({"text": "x", "copies": copies}), entry("note"))


def test_a_choice_outside_its_list_names_the_list() -> None:
    with pytest.raises(FunctionFailed, match="red, green"):
        parse_arguments('{"colour": "blue"}', entry("choose"))


def test_a_single_tag_is_a_list_of_one() -> None:
    assert parse_arguments('{"colour": "red", "tags": "a"}', entry("choose"))[0]["tags"] == ["a"]


def test_a_missing_argument_names_what_the_function_takes() -> None:
    with pytest.raises(FunctionFailed, match=r"note takes text, copies, loud \(missing: text\)"):
        parse_arguments('{"words": "x"}', entry("note"))


def test_an_extra_argument_of_a_well_formed_call_does_no_harm() -> None:
    assert parse_arguments('{"text": "x", "inner_thoughts": "hm"}', entry("note"))[0] == {"text": "x"}


def test_a_missing_brace_is_mended() -> None:
    assert parse_arguments('{"text": "x", "copies": 2', entry("note"))[0] == {"text": "x", "copies": 2}


def test_a_mended_call_with_foreign_names_is_not_believed() -> None:
    with pytest.raises(FunctionFailed, match="unknown: new_con"):
        parse_arguments('{"text":"Name: Chad","new_con": 1', entry("note"))


@pytest.mark.parametrize("raw", ['{"text": "The user', '{"text":"Name: Chad","new_con', '{"text": "a\\"'])
def test_a_text_that_breaks_off_is_not_mended_into_half_a_memory(raw: str) -> None:
    with pytest.raises(FunctionFailed, match="not a JSON object"):
        parse_arguments(raw, entry("note"))


def test_an_argument_given_twice_is_refused() -> None:
    with pytest.raises(FunctionFailed, match="given twice"):
        parse_arguments('{"text": "a", "text": "b"}', entry("note"))


@pytest.mark.parametrize("raw", ["[1]", '"text"', "12", "null", "nonsense", "{{{{", "["])
def test_what_is_no_object_is_refused(raw: str) -> None:
    with pytest.raises(FunctionFailed):
        parse_arguments(raw, entry("note"))


def test_depth_and_length_have_bounds() -> None:
    with pytest.raises(FunctionFailed, match="nested too deeply"):
        parse_arguments('{"text": ' + "[" * 40 + "]" * 40 + "}", entry("note"))
    with pytest.raises(FunctionFailed):
        parse_arguments("[" * 30_000, entry("note"))
    with pytest.raises(FunctionFailed, match="longer than"):
        parse_arguments(" " * (RAW_LIMIT_CHARS + 1), entry("note"))


def test_lone_surrogates_become_storable() -> None:
    text = parse_arguments('{"text": "\\ud83d \\ud83d\\ude00"}', entry("note"))[0]["text"]
    assert text.encode() and text.endswith("😀")


@given(st.text(max_size=200))
def test_whatever_a_model_writes_is_parsed_or_refused_in_one_sentence(raw: str) -> None:
    try:
        arguments, heartbeat = parse_arguments(raw, entry("note"))
    except FunctionFailed as failure:
        assert str(failure)
    else:
        assert isinstance(arguments["text"], str) and isinstance(heartbeat, bool)


@given(st.text())
def test_any_text_survives_the_way_through_json(text: str) -> None:
    raw = json.dumps({"text": text})
    assert parse_arguments(raw, entry("note"))[0]["text"] == text.replace("\x00", "�")


def test_reading_leniently_never_fails() -> None:
    assert parsed_leniently("nonsense") == {}
    assert parsed_leniently('{"message": "hi"') == {"message": "hi"}


@pytest.mark.parametrize("raw", ['"{\\"text\\": \\"Bees.\\"}"', '{"text": "Bees."}}', '{"text": "Bees."} That is all.'])
def test_what_means_one_object_is_taken_for_it(raw: str) -> None:
    assert parse_arguments(raw, entry("note")) == ({"text": "Bees."}, False)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ('{"text": "One."}{"text": "Two."}', "more than one JSON object"),
        ('{"text": NaN}', "NaN is not JSON"),
        ('{"text": 1' + "0" * 5_000 + "}", "5001 digits"),
        ('{"text": "One.", "text": "Two."}', 'The argument "text" is given twice'),
    ],
)
def test_what_may_mean_two_things_goes_back_to_the_model(raw: str, told: str) -> None:
    """A repair would take one of the two objects, and what was shown while it streamed is the other."""
    with pytest.raises(FunctionFailed, match=told):
        parse_arguments(raw, entry("note"))
    assert parsed_leniently(raw) == {}
