"""`@function`, and the table of functions: a signature and a docstring become what the LLM reads.

A method without a docstring, or with an argument its docstring does not explain, fails at boot, not in a turn.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from memos.messages import FunctionSchema, Profile

Method = TypeVar("Method", bound=Callable[..., str])

SPEECH_FUNCTION = "send_message"
"""What an agent speaks to its user by: always allowed."""
HEARTBEAT_ARGUMENT = "request_heartbeat"
THOUGHTS_ARGUMENT = "inner_thoughts"
"""Where a model that writes nothing beside its calls puts its inner monologue; no function has an argument so named."""
_HEARTBEAT_PARAMETER = {
    "type": "boolean",
    "description": "true: go on right after this.",
}
_JSON_TYPES: Mapping[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


@dataclass(frozen=True, slots=True)
class _Mark:
    asks_heartbeat: bool
    in_small_windows: bool


@dataclass(frozen=True, slots=True)
class Function:
    """An entry of the table. `run` takes checked keyword arguments and returns the result text for the LLM."""

    run: Callable[..., str]
    schema: FunctionSchema
    asks_heartbeat: bool
    """Whether the call may carry `request_heartbeat`."""
    in_small_windows: bool
    """Whether a model with a small window is told of it."""


def function(*, asks_heartbeat: bool = True, in_small_windows: bool = True) -> Callable[[Method], Method]:
    """Mark a method as a function the LLM may call; with `asks_heartbeat`, its calls may ask for a time slice.

    A function that is not `in_small_windows` can be done without, and saves its room there.
    """

    def mark(method: Method) -> Method:
        method.__memos_function__ = _Mark(asks_heartbeat, in_small_windows)  # type: ignore[attr-defined]
        return method

    return mark


class FunctionTable:
    """All functions of one agent, by name, in the order in which the LLM sees them."""

    def __init__(self, providers: Iterable[object], allowed: Collection[str] | None = None) -> None:
        """Collect the marked methods of `providers`: those named in `allowed` (None: all), and `send_message`.

        Raises: TypeError when one lacks its documentation.
        """
        functions: dict[str, Function] = {}
        for provider in providers:
            for name in function_names(type(provider)):
                if name in functions:
                    raise TypeError(f"two functions are named {name}")
                functions[name] = _entry(name, getattr(provider, name))
        self._functions = {name: entry for name, entry in functions.items() if _is_allowed(name, allowed)}
        self.schemas: tuple[FunctionSchema, ...] = tuple(entry.schema for entry in self._functions.values())

    def schemas_for(self, profile: Profile) -> tuple[FunctionSchema, ...]:
        """Return what a model is told of the functions; in profile `small`, names and types of those it needs most."""
        if profile == "full":
            return self.schemas
        return tuple(_terse(entry.schema) for entry in self._functions.values() if entry.in_small_windows)

    def get(self, name: str) -> Function | None:
        """Return the function of that name, or None."""
        return self._functions.get(name)

    def names(self) -> list[str]:
        """Return all names, in order."""
        return list(self._functions)


def function_names(*classes: type) -> list[str]:
    """Return the names of the functions that objects of `classes` provide, in order."""
    return [name for cls in classes for name, member in vars(cls).items() if hasattr(member, "__memos_function__")]


def _is_allowed(name: str, allowed: Collection[str] | None) -> bool:
    return allowed is None or name == SPEECH_FUNCTION or name in allowed


def _entry(name: str, method: Callable[..., str]) -> Function:
    from docstring_parser import parse

    mark: _Mark = method.__memos_function__  # type: ignore[attr-defined]
    documentation = parse(inspect.getdoc(method) or "")
    if not documentation.description:
        raise TypeError(f"function {name} has no docstring")
    explained = {parameter.arg_name: parameter.description for parameter in documentation.params}
    hints = get_type_hints(method)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in inspect.signature(method).parameters.values():
        if not explained.get(parameter.name):
            raise TypeError(f"argument {parameter.name} of function {name} is not explained in its docstring")
        properties[parameter.name] = _json_schema(hints[parameter.name]) | {
            "description": " ".join(str(explained[parameter.name]).split())
        }
        if parameter.default is inspect.Parameter.empty:
            required.append(parameter.name)
    if mark.asks_heartbeat:
        properties[HEARTBEAT_ARGUMENT] = _HEARTBEAT_PARAMETER
        required.append(HEARTBEAT_ARGUMENT)
    parameters = {"type": "object", "properties": properties, "required": required}
    description = " ".join(documentation.description.split())
    schema = FunctionSchema(name, description, parameters)
    return Function(method, schema, mark.asks_heartbeat, mark.in_small_windows)


def _terse(schema: FunctionSchema) -> FunctionSchema:
    """Return a schema without the words that the small instructions say already, and without what has a default."""
    given = schema.parameters
    required = [name for name in given["required"] if name != HEARTBEAT_ARGUMENT]
    kept = [*required, *(name for name in given["properties"] if name == HEARTBEAT_ARGUMENT)]
    properties = {
        name: {key: value for key, value in given["properties"][name].items() if key != "description"} for name in kept
    }
    return FunctionSchema(schema.name, "", {"type": "object", "properties": properties, "required": required})


def _json_schema(hint: Any) -> dict[str, Any]:
    """Return the JSON schema of a type hint. Raises: TypeError for a type no model can be asked for."""
    if hint in _JSON_TYPES:
        return {"type": _JSON_TYPES[hint]}
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _json_schema(arguments[0])}
    if origin in (Union, types.UnionType) and type(None) in arguments:
        return _json_schema(next(argument for argument in arguments if argument is not type(None)))
    raise TypeError(f"{hint} cannot be an argument of a function")
