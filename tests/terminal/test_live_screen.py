"""The real program in a pseudo-terminal, with a scripted model: what a person sees and what keys do."""

import re
import signal
import stat
import time
from pathlib import Path

import pytest
from support.conversation import (
    ALT_ENTER,
    CTRL_C,
    CTRL_D,
    CTRL_J,
    GREETING,
    SENTENCES,
    STORY,
    idle,
    ready,
    slow,
    squeezed,
)
from support.screens import memos_screen, saying

pytestmark = pytest.mark.terminal


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_conversation_from_greeting_to_leaving(tmp_path: Path, columns: int) -> None:
    replies = [GREETING, {"text": "Words without a call are the message too.", "chunk_chars": 4}]
    with memos_screen(tmp_path, replies, columns=columns) as screen:
        screen.until("❯")
        assert screen.lines[0].startswith("memos ")
        ready(screen)
        screen.type("Hello [bold]Sam[/bold]!\r")
        screen.until("message too.")
        screen.until(lambda: idle(screen))
        shown = [row for row in screen.scrollback if row]
        *talk, bar = shown[shown.index("● sam") :]
        assert bar.startswith("sam · ")
        assert talk == [
            "● sam",
            "Good evening. I am Sam.",
            "❯ Hello [bold]Sam[/bold]!",
            "● sam",
            "Words without a call are the message too.",
            "❯",
        ]
        screen.type(CTRL_D)
        assert screen.exit_code() == 0
        assert [row for row in screen.lines if row][-1] == "Saved. Resume: memos run sam"


def test_a_reply_is_on_the_screen_before_its_end_and_each_word_once(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, slow(STORY)]) as screen:
        ready(screen)
        screen.type("A story, please.\r")
        screen.until("Sentence 2 of")
        assert "Sentence 12" not in screen.text
        assert any(re.match(r"· speaking \d+\.\d s", row) for row in screen.lines)
        screen.until(SENTENCES[-1])
        screen.until(lambda: idle(screen))
        assert [screen.count(sentence) for sentence in SENTENCES] == [1] * 12
        assert screen.count("● sam") == 2
        assert screen.style_of("┊ A story, then.").italics
        assert screen.style_of("● sam").bold


def test_the_phase_and_its_seconds_show_before_the_reply_does(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, saying("Yes.", delay_s=2.0, chunk_chars=100)]) as screen:
        ready(screen)
        screen.type("Well?\r")
        screen.until(lambda: any(re.match(r"· \w+ \d+\.\d s", row) for row in screen.lines))
        assert "Yes." not in screen.text
        screen.until("Yes.")


def test_ctrl_c_stops_a_reply_keeps_what_was_shown_and_the_next_message_works(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, slow(STORY), saying("Here I am.")]) as screen:
        ready(screen)
        screen.type("A story, please.\r")
        screen.until("Sentence 2 of")
        screen.type(CTRL_C)
        screen.until("■ Stopped.")
        screen.until(lambda: idle(screen))
        assert SENTENCES[0] in screen.text
        assert "Sentence 12" not in screen.text
        screen.type("Are you there?\r")
        screen.until("Here I am.")


def test_ctrl_c_clears_a_line_then_tells_how_to_leave_and_twice_leaves(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING]) as screen:
        ready(screen)
        screen.type("half typed")
        screen.until("❯ half typed")
        screen.type(CTRL_C)
        screen.until(lambda: screen.prompt_line == "❯")
        time.sleep(2.1)
        screen.type(CTRL_C)
        screen.until("Ctrl-C again or Ctrl-D leaves")
        screen.type(CTRL_C)
        assert screen.exit_code() == 130
        assert "Saved. Resume: memos run sam" in screen.text


def test_ctrl_d_leaves_only_on_an_empty_line(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING]) as screen:
        ready(screen)
        screen.type("ab\x01" + CTRL_D)  # Ctrl-A, then Ctrl-D deletes the a
        screen.until(lambda: screen.prompt_line == "❯ b")
        screen.type(CTRL_D + CTRL_D)
        assert screen.exit_code() == 0


def test_leaving_in_mid_reply_keeps_what_was_shown_on_the_screen(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, {"text": " ".join(SENTENCES), "delay_s": 0.05}]) as screen:
        ready(screen)
        screen.type("A story, please.\r")
        screen.until("Sentence 2 of")
        screen.type(CTRL_D)
        assert screen.exit_code() == 0
        assert squeezed(SENTENCES[0]) in squeezed(screen.text.replace("┊", ""))
        assert "Saved. Resume: memos run sam" in screen.text


def test_a_line_that_waited_when_the_person_left_is_answered_next_time(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, slow(STORY)]) as screen:
        ready(screen)
        screen.type("A story, please.\r")
        screen.until("Sentence 2 of")
        screen.type("and one more thing\r")
        screen.until("❯ and one more thing")
        screen.type(CTRL_D)
        assert screen.exit_code() == 0
        assert "Messages not answered yet: 1; they come first next time." in screen.text
    with memos_screen(tmp_path, [{**saying("About that one more thing."), "match": "one more thing"}]) as screen:
        screen.until("About that one more thing.")


