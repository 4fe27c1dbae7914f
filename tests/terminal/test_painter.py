"""What the kernel publishes, as lines: shown once, harmless, and not a character lost."""

import io
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos.messages import (
    CallFinished,
    CallStarted,
    Evicted,
    Finish,
    FunctionCall,
    FunctionResult,
    MemoryEdited,
    MonologueDelta,
    Notice,
    OutputBody,
    Progress,
    Reply,
    ReplyStored,
    RetryIn,
    Said,
    SpeechDelta,
    StepStarted,
    Stopped,
    TurnDone,
)
from memos.terminal.consoles import make_console
from memos.terminal.drawing import edit_lines
from memos.terminal.marks import DRAWN, WORDS, Marks
from memos.terminal.painter import Painter


class Drawing:
    """A painter that draws into memory, 40 cells wide, with a tail of 4 rows."""

    def __init__(self, marks: Marks = DRAWN, *, colours: bool = False, width: int | None = 40, tail: int = 4) -> None:
        self.paper = io.StringIO()
        self.now = 0.0
        console = make_console(self.paper, colours=colours, width_cells=400)
        self.painter = Painter(
            console,
            "sam",
            marks,
            width_cells=lambda: width,
            tail_limit_rows=lambda: tail,
            clock=lambda: self.now,
        )

    def consume(self, *bodies: OutputBody) -> "Drawing":
        for body in bodies:
            self.painter.consume(body)
        return self

    @property
    def printed(self) -> str:
        return self.paper.getvalue()

    @property
    def tail(self) -> list[str]:
        return [row for _, row in self.painter.tail_rows()]


SEND = FunctionCall("1", "send_message", '{"message": "Hello Ana."}')
EDIT = FunctionCall("2", "core_memory_append", '{"label": "human", "content": "Name: Ana", "request_heartbeat": true}')


def speech_turn(pieces: Iterable[str]) -> list[OutputBody]:
    pieces = list(pieces)
    whole = "".join(pieces)
    return [
        StepStarted(1, 30),
        MonologueDelta("Greet her."),
        *(SpeechDelta(piece) for piece in pieces),
        ReplyStored(Reply("Greet her.", calls=(SEND,))),
        CallStarted(SEND),
        Said(whole),
        CallFinished(SEND, FunctionResult("1", "send_message", True, "OK"), 0.001),
        TurnDone(1),
    ]


def test_a_turn_is_thought_then_speech() -> None:
    drawing = Drawing().consume(*speech_turn(["Hello ", "Ana."]))
    assert drawing.printed == "┊ Greet her.\n\n● sam\nHello Ana.\n"
    assert drawing.tail == []


def test_speech_is_in_the_tail_while_it_streams() -> None:
    drawing = Drawing().consume(*speech_turn(["Hello ", "Ana."])[:3])
    assert drawing.tail == ["", "● sam", "Hello"]
    assert drawing.printed == "┊ Greet her.\n"


def test_words_that_turn_out_to_be_the_message_are_shown_once_and_as_speech() -> None:
    drawing = Drawing().consume(StepStarted(1, 30), MonologueDelta("Good "), MonologueDelta("evening."))
    assert drawing.tail == ["┊ Good evening."]
    drawing.consume(ReplyStored(Reply(text="Good evening.")), TurnDone(1))
    assert drawing.printed == "\n● sam\nGood evening.\n"


def test_reasoning_before_a_plain_answer_stays_a_thought() -> None:
    drawing = Drawing().consume(StepStarted(1, 30), MonologueDelta("Reason. "), MonologueDelta("Answer."))
    drawing.consume(ReplyStored(Reply("Reason.", "Answer.")), TurnDone(1))
    assert drawing.printed == "┊ Reason.\n\n● sam\nAnswer.\n"


def test_a_reply_that_did_not_stream_is_shown_whole() -> None:
    drawing = Drawing().consume(StepStarted(1, 30), ReplyStored(Reply("Thinking.", calls=(SEND,))), Said("Hello."))
    assert drawing.printed == "┊ Thinking.\n\n● sam\nHello.\n"


