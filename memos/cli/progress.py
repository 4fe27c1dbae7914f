"""How far something is: one line on stderr, redrawn, on a terminal only."""

from __future__ import annotations

import sys
import time

from memos.llm.pace import duration

_REDRAWN_EVERY_S = 0.1


class ProgressLine:
    """How much of `total` is done and how fast; `what` names the things that are counted. Quiet for `quiet_s`."""

    def __init__(self, total: int, what: str, *, quiet_s: float = 0.0) -> None:
        self._total = total
        self._what = what
        self._began = time.monotonic()
        self._next = self._began + quiet_s
        self._wanted = sys.stderr.isatty()
        self._width = 0

    def show(self, done: int, counted: int) -> None:
        """Draw that `done` of the total is through, and how many things that were."""
        now = time.monotonic()
        if not self._wanted or now < self._next:
            return
        self._next = now + _REDRAWN_EVERY_S
        passed_s = max(now - self._began, 0.001)
        text = f"{counted:,} {self._what} · {counted / passed_s:,.0f} a second"
        if self._total and done:
            share = min(1.0, done / self._total)
            text = f"{share:.0%} · {text} · {duration(passed_s / share - passed_s)} left"
        self._width = max(self._width, len(text))
        self._draw(f"\r{text.ljust(self._width)}")

    def clear(self) -> None:
        """Leave the terminal's line clean."""
        if self._width:
            self._draw("\r" + " " * self._width + "\r")
            self._width = 0

    def _draw(self, text: str) -> None:
        encoding = sys.stderr.encoding or "utf-8"
        sys.stderr.write(text.encode(encoding, "replace").decode(encoding))
        sys.stderr.flush()
