"""A message drawn as Markdown: what is markup is drawn, what is not is there to the last sign."""

import io
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from terminal.attacks import ATTACKS

from memos.terminal.consoles import make_console
from memos.terminal.markdown import LIMIT_CHARS, markdown_rows
from memos.terminal.markdown_blocks import finished_end
from memos.terminal.wrapping import displayable

TABLE = "| bee | honey |\n|---|--:|\n| one | 12 kg |\n"
CODE = "```python\ndef f(x):\n\n    return [x]\n```\n"
DRAWN_SIGNS = set("*_`~#|>-+\\:") | set(" \n\t")
"""What may be markup; everything else must be there."""


def drawn(text: str, width: int = 60) -> list[list[Segment]]:
    console = make_console(io.StringIO(), colours=True, width_cells=width)
    return markdown_rows(displayable(text), console, width)


def plain(text: str, width: int = 60) -> str:
    return "\n".join("".join(piece.text for piece in row) for row in drawn(text, width))


def blocks(text: str) -> list[str]:
    """Return the blocks as they would leave a stream of single characters, and the rest at its end."""
    found, rest = [], ""
    for character in text:
        rest += character
        if end := finished_end(rest):
            found.append(rest[:end])
            rest = rest[end:]
    return [*found, rest] if rest else found


@pytest.mark.parametrize(
    "text",
    [
        "[abc] [/foo] [x](http://y) ![a](b) [foo]: http://x",
        "<b>tag</b> <http://x> &amp; &#65; <script>alert(1)</script>",
        "__init__ and snake_case_name and _under_",
        "2*3*4 = 24, 5 * 3 * 2",
        "C:\\new\\[x] and \\(x^2\\)",
        "a line\nthat ends\n    and goes on",
        "2019. It was a year.",
        "7) seven",
        "#channel is no heading, and 1.5 no list",
        "Bees ===\nand ---- within",
    ],
)
def test_ordinary_text_that_looks_like_markup_stays_as_it_was_typed(text: str) -> None:
    assert [" ".join(row.split()) for row in plain(text).split("\n")] == [" ".join(r.split()) for r in text.split("\n")]


@pytest.mark.parametrize(
    ("text", "shown", "style"),
    [
        ("so **very** much", "so very much", "bold"),
        ("so *very* much", "so very much", "italic"),
        ("call `f(x)` now", "call f(x) now", "cyan"),
        ("## The bees", "The bees", "bold underline"),
        ("~~gone~~", "gone", "strike"),
        ("\\*not so\\*", "*not so*", ""),
    ],
)
def test_what_is_marked_is_drawn(text: str, shown: str, style: str) -> None:
    (row,) = drawn(text)
    assert "".join(piece.text for piece in row) == shown
    styles = {str(piece.style) for piece in row if piece.style} - {"none"}
    assert styles == ({style} if style else set())


def test_lists_keep_their_numbers_and_hang_below_them() -> None:
    text = "3. three\n4. four\n   - a long item that does not fit into one row\n\n9. nine"
    assert plain(text, 30).split("\n") == [
        "3. three",
        "4. four",
        "    • a long item that does",
        "      not fit into one row",
        "9. nine",
    ]


def test_a_table_is_a_table_and_code_is_not_touched() -> None:
    assert [row.rstrip() for row in plain(TABLE).split("\n")] == ["bee  honey", "──────────", "one  12 kg"]
    assert plain(CODE).split("\n") == ["  def f(x):", "", "      return [x]"]


@pytest.mark.parametrize("width", [20, 60, 120])
@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_as_harmless_and_as_whole_as_without_markdown(attack: str, width: int) -> None:
    shown = Counter(plain(attack, width)) - Counter("•▌─ \n")
    wanted = Counter(displayable(attack))
    assert "\x1b" not in shown
    assert not {sign for sign in wanted - shown if sign not in DRAWN_SIGNS}
    assert not shown - wanted


@given(st.text(st.sampled_from("ab1 \n*_`~#|>-+.)[](<&\\:é漢"), max_size=80), st.integers(12, 80))
def test_no_sign_that_cannot_be_markup_is_ever_lost_and_no_row_is_too_wide(text: str, width: int) -> None:
    shown = plain(text, width)
    lost = Counter(text) - Counter(shown)
    assert not {sign for sign in lost if sign not in DRAWN_SIGNS}
    assert all(cell_len(row) <= width for row in shown.split("\n"))


def test_a_piece_as_long_as_a_book_is_drawn_as_it_is() -> None:
    text = "**x** " * (LIMIT_CHARS // 5)
    assert plain(text).split() == text.split()


def test_deeply_nested_markup_is_no_trouble() -> None:
    assert "deep" in plain(">" * 2_000 + " deep") and "deep" in plain("* " * 500 + "deep")


# --- where blocks end ------------------------------------------------------------------------------------------


def test_a_block_ends_where_the_next_one_begins() -> None:
    text = "# Bees\n\nOne.\nTwo.\n\n- a\n\n  still a\n- b\n\n" + CODE + "\n" + TABLE + "\nEnd"
    assert blocks(text) == [
        "# Bees\n\n",
        "One.\nTwo.\n\n",
        "- a\n\n  still a\n- b\n\n",
        CODE,
        "\n",
        TABLE + "\n",
        "End",
    ]


def test_empty_lines_within_code_end_nothing() -> None:
    assert blocks("```\na\n\nb\n\n```\nc\n\nd") == ["```\na\n\nb\n\n```\n", "c\n\n", "d"]
    assert blocks("~~~\na\n```\n\nb\n") == ["~~~\na\n```\n\nb\n"]


@given(st.text(st.sampled_from("a \n`-1.#"), max_size=60))
def test_blocks_are_the_text_and_end_in_the_same_places_however_it_arrives(text: str) -> None:
    assert "".join(blocks(text)) == text
    end = finished_end(text)
    assert end == 0 or re.search(r"\n$", text[:end])