def test_a_long_monologue_waits_in_the_tail_and_only_its_end_is_drawn() -> None:
    words = [f"word{number} " for number in range(60)]
    drawing = Drawing().consume(StepStarted(1, 30), *(MonologueDelta(word) for word in words))
    assert drawing.printed == ""
    assert len(drawing.tail) == 4
    assert "word59" in drawing.tail[-1]
    drawing.consume(ReplyStored(Reply(text="".join(words))), TurnDone(1))
    assert drawing.printed.split() == ["●", "sam", *(word.strip() for word in words)]


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_long_speech_leaves_the_tail_row_by_row_and_is_whole_in_the_end(size: int) -> None:
    text = "\n".join(f"Line {number}: the quick brown fox jumps over the lazy dog." for number in range(12))
    turn = speech_turn(text[start : start + size] for start in range(0, len(text), size))
    drawing = Drawing()
    for body in turn:
        drawing.consume(body)
        assert len(drawing.painter.tail_rows()) <= 3
    assert drawing.printed.split() == ["┊", "Greet", "her.", "●", "sam", *text.split()]
    assert drawing.printed == Drawing().consume(*speech_turn([text])).printed


WORDY = st.text(alphabet="ab \n本é[]", max_size=120)


@given(WORDY, st.integers(1, 9), st.booleans())
def test_however_speech_is_cut_into_pieces_the_scrollback_is_the_same(text: str, size: int, by_call: bool) -> None:
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    streamed, at_once = Drawing(width=11), Drawing(width=11)
    if by_call:
        end: list[OutputBody] = [ReplyStored(Reply(calls=(SEND,))), Said(text), TurnDone(1)]
        streamed.consume(StepStarted(1, 30), *map(SpeechDelta, pieces), *end)
    else:
        end = [ReplyStored(Reply(text=text)), TurnDone(1)]
        streamed.consume(StepStarted(1, 30), *map(MonologueDelta, pieces), *end)
    at_once.consume(StepStarted(1, 30), *end)
    assert streamed.printed == at_once.printed
    assert not streamed.tail


@given(WORDY, WORDY, st.integers(1, 9))
def test_two_messages_streamed_as_one_are_told_apart(first: str, second: str, size: int) -> None:
    text = first + second
    end: list[OutputBody] = [ReplyStored(Reply(calls=(SEND, SEND))), Said(first), Said(second), TurnDone(1)]
    streamed = Drawing(width=None).consume(*(SpeechDelta(text[i : i + size]) for i in range(0, len(text), size)), *end)
    words = streamed.printed.replace("● sam", "").split()
    assert "".join(words) == "".join(text.split())


def test_without_a_live_tail_lines_are_printed_as_they_come() -> None:
    drawing = Drawing(WORDS, width=None, tail=0)
    drawing.consume(StepStarted(1, 30), SpeechDelta("First line.\nSecond"))
    assert drawing.printed == "sam: First line.\n"
    drawing.consume(SpeechDelta(" line."), ReplyStored(Reply(calls=(SEND,))), Said("First line.\nSecond line."))
    assert drawing.printed == "sam: First line.\nSecond line.\n"


def test_two_messages_in_one_reply_each_stand_under_the_name() -> None:
    second = FunctionCall("3", "send_message", '{"message": "And how are you?"}')
    drawing = Drawing().consume(
        StepStarted(1, 30),
        SpeechDelta("Hello Ana."),
        SpeechDelta("And how are you?"),
        ReplyStored(Reply(calls=(SEND, second))),
        Said("Hello Ana."),
        Said("And how are you?"),
        TurnDone(1),
    )
    assert drawing.printed == "\n● sam\nHello Ana.\n\n● sam\nAnd how are you?\n"


def test_what_was_shown_of_a_stopped_reply_stays() -> None:
    drawing = Drawing().consume(StepStarted(1, 30), MonologueDelta("Hm."), SpeechDelta("Once upon a"))
    drawing.consume(Stopped("Stopped. Say something to go on."), TurnDone(1))
    assert drawing.printed == "┊ Hm.\n\n● sam\nOnce upon a\n■ Stopped. Say something to go on.\n"
    assert not drawing.painter.busy


