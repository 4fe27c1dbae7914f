"""`memos doctor`: look whether everything memos needs is well, and say what to do where it is not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import memos
from memos.cli.agent_choice import Machinery, Wish, find_agent
from memos.cli.boot import is_remote
from memos.cli.checks import computer, memory, model
from memos.cli.checks.finding import Finding, Findings, Status, ok, told, warning
from memos.cli.checks.subject import Subject
from memos.cli.printing import confirmed, print_json, print_styled
from memos.cli.probing import Probing, progress
from memos.config import Places, Settings, read_config
from memos.errors import BadInput
from memos.safe_text import safe_line
from memos.storage.database import Database


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asked for; `flags` by dotted setting name."""

    flags: Mapping[str, object]
    fix: bool = False
    probe: bool = False
    yes: bool = False
    offline: bool = False
    as_json: bool = False


def doctor(wanted: Wanted) -> int:
    """Run every check, print a line each, and return 0, or the exit code of the first failure.

    Raises: BadInput when the flags contradict each other.
    """
    if wanted.probe and wanted.offline:
        raise BadInput("--probe makes real calls, --offline none.", "memos doctor with one of them")
    visit = _Visit(Places.find(os.environ), os.environ, wanted)
    found: list[Finding] = []
    try:
        for finding in visit.findings():
            found.append(finding)
            if not wanted.as_json:
                _print(finding)
        code = next((finding.exit_code for finding in found if finding.status == "fail"), 0)
        if wanted.as_json:
            print_json(visit.report(found, code))
    finally:
        visit.close()
    return code


class _Visit:
    """One run of the checks, in order; the later ones look at what the earlier ones found sound."""

    def __init__(self, places: Places, environ: Mapping[str, str], wanted: Wanted) -> None:
        self._places = places
        self._environ = environ
        self._wanted = wanted
        self._database: Database | None = None
        self._subject: Subject | None = None
        self._failed = False

    def findings(self) -> Findings:
        """Yield what each check finds, as it finds it."""
        for finding in self._all():
            self._failed = self._failed or finding.status == "fail"
            yield finding

    def _all(self) -> Findings:
        places, wanted = self._places, self._wanted
        yield from computer.versions()
        yield from told("folders", lambda: computer.folders(places, fix=wanted.fix))
        yield from told("disk", lambda: computer.disk(places))
        yield from told("store", self._store)
        yield from told("settings", self._settings)
        if self._subject is None:
            return  # what the settings say of the model and the embedder nobody knows
        for check, look in self._looks(self._subject).items():
            yield from told(check, partial(look, self._subject))

    def _looks(self, subject: Subject) -> Mapping[str, Callable[[Subject], Findings]]:
        of_remote_models = {
            "key": model.key,
            "endpoint": model.endpoint,
            "window": model.window,
            "probe": self._probe,
            "card": model.card,
        }
        of_memory = {"embedder": memory.embedder, "vectors": memory.vectors, "agents": memory.agents}
        remote = subject.model and is_remote(subject.model)
        return {"model": model.chosen, **(of_remote_models if remote else {}), **of_memory}

    def _store(self) -> Findings:
        """Open the database where there is a sound one."""
        yield from memory.store(self._places)
        if self._places.database.exists():
            self._database = Database.open(self._places.database)

    def _settings(self) -> Findings:
        """Read the settings of what `memos run` would open: the agent used last, else what is configured."""
        file = read_config(self._places.config_file)
        settings = Settings.resolve(self._wanted.flags, self._environ, {}, file.given)
        if self._database is not None:
            machinery = Machinery(self._places, self._environ, self._database)
            settings = machinery.settings(self._wanted.flags, find_agent(machinery, Wish(flags=self._wanted.flags)))
        wanted = self._wanted
        self._subject = Subject(
            self._places, self._environ, settings, self._database, offline=wanted.offline, probe=wanted.probe
        )
        for text in file.warnings:
            yield warning("settings", text, f"mend {self._places.config_file}; memos configure --show lists all")
        if not file.warnings:
            where = self._places.config_file if self._places.config_file.exists() else "none written yet"
            yield ok("settings", f"readable: {where}")

    def _probe(self, subject: Subject) -> Findings:
        """Try out the model where the user says yes: beforehand, or to a question at a terminal."""
        wanted = self._wanted
        can_ask = not wanted.as_json and sys.stdin.isatty() and sys.stderr.isatty()
        asks = can_ask and not (wanted.offline or self._failed or subject.card().probed)
        if not (wanted.probe or asks):
            return
        probing = Probing.of(subject.settings, self._places, self._environ)
        if not wanted.yes and not can_ask:
            raise BadInput(
                f"The probe makes {probing.cost}, and nobody is there to agree.", "memos doctor --probe --yes"
            )
        if not wanted.yes and not confirmed(f"Try out what {subject.model} can do ({probing.cost})?"):
            yield ok("probe", "not made")
            return
        card = probing.run(progress)
        if self._database is None:
            self._database = Database.open(self._places.database)
            self._subject = replace(subject, database=self._database)
        yield ok("probe", f"{len(probing.plan.probes)} calls made; {len(card.formats)} call formats tried")

    def report(self, found: Sequence[Finding], code: int) -> dict[str, Any]:
        """Return what `--json` prints; a field is never taken out, nor changes its meaning."""
        model_name, card = "", None
        if self._subject is not None:
            model_name = self._subject.model
            known = self._subject.card()
            card = asdict(known) if known.seen_at or known.formats else None
        return {
            "version": memos.__version__,
            "exit_code": code,
            "findings": [asdict(finding) for finding in found],
            "model": model_name,
            "card": card,
        }

    def close(self) -> None:
        """Let go of the database."""
        if self._database is not None:
            self._database.close()


_STYLES: Mapping[Status, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_CHECK_CHARS = 10


def _print(finding: Finding) -> None:
    """Print a line, and below it the next step where there is one."""
    from rich.text import Text

    line = Text(f"{finding.status:<6}", style=_STYLES[finding.status])
    print_styled(line.append(f"{finding.check:<{_CHECK_CHARS}}{safe_line(finding.text)}", style="default"))
    if finding.next_step:
        print_styled(Text(f"{'':<{_CHECK_CHARS + 6}}Next: {safe_line(finding.next_step)}"))
