"""How a model's own count relates to a tokenizer's, learned from the usage its server reports.

A prompt's count falls into three kinds: functions (with the text a chat template adds for them), words, and calls. Each
has a factor: templates write functions in forms of their own or not at all, and calls with much around them. What no
server that counts would report (nothing, zero, less than possible, the same number for other prompts) is ignored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

Counted = tuple[int, int, int]
"""What a tokenizer said of a prompt: functions, words, calls."""
_Observation = tuple[int, int, int, int]

_PRIOR = (1.0, 1.0, 1.0)
_BOUNDS = ((0.0, 6.0), (0.4, 3.0), (0.0, 4.0))
_KEPT = 64
"""So many observations count: a conversation's mixture of words and calls changes."""
_PULL = 1e-4
"""How strongly a factor nothing is known of stays at its prior."""
_PASSES = 300
_CLOSE = 1e-5
_TRUSTED_FROM = 3
_FAR_OFF = 0.15
_SUSPECTS = 4
"""So many reports in a row far from what was expected: another model answers behind this name."""
_RECENT = 12
_FADING = 0.8
"""An error of old counts for less: it was made when less was known."""
_LIKENESS = 0.4
"""How far the factor of one kind usually is from that of all together, as a share of it."""
_FIRST_SPREAD = 0.015
_FIRST_WEIGHT = 1.0
"""Before the reports themselves show how far they scatter, as many stand in for them, scattered so."""
_CAUTION = 3.0
UNTRIED_MARGIN = 0.55
"""Before a model has answered at all: its tokenizer may be a far finer one than ours."""
UNKNOWN_MARGIN = 0.10
STABLE_MARGIN = 0.02


class TokenScale:
    """What is known of one model by one tokenizer. Bounded: no report can turn a count into nonsense."""

    def __init__(self) -> None:
        self._observations: list[_Observation] = []
        self._suspects: list[_Observation] = []
        self._errors: list[float] = []
        self._refused: list[int] = []
        self._last: tuple[int, int] | None = None
        self.is_tried = False
        """Whether the model has answered a prompt that was counted so."""
        self._spread = _FIRST_SPREAD
        self._known: _Matrix | None = None
        self.factors = _PRIOR

    @classmethod
    def from_json(cls, text: str) -> TokenScale:
        """Return what `as_json` wrote; a scale that knows nothing where the text is of another form."""
        scale = cls()
        try:
            kept: dict[str, Any] = json.loads(text)
            rows = [(int(f), int(w), int(c), int(r)) for f, w, c, r in kept["observations"]]
            errors = [float(error) for error in kept["errors"]]
            refused = [int(number) for number in kept["refused"]]
            usable = [row for row in rows if min(row) >= 0 < row[3] and _is_possible(row)]
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return scale
        scale._observations = usable[-_KEPT:]
        scale._errors = [abs(error) for error in errors if math.isfinite(error)][-_RECENT:]
        scale._refused = refused[-_KEPT:]
        scale.is_tried = bool(scale._observations)
        scale._fit()
        return scale

    def as_json(self) -> str:
        """Return what was learned as text."""
        return json.dumps({"observations": self._observations, "errors": self._errors, "refused": self._refused})

    def expected(self, counted: Counted) -> float:
        """Return the tokens this model will count where the tokenizer counted so."""
        return _product(self.factors, counted)

    def margin(self, counted: Counted) -> float:
        """Return how far off `expected` may be, as a share of it: as far as it lately was, within 2 and 10 %.

        More, up to 55 %, for a mixture of functions, words and calls unlike those that were reported, and before there
        was any answer.
        """
        if not self.is_tried:
            return UNTRIED_MARGIN
        lately = UNKNOWN_MARGIN
        if len(self._errors) >= _TRUSTED_FROM:
            faded = (error * _FADING**age for age, error in enumerate(reversed(self._errors)))
            lately = min(UNKNOWN_MARGIN, max(STABLE_MARGIN, *faded))
        return min(UNTRIED_MARGIN, max(lately, self._doubt(counted)))

    def learn(self, counted: Counted, reported: int | None) -> bool:
        """Learn from what the server reported for a prompt counted so; return whether anything was learned."""
        self.is_tried = True
        if reported is None or reported <= 0 or not _is_possible((*counted, reported)):
            return False
        if self._is_stuck(counted, reported):
            return False
        observation = (*counted, reported)
        error = abs(self.expected(counted) - reported) / reported
        if len(self._observations) >= _TRUSTED_FROM and error > max(_FAR_OFF, 2 * self._doubt(counted)):
            self._suspects.append(observation)
            if len(self._suspects) < _SUSPECTS:
                return False
            self._observations, self._errors = self._suspects, []
        else:
            self._observations = [*self._observations, observation][-_KEPT:]
            # What was wrong while next to nothing was known says nothing of what is known now.
            self._errors = [*self._errors, error][-_RECENT:] if len(self._observations) > _TRUSTED_FROM else []
        self._suspects = []
        self._fit()
        return True

    def _is_stuck(self, counted: Counted, reported: int) -> bool:
        """Whether this number says nothing: it came for a prompt of another length, too."""
        last, self._last = self._last, (sum(counted), reported)
        if last is not None and last[1] == reported and abs(last[0] - sum(counted)) > max(8, last[0] / 200):
            self._refused = [*self._refused, reported][-_KEPT:]
            self._observations = [row for row in self._observations if row[3] != reported]
            self._fit()
        return reported in self._refused

    def _fit(self) -> None:
        """Find the factors of least relative error within their bounds.

        What they say little of stays near what they say in all: the more they scatter, the more firmly.
        """
        self._spread, self._known = _FIRST_SPREAD, None
        if not self._observations:
            self.factors = _PRIOR
            return
        weighted = [(1 / row[3] ** 2, row[:3], row[3]) for row in self._observations]
        factors, variance = (_in_all(weighted),) * 3, _FIRST_SPREAD**2
        centre = factors
        for _ in range(2):
            pull = max(_PULL, variance / (_LIKENESS * centre[0]) ** 2)
            square, side = _normal_equations(weighted, pull, centre)
            factors = _bounded_solution(square, side)
            missed = sum(weight * (_product(factors, row) - reported) ** 2 for weight, row, reported in weighted)
            evidence = sum(weight * reported**2 for weight, _, reported in weighted)
            variance = (missed + _FIRST_WEIGHT * _FIRST_SPREAD**2) / (evidence + _FIRST_WEIGHT)
        self._spread, self._known = math.sqrt(variance), square
        # One report alone may raise an estimate, not lower it: it could be one of the constant numbers.
        alone = len(self._observations) == 1
        first = self._observations[0][:3]
        self.factors = _PRIOR if alone and _product(factors, first) < sum(first) else factors

    def _doubt(self, counted: Counted) -> float:
        """Return how far off `expected` may be, as a share: reports scatter, and may say little of such a mixture."""
        expected = self.expected(counted)
        if self._known is None or not expected:
            return 0.0
        unseen = sum(part * found for part, found in zip(counted, _solution(self._known, counted), strict=True))
        return _CAUTION * self._spread * math.sqrt(1.0 + max(unseen, 0.0) / expected**2)


