"""What the terminal is given to work with: boot wires one `Session` per conversation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from memos.config import Terminal
from memos.messages import Block, Event
from memos.safe_text import safe_line
from memos.storage.agents import as_word

if TYPE_CHECKING:
    from memos.kernel.kernel import Kernel
    from memos.kernel.operator import Operator
    from memos.memory.finder import Finds, Place
    from memos.memory.recall_storage import Words
    from memos.memory.working_context import Revision
    from memos.storage.agents import Agent
    from memos.storage.fork import Fork
    from memos.storage.usage_ledger import UsageLedger
    from memos.terminal.exports import Exported, ExportWish


class MemoryView(Protocol):
    """What `/memory` shows; every answer is quick enough for the event loop (a few rows of SQLite)."""

    def blocks(self) -> Sequence[Block]:
        """Return the blocks of working context, in their order in the prompt."""
        ...

    def counts(self) -> tuple[int, int]:
        """Return how many messages recall storage and how many passages archival storage hold."""
        ...

    def last_said(self, count: int) -> Sequence[Words]:
        """Return the last `count` things that were said, oldest first."""
        ...

    def last_edits(self, count: int) -> Sequence[Revision]:
        """Return the last `count` edits of blocks, newest first."""
        ...


class FinderView(Protocol):
    """What `/search` asks; blocking, so it is called in a worker thread."""

    def find(self, agent: Agent, place: Place, query: str, limit: int) -> Finds:
        """Return at most `limit` finds for `query` in one place of an agent's memory, best first."""
        ...


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent as `/agents` lists it; `used` is UTC, `held_by` the process that has it open elsewhere, or ''."""

    name: str
    model: str
    used: datetime
    messages: int
    passages: int
    here: bool = False
    held_by: str = ""


class AgentsView(Protocol):
    """The other agents. What raises has changed nothing."""

    def rows(self) -> Sequence[AgentRow]:
        """Return all agents, the one used last first; a few rows of SQLite and a few lock files."""
        ...

    def names(self) -> Sequence[str]:
        """Return the names of the other agents."""
        ...

    async def check_open(self, name: str) -> str:
        """Return the name of an agent that can be opened now. Raises: MemosError."""
        ...

    async def create(self, name: str) -> str:
        """Begin another agent, of that name if any; return its name. Raises: MemosError."""
        ...

    async def fork(self, name: str) -> Fork:
        """Copy this agent and all it remembers. Raises: MemosError."""
        ...

    async def rename(self, name: str) -> Agent:
        """Give this agent another name. Raises: BadInput."""
        ...

    async def export(self, wish: ExportWish) -> Exported:
        """Write this agent into a file. Raises: MemosError."""
        ...


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter as `/params` shows it: its value as text ('' where it is unset), its origin, a value it may have."""

    name: str
    value: str
    origin: str
    sample: str


class ModelsView(Protocol):
    """The models of the agent, for `/model` and `/params`. What changes does so from the next step on."""

    def names(self) -> Sequence[str]:
        """Return models that may be meant."""
        ...

    def describe(self) -> Sequence[str]:
        """Return lines on the model that answers, the first one naming it, and on those that would take over."""
        ...

    async def switch(self, model: str, api_base: str | None = None) -> Sequence[str]:
        """Let `model` answer, asked at `api_base` ('' is the provider's own); return lines on what that means.

        Raises: MemosError, and nothing is changed.
        """
        ...

    def params(self) -> Sequence[Param]:
        """Return the parameters."""
        ...

    async def set_params(self, assignments: Sequence[str]) -> None:
        """Set (`NAME=VALUE`) and unset (`NAME=`) parameters. Raises: BadInput, and nothing is changed."""
        ...


@dataclass
class Session:
    """One conversation as the terminal sees it.

    `header` is drawn before anything else. `history_file` keeps what was typed, readable by its owner alone;
    `drafts_folder` holds a text while it is in an editor.
    """

    kernel: Kernel
    agent: Agent
    memory: MemoryView
    operator: Operator
    models: ModelsView
    usage: UsageLedger
    finder: FinderView
    agents: AgentsView
    settings: Callable[[], Sequence[tuple[str, str, str]]] = tuple
    """What holds: each setting's name, its value as text, and where that comes from."""
    header: Sequence[str] = ()
    history_file: Path | None = None
    drafts_folder: Path | None = None
    log_file: Path | None = None
    read_only: bool = False
    incognito: bool = False
    """Nothing of this conversation is written, neither are files: no history, no drafts, no log."""
    words_finder: FinderView | None = None
    """Finds by words alone, quickly, while somebody types; None: nothing is looked for then."""
    screen: Terminal = field(default_factory=Terminal)
    """How the user wants the screen and the keys."""
    login: Event | None = None
    """What the kernel is told once the prompt is up: the user is here. None: the agent is not to greet."""
    next_agent: str = ""
    """Whom to talk to after this conversation; '' where it is the last one."""


READ_ONLY = "This session only reads, because the agent is open elsewhere; commands such as /memory work."
KERNEL_ENDED = "The agent has stopped working; everything it confirmed is kept. Next: start memos again."


def farewell(session: Session) -> str:
    """Return the one line that is left when a conversation is left."""
    if session.incognito:
        on = f" On to {safe_line(session.next_agent)}, still incognito." if session.next_agent else ""
        return f"Nothing of this conversation was kept.{on}"
    if session.next_agent:
        return f"Saved. On to {safe_line(session.next_agent)}."
    again = safe_line(as_word(session.agent.name))
    return f"{'Left' if session.read_only else 'Saved'}. Resume: memos run {again}"
