"""Rows of text: nothing lost, nothing too wide."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from memos.terminal.wrapping import displayable, hung, wrap


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


@given(st.text(alphabet="ab 本「。é", max_size=200), st.integers(min_value=9, max_value=40))
def test_hung_rows_hold_all_and_are_not_too_wide(text: str, width: int) -> None:
    rows = hung(Text(f"· {text}"), width, 2)
    assert all(cell_len(row.plain) <= width for row in rows)
    assert all(row.plain.startswith("  ") for row in rows[1:])
    assert "".join("".join(row.plain for row in rows).split()) == "".join(f"· {text}".split())


def test_a_duration_stays_in_one_piece_and_colours_stay_where_they_were() -> None:
    first, second = hung(Text("· ").append("one two ", "red").append("three, 4 ms", "green"), 14, 2)
    assert (first.plain, second.plain) == ("· one two", "  three, 4 ms")
    assert [(first.plain[span.start : span.end], span.style) for span in first.spans] == [("one two", "red")]
    assert [(second.plain[span.start : span.end], span.style) for span in second.spans] == [("three, 4 ms", "green")]


def test_chinese_and_japanese_break_anywhere_but_before_what_closes() -> None:
    assert wrap("- 日本語「本」。", 8) == ["- 日本語", "「本」。"]
    assert wrap("日本。", 5) == ["日", "本。"]
    assert wrap("10\u00a0km on", 4) == ["10\u00a0k", "m on"], "a no-break space is no end of a row"


def test_a_tab_becomes_spaces_and_an_escape_a_picture() -> None:
    assert displayable("a\tb\x1b[2J") == "a    b␛[2J"
