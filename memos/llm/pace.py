"""How far something is that takes long: how much, how fast, how long yet."""

from __future__ import annotations


def pace(done: int, size: int, rate: float) -> str:
    """Return how much has come, how fast it comes, and how long the rest takes at that rate."""
    parts = [f"{done / 1e6:,.0f} of {megabytes(size)}"]
    if rate >= 1000:
        parts += [f"{rate / 1e6:,.1f} MB a second", f"{duration((size - done) / rate)} left"]
    return " · ".join(parts)


def duration(seconds: float) -> str:
    """Return how long something takes, as people are told it."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:,.0f} min"


def megabytes(count: int) -> str:
    """Return a number of bytes as people are told it."""
    return f"{count / 1e6:,.0f} MB"
