"""Calls in a model's text are found however it is cut, nothing else is taken for one, and no word is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memos.llm.call_text import CallText, FoundCalls
from memos.messages import MonologueDelta, SpeechDelta
from memos.safe_text import storable

OFFERED = ("send_message", "search", "core_memory_append")
HELLO = {"message": "Hello, [you] {there}!"}
OWN = '{"thoughts": "I greet.", "function": "send_message", "arguments": {"message": "Hello, [you] {there}!"}}'
NAMED = '{"name": "send_message", "arguments": {"message": "Hello, [you] {there}!"}}'
SEARCH = '{"name": "search", "parameters": {"query": "bees"}}'


def pieces(text: str, cuts: list[int]) -> Iterator[str]:
    start = turn = 0
    while start < len(text):
        yield text[start : start + cuts[turn % len(cuts)]]
        start, turn = start + cuts[turn % len(cuts)], turn + 1


def read(text: str, cuts: list[int] | None = None) -> tuple[FoundCalls, str, str]:
    """Return what was found, what was shown of the monologue, and what was shown as speech."""
    reading = CallText(OFFERED)
    parts = [part for piece in pieces(text, cuts or [len(text) or 1]) for part in reading.feed(piece)]
    shown = "".join(part.text for part in parts if isinstance(part, MonologueDelta))
    speech = "".join(part.text for part in parts if isinstance(part, SpeechDelta))
    return reading.finish(), shown, speech


def calls(found: FoundCalls) -> list[tuple[str | None, Any]]:
    return [(call.name, json.loads(call.arguments)) for call in found.calls]


FORMS = {
    "our own": OWN,
    "name and arguments": NAMED,
    "arguments first": '{"arguments": {"message": "Hello, [you] {there}!"}, "name": "send_message"}',
    "parameters": '{"name": "send_message", "parameters": {"message": "Hello, [you] {there}!"}}',
    "arguments as text": json.dumps({"name": "send_message", "arguments": json.dumps(HELLO)}),
    "function as object": json.dumps({"function": {"name": "send_message", "arguments": HELLO}}),
    "thoughts and function as object": json.dumps(
        {"thoughts": "", "function": {"name": "send_message", "arguments": HELLO}}
    ),
    "as the chat API has it": json.dumps(
        {"id": "c1", "type": "function", "function": {"name": "send_message", "arguments": json.dumps(HELLO)}}
    ),
    "tool_calls": json.dumps(
        {"tool_calls": [{"type": "function", "function": {"name": "send_message", "arguments": HELLO}}]}
    ),
    "an array": f"[{NAMED}]",
    "a fence": f"```\n{NAMED}\n```",
    "a fence with a language": f"```json\n{OWN}\n```",
    "a fence around an array": f"```json\n[\n{NAMED}\n]\n```",
    "a tag": f"<tool_call>\n{NAMED}\n</tool_call>",
    "a tag that nothing closes": f"<tool_call>{NAMED}",
    "a tag of which only the end came": f"{NAMED}\n</tool_call>",
    "the name in the tag": '<function=send_message>{"message": "Hello, [you] {there}!"}</function>',
    "tool calls of another kind": f"[TOOL_CALLS][{NAMED}]",
    "the tag of another": f"<|python_tag|>{NAMED}",
    "thoughts among the arguments": json.dumps(
        {"name": "send_message", "arguments": {"inner_thoughts": "I greet.", **HELLO}}
    ),
    "a line break as it is": '{"name":"send_message","arguments":{"message":"Hello, [you]\n{there}!"}}',
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("cuts", [[1], [7], [10_000]], ids=["by characters", "in pieces", "at once"])
def test_every_form_is_read_and_the_words_around_it_are_kept(form: str, cuts: list[int]) -> None:
    found, shown, speech = read(f"I think: \n\n{form}\n Bye.", cuts)
    ((name, arguments),) = calls(found)
    assert name == "send_message"
    assert arguments["message"].replace("\n", " ") == HELLO["message"]
    assert speech == found.said == arguments["message"]
    assert (found.words, found.broken, found.lost) == ("I think:\nBye.", False, "")
    assert found.monologue == shown + found.unshown
    assert found.thoughts == ("I greet." if "I greet." in form else "")


MANY = {
    "one after the other": f"{NAMED}\n{SEARCH}",
    "with a comma": f"{NAMED}, {SEARCH}",
    "with a semicolon": f"<|python_tag|>{NAMED}; {SEARCH}",
    "an array": f"[{NAMED}, {SEARCH}]",
    "tool_calls": f'{{"tool_calls": [{NAMED}, {SEARCH}]}}',
    "tags": f"<tool_call>{NAMED}</tool_call>\n<tool_call>{SEARCH}</tool_call>",
    "one fence": f"```json\n{NAMED}\n{SEARCH}\n```",
    "two fences": f"```json\n{NAMED}\n```\n```json\n{SEARCH}\n```",
}


@pytest.mark.parametrize("text", MANY.values(), ids=MANY.keys())
def test_several_calls_are_all_found_in_order(text: str) -> None:
    for cuts in ([1], [1000]):
        found, _, _ = read(text, cuts)
        assert calls(found) == [("send_message", HELLO), ("search", {"query": "bees"})]
        assert (found.words, found.broken) == ("", False)


WORDS = [
    "an open brace { and a bracket [",
    "[abc](https://example.org) and {braces} and <tags> and `code` and ``` three",
    "- [ ] buy honey\n- [x] feed the bees",
    '```json\n{"name": "Ana", "arguments": {"a": 1}}\n```',
    '```python\ncall = {"name": "send_message", "arguments": {"message": "An example."}}\n```\n',
    '{"city": "Lisbon", "inner": {"name": "send_message", "arguments": {}}}',
    '[{"name": "Ana"}, {"name": "Ben"}]',
    '{"name": "send_message_x", "arguments": {}}',
    '{"name": "send_message", "description": "Say it.", "parameters": {"type": "object"}}',
    '{"type": "object", "properties": {}}',
    "if (a) { if (b) { c[0] = {}; } }",
    "<function=search><tool_call> are two.",
    "Write <tool_call> and then </tool_call>, [TOOL_CALLS] and <function=x>.",
    "<",
    "[TOOL",
    "  \n ",
    ":{",
    '{"name',
    "\x00 \ud83d",
]


@pytest.mark.parametrize("text", WORDS)
def test_what_is_no_call_is_words_and_loses_no_character(text: str) -> None:
    for cuts in ([1], [1000]):
        found, shown, speech = read(text, cuts)
        assert found.words == found.monologue == storable(text)
        assert (found.calls, found.broken, speech) == ((), False, "")
        assert found.words == shown + found.unshown


def test_ordinary_text_is_not_held_back() -> None:
    reading = CallText(OFFERED)
    shown = ""
    for place, sign in enumerate(text := 'A list [1] of {things}: `x = {1: 2}`; {"city": "Lisbon", "more": [1'):
        shown += "".join(part.text for part in reading.feed(sign))  # type: ignore[union-attr]
        assert place + 1 - len(shown) <= len('{"city"')
    assert text == shown


def test_thoughts_and_words_are_shown_while_they_are_written() -> None:
    reading = CallText(OFFERED)
    assert reading.feed('{"thoughts": "I gr') == [MonologueDelta("I gr")]
    assert reading.feed('eet.", "function": "send_message", "arguments": {"message": "Hel') == [
        MonologueDelta("eet."),
        SpeechDelta("Hel"),
    ]
    assert reading.feed('lo\\n"}') == [SpeechDelta("lo\n")]


CUT_SHORT = [OWN[:-1], OWN[:-2], OWN[:-20], NAMED[:-1], f"<tool_call>{NAMED[:-4]}"]


@pytest.mark.parametrize("text", CUT_SHORT)
def test_half_a_call_is_none_and_what_it_said_is_kept(text: str) -> None:
    found, _, speech = read(text, [3])
    assert (found.calls, found.broken, found.words) == ((), True, "")
    assert found.lost == found.said == speech
    assert speech and HELLO["message"].startswith(speech)


def test_half_a_call_after_a_whole_one_leaves_that_whole() -> None:
    found, _, _ = read(f"{SEARCH}\n{NAMED[:-10]}", [3])
    assert calls(found) == [("search", {"query": "bees"})]
    assert found.broken and HELLO["message"].startswith(found.lost) and found.lost


BROKEN = {
    "a comma too many": '{"name": "send_message", "arguments": {"message": "Hello",}}',
    "a quote that is not escaped": '{"name": "send_message", "arguments": {"message": "Say "hi""}}',
    "a key twice": '{"name": "send_message", "arguments": {"message": "a", "message": "b"}}',
    "no arguments": '{"name": "send_message"}',
    "another function in a tag": '<tool_call>{"name": "fly", "arguments": {}}</tool_call>',
    "another function in our own form": '{"thoughts": "Up.", "function": "fly", "arguments": {}}',
    "another function named in the tag": '<function=fly>{"height": 3}</function>',
    "a number nobody can hold": '{"name": "search", "arguments": {"page": 1e999}}',
    "a number of ten thousand digits": f'{{"name": "search", "arguments": {{"page": {"1" * 10_000}}}}}',
    "depth": '{"name": "search", "arguments": {"page": ' + "[" * 100_000 + "]" * 100_000 + "}}",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_what_began_as_a_call_and_is_none_is_told(text: str) -> None:
    for cuts in ([1000], [1]):
        found, _, speech = read(text, cuts)
        assert (found.calls, found.broken) == ((), True)
        assert found.lost == found.said == speech


def test_a_call_after_a_broken_one_is_found() -> None:
    found, _, _ = read(f"{BROKEN['a comma too many']}\n{SEARCH}", [4])
    assert calls(found) == [("search", {"query": "bees"})]
    assert (found.broken, found.lost, found.words) == (True, "Hello", "")


ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(ANY_TEXT, inner, max_size=2),
    max_leaves=4,
)
ARGUMENTS = st.fixed_dictionaries({}, optional={"message": ANY_TEXT, "inner_thoughts": ANY_TEXT, "query": VALUES})
NAMES = st.sampled_from([*OFFERED, "fly", "send_message "])
AS_JSON = {"ensure_ascii": False}


@st.composite
def call_texts(draw: st.DrawFn) -> str:
    name, arguments = draw(NAMES), draw(ARGUMENTS)
    given_as = draw(st.sampled_from([arguments, json.dumps(arguments)]))
    whole: dict[str, Any] = draw(
        st.sampled_from(
            [
                {"thoughts": draw(ANY_TEXT), "function": name, "arguments": given_as},
                {"name": name, draw(st.sampled_from(["arguments", "parameters"])): given_as},
                {"arguments": given_as, "name": name},
                {"function": {"name": name, "arguments": given_as}},
                {"tool_calls": [{"name": name, "arguments": given_as}]},
                {"x": 1, "name": name, "arguments": given_as},
            ]
        )
    )
    text = json.dumps(whole, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 3)) == 0 else text


MARKERS = ["```", "```json\n", "<tool_call>", "</tool_call>", "<function=search>", "[TOOL_CALLS]", "<|python_tag|>"]
SIGNS = [
    "[",
    "]",
    "{",
    "}",
    ",",
    ";",
    " ",
    "\n",
    '"',
    "\\",
    "`",
    "<",
    "\ud83d",
    "\ude00",
    "Hm.",
    "\n```",
    "</function>",
]
MARKS = st.sampled_from([*MARKERS, *SIGNS])
TEXTS = st.lists(call_texts() | MARKS | ANY_TEXT | VALUES.map(json.dumps), max_size=8).map("".join)
CUTS = st.lists(st.integers(min_value=1, max_value=9), min_size=1, max_size=10)


def objects_in(text: str) -> list[tuple[Any, str]]:
    """Return every JSON object that begins anywhere in `text`, with what stands before it: an own reading of it."""
    found = []
    for place, sign in enumerate(text):
        if sign == "{":
            try:
                found.append((json.JSONDecoder(strict=False).raw_decode(text, place)[0], text[:place]))
            except ValueError:
                continue
    return found


def is_in(name: str | None, arguments: Any, text: str) -> bool:
    for value, before in objects_in(text):
        inner = value["function"] if isinstance(value.get("function"), dict) else value
        given_as = next(
            (place[key] for place in (inner, value) for key in ("arguments", "parameters") if key in place), {}
        )
        if isinstance(given_as, str):
            try:
                given_as = json.loads(given_as)
            except ValueError:
                continue
        stored = json.loads(storable(json.dumps(given_as, ensure_ascii=False)))
        if name in (inner.get("function"), inner.get("name")) and stored == arguments:
            return True
        if (
            before.rstrip(" \n[`json").endswith(f"<function={name}>")
            and json.loads(storable(json.dumps(value, ensure_ascii=False))) == arguments
        ):
            return True
    return False


@settings(max_examples=2000, deadline=None)
@example(text=OWN, cuts=[1])
@example(text=f"```json\n{OWN[:40]}", cuts=[1])
@given(text=TEXTS, cuts=CUTS)
def test_however_it_is_cut_the_same_is_found_and_shown_and_nothing_that_is_not_there(
    text: str, cuts: list[int]
) -> None:
    whole, _, whole_speech = read(text)
    found, shown, speech = read(text, cuts)
    assert found == whole
    assert found.monologue == shown + found.unshown
    assert speech == whole_speech
    spoken = [json.loads(c.arguments).get("message") for c in found.calls if c.name == "send_message"]
    if len(found.said) and not found.lost and len(spoken) == 1:
        assert found.said == speech == storable(spoken[0])
    for name, arguments in calls(found):
        assert name in OFFERED and isinstance(arguments, dict)
        assert is_in(name, arguments, storable(text))


@settings(max_examples=2000, deadline=None)
@given(
    text=st.lists(
        st.sampled_from(
            ["[", "]", "{", "}", "```", "`", "<", '"a"', ":", ",", '{"name": "Ana', '{"id": 1', "\n", " ", "x"]
        )
        | ANY_TEXT
        | VALUES.map(json.dumps),
        max_size=12,
    ).map("".join),
    cuts=CUTS,
)
def test_text_without_calls_comes_out_as_it_went_in(text: str, cuts: list[int]) -> None:
    found, shown, speech = read(text, cuts)
    assert found.words == found.monologue == storable(text)
    assert found.words == shown + found.unshown
    assert (found.calls, found.broken, speech) == ((), False, "")


HUGE = {
    "brackets": "[" * 100_000,
    "braces": "{" * 100_000,
    "nested arguments": '{"arguments":' * 100_000,
    "fences": "```" * 100_000,
    "spaces": " " * 1_000_000,
    "one long message": '{"name": "send_message", "arguments": {"message": "' + "\\n" * 500_000,
    "many small calls": SEARCH * 10_000,
    "keys": '{"thoughts": {"' + "a" * 1_000_000,
}


@pytest.mark.parametrize("text", HUGE.values(), ids=HUGE.keys())
def test_much_text_takes_time_that_grows_with_its_length_alone(text: str) -> None:
    spent = []
    for length in (len(text) // 8, len(text)):
        begin = time.process_time()
        read(text[:length], [64])
        spent.append(time.process_time() - begin)
    assert spent[1] < 24 * max(spent[0], 0.01)