def test_what_was_typed_before_the_prompt_stood_is_not_lost(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, saying("I heard you.")], typed_ahead="early bird\rand then") as screen:
        screen.until("I heard you.")
        screen.until(lambda: idle(screen))
        assert screen.count("❯ early bird") == 1
        assert screen.prompt_line == "❯ and then"


def test_lines_sent_while_a_reply_streams_wait_their_turn_and_are_answered_in_order(tmp_path: Path) -> None:
    replies = [GREETING, slow(STORY, 0.02), saying("First answer."), saying("Second answer.")]
    with memos_screen(tmp_path, replies) as screen:
        ready(screen)
        screen.type("A story, please.\r")
        screen.until("Sentence 2 of")
        screen.type("first question\rsecond question\r")
        screen.until(lambda: "❯ first question" in screen.lines)
        screen.until("Second answer.")
        screen.until(lambda: idle(screen))
        order = [SENTENCES[-1], "❯ first question", "First answer.", "❯ second question", "Second answer."]
        places = [screen.scrollback.index(line) for line in order]
        assert places == sorted(places)
        assert [screen.count(line) for line in order] == [1] * 5


def test_a_half_typed_line_survives_arriving_output(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, slow(STORY, 0.02)]) as screen:
        ready(screen)
        screen.type("A story, please.\r")
        screen.until("Sentence 1 of")
        for piece in ["what ", "I was ", "about ", "to say"]:
            screen.type(piece)
            screen.read(0.2)
        screen.until(SENTENCES[-1])
        screen.until(lambda: idle(screen))
        assert screen.prompt_line == "❯ what I was about to say"


def test_a_resize_in_mid_reply_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, slow(STORY)], columns=100) as screen:
        ready(screen)
        screen.type("A story, please.\r")
        for number, columns in enumerate([80, 120, 100], start=1):
            screen.until(f"Sentence {2 * number} of")
            screen.resize(columns, 30 - number)
        screen.until(SENTENCES[-1])
        screen.until(lambda: idle(screen))
        assert [screen.count(sentence) for sentence in SENTENCES] == [1] * 12
        assert sum(row.startswith("❯") for row in screen.lines) == 2
        assert screen.prompt_line == "❯"


ATTACK = (
    "\x1b[2J\x1b]0;owned\x07\x1b]52;c;aGk=\x07\x1b]8;;http://evil.example\x07link\x1b]8;;\x07"
    "\x9b31m\x1bP1$r\x1b\\\x1b]9;7;touch x\x07\x1b]1337;File=:AA==\x07a\rb\x08c\u202edrawkcab\u2066\U000e0041"
)
OWN_SEQUENCES = re.compile(rb"\x1b\[[0-9;?]*[ABCDHJKhlmn]|\x1b\[\?\d+[hl]")


def test_attacks_are_harmless_and_ordinary_characters_all_there(tmp_path: Path) -> None:
    plain = "[abc] [/foo] [bold]x[/bold] :smile: *a* _b_ `c` <b>d</b> https://e.org/[1] \\[e]"
    edit = {"name": "core_memory_append", "arguments": {"name": "human", "content": ATTACK, "request_heartbeat": True}}
    search = {"name": "conversation_search", "arguments": {"query": ATTACK, "request_heartbeat": True}}
    replies = [
        GREETING,
        {"monologue": ATTACK + plain, "calls": [edit]},
        {"calls": [search]},
        {"calls": [{"name": ATTACK, "arguments": ATTACK}]},
        saying(f"{ATTACK} {plain}", monologue=ATTACK),
        {"text": f"{plain} {ATTACK}"},
    ]
    with memos_screen(tmp_path, replies, columns=120, rows=40) as screen:
        ready(screen)
        screen.type("Go\r")
        screen.until(lambda: screen.count("[/foo]") >= 2 and idle(screen))
        screen.type("And now\r")
        screen.until(lambda: screen.count("[/foo]") >= 3 and idle(screen))
        screen.type("/memory\r")
        screen.until("Recall storage")
        rest = OWN_SEQUENCES.sub(b"", screen.raw)
        assert b"\x1b" not in rest
        assert not re.search(rb"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]", rest)
        assert not re.search("[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]", rest.decode())
        assert b"\r" not in rest.replace(b"\r\r\n", b"").replace(b"\r\n", b"")
        assert squeezed(screen.text).count(squeezed(plain)) == 1  # as a thought, and twice drawn as Markdown:
        drawn = plain.replace("*a*", "a").replace("`c`", "c")
        assert squeezed(screen.text).count(squeezed(drawn)) == 2


def test_a_paste_is_one_message_and_new_lines_can_be_typed(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, saying("Three lines."), saying("Two lines.")]) as screen:
        ready(screen)
        screen.type("\x1b[200~one\rtwo\rthree\x1b[201~")
        screen.until("  three")
        assert "Three lines." not in screen.text
        screen.type("\r")
        screen.until("Three lines.")
        screen.until(lambda: idle(screen))
        assert screen.scrollback[screen.scrollback.index("❯ one") :][:3] == ["❯ one", "  two", "  three"]
        screen.type(f"four{ALT_ENTER}five{CTRL_J}six\r")
        screen.until("Two lines.")
        assert screen.scrollback[screen.scrollback.index("❯ four") :][:3] == ["❯ four", "  five", "  six"]


