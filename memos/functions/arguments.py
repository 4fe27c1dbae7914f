"""From the raw text of a call to arguments that can be believed: parsed, mended where that is safe, checked.

Models write `"true"`, `1` and `true`; numbers as words; a brace too few. What means the same is taken; what does not
fit goes back to the model as one sentence. Cut calls never come here: a processor drops them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from memos.errors import FunctionFailed
from memos.functions.table import HEARTBEAT_ARGUMENT, THOUGHTS_ARGUMENT, Function
from memos.safe_text import storable

RAW_LIMIT_CHARS = 65_536
_NESTING_LIMIT = 32
_DIGITS_LIMIT = 300
_TRUE, _FALSE = {"true", "1", "yes"}, {"false", "0", "no", ""}


def parse_arguments(raw: str, function: Function) -> tuple[dict[str, Any], bool]:
    """Return the checked keyword arguments of a call, and whether it asks for a heartbeat.

    Raises: FunctionFailed, with a sentence for the model.
    """
    if len(raw) > RAW_LIMIT_CHARS:
        raise FunctionFailed(f"The arguments are longer than {RAW_LIMIT_CHARS} characters; send less at a time.")
    given, mended = _parsed(raw)
    given.pop(THOUGHTS_ARGUMENT, None)
    heartbeat = function.asks_heartbeat and _boolean(given.pop(HEARTBEAT_ARGUMENT, False), HEARTBEAT_ARGUMENT)
    return _checked(given, function, refuse_unknown=mended), heartbeat


def parsed_leniently(raw: str) -> dict[str, Any]:
    """Return the arguments as far as they can be read, unchecked; an empty dict where they cannot."""
    try:
        return _parsed(raw)[0]
    except FunctionFailed:
        return {}


def _parsed(raw: str) -> tuple[dict[str, Any], bool]:
    """Return the object in `raw`, and whether it had to be mended. Raises: FunctionFailed."""
    try:
        value, mended = _read(raw or "{}"), False
    except (ValueError, RecursionError):
        value, mended = _mended(raw), True
    if not isinstance(value, dict):
        raise FunctionFailed("The arguments are not a JSON object.")
    if _depth(value) > _NESTING_LIMIT:
        raise FunctionFailed("The arguments are nested too deeply.")
    return value, mended


def _read(raw: str) -> Any:
    """Return what `raw` says as JSON. Raises: ValueError, RecursionError; FunctionFailed for what is not to be mended.

    Some servers put an object they already had as text into a text once more.
    """
    value = _STRICT.decode(raw)
    return _STRICT.decode(value) if isinstance(value, str) else value


def _mended(raw: str) -> Any:
    if _ends_inside_a_string(raw):
        return None  # not a forgotten brace but a cut text: mended, it would become a wrong memory
    text = raw.strip()
    try:
        value, end = _STRICT.raw_decode(text)
    except (ValueError, RecursionError):
        return _repaired(text)
    if {"{", "["} & set(text[end:]):  # a repair would take one of the two, and which is a guess
        raise FunctionFailed("There is more than one JSON object in the arguments; make one call for each.")
    return value


def _repaired(text: str) -> Any:
    from json_repair import repair_json

    try:
        return json.loads(str(repair_json(text)) or "null")
    except (ValueError, RecursionError):
        return None


def _ends_inside_a_string(raw: str) -> bool:
    inside = escaped = False
    for character in raw:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = inside
        elif character == '"':
            inside = not inside
    return inside


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise FunctionFailed(f'The argument "{key}" is given twice.')
        seen[key] = value
    return seen


def _no_number(constant: str) -> Any:
    raise FunctionFailed(f"{constant} is not JSON.")


def _whole_number(digits: str) -> int:
    if len(digits) > _DIGITS_LIMIT:
        raise FunctionFailed(f"A number has {len(digits)} digits; {_DIGITS_LIMIT} are the most.")
    return int(digits)


_STRICT = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_constant=_no_number, parse_int=_whole_number)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= _NESTING_LIMIT:
        depth += 1
        inner = [list(v.values()) if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)]
        level = [item for items in inner for item in items]
    return depth


def _checked(given: dict[str, Any], function: Function, *, refuse_unknown: bool) -> dict[str, Any]:
    properties: Mapping[str, Any] = function.schema.parameters["properties"]
    expected = [name for name in properties if name != HEARTBEAT_ARGUMENT]
    missing = [n for n in function.schema.parameters["required"] if n in expected and given.get(n) is None]
    unknown = [name for name in given if name not in expected]
    if missing or (unknown and refuse_unknown):
        problem = f"missing: {', '.join(missing)}" if missing else f"unknown: {', '.join(unknown)}"
        raise FunctionFailed(f"{function.schema.name} takes {', '.join(expected)} ({problem}).")
    return {name: _typed(given[name], properties[name], name) for name in expected if given.get(name) is not None}


def _typed(value: Any, schema: Mapping[str, Any], name: str) -> Any:
    kind = schema["type"]
    if kind == "boolean":
        return _boolean(value, name)
    if kind in ("integer", "number"):
        return _number(value, kind, name)
    if kind == "array":
        items = value if isinstance(value, list) else [value]
        return [_typed(item, schema["items"], name) for item in items]
    text = _string(value, name)
    if "enum" in schema and text not in schema["enum"]:
        raise FunctionFailed(f'"{name}" is one of {", ".join(schema["enum"])}.')
    return text


def _string(value: Any, name: str) -> str:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise FunctionFailed(f'"{name}" is a text.')


def _boolean(value: Any, name: str) -> bool:
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE or value is None:
        return False
    raise FunctionFailed(f'"{name}" is true or false.')


def _number(value: Any, kind: str, name: str) -> int | float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number) or (kind == "integer" and number != int(number)):
        raise FunctionFailed(f'"{name}" is {"a whole number" if kind == "integer" else "a number"}.')
    return int(number) if kind == "integer" else number