def test_what_was_shown_of_a_cut_reply_stays_once() -> None:
    drawing = Drawing().consume(StepStarted(1, 30), MonologueDelta("Hm."), SpeechDelta("Once upon a"))
    drawing.consume(
        ReplyStored(Reply("Hm.", "Once upon a", finish=Finish.CUT)), Stopped("Cut.", "error", 5), TurnDone(1)
    )
    assert drawing.printed == "┊ Hm.\n\n● sam\nOnce upon a\n■ Cut.\n"


def test_a_reply_that_begins_again_is_shown_from_its_beginning() -> None:
    drawing = Drawing(width=90).consume(StepStarted(1, 30), SpeechDelta("Hel"), RetryIn(2, 1, 3, "The server is busy."))
    drawing.consume(*speech_turn(["Hello Ana."])[2:])
    assert drawing.printed == "· The server is busy. Asking again in 2 s (1/3).\n┊ Greet her.\n\n● sam\nHello Ana.\n"


def test_the_wait_before_asking_again_counts_down() -> None:
    drawing = Drawing(width=90).consume(StepStarted(1, 30), RetryIn(2, 1, 3, "The server is busy."))
    assert drawing.painter.phase_line() == "asking again in 2.0 s"
    drawing.now += 1.5
    assert drawing.painter.phase_line() == "asking again in 0.5 s"
    drawing.now += 1.5
    assert drawing.painter.phase_line() == "asking again in 0.0 s"
    drawing.consume(MonologueDelta("Now."))
    assert drawing.painter.phase_line() == "thinking 0.0 s"


def test_a_call_and_its_result_stand_in_one_line_before_the_edit_they_made() -> None:
    drawing = Drawing(width=90).consume(
        CallStarted(EDIT),
        MemoryEdited("human", "Likes tea.", "Likes tea.\nName: Ana", 2000, 7),
        CallFinished(EDIT, FunctionResult("2", "core_memory_append", True, "OK"), 0.012),
    )
    assert drawing.printed == (
        '⚙ core_memory_append("human", "Name: Ana") → OK, 12 ms\n'
        "✎ human ░░░░░░░░░░ 10/2000 → 20/2000  /memory undo 7\n  + Name: Ana\n"
    )


def test_a_core_edit_shows_what_went_and_what_came_in_red_and_green() -> None:
    edit = MemoryEdited("human", "Name: Chad", "Name: Ana", 2000)
    drawing = Drawing(colours=True).consume(edit, TurnDone(1))
    assert "\x1b[31m  - Name: \x1b[0m\x1b[1;4;31mChad\x1b[0m\n" in drawing.printed
    assert "\x1b[32m  + Name: \x1b[0m\x1b[1;4;32mAna\x1b[0m\n" in drawing.printed
    assert "/memory undo" not in drawing.printed


def test_lines_that_hardly_agree_are_not_compared_word_by_word() -> None:
    edit = MemoryEdited("human", "Likes tea.", "Born in Lima, 1980", 2000)
    drawing = Drawing(colours=True).consume(edit, TurnDone(1))
    assert "\x1b[31m  - Likes tea.\x1b[0m\n" in drawing.printed


def test_an_edit_in_words_has_no_bar() -> None:
    assert edit_lines(MemoryEdited("human", "", "a", 10), WORDS)[0].plain == "[memory human] 0/10 -> 1/10"


def test_a_long_result_is_clipped_and_says_so() -> None:
    call = FunctionCall("4", "conversation_search", '{"query": "bees", "page": 0}')
    drawing = Drawing(width=None).consume(CallFinished(call, FunctionResult("4", call.name, True, "x" * 500), 2.5))
    assert drawing.printed == f'⚙ conversation_search("bees", 0) → {"x" * 160}… (340 more characters), 2.5 s\n'


def test_arguments_that_are_no_json_are_shown_as_they_are() -> None:
    call = FunctionCall("5", "core_memory_append", '{"label": "hum')
    drawing = Drawing(width=90).consume(CallFinished(call, FunctionResult("5", call.name, False, "Not JSON."), 0.0))
    assert drawing.printed == '⚙ core_memory_append({"label": "hum) → failed: Not JSON, 0 ms\n'


def test_a_failed_send_message_is_shown() -> None:
    drawing = Drawing(width=90).consume(
        CallFinished(SEND, FunctionResult("1", "send_message", False, "No message."), 0.0)
    )
    assert "failed: No message" in drawing.printed


