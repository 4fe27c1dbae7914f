"""The table of `memos help jsonl`, from the types of the events themselves.

`python -m support.jsonl_page` (in the folder `tests`) writes it into memos/help/jsonl.md.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing

from memos.terminal.event_lines import COMMON, Line
from support.help_pages import HELP_FOLDER, in_markdown, write

PAGE = HELP_FOLDER / "jsonl.md"
_WORDS: dict[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}


def table() -> str:
    """Return all types and fields as Markdown, those that every line has first."""
    common = [("any", "", name, _WORDS[kind], about) for name, (kind, about) in COMMON.items()]
    own = [row for line in typing.get_args(Line) for row in _rows(line)]
    return in_markdown(["type", "when", "field", "JSON", "meaning"], [*common, *own])


def fields_of(line: type) -> dict[str, tuple[str, str]]:
    """Return the fields of a type of event: to each name its JSON type and its meaning."""
    hints = typing.get_type_hints(line, include_extras=True)
    annotated = {field.name: hints[field.name] for field in dataclasses.fields(line)}
    return {name: (json_word(hint.__origin__), hint.__metadata__[0]) for name, hint in annotated.items()}


def json_word(hint: object) -> str:
    """Return what a type of Python is in JSON."""
    if isinstance(hint, types.UnionType):
        return " or ".join(_WORDS[part] for part in typing.get_args(hint))
    return _WORDS.get(hint, "array of strings")


def _rows(line: type) -> list[tuple[str, ...]]:
    when = " ".join(str(inspect.getdoc(line)).split())
    name = str(line.type)  # type: ignore[attr-defined]
    return [
        (f"`{name}`" if first else "", when if first else "", f"`{field}`", *word)
        for first, (field, word) in zip([True, *[False] * 20], fields_of(line).items(), strict=False)
    ]


if __name__ == "__main__":
    write(PAGE, table())
