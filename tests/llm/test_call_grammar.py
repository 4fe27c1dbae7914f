"""Whatever a model writes under our grammar is a call that parses and fits its schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memos.llm.call_grammar import Lengths, call_grammar, lengths_within
from memos.llm.engine import Engine
from memos.llm.weights import builtin_weights
from memos.messages import Finish, FunctionSchema

SHORT = Lengths(thoughts_chars=2, string_chars=4)
NAMES = st.sampled_from(["message", "query", "page", "naïve name", 'qu"ote', "a\\b", "名前"])
SCALARS = st.one_of(
    st.just({"type": "string"}),
    st.just({"type": "boolean"}),
    st.just({"type": "integer"}),
    st.just({"type": "number"}),
    st.just({"type": "null"}),
    st.just({"type": ["string", "null"]}),
    st.just({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}),
    st.integers(0, 5).map(lambda low: {"type": "integer", "minimum": low, "maximum": low + 3}),
    st.lists(st.sampled_from(["red", "green\n", "blau é", '"']), min_size=1, unique=True).map(lambda c: {"enum": c}),
)
VALUES = st.one_of(SCALARS, SCALARS.map(lambda item: {"type": "array", "items": item, "maxItems": 2}))


@st.composite
def schemas(draw: st.DrawFn) -> FunctionSchema:
    properties = draw(st.dictionaries(NAMES, VALUES, max_size=3))
    required = [name for name in properties if draw(st.booleans())]
    parameters = {"type": "object", "properties": properties, "required": required}
    return FunctionSchema(draw(st.sampled_from(["send_message", "search", "x.y"])), "", parameters)


@pytest.fixture(scope="module")
def engine(builtin_cache: Path) -> Iterator[Engine]:
    loaded = Engine(builtin_weights(builtin_cache, lambda _: None), threads=1, window_tokens=1024)
    yield loaded
    loaded.close()


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether `value` is what `schema` asks for: an own reading of it, so that grammar and test cannot agree to err."""
    if "enum" in schema:
        return value in schema["enum"]
    if "anyOf" in schema:
        return any(fits(value, choice) for choice in schema["anyOf"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    whole = isinstance(value, int) and not isinstance(value, bool)
    in_range = whole and schema.get("minimum", value) <= value <= schema.get("maximum", value)
    return {
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "integer": in_range,
        "number": in_range,
        "null": value is None,
        "array": isinstance(value, list)
        and len(value) <= schema.get("maxItems", len(value))
        and all(fits(item, schema["items"]) for item in value),
    }[kinds[0]] or (value is None and "null" in kinds)


def check_call(text: str, functions: list[FunctionSchema]) -> None:
    call = json.loads(text)
    assert list(call) == ["thoughts", "function", "arguments"]
    function = next(f for f in functions if f.name == call["function"])
    properties = function.parameters["properties"]
    assert set(function.parameters["required"]) <= set(call["arguments"]) <= set(properties)
    assert all(fits(value, properties[name]) for name, value in call["arguments"].items())


@pytest.mark.builtin_model
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(schemas(), st.sampled_from(["Call:", "{{{{", "The answer is\n\n\n", "JSON: [1, 2,"]))
def test_every_call_is_valid_whatever_the_schema(engine: Engine, function: FunctionSchema, prompt: str) -> None:
    done = engine.complete(prompt, max_tokens=300, grammar=call_grammar([function], SHORT))
    assert done.finish is Finish.STOP
    check_call(done.text, [function])


@pytest.mark.builtin_model
def test_the_model_chooses_among_what_is_offered(engine: Engine) -> None:
    speak = FunctionSchema("send_message", "", {"properties": {"message": {"type": "string"}}, "required": ["message"]})
    search = FunctionSchema("search", "", {"properties": {"query": {"type": "string"}}, "required": ["query"]})
    grammar = call_grammar([speak, search], SHORT)
    for asked in ("Say hello.", "Search for my cat."):
        check_call(engine.complete(asked, max_tokens=300, grammar=grammar).text, [speak, search])


def test_a_function_that_cannot_be_written_is_left_out_and_nothing_at_all_is_an_error() -> None:
    odd = FunctionSchema("odd", "", {"properties": {"x": {"type": "string", "pattern": "a+"}}, "required": ["x"]})
    plain = FunctionSchema("plain", "", {"properties": {}})
    assert "plain" in call_grammar([odd, plain])
    assert "odd" not in call_grammar([odd, plain])
    with pytest.raises(ValueError, match="none"):
        call_grammar([odd])


def test_a_heartbeat_is_asked_for_even_where_the_schema_leaves_it_open() -> None:
    beat = {"request_heartbeat": {"type": "boolean"}, "page": {"type": "integer"}}
    grammar = call_grammar([FunctionSchema("search", "", {"properties": beat})])
    assert "request_heartbeat" in grammar
    assert "page" not in grammar


def test_strings_are_bounded_by_the_window_within_reason() -> None:
    assert [lengths_within(tokens).string_chars for tokens in (512, 4096, 200_000)] == [400, 1024, 4000]