_Weighted = Sequence[tuple[float, Counted, int]]
_Matrix = list[list[float]]


def _in_all(weighted: _Weighted) -> float:
    """Return the one factor that suits all kinds best."""
    above = sum(weight * sum(row) * reported for weight, row, reported in weighted)
    return min(3.0, max(0.4, above / sum(weight * sum(row) ** 2 for weight, row, _ in weighted)))


def _normal_equations(weighted: _Weighted, pull: float, centre: Sequence[float]) -> tuple[_Matrix, list[float]]:
    square = [[pull if row == column else 0.0 for column in range(3)] for row in range(3)]
    side = [pull * prior for prior in centre]
    for weight, counted, reported in weighted:
        for row in range(3):
            side[row] += weight * counted[row] * reported
            for column in range(3):
                square[row][column] += weight * counted[row] * counted[column]
    return square, side


def _bounded_solution(square: _Matrix, side: Sequence[float]) -> tuple[float, float, float]:
    """Solve the normal equations with each unknown held within its bounds, one unknown at a time."""
    found = list(_PRIOR)
    for _ in range(_PASSES):
        before = tuple(found)
        for row in range(3):
            others = sum(square[row][column] * found[column] for column in range(3) if column != row)
            low, high = _BOUNDS[row]
            found[row] = min(high, max(low, (side[row] - others) / square[row][row]))
        if max(abs(new - old) for new, old in zip(found, before, strict=True)) < _CLOSE:
            break
    return found[0], found[1], found[2]


def _solution(square: _Matrix, side: Sequence[float]) -> list[float]:
    """Solve three equations of a positive definite matrix."""
    rows = [[*line, value] for line, value in zip(square, side, strict=True)]
    for pivot in range(3):
        rows[pivot] = [value / rows[pivot][pivot] for value in rows[pivot]]
        for other in range(3):
            if other != pivot:
                share = rows[other][pivot]
                rows[other] = [value - share * lead for value, lead in zip(rows[other], rows[pivot], strict=True)]
    return [row[3] for row in rows]


def _product(factors: Sequence[float], counted: Sequence[int]) -> float:
    return sum(factor * count for factor, count in zip(factors, counted, strict=True))


def _is_possible(observation: _Observation) -> bool:
    """Whether any factors within their bounds make this count."""
    *counted, reported = observation
    low, high = ([bound[end] for bound in _BOUNDS] for end in (0, 1))
    return _product(low, counted) <= reported <= _product(high, counted)
