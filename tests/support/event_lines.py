"""What holds of every stream of events that memos writes, whatever happened."""

from __future__ import annotations

import json
import typing
from collections.abc import Sequence
from typing import Any

from memos.errors import EXIT_CODES
from memos.terminal.event_lines import COMMON, SCHEMA_VERSION, Line
from support.jsonl_page import fields_of

_KINDS: dict[str, type] = {kind.type: kind for kind in typing.get_args(Line)}
_IS = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array of strings": lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
}


def check_lines(output: str, exit_code: int) -> list[dict[str, Any]]:
    """Return the events of an output, each held against the schema; the last one, and it alone, says how it ended."""
    assert output.endswith("\n") and output.isascii()
    lines = [json.loads(line) for line in output.splitlines()]
    for number, line in enumerate(lines, 1):
        check_line(line)
        assert line["seq"] == number
    ends = [line for line in lines if line["type"] in ("result", "error")]
    assert len(ends) == 1 and lines[-1] is ends[0]
    assert ends[0]["type"] == ("error" if exit_code else "result")
    assert ends[0]["exit_code"] == exit_code
    if exit_code:
        assert ends[0]["code"] == EXIT_CODES[exit_code][0]
        assert ends[0]["message"] and ends[0]["next_step"] and "\n" not in ends[0]["message"]
    return lines


def check_line(line: dict[str, Any]) -> None:
    """Hold one event against its type: no field more or less, each of the kind that the help page names."""
    fields = fields_of(_KINDS[line["type"]])
    assert set(line) == set(COMMON) | set(fields), line
    assert line["schema_version"] == SCHEMA_VERSION
    for name, (words, _) in fields.items():
        assert any(_IS[word](line[name]) for word in words.split(" or ")), (name, line)


def types_of(lines: Sequence[dict[str, Any]]) -> list[str]:
    """Return the types in order."""
    return [line["type"] for line in lines]
