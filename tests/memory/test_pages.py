"""Pages of search results: bounded, and showing of a long text what was looked for."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from memos.memory.pages import PAGE_LIMIT_TOKENS, Line, page_text

AT = datetime(2026, 11, 23, tzinfo=UTC)


def test_a_long_text_shows_the_part_with_the_words_that_were_looked_for() -> None:
    text = "begin " + "filler " * 2000 + "the hidden honey yields of 2019 " + "filler " * 2000
    page = page_text([Line(AT, text, "user")], 1, 0, "honey yield")
    assert "the hidden honey yields of 2019" in page and len(page) < 800
    assert f"of {len(text.strip())})" in page


def test_a_long_text_without_those_words_shows_its_beginning() -> None:
    assert "user: begin filler" in page_text([Line(AT, "begin " + "filler " * 2000, "user")], 1, 0, "honey")


@given(st.text(max_size=3000), st.text(max_size=60))
def test_a_line_is_bounded_whatever_it_holds(text: str, query: str) -> None:
    assert len(page_text([Line(AT, text)], 1, 0, query)) < 800


def test_tags_stand_beside_the_time_and_neighbours_are_set_in() -> None:
    lines = [Line(AT, "before", "user", beside=True), Line(AT, "bees", tags=("bees", "roof"))]
    head, beside, hit = page_text(lines, 1, 0).splitlines()
    assert head == "Showing 1-1 of 1 results (page 0):"
    assert beside.startswith("    [2026-11-23") and " #bees #roof] bees" in hit


@given(st.lists(st.sampled_from(["bee ", "蜂", "🐝", "é"]).map(lambda part: part * 900), max_size=5), st.integers(0, 3))
def test_a_page_is_bounded_in_tokens_whatever_it_holds(texts: list[str], around: int) -> None:
    lines = [
        line
        for text in texts
        for line in [Line(AT, text, "user"), *[Line(AT, text, "user", beside=True)] * (2 * around)]
    ]
    page = page_text(lines, len(texts), 0, "bee")
    ascii_chars = sum(map(str.isascii, page))
    assert ascii_chars / 4 + (len(page) - ascii_chars) <= PAGE_LIMIT_TOKENS
