"""Rows of text: nothing lost, nothing too wide."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from memos.terminal.wrapping import displayable, wrap


@given(st.text(), st.integers(min_value=2, max_value=90))
def test_joined_rows_are_the_text(text: str, width: int) -> None:
    assert "".join(wrap(text, width)) == text


@given(st.text(alphabet="ab 本\n", max_size=200), st.integers(min_value=2, max_value=40))
def test_no_row_is_wider_than_asked(text: str, width: int) -> None:
    assert all(cell_len(row.rstrip()) <= width for row in wrap(text, width))


def test_a_row_breaks_at_a_word() -> None:
    assert wrap("one two three", 8) == ["one two ", "three"]


def test_without_a_width_lines_stay_whole() -> None:
    assert wrap("a" * 300 + "\nb", None) == ["a" * 300 + "\n", "b"]


def test_a_tab_becomes_spaces_and_an_escape_a_picture() -> None:
    assert displayable("a\tb\x1b[2J") == "a    b␛[2J"
