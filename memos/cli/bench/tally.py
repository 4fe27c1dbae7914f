"""What has been measured so far: it can be read at any moment, so a run that is stopped still tells what it knows."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SAVED, CORRECTED, RECALLED = "saved", "corrected", "recalled"
ARCHIVE_FOUND, UNKNOWN_SAID, GREETED = "archive_found", "unknown_said", "greeted"
MEASURES = (SAVED, CORRECTED, RECALLED, ARCHIVE_FOUND, UNKNOWN_SAID, GREETED)
WRONG = "wrong_statement"


@dataclass(slots=True)
class Score:
    """How often something went well."""

    good: int = 0
    of: int = 0

    @property
    def share(self) -> float | None:
        """From 0 to 1; None where nothing has been counted."""
        return round(self.good / self.of, 4) if self.of else None


@dataclass(frozen=True, slots=True)
class Miss:
    """One thing that went wrong: what was said to the agent, what was wanted, and what it answered."""

    measure: str
    line: str
    wanted: str
    answer: str


@dataclass(slots=True)
class Tally:
    """The numbers of one run."""

    model: str
    seed: int
    people_wanted: int
    people: int = 0
    scores: dict[str, Score] = field(default_factory=lambda: {measure: Score() for measure in MEASURES})
    wrong_statements: int = 0
    answers_judged: int = 0
    failed_turns: int = 0
    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    start_cpu_s: list[float] = field(default_factory=list)
    misses: list[Miss] = field(default_factory=list)
    stopped: str = ""

    @property
    def judged(self) -> bool:
        """Whether anything has been counted yet."""
        return any(score.of for score in self.scores.values())

    def count(self, measure: str, good: bool, line: str, wanted: str, answer: str) -> None:
        """Count one case of `measure`."""
        score = self.scores[measure]
        score.good += good
        score.of += 1
        if not good:
            self.misses.append(Miss(measure, line, wanted, answer))

    def count_statement(self, wrong: bool, line: str, answer: str) -> None:
        """Count one answer that might state something nobody told."""
        self.answers_judged += 1
        if wrong:
            self.wrong_statements += 1
            self.misses.append(Miss(WRONG, line, "no statement that nothing told supports", answer))

    def as_json(self, *, misses: bool) -> dict[str, Any]:
        """Return what `--json` prints. Seconds of CPU are this process's own; None: nobody reported it."""
        return {
            "model": self.model,
            "seed": self.seed,
            "people_wanted": self.people_wanted,
            "people": self.people,
            "stopped": self.stopped or None,
            "scores": {
                name: {"good": score.good, "of": score.of, "share": score.share} for name, score in self.scores.items()
            },
            "wrong_statements": self.wrong_statements,
            "answers_judged": self.answers_judged,
            "turns": len(self.cpu_s),
            "failed_turns": self.failed_turns,
            "turn_cpu_s": _spread(self.cpu_s),
            "turn_wall_s": _spread(self.wall_s),
            "turn_tokens": statistics.median(self.tokens) if self.tokens else None,
            "start_cpu_s": {
                "first": round(self.start_cpu_s[0], 3) if self.start_cpu_s else None,
                "median": round(statistics.median(self.start_cpu_s), 3) if self.start_cpu_s else None,
            },
            "peak_memory_mb": peak_memory_mb(),
            "misses": [
                {"measure": miss.measure, "line": miss.line, "wanted": miss.wanted, "answer": miss.answer}
                for miss in (self.misses if misses else ())
            ],
        }


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    ordered = sorted(values)
    if not ordered:
        return {"median": None, "p95": None}
    return {
        "median": round(statistics.median(ordered), 3),
        "p95": round(ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)], 3),
    }


def peak_memory_mb() -> int | None:
    """Return the most memory this process ever held, in MB; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1_000_000 if sys.platform == "darwin" else 1000))
