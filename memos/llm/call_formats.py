"""The call formats of chat endpoints, one class each: how functions are offered, and how calls are read back.

Adding one: a class here, a name in `capability_card.FormatName`, a place in `FORMATS`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from memos.functions.table import THOUGHTS_ARGUMENT
from memos.llm.call_grammar import Lengths, call_grammar
from memos.llm.capability_card import FormatName
from memos.llm.chat_messages import ChatMessage, chat_messages, tools
from memos.llm.json_messages import call_schema, json_chat_messages
from memos.llm.reply_decoder import ReplyDecoder
from memos.llm.road import ChatRequest
from memos.messages import FunctionSchema, Message, Prompt

_NO_CALLS = "You cannot call functions here. Answer the user in plain words; what you write is what they read."


class CallFormat(Protocol):
    """A way to have a model call functions."""

    @property
    def name(self) -> FormatName:
        """Its name in settings and on the capability card."""
        ...

    def request(self, prompt: Prompt) -> ChatRequest:
        """Return what is asked; sampling parameters are the caller's to add."""
        ...

    def decoder(self, prompt: Prompt) -> ReplyDecoder:
        """Return what reads the reply."""
        ...


@dataclass(frozen=True, slots=True)
class Native:
    """The chat API's own tools. `thinks_in_arguments`: the inner monologue is asked for as each call's first argument.

    `signed`: blocks of thought go back as they came, to providers that refuse the history without them.
    """

    thinks_in_arguments: bool = False
    signed: bool = False
    name: FormatName = FormatName.NATIVE

    def request(self, prompt: Prompt) -> ChatRequest:
        """Return main context with the functions as tools."""
        messages = chat_messages(prompt, signed=self.signed)
        offered: Iterable[FunctionSchema] = prompt.functions
        if self.thinks_in_arguments:
            messages = _with_thoughts_in_calls(messages)
            offered = map(_asking_for_thoughts, prompt.functions)
        return ChatRequest(messages, tools(offered), stable_chars=len(prompt.instructions))

    def decoder(self, prompt: Prompt) -> ReplyDecoder:
        """Return a decoder that also finds a call which a model wrote as text all the same."""
        return ReplyDecoder(
            _names(prompt), thinks_in_arguments=self.thinks_in_arguments, taken_ids=_call_ids(prompt.queue)
        )


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """One JSON object a reply, held to a schema by the endpoint (`response_format`).

    `lengths` bounds its strings, for servers of one's own: weak models run on, and the schemas of providers know none.
    """

    lengths: Lengths | None = None
    name: FormatName = FormatName.JSON_SCHEMA

    def request(self, prompt: Prompt) -> ChatRequest:
        """Return main context with the functions described in the prompt and as a schema."""
        return replace(_json_request(prompt, nested=True), schema=call_schema(prompt.functions, self.lengths))

    def decoder(self, prompt: Prompt) -> ReplyDecoder:
        """Return a decoder that finds calls in the content."""
        return ReplyDecoder(_names(prompt), taken_ids=_call_ids(prompt.queue))


@dataclass(frozen=True, slots=True)
class Grammar:
    """One JSON object a reply, held to a compact grammar of ours (GBNF): llama.cpp, koboldcpp and their like."""

    lengths: Lengths | None = None
    name: FormatName = FormatName.GRAMMAR

    def request(self, prompt: Prompt) -> ChatRequest:
        """Return main context with the functions described in the prompt and as a grammar."""
        return replace(_json_request(prompt), grammar=call_grammar(prompt.functions, self.lengths or Lengths()))

    def decoder(self, prompt: Prompt) -> ReplyDecoder:
        """Return a decoder that finds calls in the content."""
        return ReplyDecoder(_names(prompt), taken_ids=_call_ids(prompt.queue))


