"""What a terminal does to drawn rows when it becomes narrower."""

import pytest
from prompt_toolkit.data_structures import Point
from prompt_toolkit.layout import Window
from prompt_toolkit.layout.screen import Char, Screen

from memos.terminal.screen_output import rows_pushed_down

ROWS = ["a" * 75, "", "· speaking", "❯ " + "b" * 70]


@pytest.fixture
def drawn() -> tuple[Screen, Window]:
    screen, window = Screen(), Window()
    for y, row in enumerate(ROWS):
        for x, character in enumerate(row):
            screen.data_buffer[y][x] = Char(character)
    screen.set_cursor_position(window, Point(x=len(ROWS[-1]), y=len(ROWS) - 1))
    return screen, window


@pytest.mark.parametrize(("columns", "pushed"), [(100, 0), (75, 0), (60, 2), (30, 4)])
def test_a_narrower_terminal_pushes_the_cursor_down_by_the_rows_it_broke(
    drawn: tuple[Screen, Window], columns: int, pushed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("XTERM_VERSION", raising=False)
    assert rows_pushed_down(*drawn, columns) == pushed


@pytest.mark.parametrize(("name", "value"), [("XTERM_VERSION", "XTerm(390)"), ("TERM", "linux")])
def test_a_terminal_that_cuts_rows_pushes_nothing(
    drawn: tuple[Screen, Window], name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert rows_pushed_down(*drawn, 30) == 0
