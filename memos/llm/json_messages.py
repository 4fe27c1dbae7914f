"""Main context for models that call by writing JSON: functions as text, calls of the past as the model wrote them.

Roles alternate strictly, for many chat templates of open models refuse anything else; what never changes comes first.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from memos.functions.table import HEARTBEAT_ARGUMENT, SPEECH_FUNCTION
from memos.llm.call_grammar import ARGUMENTS, FUNCTION, THOUGHTS, Lengths
from memos.llm.chat_messages import (
    CUT_OFF,
    ChatMessage,
    content_parts,
    laid_out,
    result_packet,
    row_messages,
    sendable_arguments,
)
from memos.messages import FunctionCall, FunctionSchema, Message, MessageState, Prompt
from memos.prompts import json_call_instructions
from memos.safe_text import storable

_FORM = FunctionCall("", "...", '{"...": "..."}')
_Calls = Mapping[str, tuple[str, FunctionCall]]
"""Each call of the queue by its id, with the thoughts that go with it."""


def json_chat_messages(prompt: Prompt, *, nested: bool = False, lenient: bool = False) -> list[ChatMessage]:
    """Return `prompt` as chat messages without tools: system, user, assistant, user, …

    Calls of the past are the objects their replies would have been, one a message, each followed by its result. A
    reply in plain words is a call of `send_message`, so that the model stays in the form; without functions it is the
    other way round. `nested`: the form of `call_schema`, else that of `call_grammar`. `lenient`: nothing holds the
    model to the form, so that it is told more plainly.

    Raises: MemosError (a bug) when a call lacks its one result, a result its call, or two calls share an id.
    """
    if not prompt.functions:
        return _alternating(laid_out(prompt, functools.partial(_row_in_words, calls=_calls(prompt))))
    form = written_call("...", _FORM, nested=nested)
    told = f"{json_call_instructions(form, unaided=lenient)}\n\n{functions_text(prompt.functions)}"
    row_in_chat = functools.partial(_row_in_json, calls=_calls(prompt), nested=nested)
    return _alternating(laid_out(prompt, row_in_chat, told))


def written_call(thoughts: str, call: FunctionCall, *, nested: bool = False) -> str:
    """Return a stored call as the model wrote it, or would have."""
    arguments = json.loads(sendable_arguments(call.arguments))
    if nested:
        return _compact({THOUGHTS: thoughts, FUNCTION: {"name": call.name, ARGUMENTS: arguments}})
    return _compact({THOUGHTS: thoughts, FUNCTION: call.name, ARGUMENTS: arguments})


def functions_text(functions: Iterable[FunctionSchema]) -> str:
    """Return the functions as the LLM reads them where they are no tools: signature, meaning, arguments."""
    return "\n".join(["# Functions", *map(_described, functions)])


def _described(function: FunctionSchema) -> str:
    properties: Mapping[str, Mapping[str, Any]] = function.parameters.get("properties", {})
    required = function.parameters.get("required", ())
    signature = ", ".join(
        f"{name}{'' if name in required else '?'}: {_type_text(schema)}" for name, schema in properties.items()
    )
    meanings = [
        f"{name}: {schema['description']}"
        for name, schema in properties.items()
        if name != HEARTBEAT_ARGUMENT and schema.get("description")
    ]
    told = " ".join(filter(None, [function.description, *meanings]))
    return f"{function.name}({signature})" + (f"\n  {told}" if told else "")


def _type_text(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "|".join(map(_compact, schema["enum"]))
    if schema.get("type") == "array":
        return f"[{_type_text(schema.get('items', {}))}]"
    return str(schema.get("type", "any"))


def _calls(prompt: Prompt) -> _Calls:
    return {
        call.id: ("" if place else row.content, call) for row in prompt.queue for place, call in enumerate(row.calls)
    }


def _row_in_json(row: Message, *, calls: _Calls, nested: bool) -> list[ChatMessage]:
    """Return a row as chat messages, a call together with its result; the text depends on the stored rows alone."""
    if row.role == "user":
        return row_messages(row)
    if row.role == "tool":
        thoughts, call = calls[row.call_id or ""]
        return [_assistant(written_call(thoughts, call, nested=nested)), _result(row)]
    thoughts, said = _words_of(row)
    if not said:  # a reply with calls comes with their results; one of nothing but thoughts did nothing
        return []
    call = FunctionCall("", SPEECH_FUNCTION, _compact({"message": said}))
    return [_assistant(written_call(thoughts, call, nested=nested))]


def _row_in_words(row: Message, *, calls: _Calls) -> list[ChatMessage]:
    """Return a row for a model that calls nothing: what was said, and what other functions found."""
    if row.role == "user":
        return row_messages(row)
    if row.role == "tool":
        call = calls[row.call_id or ""][1]
        said = json.loads(sendable_arguments(call.arguments)).get("message") if call.name == SPEECH_FUNCTION else None
        return [_assistant(storable(str(said)))] if said else [_result(row)]
    said = _words_of(row)[1]
    return [_assistant(said)] if said else []


def _words_of(row: Message) -> tuple[str, str]:
    """Return the thoughts of a reply without calls, and what it said to the user."""
    if row.state is not MessageState.COMPLETE:
        said = str(row.payload.get("speech") or "")
        return row.content, f"{said}\n{CUT_OFF}" if said.strip() else ""
    return "", row.content if row.payload.get("spoken") and row.content.strip() else ""


def _assistant(content: str) -> ChatMessage:
    return {"role": "assistant", "content": content}


def _result(row: Message) -> ChatMessage:
    return {"role": "user", "content": result_packet(row, {"type": "function_result", "name": row.name})}


def _alternating(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """Return the messages with neighbours of one role made one."""
    merged: list[ChatMessage] = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"]:
            merged[-1] = {**message, "content": _joined(merged[-1]["content"], message["content"])}
        else:
            merged.append(message)
    return merged


def _joined(first: Any, second: Any) -> Any:
    both_text = isinstance(first, str) and isinstance(second, str)
    return f"{first}\n{second}" if both_text else content_parts([first, second])


def _compact(value: object) -> str:
    return storable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


# --- The schema of one call -----------------------------------------------------------------------------------


def call_schema(functions: Iterable[FunctionSchema], lengths: Lengths | None = None) -> dict[str, Any]:
    """Return the JSON schema of one call: `{"thoughts": …, "function": {"name": …, "arguments": {…}}}`.

    Within the subset that OpenAI holds models to: an object at the root, every property required, no other allowed;
    what may be left out may be null instead. `lengths` bounds the strings, which that subset does not know: a weak
    model does not find the end of a string by itself.
    """
    thoughts = _string_schema(lengths.thoughts_chars if lengths else None)
    calls = [_call_schema(function, lengths) for function in functions]
    return _object_schema({THOUGHTS: thoughts, FUNCTION: {"anyOf": calls}})


def _call_schema(function: FunctionSchema, lengths: Lengths | None) -> dict[str, Any]:
    name = {"type": "string", "enum": [function.name]}
    return _object_schema({"name": name, ARGUMENTS: _strict({**function.parameters, "type": "object"}, lengths)})


def _strict(schema: Mapping[str, Any], lengths: Lengths | None) -> dict[str, Any]:
    """Return what the subset knows of a schema."""
    if "enum" in schema:
        return {"type": schema.get("type", "string"), "enum": list(schema["enum"])}
    match schema.get("type"):
        case "object":
            required = {*schema.get("required", ()), HEARTBEAT_ARGUMENT}
            properties = schema.get("properties", {})
            return _object_schema(
                {name: _or_null(_strict(properties[name], lengths), name in required) for name in properties}
            )
        case "array":
            return {"type": "array", "items": _strict(schema.get("items", {"type": "string"}), lengths)}
        case "integer" | "number" | "boolean" as kind:
            return {"type": kind}
    return _string_schema(lengths.string_chars if lengths else None)


def _or_null(schema: dict[str, Any], required: bool) -> dict[str, Any]:
    return schema if required else {"anyOf": [schema, {"type": "null"}]}


def _object_schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _string_schema(limit_chars: int | None) -> dict[str, Any]:
    return {"type": "string"} | ({"maxLength": limit_chars} if limit_chars else {})
