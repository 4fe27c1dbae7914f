"""The operator's commands on agents: list them, go to another one, begin, copy and rename them."""

from __future__ import annotations

import asyncio

from rich.text import Text

from memos.errors import BadInput
from memos.safe_text import safe_line
from memos.storage.agents import Agent
from memos.storage.fork import Fork
from memos.terminal.amounts import counted
from memos.terminal.command_registry import CommandContext, command
from memos.terminal.session import AgentRow, Session


@command("agents")
async def show_agents(context: CommandContext, argument: str) -> None:
    """List all agents, the one used last first: model, last use, what they keep, and which are open elsewhere."""
    for row in await asyncio.to_thread(context.session.agents.rows):
        context.say(_name_line(row))
        what = f"{counted(row.messages, 'message')}, {counted(row.passages, 'passage')}"
        context.say(f"    {safe_line(row.model)}, {row.used.astimezone():%Y-%m-%d %H:%M}, {what}", "dim")
    context.say("/switch NAME goes to one, /new begins one, /fork copies this one.", "dim")


def _name_line(row: AgentRow) -> Text:
    line = Text(f"  {safe_line(row.name)}", style="bold")
    if row.here:
        return line.append("  you talk to it", style="not bold green")
    if row.held_by:
        return line.append(f"  open elsewhere: {safe_line(row.held_by)}", style="not bold yellow")
    return line


def _other_names(session: Session) -> list[str]:
    return list(session.agents.names())


@command("switch", argument="NAME", complete=_other_names)
async def switch(context: CommandContext, argument: str) -> None:
    """Leave this agent and talk to another one. Nothing is lost: this one is as you left it when you come back."""
    if not argument:
        raise BadInput("/switch takes the name of an agent.", f"one of: {_names(context) or '(none yet; /new)'}")
    _check_idle(context)
    _go_to(context, await context.session.agents.check_open(argument.strip('"')))


@command("new", argument="[NAME]")
async def begin(context: CommandContext, argument: str) -> None:
    """Begin another agent, with nothing in its memory but its persona and human, and talk to it.

    It is made as `memos run --new` would make it.
    """
    _check_idle(context)
    _go_to(context, await context.session.agents.create(argument))


@command("fork", argument="[NAME]")
async def fork(context: CommandContext, argument: str) -> None:
    """Copy this agent with all it remembers: blocks and their edits, queue, summary, settings, recall and archival.

    From then on each goes its own way. The texts take up their space once more, and search by meaning makes their
    vectors anew while the copy is open and idle (until then it is found by words).
    """
    _check_idle(context)
    made = await context.session.agents.fork(argument)
    context.say(f"{copied_line(made)} /switch {safe_line(made.agent.name)}")


@command("rename", argument="NAME")
async def rename(context: CommandContext, argument: str) -> None:
    """Give this agent another name. What it said before stays under the old one."""
    context.check_writable()
    if not argument:
        raise BadInput("/rename takes the new name.", "for example: /rename ana")
    context.session.agent = await context.session.agents.rename(argument)
    context.say(renamed_line(context.session.agent))


def copied_line(made: Fork) -> str:
    """Return what a copy holds, in one sentence; `memos copy` says the same."""
    rows, passages = counted(made.messages, "row"), counted(made.passages, "passage")
    what = f"{rows} of recall storage, {passages}, {counted(made.edits, 'edit')}"
    return f'"{safe_line(made.agent.name)}" remembers the same: {what} copied ({made.size_bytes / 1e6:,.1f} MB).'


def renamed_line(agent: Agent) -> str:
    """Return what an agent is called now, in one sentence; `memos rename` says the same."""
    return f"The agent is called {safe_line(agent.name)} now."


def _check_idle(context: CommandContext) -> None:
    if context.session.kernel.busy:
        raise BadInput("A turn is running.", "wait for its end, or stop it with Ctrl-C.")


def _go_to(context: CommandContext, name: str) -> None:
    context.session.next_agent = name
    context.leave(0)


def _names(context: CommandContext) -> str:
    return ", ".join(safe_line(name) for name in context.session.agents.names())
