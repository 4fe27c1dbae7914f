"""Any bytes in any pieces: no exception but those a wire may raise, and no call that was not written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, AnyStr

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memos.errors import FunctionFailed
from memos.functions.arguments import parse_arguments
from memos.functions.table import FunctionTable, function
from memos.llm.event_stream import EventStream
from memos.llm.httpx_road import chunk_of, error_of
from memos.llm.reply_decoder import ReplyDecoder
from memos.messages import Finish, MonologueDelta, Reply, ReplyPart, SpeechDelta

EXAMPLES = settings(max_examples=2_000, suppress_health_check=[HealthCheck.too_slow])
OFFERED = ("send_message", "core_memory_append")

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=24)
PIECE = ANY_TEXT | st.sampled_from(
    [
        '{"message": "',
        "Hi, [Ana].",
        '"}',
        "{}",
        "<think>",
        "</think>",
        "```json\n",
        '{"name": "send_message", ',
        "\\ud83d",
        '"arguments": {"message": "A"}}',
        "<tool_call>",
        "</tool_call>",
        '{"inner_thoughts": "x", ',
        "\u2028",
        "\x00",
        "}",
    ]
)
ANYTHING = st.none() | st.booleans() | st.integers(-2, 3) | PIECE | st.lists(PIECE, max_size=2)
CALL = st.fixed_dictionaries(
    {},
    optional={
        "index": ANYTHING,
        "id": ANYTHING,
        "function": ANYTHING
        | st.fixed_dictionaries(
            {}, optional={"name": st.sampled_from(OFFERED) | ANYTHING, "arguments": PIECE | ANYTHING}
        ),
    },
)
DELTA = st.fixed_dictionaries(
    {},
    optional={
        "content": PIECE
        | ANYTHING
        | st.lists(st.dictionaries(st.sampled_from(["text", "thinking"]), PIECE), max_size=2),
        "reasoning_content": ANYTHING,
        "reasoning": ANYTHING,
        "tool_calls": ANYTHING | st.lists(CALL | ANYTHING, max_size=3),
        "function_call": ANYTHING | st.fixed_dictionaries({"name": ANYTHING, "arguments": ANYTHING}),
    },
)
FRAME = st.fixed_dictionaries(
    {
        "choices": st.lists(
            st.fixed_dictionaries({}, optional={"delta": DELTA | ANYTHING, "finish_reason": ANYTHING}), max_size=2
        )
    },
    optional={"usage": ANYTHING | st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens"]), ANYTHING)},
)


def line_of(frame: Any) -> bytes:
    return b"data: " + json.dumps(frame).encode() + b"\n\n"


STREAM = st.lists(
    FRAME.map(line_of)
    | st.binary(max_size=20)
    | st.sampled_from([b": hello\n", b"\r\n", b"\r", b"data:", b"\xef\xbb\xbf"]),
    max_size=8,
).map(b"".join)
SIZES = st.lists(st.integers(min_value=1, max_value=17), min_size=1, max_size=6)


def pieces(raw: AnyStr, sizes: list[int]) -> Iterator[AnyStr]:
    """Yield `raw` in pieces whose sizes repeat `sizes`."""
    start = turn = 0
    while start < len(raw):
        size = sizes[turn % len(sizes)]
        yield raw[start : start + size]
        start, turn = start + size, turn + 1


def events(raw: bytes, sizes: list[int]) -> list[str]:
    stream = EventStream()
    return [data for piece in pieces(raw, sizes) for data in stream.feed(piece)] + list(stream.rest())


def decoded(lines: list[str], finish: Finish, **options: Any) -> tuple[Reply, list[ReplyPart]]:
    decoder = ReplyDecoder(OFFERED, **options)
    parts: list[ReplyPart] = []
    for line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(value, dict) or error_of(value, None, {}):
            break
        parts += decoder.feed(chunk_of(value))
    parts += decoder.finish()
    assert decoder.seen is not None
    return decoder.reply(finish), parts


@EXAMPLES
@given(raw=STREAM, sizes=SIZES, finish=st.sampled_from(list(Finish)))
def test_any_bytes_in_any_pieces_make_one_reply(raw: bytes, sizes: list[int], finish: Finish) -> None:
    whole = events(raw, [len(raw) or 1])
    assert events(raw, sizes) == whole
    for options in ({}, {"thinks_in_arguments": True}, {"speaks": True}, {"calls_only": True}):
        reply, parts = decoded(whole, finish, **options)
        written = "".join(json.dumps(json.loads(line)) for line in whole if _is_json(line))
        for call in reply.calls:
            assert json.dumps(call.name)[1:-1] in written or "\ufffd" in call.name
        if finish in (Finish.CUT, Finish.CANCELLED):
            assert reply.calls == ()
        for text in (reply.monologue, reply.text, *(call.arguments for call in reply.calls)):
            text.encode()
        for part in parts:
            assert isinstance(part, MonologueDelta | SpeechDelta)
            part.text.encode()


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


@EXAMPLES
@given(message=ANY_TEXT, before=ANY_TEXT, sizes=SIZES, cut=st.integers(min_value=0, max_value=400))
def test_a_call_runs_only_where_its_end_has_come(message: str, before: str, sizes: list[int], cut: int) -> None:
    arguments = json.dumps({"message": message})
    begun = {"index": 0, "id": "c", "function": {"name": "send_message", "arguments": ""}}
    going_on = [{"index": 0, "function": {"arguments": piece}} for piece in pieces(arguments, sizes)]
    deltas = [{"content": before}, *({"tool_calls": [call]} for call in (begun, *going_on))]
    frames = [{"choices": [{"delta": delta}]} for delta in deltas]
    raw = b"".join(map(line_of, frames))
    reply, parts = decoded(events(raw[: len(raw) - cut] if cut else raw, sizes), Finish.LENGTH)
    said = "".join(part.text for part in parts if isinstance(part, SpeechDelta))
    for call in reply.calls:
        assert json.loads(call.arguments) == json.loads(arguments)  # whole, or not at all
    if not cut and not reply.calls:
        pytest.fail("a whole call was dropped")
    if cut and not reply.calls:
        assert reply.text == said or not said  # without a call what was written is the text


class _Some:
    @function()
    def note(self, text: str, times: int = 1, tags: list[str] | None = None) -> str:
        """Keep a note.

        Args:
            text: What to keep.
            times: How often.
            tags: Words to find it by.
        """
        return text

    @function(asks_heartbeat=False)
    def send_message(self, message: str) -> str:
        """Say it.

        Args:
            message: The words.
        """
        return message


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "times", "tags", "x"]), inner),
    max_leaves=5,
)
RAW = ANY_TEXT | VALUES.map(json.dumps) | st.binary(max_size=30).map(lambda raw: raw.decode("utf-8", "replace"))


@EXAMPLES
@given(raw=RAW, end=st.integers(min_value=0, max_value=12))
def test_any_arguments_are_believed_or_refused_in_one_sentence(raw: str, end: int) -> None:
    note = FunctionTable([_Some()]).get("note")
    assert note is not None
    raw = raw[: len(raw) - end]
    try:
        arguments, heartbeat = parse_arguments(raw, note)
    except FunctionFailed as failure:
        assert failure.what and "\n" not in failure.what
        return
    assert set(arguments) <= {"text", "times", "tags"} and "text" in arguments
    assert isinstance(arguments["text"], str) and isinstance(heartbeat, bool)
    arguments["text"].encode()
