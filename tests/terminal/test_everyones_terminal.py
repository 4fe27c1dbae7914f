"""Any width, background, encoding and reader; and an endpoint that never answers."""

import re
import sys
import time
from pathlib import Path

import pytest
from rich.cells import cell_len
from support.conversation import CTRL_C, CTRL_D, ESC, GREETING, STORY, bar_of, idle, ready, slow
from support.fake_openai import Answer, FakeOpenAI, say
from support.screens import Screen, environment, memos_screen, saying

from memos.storage.usage_ledger import Spent
from memos.terminal.announcer import Announcer
from memos.terminal.consoles import marks_for
from memos.terminal.marks import DRAWN, WORDS, Marks
from memos.terminal.painter import Painter
from memos.terminal.status_bar import BarFacts, Running, bar_row
from memos.terminal.themes import DARK, LIGHT, background, palette

SPENT = Spent(3, 100, 20, 0, 0, 0.14, 0)
FACTS = BarFacts("sam", "openai/gpt-4.1-mini", 0.62, 1204, 128, SPENT, Running("thinking", 1, 3))
pytestmark = pytest.mark.terminal
EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f]")


def bar(width: int, marks: Marks = DRAWN) -> str:
    return "".join(text for _, text in bar_row(FACTS, marks, width))


# --- the status bar --------------------------------------------------------------------------------------------


def test_the_whole_bar_has_all_fields() -> None:
    assert bar(200) == (
        "sam · openai/gpt-4.1-mini · █████░░░ 62% · 3 remembered: F4 shows, F5 quotes · thinking, 1 waiting"
        " · $0.14 today · recall 1,204 · archival 128 · F1 help"
    )
    assert bar(200, WORDS).isascii()


@pytest.mark.parametrize("width", range(1, 201))
def test_a_bar_is_never_too_wide_and_keeps_what_matters_most(width: int) -> None:
    assert cell_len(bar(width)) <= width
    assert width < 3 or bar(width).startswith("sam")
    assert ("62%" in bar(width)) == (width >= 18)


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_the_bar_stands_below_the_line_at_any_width(tmp_path: Path, columns: int) -> None:
    with memos_screen(tmp_path, [GREETING], columns=columns) as screen:
        ready(screen)
        assert bar_of(screen).startswith("sam · ") and "%" in bar_of(screen)
        assert screen.lines.index(bar_of(screen)) == screen.lines.index("❯") + 1
        assert b"\x1b[6n" not in screen.raw


