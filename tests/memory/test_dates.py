"""Dates: ISO and plain words, as the user's clock has them; whole days, months and years; the end included."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memos.errors import FunctionFailed
from memos.memory.dates import Span, between, span

NOW = datetime(2026, 11, 24, 12, 20, 33, tzinfo=UTC)  # a Tuesday


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def days(text: str) -> tuple[str, str]:
    """Return the first and the last day of what `text` means."""
    first, end = span(text, NOW)
    return first.date().isoformat(), (end - timedelta(microseconds=1)).date().isoformat()


@pytest.mark.usefixtures("in_utc")
@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-05-17", "2026-05-17", "2026-05-17"),
        ("2026-05", "2026-05-01", "2026-05-31"),
        ("2024", "2024-01-01", "2024-12-31"),
        ("2026-W12", "2026-03-16", "2026-03-22"),
        ("today", "2026-11-24", "2026-11-24"),
        ("Yesterday", "2026-11-23", "2026-11-23"),
        ("last Tuesday", "2026-11-17", "2026-11-17"),
        ("on Friday", "2026-11-20", "2026-11-20"),
        ("since Friday", "2026-11-20", "2026-11-20"),
        ("3 days ago", "2026-11-21", "2026-11-21"),
        ("last week", "2026-11-16", "2026-11-22"),
        ("this month", "2026-11-01", "2026-11-30"),
        ("last month", "2026-10-01", "2026-10-31"),
        ("last year", "2025-01-01", "2025-12-31"),
        ("in May", "2026-05-01", "2026-05-31"),
        ("last May", "2026-05-01", "2026-05-31"),
        ("in December", "2025-12-01", "2025-12-31"),
        ("in November", "2026-11-01", "2026-11-30"),
        ("last November", "2025-11-01", "2025-11-30"),
        ("May 2024", "2024-05-01", "2024-05-31"),
        ("the 3rd of June", "2026-06-03", "2026-06-03"),
        ("17 May 2025", "2025-05-17", "2025-05-17"),
        ("im Mai", "2026-05-01", "2026-05-31"),
        ("昨日", "2026-11-23", "2026-11-23"),
    ],
)
def test_words_mean_whole_days_months_and_years_that_have_begun(text: str, first: str, last: str) -> None:
    assert days(text) == (first, last)


@pytest.mark.usefixtures("in_utc")
def test_a_time_means_its_minute_and_now_this_moment() -> None:
    at = datetime(2026, 5, 1, 10, 30, tzinfo=UTC)
    assert span("2026-05-01T10:30", NOW) == span("2026-05-01 10:30Z", NOW) == (at, at + timedelta(minutes=1))
    assert span("2026-05-01T12:30+02:00", NOW)[0] == at
    assert span("now", NOW) == (NOW, NOW + timedelta(microseconds=1))


@pytest.mark.usefixtures("in_new_york")
def test_a_day_is_the_users_day_also_when_the_clocks_change() -> None:
    begin, end = span("2026-11-01", NOW)
    assert (begin, end) == (datetime(2026, 11, 1, 4, tzinfo=UTC), datetime(2026, 11, 2, 5, tzinfo=UTC))
    late = datetime(2026, 11, 25, 3, tzinfo=UTC)  # still Tuesday there
    assert span("today", late)[0] == datetime(2026, 11, 24, 5, tzinfo=UTC)
    assert span("last Monday", late)[0] == datetime(2026, 11, 23, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["banana", "", "🐝", "\x00", "3", "05/06/2026", "5.6.", "2026-02-31", "31 February", "9999-12-31T25:00"]
)
def test_what_names_no_day_or_two_fails_and_says_what_can_be_read(text: str) -> None:
    with pytest.raises(FunctionFailed, match=r"2026-05-17.*last Tuesday"):
        span(text, NOW)


def test_open_sides_are_open_and_memgpts_zero_is_none() -> None:
    assert between("", " ") == between("0", "null") == Span()
    assert between("2026-05", "").end is None


@given(st.dates(date(1971, 1, 1), date(2100, 1, 1)), st.dates(date(1971, 1, 1), date(2100, 1, 1)))
def test_the_end_is_included_and_the_wrong_order_put_right(one: date, other: date) -> None:
    found = between(one.isoformat(), other.isoformat())
    assert found == between(other.isoformat(), one.isoformat())
    assert found.start and found.end
    first, last = sorted((one, other))
    assert found.start.astimezone().date() == first
    assert (found.end - timedelta(seconds=1)).astimezone().date() == last


WORDS = ("last", "this", "in", "Tuesday", "May", "week", "2 days ago", "2026", "the", "5", "ago", "noon", ",", "year")


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=100) | st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join))
@example("0001-01-01")
@example("9999-12-31")
@example("in 99999 years")
@example("1000000 years ago")
def test_any_text_is_a_span_or_fails_with_a_sentence(text: str) -> None:
    try:
        begin, end = span(text, NOW)
    except FunctionFailed:
        return
    assert begin < end
