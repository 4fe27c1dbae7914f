"""One agent with its storage, as boot wires it, on a real database in a temporary folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from memos.functions.process_functions import ProcessFunctions
from memos.functions.table import FunctionTable
from memos.kernel.control import Limits, Turn
from memos.kernel.executor import Executor
from memos.kernel.kernel import Kernel, Machine
from memos.kernel.main_context import MainContext, Paging
from memos.kernel.operator import Operator
from memos.kernel.processor_line import ProcessorLine
from memos.kernel.queue_manager import QueueManager
from memos.kernel.syscalls import KernelSyscalls
from memos.llm.processor import Processor
from memos.memory.archival_storage import ArchivalStorage
from memos.memory.finder import Finder
from memos.memory.forgetting import Forgetting
from memos.memory.index import Index
from memos.memory.recall_storage import RecallStorage
from memos.memory.working_context import WorkingContext
from memos.messages import Block
from memos.storage.agents import Agent, Agents
from memos.storage.database import Database
from memos.storage.home_files import HomeFiles
from memos.storage.usage_ledger import UsageLedger

BLOCKS = (Block("persona", "I am Sam.", 2000), Block("human", "", 2000))


@dataclass
class AgentHome:
    """The parts of one agent; search by words alone, so that nothing heavy is loaded."""

    database: Database
    agents: Agents
    agent: Agent
    syscalls: KernelSyscalls
    memory: WorkingContext
    recall: RecallStorage
    archival: ArchivalStorage

    @property
    def ledger(self) -> UsageLedger:
        """The ledger of model calls."""
        return UsageLedger(self.database)

    @property
    def finder(self) -> Finder:
        """What `/search` asks: by words alone."""
        return Finder(Index(self.database))

    def kernel(
        self,
        processor: Processor | ProcessorLine,
        limits: Limits = Limits(),
        idle_heartbeat_s: float = 0.0,
        paging: Paging = Paging(),
        summary_processor: Processor | None = None,
    ) -> Kernel:
        """Return a kernel over these parts."""
        processors = processor if isinstance(processor, ProcessorLine) else ProcessorLine(processor)
        table = FunctionTable([ProcessFunctions(self.syscalls), self.memory, self.recall, self.archival])
        queue_manager = QueueManager(self.database, self.agents, self.agents.reload(self.agent), self.recall)
        context = MainContext(self.database, table, self.memory, self.recall, queue_manager, paging, summary_processor)
        executor = Executor(self.database, table, queue_manager, self.syscalls)
        return Kernel(self.agent, Machine(processors, context, queue_manager, executor, limits, idle_heartbeat_s))

    def operator(self, kernel: Kernel) -> Operator:
        """Return the operator of a kernel over these parts."""
        folder = self.database.path.parent
        files = HomeFiles([folder], self.database.path, folder / "history", folder / "logs", folder / "drafts")
        forgetting = Forgetting(self.database, files, folder / "lance")
        return Operator(self.database, kernel, self.memory, self.archival, lambda: forgetting)

    def begin_turn(self) -> Turn:
        """Let the next function calls run in a turn of their own."""
        turn = Turn(start_seq=2**62)
        self.syscalls.begin(turn)
        return turn


def agent_home(folder: Path, blocks: Sequence[Block] = BLOCKS, name: str = "sam") -> AgentHome:
    """Return the home of the agent of that name in `folder`, made if it is not there yet."""
    database = Database.open(folder / "memos.db")
    agents = Agents(database)
    agent = agents.find(name) or agents.create(
        name, model="scripted", persona_name="sam", human_name="basic", blocks=blocks
    )
    syscalls = KernelSyscalls(agents, agent)
    index = Index.open(folder / "lance", database, "none")
    home = AgentHome(
        database,
        agents,
        agent,
        syscalls,
        WorkingContext(database, agent.id, syscalls),
        RecallStorage(database, agent.id, agent.name, index.search("recall"), syscalls),
        ArchivalStorage(database, agent.id, index.search("archival"), syscalls),
    )
    home.begin_turn()
    return home
