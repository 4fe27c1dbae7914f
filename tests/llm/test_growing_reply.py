"""However a wire cuts and numbers a reply, the same reply comes out."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from memos.llm.growing_reply import GrowingReply
from memos.messages import Finish

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


def test_interleaved_calls_are_told_apart_by_index_and_id() -> None:
    growing = GrowingReply()
    growing.add_call(0, "a", "core_memory_append", '{"content": ')
    growing.add_call(0, "b", "send_message", '{"message": ')
    growing.add_call(0, "a", None, '"Bees."}')
    growing.add_call(0, "b", None, '"Hi."}')
    calls = growing.finished(Finish.STOP).calls
    assert [(c.id, json.loads(c.arguments)) for c in calls] == [("a", {"content": "Bees."}), ("b", {"message": "Hi."})]


def test_a_name_repeated_on_every_piece_is_one_call() -> None:
    growing = GrowingReply()
    for piece in ('{"mess', 'age": "H', 'i."}', ""):
        growing.add_call(0, "a", "send_message", piece)
    assert [c.arguments for c in growing.finished(Finish.STOP).calls] == ['{"message": "Hi."}']


def test_a_name_that_comes_late_is_taken() -> None:
    growing = GrowingReply()
    growing.add_call(0, "a", None, "")
    growing.add_call(0, None, "send_message", '{"message": "Hi."}')
    assert [c.name for c in growing.finished(Finish.STOP).calls] == ["send_message"]


def test_half_of_a_character_waits_for_its_other_half() -> None:
    growing = GrowingReply()
    shown = [part.text for piece in ("a\ud83d", "\ude00b\ud83d") for part in growing.add_content(piece)]
    assert shown == ["a", "😀b"]
    assert growing.finished(Finish.STOP).text == "😀".join("ab") + "�"


def test_reasoning_beside_calls_is_the_monologue_where_there_are_no_other_words() -> None:
    growing = GrowingReply()
    growing.add_reasoning("She greets.")
    growing.add_call(0, "a", "send_message", '{"message": "Hi."}')
    reply = growing.finished(Finish.STOP)
    assert reply.monologue == "She greets."
    assert reply.reasoning == {"text": "She greets."}


def test_a_cancelled_reply_keeps_what_was_shown_and_no_call() -> None:
    growing = GrowingReply()
    growing.add_content("I will greet.")
    growing.add_call(0, "a", "send_message", '{"message": "Good eve')
    reply = growing.finished(Finish.CANCELLED)
    assert (reply.monologue, reply.text, reply.calls) == ("I will greet.", "Good eve", ())


@settings(max_examples=500)
@given(fragments=FRAGMENTS, content=ANY_TEXT, finish=st.sampled_from(list(Finish)))
def test_no_fragments_raise_and_every_call_is_one_that_was_written(
    fragments: list[tuple[int | None, str | None, str | None, object]], content: str, finish: Finish
) -> None:
    growing = GrowingReply(taken_ids=["a"])
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
    growing = GrowingReply()
    said = ""
    for position, message in enumerate(messages):
        raw = json.dumps({"message": message})
        start = turn = 0
        while start < len(raw):
            size = sizes[turn % len(sizes)]
            name = "send_message" if start == 0 else None
            call_id = f"id{position}" if start == 0 else None
            said += "".join(
                p.text
                for p in growing.add_call(0 if same_index else position, call_id, name, raw[start : start + size])
            )
            start, turn = start + size, turn + 1
    calls = growing.finished(Finish.STOP).calls
    assert [json.loads(call.arguments)["message"] for call in calls] == messages
    assert said == "".join(messages).replace("\x00", "�")


def test_a_second_call_under_the_same_index_and_id_begins_after_the_first_is_whole() -> None:
    growing = GrowingReply()
    for message in ("One.", "Two."):
        raw = json.dumps({"message": message})
        growing.add_call(0, "call_0", "send_message", raw[:7])
        growing.add_call(0, "call_0", "send_message", raw[7:])
    calls = growing.finished(Finish.STOP).calls
    assert [json.loads(call.arguments)["message"] for call in calls] == ["One.", "Two."]
    assert len({call.id for call in calls}) == 2
