"""A model without tools reads its functions and its own past as JSON, in roles that strictly alternate."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.agent_home import agent_home
from support.prompts import invented_prompt

from memos.errors import MemosError
from memos.functions.arguments import parse_arguments
from memos.functions.process_functions import ProcessFunctions
from memos.functions.table import FunctionTable
from memos.llm.call_grammar import Lengths
from memos.llm.call_text import CallText
from memos.llm.chat_messages import CUT_OFF
from memos.llm.json_messages import call_schema, functions_text, json_chat_messages
from memos.llm.token_counts import TokenCounts
from memos.messages import (
    Block,
    Counters,
    EventKind,
    FunctionCall,
    FunctionSchema,
    Message,
    MessageState,
    Prompt,
    TokenUsage,
)

NOON = datetime(2026, 11, 23, 13, 5, 9, tzinfo=UTC)
SPEAK = FunctionSchema(
    "send_message",
    "Say it.",
    {
        "type": "object",
        "properties": {"message": {"type": "string", "description": "The words."}},
        "required": ["message"],
    },
)
SEARCH = FunctionSchema(
    "search",
    "Look.",
    {
        "type": "object",
        "properties": {
            "query": {"type": "string"},
            "roles": {"type": "array", "items": {"type": "string", "enum": ["user", "assistant"]}},
            "page": {"type": "integer", "description": "From 0."},
            "request_heartbeat": {"type": "boolean", "description": "true: go on right after this."},
        },
        "required": ["query", "request_heartbeat"],
    },
)


def event(text: str, kind: EventKind = EventKind.USER_MESSAGE) -> Message:
    return Message("user", text, "a", "t", kind=kind, payload={"utc_offset_min": 60}, created_at=NOON)


def reply(*calls: FunctionCall, text: str = "A thought.", **fields: Any) -> Message:
    return Message("assistant", text, "a", "t", calls=calls, created_at=NOON, **fields)


def result(call: FunctionCall, text: str = "None") -> Message:
    payload = {"utc_offset_min": 60}
    return Message("tool", text, "a", "t", name=call.name, call_id=call.id, ok=True, payload=payload, created_at=NOON)


HI = FunctionCall("c1", "send_message", '{"message": "Hi."}')
LOOK = FunctionCall("c2", "search", '{"query": "bees", "request_heartbeat": true}')
SAID = [event("One."), reply(LOOK, HI), result(LOOK, "Two hives."), result(HI), event("Two.")]


def prompt(*queue: Message, **fields: Any) -> Prompt:
    blocks = (Block("persona", "I am kind.", 2000), Block("human", "Keeps bees.", 2000))
    return replace(Prompt("Be kind.", (SPEAK, SEARCH), blocks, queue, Counters(NOON)), **fields)


def test_the_system_message_has_instructions_the_form_functions_blocks_and_summary_in_this_order() -> None:
    system = json_chat_messages(prompt(event("One."), summary="They met."))[0]["content"]
    form = '{"thoughts":"...","function":"...","arguments":{"...":"..."}}'
    places = [system.index(words) for words in ("Be kind.", form, "# Functions", "I am kind.", "They met.")]
    assert places == sorted(places)


def test_a_small_window_has_its_blocks_beside_the_newest_event() -> None:
    messages = json_chat_messages(prompt(*SAID, profile="small"))
    assert ["Keeps bees." in message["content"] for message in messages] == [False] * (len(messages) - 1) + [True]


def test_functions_are_told_by_signature_and_meaning() -> None:
    assert functions_text([SPEAK, SEARCH]).splitlines() == [
        "# Functions",
        "send_message(message: string)",
        "  Say it. message: The words.",
        'search(query: string, roles?: ["user"|"assistant"], page?: integer, request_heartbeat: boolean)',
        "  Look. page: From 0.",
    ]


def test_several_calls_of_a_reply_are_several_objects_each_with_its_result() -> None:
    messages = json_chat_messages(prompt(*SAID))
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert json.loads(messages[2]["content"]) == {
        "thoughts": "A thought.",
        "function": "search",
        "arguments": {"query": "bees", "request_heartbeat": True},
    }
    packet = json.loads(messages[3]["content"])
    assert (packet["type"], packet["name"], packet["status"]) == ("function_result", "search", "OK")
    assert packet["message"] == "Two hives." and "time" in packet
    assert json.loads(messages[4]["content"])["thoughts"] == ""
    first, second = map(json.loads, messages[5]["content"].splitlines())
    assert (first["type"], second["type"]) == ("function_result", "user_message")


def test_the_nested_form_is_the_one_of_the_schema() -> None:
    messages = json_chat_messages(prompt(*SAID), nested=True)
    assert json.loads(messages[4]["content"])["function"] == {"name": "send_message", "arguments": {"message": "Hi."}}
    assert '{"thoughts":"...","function":{"name":"...","arguments":{"...":"..."}}}' in messages[0]["content"]


def test_where_nothing_holds_the_model_to_the_form_it_is_told_more() -> None:
    plain, lenient = (json_chat_messages(prompt(*SAID), lenient=lenient)[0]["content"] for lenient in (False, True))
    assert len(plain) < len(lenient) < len(plain) + 300


def test_plain_words_of_the_past_are_calls_and_what_was_cut_off_says_so() -> None:
    spoken = reply(text="Good day.", payload={"spoken": True})
    cut = reply(text="Hm.", payload={"speech": "Good ev"}, state=MessageState.INCOMPLETE)
    messages = json_chat_messages(prompt(event("One."), spoken, event("Two."), cut, event("Three.")))
    said = [json.loads(m["content"]) for m in messages if m["role"] == "assistant"]
    assert said[0] == {"thoughts": "", "function": "send_message", "arguments": {"message": "Good day."}}
    assert said[1]["thoughts"] == "Hm."
    assert said[1]["arguments"]["message"] == f"Good ev\n{CUT_OFF}"


def test_without_functions_calls_of_the_past_are_plain_words() -> None:
    messages = json_chat_messages(prompt(*SAID, functions=()))
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"]
    assert messages[2]["content"] == "Hi."
    assert "Two hives." in messages[1]["content"]
    assert "# Functions" not in messages[0]["content"]


def test_old_rows_keep_their_bytes_when_the_queue_grows() -> None:
    before = json_chat_messages(prompt(*SAID))
    after = json_chat_messages(
        prompt(*SAID, reply(replace(HI, id="c3")), result(replace(HI, id="c3")), event("Three."))
    )
    assert after[: len(before) - 1] == before[:-1]


def test_a_broken_pair_is_a_bug_here_too() -> None:
    with pytest.raises(MemosError, match="no result"):
        json_chat_messages(prompt(event("One."), reply(HI)))
    with pytest.raises(MemosError, match="without its call"):
        json_chat_messages(prompt(event("One."), result(HI)))


ROWS = st.lists(
    st.sampled_from(
        ["event", "heartbeat", "calls", "no thoughts", "malformed", "spoken", "thought", "cut", "cut words", "nothing"]
    ),
    max_size=12,
)


def rows_of(kinds: list[str]) -> list[Message]:
    rows = [event("First.")]
    for number, kind in enumerate(kinds):
        one, two = replace(HI, id=f"{number}a"), replace(LOOK, id=f"{number}b")
        bad = FunctionCall(f"{number}c", "no such\nfunction", '{"message": "\ud83d')
        rows += {
            "event": [event(f"Event {number}.")],
            "heartbeat": [event("Go on.", EventKind.HEARTBEAT)],
            "calls": [reply(one, two), result(one), result(two)],
            "no thoughts": [reply(one, text=""), result(one)],
            "malformed": [reply(bad), result(bad, "That is no JSON.")],
            "spoken": [reply(text="Words.", payload={"spoken": True})],
            "thought": [reply(text="Only a thought.")],
            "cut": [reply(text="Hm", state=MessageState.INCOMPLETE)],
            "cut words": [reply(text="Hm", payload={"speech": "Wo"}, state=MessageState.INCOMPLETE)],
            "nothing": [reply(text="")],
        }[kind]
    return [*rows, event("Newest.")]


@settings(max_examples=300, deadline=None)
@given(kinds=ROWS, nested=st.booleans(), offered=st.booleans(), summarise=st.booleans())
def test_roles_alternate_strictly_and_no_message_is_empty(
    kinds: list[str], nested: bool, offered: bool, summarise: bool
) -> None:
    asked = prompt(*rows_of(kinds), purpose="summarise" if summarise else "chat")
    messages = json_chat_messages(asked if offered else replace(asked, functions=()), nested=nested)
    assert messages[0]["role"] == "system"
    assert [m["role"] for m in messages[1:]] == [("user", "assistant")[n % 2] for n in range(len(messages) - 1)]
    assert messages[-1]["role"] == "user"
    assert all(m["content"].strip() and set(m) == {"role", "content"} for m in messages)
    json.dumps(messages, ensure_ascii=False).encode()


@settings(max_examples=100, deadline=None)
@given(kinds=ROWS, nested=st.booleans())
def test_what_a_model_is_shown_of_its_past_is_what_we_read_as_calls(kinds: list[str], nested: bool) -> None:
    for message in json_chat_messages(prompt(*rows_of(kinds)), nested=nested):
        if message["role"] == "assistant" and "no such" not in message["content"]:
            reading = CallText(["send_message", "search"])
            reading.feed(message["content"])
            found = reading.finish()
            assert found.calls and not found.broken and not found.words


def agent_functions(folder: Path) -> FunctionTable:
    home = agent_home(folder)
    return FunctionTable([ProcessFunctions(home.syscalls), home.memory, home.recall, home.archival])


def strict_violations(schema: dict[str, Any], place: str = "root", depth: int = 0) -> list[str]:
    """Return what breaks OpenAI's rules for strict schemas: an own reading of its documentation."""
    known = {"type", "properties", "required", "additionalProperties", "items", "enum", "anyOf"}
    found = [f"{place}: {key} is not known" for key in schema if key not in known]
    if depth > 10:
        found.append(f"{place}: too deep")
    if place == "root" and (schema.get("type") != "object" or "anyOf" in schema):
        found.append("the root is no object")
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            found.append(f"{place}: others are allowed")
        if schema.get("required") != list(schema["properties"]):
            found.append(f"{place}: not all are required")
    for name, inner in schema.get("properties", {}).items():
        found += strict_violations(inner, f"{place}.{name}", depth + 1)
    for inner in [*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]:
        found += strict_violations(inner, f"{place}.", depth + 1)
    return found


