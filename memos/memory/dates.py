"""When something was said, in the words of whoever asks: ISO dates and plain words, in the user's time zone.

Each text means a span: "2026-05" and "in May" a whole month, "last Tuesday" a day, "now" a moment. A range begins with
the beginning of its first span and ends with the end of its last. Words that name no year mean the last one that has
begun.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from memos.errors import FunctionFailed
from memos.messages import utc_now

FORMS = '2026-05-17, 2026-05, 2026-05-17T14:30, "today", "last Tuesday", "3 days ago", "in May", "last year", "now"'
LANGUAGES = ("de", "fr", "es", "it", "pt", "nl", "pl", "ru", "ja", "zh")
"""Languages of words besides English; each costs time to load, so not all that the parser knows."""
_LIMIT_CHARS = 80
_UNBOUNDED = ("", "0", "null", "none", "any")
""""0": what MemGPT's `start` was by default."""
_DAY_OR_MORE = re.compile(r"(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d))?)?")
_LEADING = re.compile(r"^(since|from|after|until|till|up to|to|before|during|around|by)\s+")
_LAST_MONTH_NAMED = re.compile(r"^last\s+(?=(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?$)")
_EITHER_WAY = re.compile(r"\b(\d{1,2})[/.](\d{1,2})([/.]\d{2,4})?\b")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in UTC, `end` excluded; None where it has no bound."""

    start: datetime | None = None
    end: datetime | None = None


def between(start: str, end: str) -> Span:
    """Return the time from the beginning of what `start` means to the end of what `end` means.

    An empty text leaves its side open; the wrong order is put right.

    Raises: FunctionFailed when a text names no time.
    """
    now = utc_now().astimezone()
    first, last = (None if text.strip().lower() in _UNBOUNDED else span(text, now) for text in (start, end))
    if first and last and first[0] > last[0]:
        first, last = last, first
    return Span(first[0] if first else None, last[1] if last else None)


def span(text: str, now: datetime) -> tuple[datetime, datetime]:
    """Return beginning and end (excluded), in UTC, of what `text` means at `now`, in the time zone of the system.

    Raises: FunctionFailed.
    """
    local = now.astimezone().replace(tzinfo=None)
    wanted = " ".join(text.split()).lower()[:_LIMIT_CHARS]
    try:
        begin, period = _iso(wanted) or _plain(wanted, local)
        begin, end = _whole(begin, period)
        return begin.astimezone(UTC), max(begin.astimezone(UTC), end.astimezone(UTC))
    except (ValueError, OverflowError, OSError) as error:
        raise FunctionFailed(f'"{text[:_LIMIT_CHARS]}" names no day that I can read. What I read: {FORMS}.') from error


def _iso(text: str) -> tuple[datetime, str] | None:
    """Read an ISO date or time. Raises: ValueError for a day that does not exist."""
    if found := _DAY_OR_MORE.fullmatch(text):
        period = "day" if found["day"] else "month" if found["month"] else "year"
        return datetime(int(found["year"]), int(found["month"] or 1), int(found["day"] or 1)), period
    try:
        at = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    if re.fullmatch(r"\d{4}-?w\d\d", text):
        return at, "week"
    return at, "day" if re.fullmatch(r"[\dw-]+", text) else "second" if at.second else "minute"


def _plain(text: str, now: datetime) -> tuple[datetime, str]:
    """Read plain words. Raises: ValueError."""
    words = _LEADING.sub("", text)
    match words:
        case "now":
            return now, "moment"
        case "today":
            return now, "day"
        case "yesterday":
            return now - timedelta(days=1), "day"
    _refuse_doubtful(words)
    before_this_month = _LAST_MONTH_NAMED.match(words)
    found = _parsed(_LAST_MONTH_NAMED.sub("", words), now)
    if found is None or found.date_obj is None:
        raise ValueError("no date")
    at: datetime = found.date_obj
    if before_this_month and (at.year, at.month) == (now.year, now.month):
        at = at.replace(year=at.year - 1)
    return at, {"time": "minute", "part_of_day": "day"}.get(str(found.period), str(found.period))


def _parsed(words: str, now: datetime) -> Any:
    from dateparser.date import DateDataParser  # 0.2 s, which ISO dates need not cost

    settings: Any = {"PREFER_DATES_FROM": "past", "RELATIVE_BASE": now, "RETURN_TIME_AS_PERIOD": True}
    for languages in (("en",), LANGUAGES):
        found = DateDataParser(languages=list(languages), settings=settings).get_date_data(words)
        if found and found.date_obj:
            return found
    return None


def _refuse_doubtful(words: str) -> None:
    """Refuse what could be read in two ways: 3 (of what?), 5/6/2026 (of May or of June?). Raises: ValueError."""
    if re.fullmatch(r"[\W\d_]*\d{1,3}[\W_]*", words) or not re.search(r"\w", words):
        raise ValueError("no date")
    either = _EITHER_WAY.search(words)
    if either and either[1] != either[2] and int(either[1]) <= 12 and int(either[2]) <= 12:
        raise ValueError("day or month")


def _whole(at: datetime, period: str) -> tuple[datetime, datetime]:
    """Return beginning and end of the period that `at` lies in. Raises: ValueError, OverflowError."""
    match period:
        case "moment":
            return at, at + timedelta(microseconds=1)
        case "second" | "minute":
            begin = at.replace(microsecond=0) if period == "second" else at.replace(second=0, microsecond=0)
            return begin, begin + timedelta(**{f"{period}s": 1})
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case "year":
            return day.replace(month=1, day=1), day.replace(year=day.year + 1, month=1, day=1)
        case "month":
            begin = day.replace(day=1)
            return begin, (begin + timedelta(days=32)).replace(day=1)
        case "week":
            begin = day - timedelta(days=day.weekday())
            return begin, begin + timedelta(days=7)
    return day, day + timedelta(days=1)
