"""Events for programs: every output has its line, each line is JSON of the schema, the last one says how it ended."""

from __future__ import annotations

import io
import json
import typing
from typing import Any

import pytest
from support.event_lines import check_lines, types_of
from support.help_pages import filled
from support.jsonl_page import PAGE, fields_of, table
from support.listening import append, speak
from support.one_shot import Said, say

from memos.errors import EXIT_CODES, AgentInUse, BadInput
from memos.llm.scripted import ScriptedProcessor, ScriptedReply
from memos.messages import (
    CallFinished,
    CallStarted,
    Evicted,
    FunctionCall,
    FunctionResult,
    MemoryEdited,
    MonologueDelta,
    Notice,
    OutputBody,
    Progress,
    Question,
    Reply,
    ReplyStored,
    RetryIn,
    SpeechDelta,
    StepStarted,
    Stopped,
    TokenUsage,
    TurnDone,
)
from memos.messages import (
    Said as SaidBody,
)
from memos.terminal.event_lines import LINES, EventLines, Line, lines_of
from memos.terminal.report import Ending, ending_by

CALL = FunctionCall("c1", "send_message", '{"message": "Hi."}')
BODIES: list[OutputBody] = [
    MonologueDelta("Hm"),
    SpeechDelta("Hi"),
    StepStarted(1, 30),
    ReplyStored(Reply("Hm.", "Hi.")),
    CallStarted(CALL),
    CallFinished(CALL, FunctionResult("c1", "send_message", True, "The user has it."), 0.01),
    SaidBody("Hi."),
    MemoryEdited("human", "", "Name: Ana", 2000, 3),
    Evicted(4, 1200),
    RetryIn(1.5, 1, 3, "It is overloaded."),
    Stopped("Stopped. Next: say something.", "cancelled", 130),
    Question("q1", "May I?", ("yes", "no")),
    Notice("A sentence."),
    Progress("loading", 0.5, "1 of 2 MB"),
    TokenUsage(10, 2, 8, None),
    TurnDone(1),
]


def test_every_output_of_a_kernel_has_its_lines() -> None:
    assert set(LINES) == set(typing.get_args(OutputBody)) == {type(body) for body in BODIES}
    for body in BODIES:
        assert lines_of(body), body


def test_every_type_of_line_is_made_by_something_and_has_a_name_of_its_own() -> None:
    kinds = typing.get_args(Line)
    made = {type(line) for body in BODIES for line in lines_of(body)}
    names = [kind.type for kind in kinds]
    assert {kind.type for kind in set(kinds) - made} == {"init", "console", "result", "error"}
    assert len(names) == len(set(names))


def test_the_help_page_has_the_types_and_fields_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert filled(text, table()) == text, "cd tests && python -m support.jsonl_page"
    for kind in typing.get_args(Line):
        assert f"| `{kind.type}` |" in text
        assert all(f"| `{field}` |" in text for field in fields_of(kind))


def jsonl(*replies: ScriptedReply, **options: Any) -> tuple[Said, list[dict[str, Any]]]:
    said = say_jsonl(*replies, **options)
    return said, check_lines(said.words, said.code)


def say_jsonl(*replies: ScriptedReply, folder: Any, **options: Any) -> Said:
    return say(folder, ScriptedProcessor(list(replies)), report=EventLines, **options)


def test_a_turn_is_told_from_its_beginning_to_its_result(tmp_path: Any) -> None:
    said, lines = jsonl(append("Name: Ana"), speak("Hello Ana.", monologue="A name."), folder=tmp_path)
    assert said.told == ""
    order = ["init", "heartbeat", "reply", "usage", "tool_call", "memory_edit", "tool_result", "heartbeat"]
    assert types_of(lines)[: len(order)] == order
    assert types_of(lines)[-2:] == ["turn_done", "result"]
    assert {line["turn"] for line in lines} == {lines[0]["turn"]} != {""}
    whole = [line["text"] for line in lines if line["type"] == "message" and not line["delta"]]
    pieces = [line["text"] for line in lines if line["type"] == "message" and line["delta"]]
    assert whole == ["".join(pieces)] == ["Hello Ana."] and len(pieces) > 1
    assert [line["text"] for line in lines if line["type"] == "thought" and not line["delta"]] == ["A name."]
    last = lines[-1]
    assert (last["text"], last["steps"], last["agent"], last["exit_code"]) == ("Hello Ana.", 2, "sam", 0)


def test_a_refusal_is_the_error_and_its_sentence_and_step_are_told_apart(tmp_path: Any) -> None:
    said, lines = jsonl(ScriptedReply(error="refused"), folder=tmp_path)
    last = lines[-1]
    assert (said.code, last["type"], last["exit_code"], last["code"]) == (4, "error", 4, "refused")
    assert last["message"] == "The script says: refused." and "/retry" in last["next_step"]
    assert types_of(lines)[-3:] == ["stop", "turn_done", "error"]


def test_what_came_of_a_reply_that_broke_off_stands_in_the_error(tmp_path: Any) -> None:
    said, lines = jsonl(speak("Half of it, and more that never came.", finish="cut"), folder=tmp_path)
    assert (said.code, lines[-1]["code"]) == (5, "unreachable")
    assert lines[-1]["text"].startswith("Half of it") and "came" not in lines[-1]["text"]


def test_json_is_the_last_line_alone(tmp_path: Any) -> None:
    said = say(tmp_path, ScriptedProcessor([speak("Hello.")]), report=lambda out: EventLines(out, last_only=True))
    (line,) = said.words.splitlines()
    assert json.loads(line)["text"] == "Hello." and json.loads(line)["type"] == "result"


def test_what_a_command_prints_is_a_line_and_the_result(tmp_path: Any) -> None:
    _, lines = jsonl(folder=tmp_path, message="/memory persona")
    assert types_of(lines) == ["init", "console", "result"]
    assert "I am Sam." in lines[1]["text"] and "I am Sam." in lines[2]["text"]


def test_no_character_steers_a_terminal_or_breaks_a_line(tmp_path: Any) -> None:
    nasty = "a\x1b[2J\u2028\x85\u202e half \ud83d \x00 Wörter"
    said, lines = jsonl(ScriptedReply(text=nasty), folder=tmp_path)
    assert said.words.isascii() and "\x1b" not in said.words
    assert "Wörter" in lines[-1]["text"] and "\ud83d" not in lines[-1]["text"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInput("What.", "do that"), 2),
        (AgentInUse("It is open.", "close it"), 7),
        (KeyboardInterrupt(), 130),
        (SystemExit(143), 143),
        (ZeroDivisionError("secret detail"), 1),
    ],
)
def test_an_exception_on_its_way_out_is_an_error_once(error: BaseException, code: int) -> None:
    out = io.StringIO()
    lines, ending = EventLines(out), ending_by(error)
    assert ending
    lines.end(ending)
    lines.end(Ending())
    (line,) = check_lines(out.getvalue(), code)
    assert (line["code"], line["exit_code"], line["seq"]) == (EXIT_CODES[code][0], code, 1)
    assert "secret" not in line["message"]


def test_where_nobody_reads_nothing_is_told() -> None:
    assert ending_by(BrokenPipeError()) is None