def test_commands_are_completed_explained_and_guessed(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, saying("A slash."), saying("A bang.")]) as screen:
        ready(screen)
        screen.type("/")
        screen.until("Begin an empty queue")
        screen.type("me")
        screen.until("Show what the agent always sees")
        screen.type("\t\r")
        screen.until("Recall storage:")
        assert re.search(r"^human +░+ +\d+/2000$", screen.text, re.MULTILINE)
        screen.type("/memroy\r")
        screen.until("Did you mean /memory?")
        screen.type("/help\r")
        for name in ["help", "memory", "model", "like", "exit"]:
            screen.until(f"/{name}")
        screen.type("/model\r")
        screen.until("/model NAME switches.")
        screen.type("//etc is a folder\r")
        screen.until("A slash.")
        assert "❯ /etc is a folder" in screen.scrollback
        screen.type("!important\r")
        screen.until("A bang.")
        assert "❯ !important" in screen.scrollback
        screen.type("/exit\r")
        assert screen.exit_code() == 0


def test_a_liked_message_is_told_to_the_agent(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, saying("Glad to hear it.")]) as screen:
        ready(screen)
        screen.type("/like\r")
        screen.until("Glad to hear it.")


def test_sigterm_leaves_in_order_and_everything_is_kept(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, slow(STORY)]) as screen:
        ready(screen)
        screen.type("Remember the bees.\r")
        screen.until("Sentence 2 of")
        screen.kill(signal.SIGTERM)
        assert screen.exit_code() == 143
        assert "Saved. Resume: memos run sam" in screen.text
    again = [saying("You spoke of bees.")]
    with memos_screen(tmp_path, again) as screen:
        screen.until("You spoke of bees.")
        screen.type("/memory\r")
        screen.until(lambda: bool(re.search(r"Recall storage: (\d+) messages", screen.text)))


def test_no_color_means_no_rendition_at_all(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, slow("Plain words.")], NO_COLOR="1") as screen:
        ready(screen)
        screen.type("Hello\r")
        screen.until("Plain words.")
        screen.type("/memory\r")
        screen.until("Recall storage:")
        screen.type(CTRL_D)
        assert screen.exit_code() == 0
        assert not re.search(rb"\x1b\[[0-9;]*m", screen.raw)


def test_a_dumb_terminal_gets_words_and_no_escapes(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, slow("Plain words.")], TERM="dumb") as screen:
        screen.until("sam: Good evening. I am Sam.")
        screen.until(lambda: screen.prompt_line == ">")
        screen.type("Hello\r")
        screen.until("sam: Plain words.")
        screen.until(lambda: screen.prompt_line == ">")
        screen.type("/exit\r")
        assert screen.exit_code() == 0
        assert b"\x1b" not in screen.raw


def test_ctrl_c_on_a_dumb_terminal_stops_a_reply_and_then_leaves(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, slow(STORY)], TERM="dumb") as screen:
        screen.until("Good evening. I am Sam.")
        screen.until(lambda: screen.prompt_line == ">")
        screen.type("A story, please.\r")
        screen.until("Sentence 2 of")
        screen.type(CTRL_C)
        screen.until("[stopped] ")
        screen.until(lambda: screen.prompt_line == ">")
        assert "Sentence 12" not in screen.text
        screen.type(CTRL_C)
        assert screen.exit_code() == 130


def test_a_terminal_without_utf_8_gets_words_instead_of_signs(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, slow("Plain words.")], PYTHONIOENCODING="ascii") as screen:
        screen.until("Good evening. I am Sam.")
        screen.until(lambda: screen.prompt_line == ">")
        screen.type("Hello\r")
        screen.until("[thought] A story, then.")
        screen.until("Plain words.")
        screen.until(lambda: screen.prompt_line == ">")
        screen.type(CTRL_D)
        assert screen.exit_code() == 0


def test_what_is_typed_is_kept_for_its_owner_alone_and_comes_back_with_up(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, saying("Noted.")]) as screen:
        ready(screen)
        screen.type("a line to find again\r")
        screen.until("Noted.")
        screen.until(lambda: idle(screen))
        screen.type("\x1b[A")
        screen.until(lambda: screen.prompt_line == "❯ a line to find again")
    files = [path for path in tmp_path.rglob("*") if path.is_file() and "history" in path.name]
    assert files
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)


def test_a_second_terminal_may_only_read(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING]) as screen:
        ready(screen)
        with memos_screen(tmp_path, [GREETING], "--read-only") as second:
            second.until("❯")
            second.type("Hello\r")
            second.until("This session only reads")
            second.type("/memory\r")
            second.until("Recall storage:")
            second.type(CTRL_D)
            assert second.exit_code() == 0
