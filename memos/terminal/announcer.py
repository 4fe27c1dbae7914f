"""What a status bar shows to eyes, as sentences for ears: once when it changes, and that it still goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from memos.terminal.painter import Painter

LOOK_S = 0.2
FIRST_AFTER_S = 1.0
"""What is over sooner is not announced."""
AGAIN_AFTER_S = 10.0
_SPEAKING = "speaking"
"""Is heard anyway."""


class Announcer:
    """Says what the painter knows of the phase."""

    def __init__(self, painter: Painter, clock: Callable[[], float] = time.monotonic) -> None:
        self._painter = painter
        self._clock = clock
        self._phase = ""
        self._since = 0.0
        self._said = 0.0

    async def run(self) -> None:
        """Announce phases that last, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Say the phase if it has just become worth saying, and how long it has gone on if that is long."""
        now, phase = self._clock(), self._painter.phase
        if phase != self._phase:
            self._phase, self._since, self._said = phase, now, 0.0
        if not phase or phase == _SPEAKING:
            return
        lasted = now - self._since
        if not self._said and lasted >= FIRST_AFTER_S:
            self._said = now
            self.say(f"{phase[0].upper()}{phase[1:]}.")
        elif self._said and now - self._said >= AGAIN_AFTER_S:
            self._said = now
            self.say(f"Still {phase}, {lasted:.0f} seconds so far.")

    def say(self, sentence: str) -> None:
        """Say one sentence on what goes on."""
        self._painter.notice(sentence)
