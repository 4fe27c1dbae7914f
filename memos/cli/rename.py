"""`memos rename OLD NEW`: another name for an agent; all it remembers stays as it is."""

from __future__ import annotations

import os

from memos.cli.held_agent import held_agent
from memos.cli.printing import note
from memos.config import Places, Settings, read_config
from memos.storage.agents import Agents, as_word
from memos.terminal.agent_commands import renamed_line


def rename(old: str, new: str) -> int:
    """Give an agent another name. Raises: AgentNotFound, AgentInUse, BadInput, DataDamaged, StorageProblem."""
    with held_agent(old, ", or type /rename there") as (database, agent):
        renamed = Agents(database).rename(agent, new)
    note(f"{renamed_line(renamed)} What it said before stays under the old name. memos run {as_word(renamed.name)}")
    _warn_of_settings(agent.name, renamed.name)
    return 0


def _warn_of_settings(old: str, new: str) -> None:
    """Say it where the agent that `memos` opens by itself is named by its old name."""
    given = read_config(Places.find(os.environ).config_file).given
    settings = Settings.resolve({}, os.environ, {}, given)
    if settings.config.agent.casefold() == old.casefold() != new.casefold():
        step = "set MEMOS_AGENT anew" if "MEMOS_AGENT" in os.environ else f'memos configure --set agent="{new}"'
        note(f'The setting agent still says "{old}". Next: {step}')