def test_further_steps_are_counted() -> None:
    drawing = Drawing().consume(StepStarted(2, 30))
    drawing.now = 1.25
    assert drawing.printed == "↻ step 2/30\n"
    assert drawing.painter.phase_line() == "thinking 1.2 s  step 2/30"


def test_the_phase_tells_what_goes_on_and_for_how_long() -> None:
    drawing = Drawing().consume(StepStarted(1, 30), Progress("loading the model", 0.5))
    drawing.now = 0.44
    assert drawing.painter.phase_line() == "loading the model 50% 0.4 s"
    drawing.consume(TurnDone(1))
    assert drawing.painter.phase_line() == ""


def test_the_clock_of_a_download_runs_on_while_its_share_grows() -> None:
    drawing = Drawing().consume(Progress("fetching the model", 0.1))
    drawing.now = 3.0
    drawing.consume(Progress("fetching the model", 0.2))
    assert drawing.painter.phase_line() == "fetching the model 20% 3.0 s"


def test_how_much_how_fast_and_how_long_yet_change_while_the_clock_runs_on() -> None:
    drawing = Drawing().consume(Progress("fetching the model", 0.1, "1 of 10 MB"))
    drawing.now = 2.0
    drawing.consume(Progress("fetching the model", 0.2, "2 of 10 MB · 1.0 MB a second · 8 s left"))
    line = "fetching the model 20% · 2 of 10 MB · 1.0 MB a second · 8 s left · 2.0 s"
    assert drawing.painter.phase_line() == line


def test_pages_out_and_notices_are_one_sentence_each() -> None:
    drawing = Drawing(WORDS, width=90).consume(Evicted(18, 3100), Notice("Search is lexical\nonly."))
    assert drawing.printed == (
        "[memory] paged out 18 messages (3,100 tokens) to recall storage\n[notice] Search is lexical only.\n"
    )


ATTACKS = [
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b31mred",
    "\x1bP1$r\x1b\\",
    "\x1b]52;c;aGk=\x07",
    "\x1b]8;;http://evil\x07x",
    "a\rb\x08c\x0b\x0c",
    "\u202eevil\u2066",
    "\U000e0041tag",
]
ORDINARY = "[abc] [/foo] [bold]x[/bold] :smile: *a* _b_ `c` <b> {d} http://e.org/[1] \\[x] 本 é 12345 'q' True"


def everywhere(text: str) -> list[OutputBody]:
    call = FunctionCall("6", f"f{text}", '{"x": "' + "y" + '"}' if '"' in text else text)
    return [
        StepStarted(1, 30),
        Progress(text),
        MonologueDelta(text),
        SpeechDelta(text),
        ReplyStored(Reply(text, calls=(call,))),
        Said(text),
        MemoryEdited(f"l{text}", "", text, 10),
        CallFinished(call, FunctionResult("6", "f", True, text), 0.1),
        Notice(text),
        RetryIn(1, 1, 2, text),
        Stopped(text),
        TurnDone(1),
    ]


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_output_path_lets_a_control_character_through(attack: str) -> None:
    drawing = Drawing(colours=False, width=200)
    for body in everywhere(attack):
        drawing.consume(body)
        shown = drawing.printed + "".join(drawing.tail) + drawing.painter.phase_line()
        assert not [character for character in shown if not character.isprintable() and character != "\n"]


def test_no_ordinary_character_is_lost_on_any_path() -> None:
    drawing = Drawing(width=400).consume(*everywhere(ORDINARY))
    shown = [line for line in drawing.printed.splitlines() if line and not line.startswith(("●", "✎"))]
    assert len(shown) == 7
    assert all(ORDINARY in line for line in shown[:3] + shown[4:]), shown


def test_words_instead_of_signs_are_plain_ascii() -> None:
    drawing = Drawing(WORDS, width=None, tail=0).consume(*speech_turn(["Hello Ana."]), StepStarted(2, 9))
    drawing.painter.user_line("hi")
    assert drawing.printed == "[thought] Greet her.\nsam: Hello Ana.\n[step 2 of 9]\n\n> hi\n"
    assert drawing.printed.isascii()
