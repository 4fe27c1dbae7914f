"""What `memos bench` prints: how far it is (on stderr), and what it measured (on stdout)."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from memos.cli.bench.level_tally import LevelTally
from memos.cli.bench.retrieval_tally import RetrievalTally
from memos.cli.bench.tally import MEASURES, Tally
from memos.cli.printing import print_heading, print_json, print_table, print_text


def print_report(tally: Tally, *, as_json: bool, misses: bool) -> None:
    """Print everything that was measured."""
    if as_json:
        print_json(tally.as_json(misses=misses))
        return
    print_heading(f"{tally.model}: {tally.people} of {tally.people_wanted} people, seed {tally.seed}")
    print_table(("measure", "value", "counted"), _rows(tally))
    if misses:
        _print_misses(tally)


def _rows(tally: Tally) -> list[tuple[str, str, str]]:
    numbers = tally.as_json(misses=False)
    rows = [
        (name.replace("_", " "), _percent(tally.scores[name].share), f"{tally.scores[name].good} of {score['of']}")
        for name, score in ((name, numbers["scores"][name]) for name in MEASURES)
    ]
    cpu, wall, start = numbers["turn_cpu_s"], numbers["turn_wall_s"], numbers["start_cpu_s"]
    tokens, memory = numbers["turn_tokens"], numbers["peak_memory_mb"]
    return [
        *rows,
        ("wrong statements", str(tally.wrong_statements), f"{tally.answers_judged} answers"),
        ("cpu-s a turn", _number(cpu["median"]), f"median of {numbers['turns']}; 95 % {_number(cpu['p95'])}"),
        ("seconds a turn", _number(wall["median"]), f"median; 95 % {_number(wall['p95'])}"),
        ("tokens a turn", "unknown" if tokens is None else f"{tokens:,.0f}", "median, sent and received"),
        (
            "cpu-s a start",
            _number(start["median"]),
            f"median of {len(tally.start_cpu_s)}; first {_number(start['first'])}",
        ),
        ("peak memory", "unknown" if memory is None else f"{memory} MB", "this process"),
        ("failed turns", str(tally.failed_turns), f"{numbers['turns']} turns"),
    ]


def print_levels(tally: LevelTally, *, as_json: bool) -> None:
    """Print the numbers of nested keys and values, a row a level."""
    numbers = tally.as_json()
    if as_json:
        print_json(numbers)
        return
    tasks = f"tasks of {tally.file}" if tally.file else f"seed {tally.seed}"
    print_heading(f"{tally.model}: {numbers['all']['of']} of {numbers['all']['wanted']} tasks, {tasks}")
    rows = [_level_row(str(level["level"]), level) for level in numbers["levels"]]
    print_table(
        ("level", "solved", "counted", "steps", "searches", "tokens"), [*rows, _level_row("all", numbers["all"])]
    )
    print_text("steps, searches and tokens (sent and received) are means of a task")


def _level_row(name: str, level: Mapping[str, Any]) -> tuple[str, ...]:
    counted, tokens = f"{level['solved']} of {level['of']}", level["mean_tokens"]
    means = (_number(level["mean_steps"]), _number(level["mean_searches"]))
    return (name, _percent(level["share"]), counted, *means, "unknown" if tokens is None else f"{tokens:,.0f}")


def print_retrieval(tally: RetrievalTally, *, as_json: bool) -> None:
    """Print the quality of rankings, two rows a category: means, and their 95 % intervals below."""
    numbers = tally.as_json()
    if as_json:
        print_json(numbers)
        return
    ranking = "BM25 alone" if tally.baseline else f"embedding {tally.embedding}"
    print_heading(f"{ranking}: {numbers['queries']} questions to {numbers['messages']} messages")
    if not tally.judged:
        return
    names = list(numbers["intervals"])
    rows = [row for name, of in numbers["categories"].items() for row in _quality_rows(name, of, names)]
    print_table(("category", "questions", *names), [*rows, *_quality_rows("all", numbers, names)])
    latency = numbers["latency_ms"]
    print_text(f"latency of a search: median {latency['p50']} ms, 95 % {latency['p95']} ms")


def _quality_rows(name: str, numbers: Mapping[str, Any], measures: Sequence[str]) -> list[tuple[str, ...]]:
    means = (_percent(numbers[measure]) for measure in measures)
    intervals = (f"{100 * low:.1f}-{100 * high:.1f}" for low, high in map(numbers["intervals"].get, measures))
    return [(name, str(numbers["queries"]), *means), ("", "", *intervals)]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _print_misses(tally: Tally) -> None:
    print_text("")
    print_heading("Misses" if tally.misses else "No misses")
    for miss in tally.misses:
        print_text(f"{miss.measure.replace('_', ' ')}: {miss.line or '(login)'}")
        print_text(f"wanted: {miss.wanted}", indent="  ")
        print_text(f"answer: {miss.answer or '(none)'}", indent="  ")


class ProgressLine:
    """How many turns are done, how quickly, and how long it will still take: one line, redrawn on a terminal."""

    _EVERY_S = 0.5

    def __init__(
        self, people: int, turns: int, stream: TextIO | None = None, *, unit: str = "person", what: str = "turns"
    ) -> None:
        """`unit` is what there are `people` of, `what` there are `turns` of."""
        self._unit = unit
        self._what = what
        self._people = people
        self._turns = turns
        self._stream = stream or sys.stderr
        self._began = time.monotonic()
        self._drawn_at = float("-inf")
        self._drawn_for = 0
        self._width = 0

    def show(self, person: int, turns_done: int) -> None:
        """Tell that `turns_done` turns are over, and that `person` (from 1) is on; not more often than is useful."""
        now = time.monotonic()
        if self._stream.isatty():
            if now - self._drawn_at >= self._EVERY_S:
                self._draw("\r" + self._text(person, turns_done, now).ljust(self._width))
                self._drawn_at = now
        elif person != self._drawn_for:
            self._draw(self._text(person, turns_done, now) + "\n")
        self._drawn_for = person

    def close(self) -> None:
        """Leave the terminal's line clean."""
        if self._stream.isatty() and self._width:
            self._draw("\r" + " " * self._width + "\r")

    def _text(self, person: int, turns_done: int, now: float) -> str:
        head = f"{self._unit} {person} of {self._people}"
        if not turns_done:
            return head
        rate = turns_done / max(now - self._began, 0.001)
        left_s = (self._turns - turns_done) / rate
        left = f"{left_s / 60:.0f} min" if left_s >= 90 else f"{left_s:.0f} s"
        text = f"{head} · {turns_done} of {self._turns} {self._what} · {rate:.1f} a second · about {left} left"
        self._width = max(self._width, len(text))
        return text

    def _draw(self, text: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(text.encode(encoding, "replace").decode(encoding))
        self._stream.flush()