def test_the_schema_keeps_to_the_strict_subset(tmp_path: Path) -> None:
    table = agent_functions(tmp_path)
    for functions in (table.schemas, table.schemas_for("small"), (SPEAK, SEARCH)):
        schema = call_schema(functions)
        assert strict_violations(schema) == []
        assert list(schema["properties"]) == ["thoughts", "function"]
        branches = schema["properties"]["function"]["anyOf"]
        assert [branch["properties"]["name"]["enum"] for branch in branches] == [[f.name] for f in functions]


def test_lengths_bound_every_free_string() -> None:
    text = json.dumps(call_schema([SPEAK, SEARCH], Lengths(50, 60)))
    assert text.count('"maxLength": 50') == 1
    assert text.count('"maxLength": 60') == 2


def test_what_is_null_is_not_given(tmp_path: Path) -> None:
    table = agent_functions(tmp_path)
    search = table.get("conversation_search")
    assert search is not None
    given_as = dict.fromkeys(search.schema.parameters["properties"]) | {"query": "bees"}
    assert parse_arguments(json.dumps(given_as), search) == ({"query": "bees"}, False)


def test_the_count_of_tokens_learns_what_such_a_prompt_costs() -> None:
    counts = TokenCounts("openai/any")
    counts.load()
    errors = []
    for seed in range(20):
        asked = invented_prompt(seed)
        measured = counts.measure(asked)
        # As many a server counts: a token for 4 characters, some for each role.
        reported = sum(4 + len(m["content"]) // 4 for m in json_chat_messages(asked, nested=True))
        errors.append(abs(measured.total - reported) / reported)
        counts.learn(measured, TokenUsage(reported))
    assert max(errors[10:]) < 0.05
