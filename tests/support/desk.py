"""An operator's console over a real agent: what its commands print, post, send and leave with."""

import asyncio
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from memos.cli.agent_choice import Machinery, Wish
from memos.cli.boot import StoredMemory
from memos.cli.other_agents import OtherAgents
from memos.config import Places, Settings
from memos.errors import BadInput
from memos.llm.scripted import ScriptedProcessor
from memos.messages import Block, Event
from memos.terminal.commands import CommandContext, run_command
from memos.terminal.consoles import make_console
from memos.terminal.marks import DRAWN
from memos.terminal.session import Param, Session
from support.agent_home import BLOCKS, AgentHome, agent_home


class Models:
    """The models of an agent, as far as the terminal asks for them."""

    def __init__(self) -> None:
        self.switched: list[tuple[str, str | None]] = []
        self.set: list[str] = []

    def names(self) -> list[str]:
        return ["scripted", "builtin/tiny"]

    def describe(self) -> list[str]:
        return ["scripted answers.", "Where scripted does not answer: builtin/tiny."]

    async def switch(self, model: str, api_base: str | None = None) -> list[str]:
        if model == "nonsense":
            raise BadInput('There is no model "nonsense".', "memos list models")
        self.switched.append((model, api_base))
        return [f"Goes on with {model}.", "Its window is small."]

    def params(self) -> list[Param]:
        return [Param("temperature", "0.3", "agent", "0.7"), Param("top_p", "", "default", "0.9")]

    async def set_params(self, assignments: Sequence[str]) -> None:
        self.set += assignments


async def checked(settings: Settings) -> None:
    """A model that can be had."""


async def lent(work: Callable[[], str]) -> str:
    """The terminal is nobody's: there is none."""
    return await asyncio.to_thread(work)


class Desk:
    """A command context over a real agent; what it prints, posts and leaves with."""

    def __init__(self, folder: Path, *, read_only: bool = False, blocks: Sequence[Block] = BLOCKS) -> None:
        self.home: AgentHome = agent_home(folder, blocks)
        self.paper = io.StringIO()
        self.posted: list[Event] = []
        self.left: list[int] = []
        self.models = Models()
        self.places = Places.find({"MEMOS_HOME": str(folder)})
        machinery = Machinery(self.places, {}, self.home.database)
        wish = Wish(flags={"model": "scripted:x", "memory.embedding": "none"})
        self.agents = OtherAgents(machinery, self.home.agent, wish, self.home.recall, checked)
        memory = StoredMemory(self.home.memory, self.home.recall)
        kernel = self.home.kernel(ScriptedProcessor([]))
        operator = self.home.operator(kernel)
        self.session = Session(
            kernel,
            self.home.agent,
            memory,
            operator,
            self.models,
            self.home.ledger,
            self.home.finder,
            self.agents,
            lambda: [("model", "scripted", "agent"), ("terminal.greet", "true", "default")],
            drafts_folder=folder / "drafts",
            log_file=folder / "memos.log",
            read_only=read_only,
        )
        console = make_console(self.paper, colours=False, width_cells=200)
        self.sent: list[str] = []
        self.context = CommandContext(self.session, console, DRAWN, self.left.append, self.posted.append)
        self.context.send, self.context.lend = self.sent.append, lent

    def run(self, line: str) -> str:
        async def obey() -> None:
            await self.session.kernel.look()  # the queue, as a session that is open has it
            await run_command(self.context, line)

        asyncio.run(obey())
        return self.paper.getvalue()
