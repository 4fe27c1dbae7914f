"""`memos copy AGENT NEW`: a second agent that remembers the same, and then goes its own way."""

from __future__ import annotations

from memos.cli.held_agent import held_agent
from memos.cli.printing import note
from memos.storage.agents import as_word
from memos.storage.fork import fork_agent
from memos.terminal.agent_commands import copied_line


def copy(name: str, new: str) -> int:
    """Copy an agent with all it remembers. Raises: AgentNotFound, AgentInUse, BadInput, DataDamaged, StorageProblem."""
    with held_agent(name, ", or type /fork there") as (database, agent):
        made = fork_agent(database, agent, new)
    note(f"{copied_line(made)} memos run {as_word(made.agent.name)}")
    return 0
