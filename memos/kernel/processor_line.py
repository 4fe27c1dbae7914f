"""The processors an agent may use, in order: where one does not answer, the next takes over.

The one that failed is left alone for a while and then, at the start of a turn, tried first again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memos.errors import (
    BadInput,
    ContentFiltered,
    ContextOverflow,
    MemosError,
    NotConfigured,
    ProcessorError,
    RateLimited,
)
from memos.llm.processor import Processor
from memos.messages import Notice

REST_S = 60.0
"""So long a processor that failed is left alone, or as long as it asked for, if that is longer."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """A model that may take over; `make` returns its processor when it is first needed, and may raise MemosError."""

    model: str
    make: Callable[[], Processor]


class ProcessorLine:
    """Knows which processor runs the next step, and which one runs it where that one fails."""

    def __init__(
        self, first: Processor, fallbacks: Sequence[Fallback] = (), *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.models = (first.model, *(fallback.model for fallback in fallbacks))
        """The model strings, in order."""
        self._fallbacks = fallbacks
        self._made = {0: first}
        self._current = 0
        self._rests_until: dict[int, float] = {}
        self._failures: dict[int, MemosError] = {}
        self._now = now

    @property
    def current(self) -> Processor:
        """The processor that runs the next step."""
        return self._made[self._current]

    def begin_step(self, *, begins_turn: bool) -> None:
        """Forget what failed in the step before; at the start of a turn the first that is not left alone is current.

        Where all failed a moment ago, whoever asks again means it: none is left alone then.
        """
        self._failures.clear()
        if not begins_turn:
            return
        if not any(not self.rests_for_s(model) and self._takes_over(place) for place, model in enumerate(self.models)):
            self._rests_until.clear()
            self._current = 0

    def pass_on(self, error: MemosError) -> Notice:
        """Let another processor be current after `error`; return what to tell.

        Raises: `error`, where another would not do better; the step's first error, where all have failed.
        """
        if not self._others_may_do_better(error):
            raise error
        failed = self.models[self._current]
        self._note(self._current, error)
        if not any(self._takes_over(place) for place in self._left()):
            raise self._first_error()
        return Notice(f"{failed} did not answer: {_phrase(error)}; {self.current.model} takes over.")

    def rests_for_s(self, model: str) -> float:
        """Return for how many seconds a model is still left alone, 0 where it is not."""
        until = self._rests_until.get(self.models.index(model), 0.0)
        return max(0.0, until - self._now())

    async def aclose(self) -> None:
        """Release what the processors hold."""
        for processor in self._made.values():
            await processor.aclose()

    def _others_may_do_better(self, error: MemosError) -> bool:
        if isinstance(error, ContextOverflow):
            return self._current > 0  # a fallback's window may be smaller than what must stand in it
        return isinstance(error, ProcessorError | NotConfigured | BadInput) and not isinstance(error, ContentFiltered)

    def _takes_over(self, place: int) -> bool:
        """Let the processor of that place be current; return whether it could be made."""
        try:
            if place not in self._made:
                self._made[place] = self._fallbacks[place - 1].make()
        except MemosError as problem:
            self._note(place, problem)
            return False
        self._current = place
        return True

    def _note(self, place: int, error: MemosError) -> None:
        self._failures[place] = error
        asked_for_s = error.retry_after_s if isinstance(error, RateLimited) else None
        self._rests_until[place] = self._now() + max(REST_S, asked_for_s or 0.0)

    def _left(self) -> list[int]:
        """Return the places not tried in this step, those that are left alone last."""
        places = [place for place in range(len(self.models)) if place not in self._failures]
        return sorted(places, key=lambda place: (self.rests_for_s(self.models[place]) > 0, place))

    def _first_error(self) -> MemosError:
        """Return the error to tell, which names what else was tried; the next turn begins with the first again."""
        (_, first), *others = self._failures.items()
        if others:
            tried = ", ".join(f"{self.models[place]} ({_phrase(error)})" for place, error in others)
            first.what = f"{first.what} Tried after it: {tried}."
        self._current = 0
        return first


def _phrase(error: MemosError) -> str:
    return error.what.rstrip().rstrip(".")
