"""However a wire cuts and numbers a reply, the same reply comes out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from memos.llm.reply_decoder import ReplyDecoder
from memos.llm.road import CallPiece, Chunk
from memos.messages import Finish, MonologueDelta, Reply, ReplyPart, SpeechDelta

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=30)
FRAGMENTS = st.lists(
    st.tuples(
        st.none() | st.integers(min_value=-1, max_value=2),
        st.none() | st.sampled_from(["", "a", "b"]),
        st.none() | st.sampled_from(["", "send_message", "core_memory_append"]),
        st.none() | ANY_TEXT | st.sampled_from(['{"message": "', "Hi", '"}', "{}"]) | st.just({"message": "Hi"}),
    ),
    max_size=12,
)


class Growing:
    """A decoder that takes pieces by kind and ends in one step."""

    def __init__(self, taken_ids: Iterable[str] = (), **options: Any) -> None:
        self.decoder = ReplyDecoder(taken_ids=taken_ids, **options)

    def add_content(self, text: str) -> list[ReplyPart]:
        return self.decoder.feed(Chunk(text))

    def add_reasoning(self, text: str) -> list[ReplyPart]:
        return self.decoder.feed(Chunk(reasoning=text))

    def add_call(self, index: int | None, call_id: str | None, name: str | None, arguments: Any) -> list[ReplyPart]:
        return self.decoder.feed(Chunk(calls=(CallPiece(index, call_id, name, arguments),)))

    def finished(self, finish: Finish) -> Reply:
        self.rest = self.decoder.finish()
        return self.decoder.reply(finish)


def words_of(parts: Iterable[ReplyPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, MonologueDelta | SpeechDelta))


def test_interleaved_calls_are_told_apart_by_index_and_id() -> None:
    growing = Growing()
    growing.add_call(0, "a", "core_memory_append", '{"content": ')
    growing.add_call(0, "b", "send_message", '{"message": ')
    growing.add_call(0, "a", None, '"Bees."}')
    growing.add_call(0, "b", None, '"Hi."}')
    calls = growing.finished(Finish.STOP).calls
    assert [(c.id, json.loads(c.arguments)) for c in calls] == [("a", {"content": "Bees."}), ("b", {"message": "Hi."})]


def test_a_name_repeated_on_every_piece_is_one_call() -> None:
    growing = Growing()
    for piece in ('{"mess', 'age": "H', 'i."}', ""):
        growing.add_call(0, "a", "send_message", piece)
    assert [c.arguments for c in growing.finished(Finish.STOP).calls] == ['{"message": "Hi."}']


def test_a_name_that_comes_late_is_taken() -> None:
    growing = Growing()
    growing.add_call(0, "a", None, "")
    growing.add_call(0, None, "send_message", '{"message": "Hi."}')
    assert [c.name for c in growing.finished(Finish.STOP).calls] == ["send_message"]


def test_half_of_a_character_waits_for_its_other_half() -> None:
    growing = Growing()
    shown = [words_of(growing.add_content(piece)) for piece in ("a\ud83d", "\ude00b\ud83d")]
    assert shown == ["a", "😀b"]
    assert growing.finished(Finish.STOP).text == "😀".join("ab") + "�"


def test_reasoning_beside_calls_is_the_monologue_where_there_are_no_other_words() -> None:
    growing = Growing()
    growing.add_reasoning("She greets.")
    growing.add_call(0, "a", "send_message", '{"message": "Hi."}')
    reply = growing.finished(Finish.STOP)
    assert reply.monologue == "She greets."
    assert reply.reasoning == {"text": "She greets."}


def test_a_cancelled_reply_keeps_what_was_shown_and_no_call() -> None:
    growing = Growing()
    growing.add_content("I will greet.")
    growing.add_call(0, "a", "send_message", '{"message": "Good eve')
    reply = growing.finished(Finish.CANCELLED)
    assert (reply.monologue, reply.text, reply.calls) == ("I will greet.", "Good eve", ())


@settings(max_examples=500)
@given(fragments=FRAGMENTS, content=ANY_TEXT, finish=st.sampled_from(list(Finish)))
def test_no_fragments_raise_and_every_call_is_one_that_was_written(
    fragments: list[tuple[int | None, str | None, str | None, object]], content: str, finish: Finish
) -> None:
    growing = Growing(taken_ids=["a"])
    growing.add_content(content)
    for fragment in fragments:
        growing.add_call(*fragment)
    reply = growing.finished(finish)
    written = "".join(f if isinstance(f, str) else json.dumps(f) for *_, f in fragments if f is not None)
    assert sum(len(call.arguments) for call in reply.calls) <= len(written)
    assert len({call.id for call in reply.calls} | {"a"}) == len(reply.calls) + 1
    for text in (reply.monologue, reply.text, *(part for c in reply.calls for part in (c.id, c.name, c.arguments))):
        text.encode()
    if finish in (Finish.CUT, Finish.CANCELLED):
        assert reply.calls == ()


@settings(max_examples=300)
@given(
    messages=st.lists(st.text(max_size=20), min_size=1, max_size=3),
    sizes=st.lists(st.integers(min_value=1, max_value=9), min_size=1, max_size=5),
    same_index=st.booleans(),
)
def test_any_split_gives_the_same_calls(messages: list[str], sizes: list[int], same_index: bool) -> None:
    growing = Growing()
    said = ""
    for position, message in enumerate(messages):
        raw = json.dumps({"message": message})
        start = turn = 0
        while start < len(raw):
            size = sizes[turn % len(sizes)]
            name = "send_message" if start == 0 else None
            call_id = f"id{position}" if start == 0 else None
            piece = raw[start : start + size]
            said += words_of(growing.add_call(0 if same_index else position, call_id, name, piece))
            start, turn = start + size, turn + 1
    calls = growing.finished(Finish.STOP).calls
    assert [json.loads(call.arguments)["message"] for call in calls] == messages
    assert said == "".join(messages).replace("\x00", "�")


def test_a_second_call_under_the_same_index_and_id_begins_after_the_first_is_whole() -> None:
    growing = Growing()
    for message in ("One.", "Two."):
        raw = json.dumps({"message": message})
        growing.add_call(0, "call_0", "send_message", raw[:7])
        growing.add_call(0, "call_0", "send_message", raw[7:])
    calls = growing.finished(Finish.STOP).calls
    assert [json.loads(call.arguments)["message"] for call in calls] == ["One.", "Two."]
    assert len({call.id for call in calls}) == 2


# --- Reasoning between tags -----------------------------------------------------------------------------------

TAGGED = [
    ("<think>She greets.</think>Hello.", "She greets.", "Hello."),
    ("\n<thinking>\nShe greets.\n</thinking>\n\nHello.", "\nShe greets.\n", "Hello."),
    ("[THINK]She greets.[/THINK]Hello.", "She greets.", "Hello."),
    ("<think>One.</think>\n<think>Two.</think>Hello.", "One.Two.", "Hello."),
    ("She greets.</think>Hello.", "She greets.", "Hello."),
    ("<think>It never ends", "It never ends", ""),
    (
        "A tag such as <think> is a word in the middle. 1 < 2.",
        "",
        "A tag such as <think> is a word in the middle. 1 < 2.",
    ),
    ("<thin ice>", "", "<thin ice>"),
    ("< ", "", "< "),
]


@settings(max_examples=300)
@given(case=st.sampled_from(TAGGED), sizes=st.lists(st.integers(min_value=1, max_value=9), min_size=1, max_size=5))
def test_reasoning_between_tags_is_the_monologue_in_any_split(case: tuple[str, str, str], sizes: list[int]) -> None:
    text, reasoning, words = case
    growing, start, turn = Growing(), 0, 0
    shown = ""
    while start < len(text):
        size = sizes[turn % len(sizes)]
        shown += words_of(growing.add_content(text[start : start + size]))
        start, turn = start + size, turn + 1
    reply = growing.finished(Finish.STOP)
    shown += words_of(growing.rest)
    assert ((reply.reasoning or {}).get("text", ""), reply.text) == (reasoning, words)
    assert shown == reasoning + words


def test_a_model_that_never_calls_speaks_at_once() -> None:
    growing = Growing(speaks=True)
    assert growing.add_content("Good evening") == [SpeechDelta("Good evening")]
    assert growing.finished(Finish.STOP).text == "Good evening"
    assert growing.decoder.reply(Finish.CUT).text == "Good evening"


def test_thoughts_in_the_arguments_are_the_monologue_and_leave_the_call() -> None:
    growing = Growing(thinks_in_arguments=True)
    raw = '{"inner_thoughts": "She is new.", "message": "Welcome."}'
    parts = [part for piece in (raw[:25], raw[25:]) for part in growing.add_call(0, "a", "send_message", piece)]
    assert "".join(p.text for p in parts if isinstance(p, MonologueDelta)) == "She is new."
    reply = growing.finished(Finish.STOP)
    assert (reply.monologue, reply.calls[0].arguments) == ("She is new.", '{"message": "Welcome."}')
