"""`memos bench agent`: invented people talk to an agent of their own, and what it keeps and finds is counted.

Each person has a fresh agent in a temporary home and talks to it in two sessions. The second begins as a new process
does: database, index, kernel and model are closed after the first and opened again from disk (within this process, so
that libraries are imported once; the sentence embedder's weights stay loaded).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from memos.cli.agent_choice import Wish, create_agent
from memos.cli.bench import judge
from memos.cli.bench.measuring import AGENT, NEWCOMER, FailuresInARow, Ground, measure, with_model
from memos.cli.bench.people import Fact, Kind, Line, Person, people
from memos.cli.bench.report import ProgressLine, print_report
from memos.cli.bench.sitting import Answer, Sitting, open_sitting
from memos.cli.bench.tally import ARCHIVE_FOUND, CORRECTED, GREETED, RECALLED, SAVED, UNKNOWN_SAID, Tally
from memos.cli.boot import is_remote
from memos.cli.printing import note
from memos.cli.run import log_to_file
from memos.config import Places
from memos.errors import BadInput

_FIXED_FLAGS: Mapping[str, object] = {**NEWCOMER, "terminal.greet": True}


def bench_agent(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    *,
    people_count: int,
    seed: int,
    as_json: bool,
    misses: bool,
) -> int:
    """Run the bench and return the exit code; what was measured is printed even where the run is stopped.

    Raises: MemosError when nothing could be measured at all.
    """
    if people_count < 1:
        raise BadInput(f"--people {people_count} lets nobody talk.", "give a number from 1")
    places = Places.find(environ)
    log_to_file(places)
    flags = with_model({**flags, **_FIXED_FLAGS}, places, environ, "agent")
    everyone = people(people_count, seed)
    tally = Tally(str(flags["model"]), seed, people_count)
    code = measure(lambda folder: _Run(Ground(folder, places, environ, flags), tally, everyone).all(), tally)
    print_report(tally, as_json=as_json, misses=misses)
    return code


class _Run:
    """Everyone's two sessions, one person after the other."""

    def __init__(self, ground: Ground, tally: Tally, everyone: Sequence[Person]) -> None:
        self._ground = ground
        self._tally = tally
        self._everyone = everyone
        self._turns = sum(person.lines for person in everyone)
        self._progress = ProgressLine(len(everyone), self._turns)
        self._failures = FailuresInARow()

    def all(self) -> None:
        """Let everyone talk. Raises: ModelFails, KeyboardInterrupt; the tally then holds what was measured."""
        model = str(self._ground.flags["model"])
        if is_remote(model):
            note(
                f"{len(self._everyone)} people send {self._turns} messages to {model}: at least as many requests, with "
                "function calls usually two or three times as many. Ctrl-C stops and prints what was measured."
            )
        try:
            asyncio.run(self._all())
        finally:
            self._progress.close()

    async def _all(self) -> None:
        for number, person in enumerate(self._everyone, 1):
            conversation = _Conversation(person, self._tally)
            for lines in (person.first, person.second):
                await self._session(number, person, lines, conversation)
            self._tally.people += 1

    async def _session(self, number: int, person: Person, lines: Sequence[Line], conversation: _Conversation) -> None:
        """Hold one session with everything opened from disk, and closed again."""
        with self._ground.home(str(number)) as machinery:
            settings = machinery.settings(self._ground.flags)
            agent = machinery.agents.find(AGENT) or create_agent(machinery, self._wish(), settings)
            async with open_sitting(machinery, agent, settings) as (sitting, start_cpu_s):
                self._tally.start_cpu_s.append(start_cpu_s)
                for line in lines:
                    self._progress.show(number, len(self._tally.cpu_s))
                    answer = await (sitting.log_in() if line.kind is Kind.LOGIN else sitting.say(line.text))
                    self._note_cost(answer)
                    conversation.judge(line, answer, sitting)
                conversation.end_session()

    def _wish(self) -> Wish:
        return Wish(AGENT, new=True, flags=self._ground.flags)

    def _note_cost(self, answer: Answer) -> None:
        tally, stopped = self._tally, answer.stopped
        tally.cpu_s.append(answer.cpu_s)
        tally.wall_s.append(answer.wall_s)
        if answer.tokens is not None:
            tally.tokens.append(answer.tokens)
        failed = stopped is not None and stopped.code != "cancelled"
        tally.failed_turns += failed
        self._failures.note(stopped if failed else None)


class _Conversation:
    """What one person said so far, and how the agent's answers are counted."""

    def __init__(self, person: Person, tally: Tally) -> None:
        self._person = person
        self._tally = tally
        self._told: list[Fact] = []
        self._unsaved: list[tuple[Line, Fact, str]] = []

    def judge(self, line: Line, answer: Answer, sitting: Sitting) -> None:
        """Count what `answer` to `line` is worth; what is in memory is looked at after each line that tells."""
        if line.kind in (Kind.TELL, Kind.CORRECT, Kind.ARCHIVE):
            self._told += line.facts
        match line.kind:
            case Kind.TELL:
                self._unsaved += [(line, fact, answer.said) for fact in line.facts]
                self._note_saved(sitting.memory_lines())
            case Kind.TALK:
                self._note_saved(sitting.memory_lines())  # some models file a turn later
            case Kind.GREET:
                good = judge.is_sane_greeting(answer.said, self._person.name, answer.calls)
                self._tally.count(GREETED, good, line.text, "one short sentence that states nothing", answer.said)
            case Kind.ASK:
                self._judge_found(line, answer.said)
            case Kind.ASK_ARCHIVE:
                (fact,) = line.facts
                found = judge.said(fact.value, answer.said)
                self._tally.count(ARCHIVE_FOUND, found, line.text, fact.value, answer.said)
            case Kind.UNKNOWN:
                unknown = judge.says_it_is_unknown(line, answer.said, self._told)
                self._tally.count(UNKNOWN_SAID, unknown, line.text, "that it was never told", answer.said)
        self._judge_statement(line, answer.said)

    def end_session(self) -> None:
        """Count what was never found in memory as not saved."""
        for line, fact, answer in self._unsaved:
            self._tally.count(SAVED, False, line.text, fact.value, answer)
        self._unsaved = []

    def _note_saved(self, memory: Sequence[str]) -> None:
        waiting = []
        for line, fact, answer in self._unsaved:
            if any(judge.said(fact.value, kept) for kept in memory):
                self._tally.count(SAVED, True, line.text, fact.value, answer)
            else:
                waiting.append((line, fact, answer))
        self._unsaved = waiting

    def _judge_found(self, line: Line, answer: str) -> None:
        (fact,) = line.facts
        good = judge.said(fact.value, answer)
        self._tally.count(RECALLED, good, line.text, fact.value, answer)
        if fact.old:
            self._tally.count(CORRECTED, good, line.text, f"{fact.value}, no longer {fact.old}", answer)

    def _judge_statement(self, line: Line, answer: str) -> None:
        wrong = judge.is_wrong_statement(line, answer, self._told)
        if line.kind in (Kind.LOGIN, Kind.GREET):
            wrong = judge.names_another(answer, self._person.name)
        self._tally.count_statement(wrong, line.text, answer)
