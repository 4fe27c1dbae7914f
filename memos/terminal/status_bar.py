"""The status bar: one row below the line being typed. What matters less is left out as the terminal gets narrower.

It is drawn as a row of the prompt's own layout: it needs no answer of the terminal on where its cursor is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from memos.errors import MemosError
from memos.messages import utc_now
from memos.safe_text import safe_line
from memos.storage.usage_ledger import Spent
from memos.terminal.marks import Marks

if TYPE_CHECKING:
    from memos.terminal.session import Session

GAUGE_CELLS = 8
MODEL_LIMIT_CELLS = 24
GAUGE_FILLING, GAUGE_HIGH = 0.6, 0.75

Pieces = list[tuple[str, str]]
"""A row as (style, text)."""


@dataclass(frozen=True, slots=True)
class Running:
    """What goes on at this moment: a phase or a command, messages that wait, memories that fit the line."""

    what: str = ""
    waiting: int = 0
    matches: int = 0
    matches_capped: bool = False


@dataclass(frozen=True, slots=True)
class BarFacts:
    """What the bar knows; None is what nobody knows yet, and is not shown."""

    agent: str
    model: str = ""
    fill: float | None = None
    """The share of the window's room that the newest prompt took."""
    recall_count: int | None = None
    archival_count: int | None = None
    spent_today: Spent | None = None
    running: Running = Running()


class StatusBar:
    """Keeps what the bar says of the database, and draws it. `changed` is called when it has read something new."""

    def __init__(self, session: Session, marks: Marks, changed: Callable[[], None]) -> None:
        self._session = session
        self._marks = marks
        self._changed = changed
        self._wanted = asyncio.Event()
        self._counts: tuple[int, int] | None = None
        self._spent: Spent | None = None

    def look_again(self) -> None:
        """Have the database read anew; costs nothing."""
        self._wanted.set()

    async def run(self) -> None:
        """Read the database, off the event loop, whenever it was asked for; until cancelled."""
        session = self._session
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            today = utc_now().astimezone().date()
            with contextlib.suppress(MemosError):  # the bar keeps what it knew; the turn says what is wrong
                self._counts, self._spent = await asyncio.gather(
                    asyncio.to_thread(session.memory.counts),
                    asyncio.to_thread(session.usage.spent, agent_id=session.agent.id, since=today),
                )
                self._changed()

    def row(self, running: Running, width_cells: int) -> Pieces:
        """Return the bar as it is now, at most `width_cells` wide."""
        kernel = self._session.kernel
        gauge = kernel.machine.main_context.gauge
        recall_count, archival_count = self._counts or (None, None)
        facts = BarFacts(
            self._session.agent.name,
            kernel.processor.model,
            gauge.fill if gauge else None,
            recall_count,
            archival_count,
            self._spent,
            running,
        )
        return bar_row(facts, self._marks, width_cells)


@dataclass(frozen=True, slots=True)
class _Field:
    """One part of the bar; of a bar that is too wide the highest `rank` goes first."""

    rank: int
    pieces: Pieces

    @property
    def cells(self) -> int:
        return sum(cell_len(text) for _, text in self.pieces)


def bar_row(facts: BarFacts, marks: Marks, width_cells: int) -> Pieces:
    """Return the bar, at most `width_cells` wide."""
    fields = [field for field in _fields(facts, marks) if field.cells]
    between = cell_len(marks.between)
    while len(fields) > 1 and sum(field.cells + between for field in fields) - between > width_cells:
        fields.remove(max(fields, key=lambda field: field.rank))
    row: Pieces = []
    for field in fields:
        row += [("class:bar", marks.between)] * bool(row) + field.pieces
    if sum(cell_len(text) for _, text in row) > width_cells:
        style, text = row[0]
        return [(style, set_cell_size(text, max(0, width_cells)).rstrip())]
    return row


def _fields(facts: BarFacts, marks: Marks) -> list[_Field]:
    return [
        _Field(0, _plain(_short(facts.agent, MODEL_LIMIT_CELLS, marks))),
        _Field(4, _plain(_short(_model_name(facts.model), MODEL_LIMIT_CELLS, marks))),
        _Field(1, _gauge(facts.fill, marks)),
        _Field(2, _matches(facts.running)),
        _Field(3, _plain(_running(facts.running))),
        _Field(5, _plain(_today(facts.spent_today))),
        _Field(6, _plain("" if facts.recall_count is None else f"recall {facts.recall_count:,}")),
        _Field(7, _plain("" if facts.archival_count is None else f"archival {facts.archival_count:,}")),
        _Field(8, _plain("F1 help")),
    ]


def _plain(text: str) -> Pieces:
    return [("class:bar", text)] if text else []


def _short(text: str, limit_cells: int, marks: Marks) -> str:
    line = safe_line(text)
    if cell_len(line) <= limit_cells:
        return line
    return set_cell_size(line, limit_cells - cell_len(marks.more)).rstrip() + marks.more


def _model_name(model: str) -> str:
    return model if cell_len(model) <= MODEL_LIMIT_CELLS else model.rpartition("/")[2]


def _gauge(fill: float | None, marks: Marks) -> Pieces:
    """Return how full the window's room is, in colour and in figures."""
    if fill is None:
        return []
    full = min(GAUGE_CELLS, round(fill * GAUGE_CELLS))
    name = "full" if fill < GAUGE_FILLING else "filling" if fill < GAUGE_HIGH else "high"
    return [
        (f"class:bar.{name}", marks.bar_full * full),
        ("class:bar", f"{marks.bar_empty * (GAUGE_CELLS - full)} {fill:.0%}"),
    ]


def _matches(now: Running) -> Pieces:
    if not now.matches:
        return []
    count = f"{now.matches}{'+' if now.matches_capped else ''}"
    return [("class:bar.matches", f"{count} remembered: F4 shows, F5 quotes")]


def _running(now: Running) -> str:
    waits = f"{now.waiting} waiting" if now.waiting else ""
    return ", ".join(filter(None, (safe_line(now.what) or "idle", waits)))


def _today(spent: Spent | None) -> str:
    """Return what today cost; nothing where it is free or no price is known. A plus sign: some calls have no price."""
    if spent is None or not spent.cost_usd:
        return ""
    cost = f"{spent.cost_usd:,.2f}" if spent.cost_usd >= 0.1 else f"{spent.cost_usd:,.4f}"
    return f"${cost}{'+' if spent.unpriced else ''} today"
