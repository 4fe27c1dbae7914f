"""A grammar (GBNF, llama.cpp's) under which a model can write nothing but one call of a function that is offered.

Ours, and compact: no free whitespace, which weak models fill lines with; every string has an end in sight; required
arguments only, in the order of the schema. What parses under it is a valid call; whether it is a sensible one is
another matter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memos.messages import FunctionSchema

THOUGHTS, FUNCTION, ARGUMENTS = "thoughts", "function", "arguments"
_HEARTBEAT = "request_heartbeat"
_ITEMS_LIMIT = 6
_NESTING_LIMIT = 4
_FEWEST_CHARS, _MOST_CHARS = 400, 4000
_CHAR = r'char ::= [^"\\\x00-\x1F\x7F] | "\\" ["\\/n]'
_INTEGER = '("0" | "-"? [1-9] [0-9]{0,8})'


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long strings may be, in characters."""

    thoughts_chars: int = 120
    string_chars: int = 400


def lengths_within(window_tokens: int) -> Lengths:
    """Return how long strings may be so that even three that a weak model does not end leave room in the window."""
    return Lengths(thoughts_chars=300, string_chars=max(_FEWEST_CHARS, min(_MOST_CHARS, window_tokens // 4)))


def call_grammar(functions: Iterable[FunctionSchema], lengths: Lengths = Lengths()) -> str:
    """Return the grammar of `{"thoughts":…,"function":…,"arguments":{…}}`, functions without a rule left out.

    Raises: ValueError when no function is left.
    """
    calls = [rule for function in functions if (rule := _call(function, lengths)) is not None]
    if not calls:
        raise ValueError("none of the functions can be written as a grammar")
    thoughts, function = _literal(f' {{"{THOUGHTS}":'), _literal(f',"{FUNCTION}":')
    start = f"{thoughts} {_string(lengths.thoughts_chars)} {function}"
    names = [f"call-{number}" for number in range(len(calls))]
    rules = [f"{name} ::= {call}" for name, call in zip(names, calls, strict=True)]
    end = _literal("}")
    return "\n".join([f"root ::= {start} ({' | '.join(names)}) {end}", *rules, _CHAR, ""])


def _call(function: FunctionSchema, lengths: Lengths) -> str | None:
    arguments = _object(function.parameters, lengths, 0, always=(_HEARTBEAT,))
    name = _literal(f'{json.dumps(function.name)},"{ARGUMENTS}":')
    return None if arguments is None else f"{name} {arguments}"


def _value(schema: Mapping[str, Any], lengths: Lengths, depth: int) -> str | None:
    """Return the expression for one value, None where the schema asks for what we do not write."""
    if "const" in schema or "enum" in schema:
        choices = [schema["const"]] if "const" in schema else schema["enum"]
        return f"({' | '.join(_literal(_compact(choice)) for choice in choices)})" if choices else None
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return next((found for choice in choices if (found := _value(choice, lengths, depth)) is not None), None)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    rule = _RULES.get(str(kind))
    return rule(schema, lengths, depth) if rule else None


def _bounded_string(schema: Mapping[str, Any], lengths: Lengths, _: int) -> str | None:
    if "pattern" in schema or "format" in schema:
        return None
    least = schema.get("minLength", 0)
    most = min(schema.get("maxLength", lengths.string_chars), max(lengths.string_chars, least))
    return _string(most, least) if 0 <= least <= most else None


def _integer(schema: Mapping[str, Any], _: Lengths, __: int) -> str | None:
    """Return the expression for a whole number, which is also a number; small ranges are written out."""
    if any(key in schema for key in ("multipleOf", "exclusiveMinimum", "exclusiveMaximum")):
        return None
    if "minimum" not in schema and "maximum" not in schema:
        return _INTEGER
    least = int(-(-schema.get("minimum", 0) // 1))
    most = int(schema.get("maximum", least + 99) // 1)
    if "minimum" not in schema:
        least = min(0, most)
    shown = range(least, min(most, least + 99) + 1)
    return f"({' | '.join(_literal(str(number)) for number in shown)})" if shown else None


def _array(schema: Mapping[str, Any], lengths: Lengths, depth: int) -> str | None:
    items = schema.get("items", {"type": "string"})
    least = schema.get("minItems", 0)
    most = min(schema.get("maxItems", _ITEMS_LIMIT), max(_ITEMS_LIMIT, least))
    if depth >= _NESTING_LIMIT or not isinstance(items, Mapping) or least > most or schema.get("uniqueItems"):
        return None
    item = _value(items, lengths, depth + 1)
    if item is None or most == 0:
        return '"[]"' if least == 0 else None
    more = f'({item} ("," {item}){{{max(least - 1, 0)},{most - 1}}})'
    return f'"[" {more if least else f"{more}?"} "]"'


def _object(schema: Mapping[str, Any], lengths: Lengths, depth: int, *, always: Sequence[str] = ()) -> str | None:
    properties = schema.get("properties", {})
    required = set(schema.get("required", ())) | set(always)
    if depth >= _NESTING_LIMIT or not set(schema.get("required", ())) <= set(properties):
        return None
    parts = []
    for name in properties:
        if name in required:
            value = _value(properties[name], lengths, depth + 1)
            if value is None:
                return None
            parts.append(f"{_literal(f'{json.dumps(name)}:')} {value}")
    inner = f" {_literal(',')} ".join(parts)
    return f'"{{" {inner} "}}"' if parts else '"{}"'


_Rule = Callable[[Mapping[str, Any], Lengths, int], str | None]
_RULES: Mapping[str, _Rule] = {
    "string": _bounded_string,
    "integer": _integer,
    "number": _integer,
    "array": _array,
    "object": _object,
    "boolean": lambda _, __, ___: '("true" | "false")',
    "null": lambda _, __, ___: '"null"',
}


def _string(most: int, least: int = 0) -> str:
    return rf'"\"" char{{{least},{most}}} "\""'


def _literal(text: str) -> str:
    """Return `text` as a terminal; what is not plain ASCII by its code points."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if 32 <= ord(char) < 127 else f"\\U{ord(char):08X}" for char in escaped) + '"'


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)
