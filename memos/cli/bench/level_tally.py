"""What `memos bench nested-kv` has measured so far, by level."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from memos.cli.bench.sitting import Answer

_SEARCH = "archival_memory_search"


@dataclass(slots=True)
class Level:
    """The numbers of one level, one entry a task; `tokens` only where the model reports them."""

    wanted: int = 0
    solved: list[bool] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    searches: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    def count(self, solved: bool, answer: Answer) -> None:
        """Count one task."""
        self.solved.append(solved)
        self.steps.append(answer.steps)
        self.searches.append(answer.calls.count(_SEARCH))
        if answer.tokens is not None:
            self.tokens.append(answer.tokens)

    def as_json(self) -> dict[str, Any]:
        """Return the numbers; means are of a task, None where nothing was counted."""
        return {
            "wanted": self.wanted,
            "of": len(self.solved),
            "solved": sum(self.solved),
            "share": round(sum(self.solved) / len(self.solved), 4) if self.solved else None,
            "mean_steps": _mean(self.steps),
            "mean_searches": _mean(self.searches),
            "mean_tokens": _mean(self.tokens),
        }


@dataclass(slots=True)
class LevelTally:
    """The numbers of one run. `seed` is None where the tasks came from a file."""

    model: str
    seed: int | None
    file: str | None
    levels: dict[int, Level] = field(default_factory=dict)
    failed_turns: int = 0
    stopped: str = ""

    @property
    def judged(self) -> bool:
        """Whether anything has been counted yet."""
        return any(level.solved for level in self.levels.values())

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "model": self.model,
            "seed": self.seed,
            "file": self.file,
            "stopped": self.stopped or None,
            "failed_turns": self.failed_turns,
            "levels": [{"level": number, **level.as_json()} for number, level in self.levels.items()],
            "all": _together(self.levels.values()).as_json(),
        }


def _together(levels: Iterable[Level]) -> Level:
    total = Level()
    for level in levels:
        total.wanted += level.wanted
        total.solved += level.solved
        total.steps += level.steps
        total.searches += level.searches
        total.tokens += level.tokens
    return total


def _mean(values: Sequence[int]) -> float | None:
    return round(statistics.mean(values), 2) if values else None
