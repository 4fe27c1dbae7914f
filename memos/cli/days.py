"""Days on the command line: read once, meant in the user's own time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from memos.errors import BadInput
from memos.memory.dates import Span


def day_of(text: str | None, flag: str) -> date | None:
    """Return the day that a flag such as `--since` names. Raises: BadInput."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError as error:
        raise BadInput(f'{flag} takes a day, not "{text}".', f"write it as in {flag} 2026-11-24") from error


def span_of(since: str | None, until: str | None) -> Span:
    """Return the time from the first of two days to the end of the last, in UTC. Raises: BadInput."""
    first, last = day_of(since, "--since"), day_of(until, "--until")
    if first and last and first > last:
        raise BadInput(f"--since {first} is after --until {last}.", "exchange the two")
    try:
        return Span(_midnight(first) if first else None, _midnight(last + timedelta(days=1)) if last else None)
    except (OverflowError, ValueError, OSError) as error:
        raise BadInput("A day so far away is on no calendar here.", "leave out --since or --until") from error


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time()).astimezone(UTC)


def in_words(span: timedelta) -> str:
    """Return how long something lasted, in its largest unit: "3 days"; a model reckons badly with dates."""
    seconds = max(0, int(span.total_seconds()))
    for name, size in (("year", 31_557_600), ("month", 2_629_800), ("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            count = seconds // size
            return f"{count} {name}" if count == 1 else f"{count} {name}s"
    return "less than a minute"
