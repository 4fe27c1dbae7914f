"""What a benchmark found: figures with their bounds, and the table of them.

A script of this folder defines `figures(size)`, which measures and returns a `Figure` for each number, and ends with
`run_alone(figures)`. `python tests/benchmarks` runs them all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Size = Literal["quick", "usual", "full"]
"""How much is measured: in a few minutes in all; as the issues ask; and what takes very long besides."""
SIZES: tuple[Size, ...] = ("quick", "usual", "full")
SMALL = "Sizes are small (--quick): fewer runs, fewer rows. A figure has its bound only where the bound's size is kept."
COLUMNS = ("issue", "what", "measured", "bound", "met", "against, and how")


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. `issue` is the one that bounds it or asked for it; 0 where a script never said.

    `bound` is None where no issue sets one, or not for the size measured; `baseline` is what the value is a ratio
    against, and how it was measured. `value` is None where there is none, and `missing` says why.
    """

    issue: int
    name: str
    value: float | None
    unit: str
    bound: float | None = None
    better: Literal["lower", "higher"] = "lower"
    baseline: str = ""
    missing: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the bound is kept; None where there is nothing to compare."""
        if self.value is None or self.bound is None:
            return None
        return self.value <= self.bound if self.better == "lower" else self.value >= self.bound

    @property
    def failed(self) -> bool:
        """Whether it should have been measured and was not."""
        return self.missing.startswith("failed")

    def row(self) -> tuple[str, ...]:
        """Return its cells in the table."""
        bound = "" if self.bound is None else f"{'≤' if self.better == 'lower' else '≥'} {self.bound:g}"
        met = {True: "yes", False: "NO", None: self.missing.split(":")[0]}[self.met]
        measured = "" if self.value is None else f"{rounded(self.value)} {self.unit}".strip()
        return (str(self.issue or ""), self.name, measured, bound, met, self.missing or self.baseline)


Measure = Callable[[Size], Sequence[Figure]]


def skipped(issue: int, name: str, why: str) -> Figure:
    """Return the row of what could not be measured here."""
    return Figure(issue, name, None, "", missing=f"skipped: {why}")


def failed(name: str, why: str) -> Figure:
    """Return the row of a script that broke off."""
    return Figure(0, name, None, "", missing=f"failed: {why}")


def rounded(value: float) -> str:
    """Return a number with three figures that count, at least."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values: Iterable[float], unit: str = "ms") -> str:
    """Return how far the values of one measurement lie apart."""
    ordered = sorted(values)
    if len(ordered) == 1:
        return "once"
    return (
        f"{len(ordered)} times: median {rounded(statistics.median(ordered))} {unit}, max {rounded(ordered[-1])} {unit}"
    )


def p95(values: Sequence[float]) -> float:
    """Return what 95 of 100 values do not exceed."""
    return sorted(values)[int(0.95 * (len(values) - 1))]


def table(figures: Sequence[Figure]) -> str:
    """Return the rows below each other, by issue; Markdown, and columns that stand straight."""
    rows = [COLUMNS, *(figure.row() for figure in sorted(figures, key=lambda figure: figure.issue or 99))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    widths[-1] = 0  # the last column may be long, and needs no filling up
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def exit_code(figures: Iterable[Figure]) -> int:
    """Return 1 where a bound is broken or a script failed."""
    return int(any(figure.met is False or figure.failed for figure in figures))


def size_options(parser: argparse.ArgumentParser) -> None:
    """Add --quick and --full, which every script has."""
    group = parser.add_mutually_exclusive_group()
    for size, words in (("quick", "small sizes, a few minutes in all"), ("full", "what takes very long too")):
        group.add_argument(f"--{size}", dest="size", action="store_const", const=size, default="usual", help=words)


def as_json(figures: Iterable[Figure]) -> list[dict[str, Any]]:
    """Return figures as JSON has them; `met` besides."""
    return [{**asdict(figure), "met": figure.met} for figure in figures]


def from_json(rows: Iterable[dict[str, Any]]) -> list[Figure]:
    """Return the figures of `as_json`."""
    return [Figure(**{name: value for name, value in row.items() if name != "met"}) for row in rows]


def run_alone(measure: Measure) -> int:
    """Measure by the options of the command line, print this part of the table, and return the exit code.

    With --json the figures are all that is on stdout, and the exit code tells only whether they were measured.
    """
    module = sys.modules[measure.__module__]
    parser = argparse.ArgumentParser(description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size_options(parser)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    figures = measure(options.size)
    if options.json:
        print(json.dumps(as_json(figures)))
        return 0
    print(table(figures))
    if options.size == "quick":
        print(SMALL)
    return exit_code(figures)
