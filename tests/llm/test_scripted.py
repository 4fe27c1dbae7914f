"""A script stands in for an LLM: the same parts, the same strictness."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from memos.errors import BadInput, MemosError, RateLimited
from memos.llm.processor import Processor
from memos.llm.scripted import AT_ITS_END, ScriptedCall, ScriptedProcessor, ScriptedReply, script_from
from memos.messages import (
    Counters,
    EventKind,
    Finish,
    FunctionCall,
    Message,
    MonologueDelta,
    Prompt,
    Reply,
    ReplyPart,
    SpeechDelta,
    utc_now,
)


def event(text: str) -> Message:
    return Message("user", text, "a", "t", kind=EventKind.USER_MESSAGE)


def prompt(*queue: Message) -> Prompt:
    return Prompt("Be kind.", (), (), queue or (event("Hello."),), Counters(utc_now()))


def parts_of(processor: Processor, asked: Prompt | None = None) -> list[ReplyPart]:
    async def gather() -> list[ReplyPart]:
        return [part async for part in processor.infer(asked or prompt())]

    return asyncio.run(gather())


def reply_of(processor: Processor, asked: Prompt | None = None) -> Reply:
    reply = parts_of(processor, asked)[-1]
    assert isinstance(reply, Reply)
    return reply


def say(text: str, **fields: Any) -> ScriptedReply:
    return ScriptedReply(calls=(ScriptedCall("send_message", {"message": text}),), **fields)


def test_a_reply_streams_in_small_pieces() -> None:
    parts = parts_of(ScriptedProcessor([say("Good evening, Ana.", monologue="She is back.", chunk_chars=3)]))
    assert "".join(p.text for p in parts if isinstance(p, MonologueDelta)) == "She is back."
    assert "".join(p.text for p in parts if isinstance(p, SpeechDelta)) == "Good evening, Ana."
    assert len(parts) > 8
    assert isinstance(parts[-1], Reply)
    assert parts[-1].monologue == "She is back."


def test_replies_come_in_order_and_then_the_script_is_at_its_end() -> None:
    processor = ScriptedProcessor([ScriptedReply(text="One."), ScriptedReply(text="Two.", monologue="Hm.")])
    assert reply_of(processor).text == "One."
    second = reply_of(processor)
    assert (second.text, second.monologue) == ("Two.", "Hm.")
    assert json.loads(reply_of(processor).calls[0].arguments) == {"message": AT_ITS_END}


def test_calls_keep_their_order_and_have_ids_of_their_own() -> None:
    calls = tuple(ScriptedCall("send_message", {"message": text}) for text in ("One.", "Two."))
    reply = reply_of(ScriptedProcessor([ScriptedReply(calls=calls)]))
    assert [json.loads(call.arguments)["message"] for call in reply.calls] == ["One.", "Two."]
    assert len({call.id for call in reply.calls}) == 2


def test_raw_arguments_stay_as_they_are_written() -> None:
    broken = ScriptedReply(calls=(ScriptedCall("send_message", '{"message": oops'),))
    assert reply_of(ScriptedProcessor([broken])).calls[0].arguments == '{"message": oops'


def test_a_call_without_arguments_is_a_call() -> None:
    reply = reply_of(ScriptedProcessor([ScriptedReply(calls=(ScriptedCall("pause_heartbeats", ""),))]))
    assert [(call.name, call.arguments) for call in reply.calls] == [("pause_heartbeats", "")]


def test_a_reply_with_a_match_waits_for_its_words() -> None:
    script = [ScriptedReply(match="bees", text="About bees."), ScriptedReply(match="Sent", text="After the result.")]
    processor = ScriptedProcessor([*script, ScriptedReply(text="Anything.")])
    assert reply_of(processor, prompt(event("Hello."))).text == "Anything."
    call = FunctionCall("c1", "send_message", "{}")
    replied = Message("assistant", "bees", "a", "t", calls=(call,))
    result = Message("tool", "Sent.", "a", "t", call_id="c1", ok=True)
    assert reply_of(processor, prompt(event("Hello."), replied, result)).text == "After the result."
    assert reply_of(processor, prompt(event("I keep bees."))).text == "About bees."


def test_a_cut_reply_has_no_call_and_keeps_what_was_shown() -> None:
    parts = parts_of(ScriptedProcessor([say("Good evening, Ana.", finish="cut")]))
    reply = parts[-1]
    assert isinstance(reply, Reply)
    assert (reply.finish, reply.calls) == (Finish.CUT, ())
    assert reply.text == "".join(p.text for p in parts if isinstance(p, SpeechDelta)) != ""


def test_a_reply_at_its_length_limit_drops_the_call_it_breaks() -> None:
    calls = (ScriptedCall("core_memory_append", {"content": "Bees."}), ScriptedCall("send_message", {"message": "Hi."}))
    reply = reply_of(ScriptedProcessor([ScriptedReply(calls=calls, finish="length")]))
    assert (reply.finish, [call.name for call in reply.calls]) == (Finish.LENGTH, ["core_memory_append"])


def test_a_scripted_error_is_raised() -> None:
    with pytest.raises(RateLimited):
        parts_of(ScriptedProcessor([ScriptedReply(error="rate_limited")]))


def test_a_broken_pair_in_the_prompt_is_refused() -> None:
    orphan = Message("tool", "Sent.", "a", "t", call_id="c1", ok=True)
    with pytest.raises(MemosError, match="without its call"):
        parts_of(ScriptedProcessor([say("Hi.")]), prompt(event("Hello."), orphan))


def test_the_prompts_it_saw_are_kept() -> None:
    processor = ScriptedProcessor([say("Hi.")])
    asked = prompt(event("Who am I?"))
    parts_of(processor, asked)
    assert processor.prompts == [asked]


def test_closing_the_iterator_stops_the_reply() -> None:
    async def leave() -> list[ReplyPart]:
        parts = ScriptedProcessor([say("word " * 1000, delay_s=0.001)]).infer(prompt())
        first = await anext(parts)
        await parts.aclose()  # type: ignore[attr-defined]
        return [first, *[part async for part in parts]]

    assert len(asyncio.run(leave())) == 1


def test_a_script_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    entry = {"monologue": "Hm.", "calls": [{"name": "send_message", "arguments": {"message": "Hi."}}], "delay_s": 0}
    path.write_text(json.dumps([entry]))
    processor = ScriptedProcessor.from_model(f"scripted:{path}", window_tokens=512)
    assert (processor.model, processor.window_tokens) == (f"scripted:{path}", 512)
    assert reply_of(processor).calls[0].name == "send_message"


def test_the_example_of_the_module_is_a_script(tmp_path: Path) -> None:
    from memos.llm import scripted

    text = scripted.__doc__ or ""
    path = tmp_path / "script.json"
    path.write_text(text[text.index("    [\n") : text.index("    ]\n") + 6])
    assert [len(reply.calls) for reply in script_from(path)] == [1, 1, 0]


@pytest.mark.parametrize(
    "script",
    [
        "[",
        "{}",
        "[1]",
        '[{"words": "x"}]',
        '[{"text": 1}]',
        '[{"text": "x", "calls": [{"name": "f", "arguments": {}}]}]',
        '[{"calls": [{"name": "f"}]}]',
        '[{"calls": [{"name": "f", "arguments": 1}]}]',
        '[{"calls": ["f"]}]',
        '[{"finish": "never"}]',
        '[{"error": "strange"}]',
        '[{"chunk_chars": 0}]',
        '[{"delay_s": true}]',
        "[" * 100_000,
    ],
)
def test_a_script_that_cannot_be_used_is_bad_input(script: str, tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(script)
    with pytest.raises(BadInput) as caught:
        script_from(path)
    assert caught.value.next_step


def test_a_script_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        ScriptedProcessor.from_model(f"scripted:{tmp_path / 'none.json'}")