# --- colours ---------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(("colours", "papers"), [(DARK, ("#000000", "#303030")), (LIGHT, ("#ffffff", "#eee8d5"))])
def test_every_colour_of_a_theme_can_be_read_on_its_backgrounds(
    colours: dict[str, str], papers: tuple[str, str]
) -> None:
    for colour in colours.values():
        for paper in papers:
            high, low = sorted((luminance(colour), luminance(paper)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (colour, paper)


@pytest.mark.parametrize(("value", "kind"), [("15;0", "dark"), ("0;15", "light"), ("0;default;7", "light"), ("", "")])
def test_a_terminal_may_tell_its_background(monkeypatch: pytest.MonkeyPatch, value: str, kind: str) -> None:
    monkeypatch.setenv("COLORFGBG", value)
    assert background() == kind
    assert palette("auto") is palette(kind or "own")


def test_a_light_theme_and_none_reach_the_screen(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING], "--set", "terminal.theme=light") as screen:
        ready(screen)
        assert screen.style_of("● sam").fg == "005f00"
    with memos_screen(tmp_path, [GREETING], "--set", "terminal.theme=none") as screen:
        ready(screen)
        assert not re.search(rb"\x1b\[[0-9;]*m", screen.raw)


# --- words instead of drawings ---------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--plain", "--screen-reader"])
def test_plain_lines_hold_no_escape_and_no_emoji(tmp_path: Path, flag: str) -> None:
    with memos_screen(tmp_path, [GREETING, slow("Plain words.")], flag) as screen:
        screen.until("sam: Good evening. I am Sam.")
        screen.until(lambda: screen.prompt_line == ">")
        screen.type("Hello\r")
        screen.until("sam: Plain words.")
        screen.until(lambda: screen.prompt_line == ">")
        screen.type("/exit\r")
        assert screen.exit_code() == 0
        assert b"\x1b" not in screen.raw and not EMOJI.search(screen.raw.decode())
        assert ("[notice] Your turn." in screen.text) == (flag == "--screen-reader")


def test_a_phase_that_lasts_is_announced_once_and_again_when_it_is_long(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    now = [0.0]

    class Quiet(Painter):
        def notice(self, text: str, style: str = "yellow") -> None:
            said.append(text)

    painter = Quiet(None, "sam", WORDS, width_cells=lambda: None, tail_limit_rows=lambda: 0)  # type: ignore[arg-type]
    announcer = Announcer(painter, clock=lambda: now[0])
    painter.enter("thinking")
    for tenths in range(260):
        now[0] = tenths / 10
        announcer.look()
    assert said == ["Thinking.", "Still thinking, 11 seconds so far.", "Still thinking, 21 seconds so far."]


def test_ascii_is_used_where_wanted_and_where_the_encoding_has_nothing_else(tmp_path: Path) -> None:
    for flags, env in ((["--set", "terminal.ascii=true"], {}), ([], {"PYTHONIOENCODING": "cp437"})):
        with memos_screen(tmp_path, [GREETING], *flags, **env) as screen:
            screen.until("Good evening. I am Sam.")
            screen.until(lambda: screen.prompt_line == ">")
            screen.until_quiet()
            assert screen.raw.isascii()


def test_signs_are_drawn_in_any_encoding_that_has_them(tmp_path: Path) -> None:
    class Terminal:
        def __init__(self, encoding: str) -> None:
            self.encoding = encoding

        def isatty(self) -> bool:
            return True

    for encoding, marks in (("utf-8", DRAWN), ("cp1252", WORDS), ("cp437", WORDS), ("ascii", WORDS), ("", WORDS)):
        assert marks_for(Terminal(encoding)) is marks  # type: ignore[arg-type]


# --- an endpoint that never answers ----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["stall_headers", "stall_first", "stall_middle"])
@pytest.mark.parametrize("key", [CTRL_C, ESC])
def test_a_hung_endpoint_hangs_neither_a_stop_nor_the_next_message(tmp_path: Path, fault: str, key: str) -> None:
    answers = [say("Good evening. I am Sam."), Answer("Never.", fault=fault), say("Here again.")]
    with FakeOpenAI(script=lambda request: answers[min(request.number, 3) - 1]) as server:
        words = ["-m", "memos", "run", "-m", "openai/fake", "--api-base", server.url]
        command = [sys.executable, *words, "--set", "memory.embedding=none"]
        screen = Screen(command, env=environment(tmp_path))
        try:
            ready(screen)
            screen.type("Hello?\r")
            screen.until(lambda: len(server.requests) == 2)
            screen.read(0.5)
            began = time.monotonic()
            screen.type(key)
            screen.until("■ Stopped.")
            assert time.monotonic() - began < 1.5
            screen.type("And now?\r")
            screen.until("Here again.")
            screen.until(lambda: idle(screen))
            screen.type(CTRL_D)
            assert screen.exit_code() == 0
        finally:
            screen.close()


def test_ctrl_c_twice_leaves_at_once_while_a_reply_runs(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, slow(STORY)]) as screen:
        ready(screen)
        screen.type("A story, please.\r")
        screen.until("Sentence 1 of")
        screen.type(CTRL_C)
        screen.read(0.2)
        screen.type(CTRL_C)
        assert screen.exit_code() == 130


def test_a_late_message_appears_above_the_half_typed_line(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, saying("By the way: tea.", delay_s=0.6, chunk_chars=100)]) as screen:
        ready(screen)
        screen.type("/heartbeat\r")
        for piece in ("what ", "I was ", "about ", "to say"):
            screen.type(piece)
            screen.read(0.3)
        screen.until("By the way: tea.")
        screen.until(lambda: idle(screen))
        assert screen.prompt_line == "❯ what I was about to say"
