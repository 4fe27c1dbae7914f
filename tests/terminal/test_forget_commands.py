"""`/forget` at the console: what it shows first, what it asks, and what it prints in the end."""

import asyncio
import re
from pathlib import Path

import pytest
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.history import FileHistory
from support.desk import Desk
from support.screens import memos_screen, saying

from memos.terminal.input_line import unremember


def told(folder: Path, **how: bool) -> Desk:
    desk = Desk(folder, **how)
    desk.home.memory.core_memory_append("human", "Name: Ana")
    desk.home.memory.core_memory_append("human", "Locker: 4711 plum")
    desk.home.archival.archival_memory_insert("The locker's code is 4711 Plum.")
    desk.home.archival.archival_memory_insert("The locker is in the hall.")
    return desk


def test_first_it_shows_what_it_would_touch_and_touches_nothing(tmp_path: Path) -> None:
    desk = told(tmp_path)
    lines = desk.run('/forget "4711 plum"').splitlines()
    assert lines[0] == "2 things hold these words."
    assert lines[1] == (
        "  1  core memory human and 1 edit of it loses the lines that hold them: Name: Ana Locker: 4711 plum"
    )
    assert lines[2] == "  2  passage 1 is deleted: The locker's code is 4711 Plum."
    assert lines[-1].startswith("/forget yes erases all of this for good")
    assert "4711" in desk.home.memory.block("human").value


def test_what_is_near_in_meaning_is_shown_as_not_erased(tmp_path: Path) -> None:
    printed = told(tmp_path).run("/forget the locker's code")
    assert "Near to it, and not erased" in printed and "archival: The locker is in the hall." in printed


def test_yes_erases_and_prints_the_certificate(tmp_path: Path) -> None:
    desk = told(tmp_path)
    desk.run("/forget 4711 plum")
    printed = desk.run("/forget yes").splitlines()
    assert any(line.startswith("Certificate of erasure, ") for line in printed)
    assert any(re.search(r"Deleted: 1 revision, 1 passage; 0 vectors", line) for line in printed), printed
    assert any("0 hits remain" in line for line in printed)
    assert desk.home.memory.block("human").value == "Name: Ana"
    assert "hall" in desk.home.archival.archival_memory_search("locker")
    assert "4711" not in desk.home.archival.archival_memory_search("4711")


def test_yes_but_keeps_what_is_named(tmp_path: Path) -> None:
    desk = told(tmp_path)
    desk.run("/forget 4711 plum")
    desk.run("/forget yes but 2")
    assert desk.home.memory.block("human").value == "Name: Ana"
    assert "4711" in desk.home.archival.archival_memory_search("4711")


def test_no_keeps_everything_and_a_yes_after_it_is_only_a_word(tmp_path: Path) -> None:
    desk = told(tmp_path)
    desk.run("/forget 4711 plum")
    assert "Nothing was erased." in desk.run("/forget no")
    assert "Nothing in memory or its files holds these words" in desk.run("/forget yes")
    assert "4711" in desk.home.memory.block("human").value


def test_a_number_that_is_none_erases_nothing(tmp_path: Path) -> None:
    desk = told(tmp_path)
    desk.run("/forget 4711 plum")
    assert "There is no number 3; nothing was erased." in desk.run("/forget yes but 1, 3")
    assert "4711" in desk.home.memory.block("human").value


@pytest.mark.parametrize("line", ["/forget", "/forget x"])
def test_what_cannot_be_meant_is_one_sentence(tmp_path: Path, line: str) -> None:
    printed = Desk(tmp_path).run(line)
    assert printed.startswith("· ") and "Next: " in printed and printed.count("\n") == 1


def test_a_session_that_only_reads_erases_nothing(tmp_path: Path) -> None:
    assert "This session only reads." in Desk(tmp_path, read_only=True).run("/forget plum")


def test_a_text_that_waits_for_the_editor_goes_too(tmp_path: Path) -> None:
    desk = told(tmp_path)
    desk.context.details.thought("4711 plum")
    desk.context.drafts["human"] = "Locker: 4711 plum\nand more"
    desk.run("/forget 4711 plum")
    desk.run("/forget yes")
    assert desk.context.drafts == {} and desk.context.details.lines(desk.context.marks) == []


def test_what_was_typed_is_not_offered_again_by_the_up_key(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text("\n# 1\n+I keep bees\n\n# 2\n+my code is Plum 4711\n")
    buffer = Buffer(history=FileHistory(str(path)))

    async def scene() -> None:
        async for _ in buffer.history.load():
            pass

    asyncio.run(scene())
    buffer.history.append_string("/forget plum 4711")
    buffer.text = "half a line"
    unremember(buffer, lambda line: "4711" in line)
    assert buffer.history.get_strings() == ["I keep bees"] and buffer.text == "half a line"


@pytest.mark.terminal
def test_on_the_screen_it_asks_erases_and_the_conversation_goes_on(tmp_path: Path) -> None:
    script = [saying("Good evening."), saying("Kept: Plum-4711."), saying("I am here.")]
    with memos_screen(tmp_path, script, columns=100) as screen:
        screen.until("Good evening.")
        screen.type("My code is plum-4711.\r")
        screen.until("Kept: Plum-4711.")
        screen.type("/forget PLUM-4711\r")
        screen.until("/forget no keeps all.")
        screen.type("/forget yes\rAnd now?\r")  # what is typed behind it waits
        screen.until("0 hits remain")
        screen.until("I am here.")
        holding = [
            path.relative_to(tmp_path)
            for path in tmp_path.rglob("*")
            if path.is_file() and "script" not in path.name and b"plum-4711" in path.read_bytes().lower()
        ]
        assert holding == []
        screen.type("\x1b[A\x1b[A\x1b[A\x1b[A")  # the oldest line that is left
        screen.until(lambda: screen.prompt_line.startswith("❯ /forget yes") or "4711" in screen.prompt_line)
        assert "4711" not in screen.prompt_line
