"""The commands on the real screen: another agent in the same REPL, the editor, what a reply rested on."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.screens import Screen, environment, memos_screen, saying, write_script

pytestmark = pytest.mark.terminal

GREETING = saying("Good evening.")
NAMED = {
    "calls": [
        {
            "name": "core_memory_append",
            "arguments": {"name": "human", "content": "Name: Ana", "request_heartbeat": True},
        }
    ]
}


def idle(screen: Screen) -> bool:
    return screen.prompt_line.startswith("❯") and not any(row.startswith("· ") for row in screen.lines)


def ready(screen: Screen, words: str = "Good evening.") -> None:
    screen.until(words)
    screen.until(lambda: idle(screen))


def editor(folder: Path, line: str) -> str:
    program = folder / "editor.sh"
    program.write_text(f"#!/bin/sh\n{line}\n")
    program.chmod(0o700)
    return str(program)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_an_edit_is_drawn_with_its_number_and_why_tells_where_it_came_from(tmp_path: Path, columns: int) -> None:
    with memos_screen(tmp_path, [GREETING, NAMED, saying("Hello Ana.")], columns=columns) as screen:
        ready(screen)
        screen.type("I am Ana.\r")
        ready(screen, "Hello Ana.")
        edit = next(row for row in screen.scrollback if row.startswith("✎"))
        assert re.fullmatch(r"✎ human █?░+ \d+/2000 → \d+/2000  /memory undo 1", edit)
        assert screen.style_of("+ Name: Ana").fg == "green"
        screen.type("/why\r")
        screen.until("The queue: ")
        screen.until(lambda: idle(screen))
        shown = squeezed(screen.text)
        assert squeezed("  human: Name: Ana") in shown
        assert re.search(r'edit1;message\d+,user:"IamAna\."', shown)
        assert all(len(row) <= columns for row in screen.scrollback)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_a_block_is_edited_on_the_screen_and_the_prompt_comes_back(tmp_path: Path) -> None:
    program = editor(tmp_path, 'echo "in the editor"; head -n 1 > /dev/null; echo "Be brief." > "$1"')
    with memos_screen(tmp_path, [GREETING, saying("Yes.")], VISUAL=program) as screen:
        ready(screen)
        screen.type("/memory edit human\r")
        screen.until("in the editor")
        screen.type("a line for the editor\r")
        screen.until("+ Be brief.")
        screen.until(lambda: idle(screen))
        screen.type("Still there?\r")
        ready(screen, "Yes.")
        assert "/memory undo 1 takes it back." in screen.text
        assert not list((tmp_path / "state" / "drafts").iterdir())


def test_a_long_message_from_the_editor_is_sent_whole(tmp_path: Path) -> None:
    program = editor(tmp_path, 'printf "First.\\n\\nThird.\\n" > "$1"')
    with memos_screen(tmp_path, [GREETING, saying("Three lines.")], EDITOR=program) as screen:
        ready(screen)
        screen.type("/editor\r")
        ready(screen, "Three lines.")
        shown = screen.scrollback
        assert shown[shown.index("❯ First.") + 2] == "  Third."


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_another_agent_is_begun_and_left_again_in_the_same_repl(tmp_path: Path, columns: int) -> None:
    with memos_screen(tmp_path, [GREETING, saying("Yes.")], columns=columns) as screen:
        ready(screen)
        screen.type("/new bob\r")
        screen.until("Saved. On to bob.")
        screen.until("● bob")
        screen.until(lambda: idle(screen))
        screen.type("Are you Bob?\r")
        ready(screen, "Yes.")
        screen.type("/agents\r")
        screen.until("/switch NAME goes to one")
        assert any(row == "  bob  you talk to it" for row in screen.scrollback)
        screen.type("/switch sam\r")
        screen.until("Saved. On to sam.")
        screen.until(lambda: screen.count("● sam") >= 1 and idle(screen))
        screen.type("/rename Samuel\r")
        screen.until("The agent is called Samuel now.")
        screen.type("\x04")
        assert screen.exit_code() == 0
        assert [row for row in screen.lines if row][-1] == "Saved. Resume: memos run Samuel"


def test_what_is_typed_behind_a_switch_reaches_the_next_agent(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, saying("For me.")]) as screen:
        ready(screen)
        screen.type("/new bob\rWho hears this?\r")
        screen.until("On to bob.")
        screen.until("● bob")
        screen.until("For me.")
        rows = screen.scrollback
        heard = next(n for n, row in enumerate(rows) if "Who hears this?" in row and row.startswith("❯"))
        assert heard > rows.index("Saved. On to bob.")


def test_an_agent_that_is_open_elsewhere_is_told_and_this_one_stays(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING]) as first:
        ready(first)
        with memos_screen(tmp_path, [GREETING], "--new") as second:
            ready(second)
            second.type("/switch sam\r")
            second.until('"sam" is open in another terminal')
            second.until(lambda: second.prompt_line.startswith("❯"))
            first.type("/fork\r")
            first.until("/switch sam-3")


def test_a_pipe_may_switch_too_and_its_next_line_is_for_the_next_agent(tmp_path: Path) -> None:
    model = write_script(tmp_path / "script.json", [saying("Heard.")])
    command = [sys.executable, "-m", "memos", "run", "--model", model, "--set", "memory.embedding=none"]
    said = "One.\n/new bob\nTwo.\n/exit\nThree.\n"
    done = subprocess.run(command, env=environment(tmp_path), input=said, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [row for row in done.stdout.splitlines() if row]
    assert [row for row in rows if row.startswith(("> ", "sam:", "bob:", "Saved."))] == [
        *("> One.", "sam: Heard.", "> /new bob", "Saved. On to bob."),
        *("> Two.", "bob: Heard.", "> /exit", "Saved. Resume: memos run bob"),
    ]