@dataclass(frozen=True, slots=True)
class JsonPrompt:
    """One JSON object a reply, asked for in the prompt alone: bare, fenced or in tags."""

    name: FormatName = FormatName.JSON_PROMPT

    def request(self, prompt: Prompt) -> ChatRequest:
        """Return main context with the functions described in the prompt."""
        return _json_request(prompt, lenient=True)

    def decoder(self, prompt: Prompt) -> ReplyDecoder:
        """Return a decoder that finds calls in the content."""
        return ReplyDecoder(_names(prompt), calls_only=True, taken_ids=_call_ids(prompt.queue))


@dataclass(frozen=True, slots=True)
class Plain:
    """No functions: what the model writes is what it says. It remembers only what is in view."""

    name: FormatName = FormatName.PLAIN

    def request(self, prompt: Prompt) -> ChatRequest:
        """Return main context without functions; calls of the past stay readable as text."""
        if prompt.purpose == "summarise":
            return ChatRequest(chat_messages(prompt), stable_chars=len(prompt.instructions))
        told = replace(prompt, instructions=f"{prompt.instructions}\n\n{_NO_CALLS}", functions=())
        return _json_request(told)

    def decoder(self, prompt: Prompt) -> ReplyDecoder:
        """Return a decoder that shows content as speech at once."""
        return ReplyDecoder(speaks=True)


def format_named(
    name: FormatName, *, thinks_in_arguments: bool = False, signed: bool = False, lengths: Lengths | None = None
) -> CallFormat:
    """Return the call format of that name; what only one of them knows is passed to it alone."""
    if name is FormatName.NATIVE:
        return Native(thinks_in_arguments, signed)
    if name is FormatName.JSON_SCHEMA:
        return JsonSchema(lengths)
    if name is FormatName.GRAMMAR:
        return Grammar(lengths)
    return FORMATS[name]


def first_format(model: str) -> FormatName | None:
    """Return the format that a kind of server is asked in first; None for the usual order.

    koboldcpp holds every model to a grammar and streams it; its tools cost a second inference, and come at the end.
    llamafile has llama.cpp's grammars, and ignores tools.
    """
    return FormatName.GRAMMAR if model.startswith(("koboldcpp/", "llamafile/")) else None


FORMATS: Mapping[FormatName, CallFormat] = {
    call_format.name: call_format for call_format in (Native(), JsonSchema(), Grammar(), JsonPrompt(), Plain())
}


def _json_request(prompt: Prompt, *, nested: bool = False, lenient: bool = False) -> ChatRequest:
    messages = json_chat_messages(prompt, nested=nested, lenient=lenient)
    return ChatRequest(messages, stable_chars=len(prompt.instructions))


def _names(prompt: Prompt) -> frozenset[str]:
    return frozenset(function.name for function in prompt.functions)


def _call_ids(queue: Sequence[Message]) -> list[str]:
    return [call.id for row in queue for call in row.calls]


# --- The inner monologue as an argument -----------------------------------------------------------------------


def _asking_for_thoughts(function: FunctionSchema) -> FunctionSchema:
    thoughts = {"type": "string", "description": "Your inner monologue, which the user does not see. Write it first."}
    parameters: Mapping[str, Any] = function.parameters
    properties = {THOUGHTS_ARGUMENT: thoughts, **parameters["properties"]}
    required = [THOUGHTS_ARGUMENT, *parameters.get("required", ())]
    return replace(function, parameters={**parameters, "properties": properties, "required": required})


def _with_thoughts_in_calls(messages: list[ChatMessage]) -> list[ChatMessage]:
    """Return the messages with the monologue of each past reply where the model is asked to write it now."""
    return [_with_thoughts(message) if message.get("tool_calls") else message for message in messages]


def _with_thoughts(message: ChatMessage) -> ChatMessage:
    calls, words = message["tool_calls"], message.get("content")
    if not words:
        return message
    function = calls[0]["function"]
    arguments = {THOUGHTS_ARGUMENT: words, **json.loads(function["arguments"])}
    first = {**calls[0], "function": {**function, "arguments": json.dumps(arguments, ensure_ascii=False)}}
    return {**message, "content": None, "tool_calls": [first, *calls[1:]]}
