"""`memos bench nested-kv`: keys whose values are keys, in archival storage; an agent is asked for the last value.

Each task has a fresh agent in a temporary home, whose archival storage holds the pairs. Search is by words alone: a
UUID has no meaning that a vector could tell.

Source: Packer et al. 2023, §3.2.3.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from memos.cli.agent_choice import Wish, create_agent
from memos.cli.bench.key_values import CHAINS, LEVELS, Archive, Task, archives, archives_from, chosen
from memos.cli.bench.level_tally import Level, LevelTally
from memos.cli.bench.measuring import AGENT, NEWCOMER, FailuresInARow, Ground, measure, with_model
from memos.cli.bench.report import ProgressLine, print_levels
from memos.cli.bench.sitting import Answer, open_sitting
from memos.cli.boot import is_remote
from memos.cli.printing import note
from memos.cli.run import log_to_file
from memos.config import Places
from memos.errors import BadInput
from memos.memory.archival_storage import insert_passages
from memos.messages import Provenance

_FIXED_FLAGS: Mapping[str, object] = {**NEWCOMER, "terminal.greet": False, "memory.embedding": "none"}

Tasks = Mapping[int, Sequence[tuple[Archive, Task]]]
"""The tasks of each level, each with the archive it is asked of."""


def bench_nested_kv(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    *,
    levels: str,
    tasks: int | None,
    seed: int,
    file: str | None,
    as_json: bool,
) -> int:
    """Run the bench and return the exit code; what was measured is printed even where the run is stopped.

    Raises: MemosError when nothing could be measured at all.
    """
    if tasks is not None and tasks < 1:
        raise BadInput(f"--tasks {tasks} asks for nothing.", "give a number from 1")
    wanted = _wanted(_levels(levels), tasks, seed, Path(file).expanduser() if file else None)
    places = Places.find(environ)
    log_to_file(places)
    flags = with_model({**flags, **_FIXED_FLAGS}, places, environ, "nested-kv")
    tally = LevelTally(str(flags["model"]), None if file else seed, file)
    tally.levels = {level: Level(len(of_level)) for level, of_level in wanted.items()}
    code = measure(lambda folder: _Run(Ground(folder, places, environ, flags), tally, wanted).all(), tally)
    print_levels(tally, as_json=as_json)
    return code


def _levels(text: str) -> range:
    """Return the levels of `2` or `0-4`. Raises: BadInput."""
    match = re.fullmatch(r"([0-9])(?:-([0-9]))?", text.strip())
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if first > last or last not in LEVELS:
        raise BadInput(f"--levels {text} names no levels.", f"give one from {LEVELS[0]} to {LEVELS[-1]}, or two: 0-4")
    return range(first, last + 1)


def _wanted(levels: range, tasks: int | None, seed: int, file: Path | None) -> Tasks:
    """Return what to ask. Raises: BadInput for a file that cannot be used or lacks a level."""
    given = archives_from(file) if file else archives(tasks or CHAINS, seed)
    wanted = {level: chosen(given, level, tasks) for level in levels}
    for level, of_level in wanted.items():
        if len(of_level) < (tasks or 1):
            raise BadInput(f"{file} has {len(of_level)} tasks of level {level}.", "give fewer --tasks or --levels")
    return wanted


class _Run:
    """All tasks, one level after the other."""

    def __init__(self, ground: Ground, tally: LevelTally, wanted: Tasks) -> None:
        self._ground = ground
        self._tally = tally
        self._wanted = wanted
        self._count = sum(map(len, wanted.values()))
        self._progress = ProgressLine(len(wanted), self._count, unit="level")
        self._failures = FailuresInARow()

    def all(self) -> None:
        """Ask for everything. Raises: ModelFails, KeyboardInterrupt; the tally then holds what was measured."""
        model = str(self._ground.flags["model"])
        if is_remote(model):
            note(
                f"{self._count} tasks are given to {model}, each of them a request for every search and one for the "
                "answer. Ctrl-C stops and prints what was measured."
            )
        try:
            asyncio.run(self._all())
        finally:
            self._progress.close()

    async def _all(self) -> None:
        done = 0
        for number, (level, tasks) in enumerate(self._wanted.items(), 1):
            for archive, task in tasks:
                self._progress.show(number, done)
                answer = await self._answer(archive, task, str(done))
                self._tally.levels[level].count(task.is_solved_by(answer.said), answer)
                self._note_failure(answer)
                done += 1

    async def _answer(self, archive: Archive, task: Task, home: str) -> Answer:
        """Return what a fresh agent makes of one task, its archival storage filled before."""
        with self._ground.home(home) as machinery:
            settings = machinery.settings(self._ground.flags)
            agent = create_agent(machinery, Wish(AGENT, new=True, flags=self._ground.flags), settings)
            insert_passages(machinery.database, agent.id, archive.passages, Provenance.DOCUMENT)
            async with open_sitting(machinery, agent, settings) as (sitting, _):
                return await sitting.say(task.question)

    def _note_failure(self, answer: Answer) -> None:
        """Count a turn the model failed in; one that used up its bounds is an unsolved task like any other."""
        failed = answer.stopped is not None and answer.stopped.code == "error"
        self._tally.failed_turns += failed
        self._failures.note(answer.stopped if failed else None)
