"""What the screen leaves out, and the commands that show it."""

import io
from pathlib import Path

import pytest
from support.conversation import CTRL_O, CTRL_T, ESC, GREETING, idle, ready
from support.desk import Desk
from support.screens import memos_screen, saying

from memos.memory.message_rows import event_message
from memos.messages import CallFinished, Event, EventKind, FunctionCall, FunctionResult, Reply, ReplyStored, StepStarted
from memos.terminal.consoles import make_console
from memos.terminal.marks import DRAWN
from memos.terminal.painter import Painter
from memos.terminal.turn_details import TurnDetails

LONG = "\n".join(f"Thought number {n}." for n in range(1, 8))
CALL = FunctionCall("c", "core_memory_append", '{"label": "human", "content": "Keeps\\nbees [abc].", "tags": [1]}')


def painted(thoughts: str) -> tuple[str, TurnDetails]:
    paper, details = io.StringIO(), TurnDetails(thoughts)
    console = make_console(paper, colours=False, width_cells=80)
    painter = Painter(
        console, "sam", DRAWN, width_cells=lambda: 79, tail_limit_rows=lambda: 4, markdown=True, details=details
    )
    painter.consume(StepStarted(1, 30))
    painter.consume(ReplyStored(Reply(LONG, "", (CALL,))))
    painter.consume(CallFinished(CALL, FunctionResult("c", "x", False, "No block\nof that name."), 0.01))
    return paper.getvalue(), details


def said(desk: Desk, *lines: str) -> None:
    for number, line in enumerate(lines):
        event = Event(EventKind.USER_MESSAGE, line)
        desk.home.recall.append(event_message(event, desk.home.agent.id, f"turn {number}"))


def test_a_long_thought_is_folded_and_the_fold_says_how_much_it_hides() -> None:
    shown, _ = painted("short")
    assert "┊ Thought number 3.\n┊ … 4 more lines: Ctrl-O\n" in shown and "number 4" not in shown


def test_thoughts_may_be_shown_in_full_or_not_at_all() -> None:
    assert "number 7" in painted("all")[0]
    assert "┊" not in painted("none")[0]


def test_the_last_turn_in_full_has_every_thought_and_all_that_calls_were_given_and_returned() -> None:
    _, details = painted("none")
    assert [line.plain for line in details.lines(DRAWN)] == [
        *(f"┊ {row}" for row in LONG.split("\n")),
        "⚙ core_memory_append",
        "    label: human",
        "    content: Keeps",
        "    bees [abc].",
        "    tags: [1]",
        "  → failed: No block",
        "    of that name.",
    ]
    details.begin()
    assert details.lines(DRAWN) == []


def test_arguments_that_are_no_object_are_shown_as_they_were_written() -> None:
    details = TurnDetails()
    details.call(CallFinished(FunctionCall("c", "x", "[1,\n2"), FunctionResult("c", "x", True, "OK"), 0.0))
    assert [line.plain for line in details.lines(DRAWN)] == ["⚙ x", "    [1,", "    2", "  → OK"]


def test_without_a_turn_there_is_nothing_to_show(tmp_path: Path) -> None:
    assert "No turn ran since memos was started" in Desk(tmp_path).run("/last")


@pytest.mark.parametrize(("line", "way"), [("/thoughts", "none"), ("/thoughts none", "none"), ("/thoughts x", "all")])
def test_the_ways_of_showing_thoughts_go_round(tmp_path: Path, line: str, way: str) -> None:
    desk = Desk(tmp_path)
    desk.run(line)
    assert desk.context.details.thoughts == way


def test_history_shows_what_was_said_with_who_and_when(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert "Nothing was said yet" in desk.run("/history")
    said(desk, "I keep [abc] bees.", "Five hives,\nin all.")
    shown = desk.run("/history 1").splitlines()
    assert shown[-2].endswith("] user: Five hives,") and shown[-1] == "  in all." and len(shown) == 3
    assert "user: I keep [abc] bees." in desk.run("/history")
    assert "takes a number" in desk.run("/history x")


def test_what_the_user_wants_remembered_is_kept_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert "Kept in archival storage." in desk.run("/remember The bees are at Sant Feliu.")
    assert "already" in desk.run("/remember the bees are at Sant  Feliu")
    assert "1 found" in desk.run("/archival Feliu")
    assert "takes the words" in desk.run("/remember")


def test_edit_puts_the_last_words_back_and_takes_the_turn_back(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    said(desk, "Hello.", "/ is a slash")
    line: list[str] = []
    assert "no line here" in desk.run("/edit")
    desk.context.put = line.append
    assert "Taken back" in desk.run("/edit") and line == ["// is a slash"]
    assert [message.content for message in desk.session.operator.queue] == ["Hello."]


def test_stop_says_so_where_nothing_runs(tmp_path: Path) -> None:
    assert "No turn is running." in Desk(tmp_path).run("/stop")


@pytest.mark.terminal
def test_folds_open_with_ctrl_o_and_twice_esc_takes_the_words_back(tmp_path: Path) -> None:
    replies = [GREETING, saying("I see **bees**.", monologue=LONG), saying("Five, then.")]
    with memos_screen(tmp_path, replies, rows=40) as screen:
        ready(screen)
        screen.type("I keep for hives.\r")
        screen.until("more lines: Ctrl-O")
        screen.until("I see bees.")
        screen.until(lambda: idle(screen))
        screen.type(CTRL_O)
        screen.until("┊ Thought number 7.")
        screen.type(CTRL_T)
        screen.until("Thoughts are shown in full.")
        screen.type(ESC)
        screen.until_quiet(0.2)
        screen.type(ESC)
        screen.until(lambda: screen.prompt_line == "❯ /edit")
        screen.type("\r")
        screen.until(lambda: screen.prompt_line == "❯ I keep for hives.")
        screen.type("\x7f" * 10 + "five hives.\r")
        screen.until("Five, then.")
