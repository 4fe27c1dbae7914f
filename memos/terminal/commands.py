"""The slash commands of every conversation; importing this module registers all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from memos.errors import BadInput
from memos.messages import Event, EventKind, utc_now
from memos.safe_text import safe_line
from memos.terminal import (
    agent_commands,
    console_commands,
    export_commands,
    forget_commands,
    image_commands,
    key_commands,
    memory_commands,
    queue_commands,
    search_commands,
    view_commands,
)
from memos.terminal.amounts import sentence
from memos.terminal.command_registry import (
    COMMANDS,
    Command,
    CommandContext,
    as_message,
    command,
    completions,
    find_command,
    is_command,
    is_worth_keeping,
    may_be_command,
    obey,
    run_command,
)

__all__ = [
    "COMMANDS",
    "Command",
    "CommandContext",
    "agent_commands",
    "as_message",
    "command",
    "completions",
    "console_commands",
    "export_commands",
    "find_command",
    "forget_commands",
    "image_commands",
    "is_command",
    "is_worth_keeping",
    "key_commands",
    "may_be_command",
    "memory_commands",
    "obey",
    "queue_commands",
    "run_command",
    "search_commands",
    "view_commands",
]

MAIN = ("help", "memory", "why", "context", "search", "undo", "retry", "continue", "model", "usage", "agents", "exit")
"""The commands that `/help` lists first."""
_USAGE_CELLS = 22


@command("help", aliases=("?",), argument="[COMMAND]", complete=lambda session: COMMANDS)
async def show_help(context: CommandContext, argument: str) -> None:
    """List the commands, or explain one."""
    if argument:
        entry = find_command(argument.removeprefix("/"))
        context.say(entry.usage, "bold")
        for number, paragraph in enumerate(entry.help.split("\n\n")):
            context.say("\n" * bool(number) + " ".join(paragraph.split()))
        if entry.aliases:
            context.say("Also: " + ", ".join(f"/{alias}" for alias in entry.aliases), "dim")
        return
    for title, names in (("", MAIN), ("More:", sorted(set(COMMANDS) - set(MAIN)))):
        if title:
            context.say(title, "dim")
        for entry in (COMMANDS[name] for name in names):
            _say_entry(context, entry)
    context.say("Enter sends, Alt-Enter or Ctrl-J begins a new line, //text sends a line that begins with a slash.")
    context.say("@photo.png within a message shows that image; Tab completes the path, and a dropped file becomes one.")
    context.say("Ctrl-C stops a reply, twice leaves; Ctrl-D leaves. Everything is kept as it happens.")


def _say_entry(context: CommandContext, entry: Command) -> None:
    """Print a command and what it does, side by side where there is room for that."""
    usage = Text(f"{entry.usage + '  ':<{_USAGE_CELLS}}", style="bold")
    if context.wrap and len(entry.usage) + 2 > _USAGE_CELLS:
        context.say(usage)
        usage = Text(" " * _USAGE_CELLS)
    context.say(usage.append(entry.summary, style="not bold"), hang_cells=_USAGE_CELLS)


@command("usage")
async def show_usage(context: CommandContext, argument: str) -> None:
    """Show what this agent's model calls used and cost, today and in all, and which models answered.

    `memos usage` has it by day and model. Where a model does not report tokens, or its price is not known, it says so.
    """
    agent_id, ledger = context.session.agent.id, context.session.usage
    today = utc_now().astimezone().date()
    for label, since in (("Today", today), ("In all", None)):
        spent = await asyncio.to_thread(ledger.spent, agent_id=agent_id, since=since)
        context.say(f"{label}: {sentence(spent)}.")
    by_model = Counter[str]()
    for total in await asyncio.to_thread(ledger.totals, agent_id=agent_id):
        by_model[total.model] += total.spent.calls
    if len(by_model) > 1:
        context.say(f"Calls by model: {', '.join(f'{safe_line(name)} {n:,}' for name, n in by_model.most_common())}.")


@command("model", argument="[MODEL]", complete=lambda session: session.models.names())
async def model(context: CommandContext, argument: str) -> None:
    """Show the model that answers and what is known of it, or switch to another one, after a check.

    MODEL is any litellm id (openai/gpt-4.1, ollama_chat/llama3.2), builtin/tiny, builtin/small or gguf:PATH. One of the
    same provider is asked at the same address, another one at its provider's, or where its server usually is on this
    computer; --api-base names an address ("" is the provider's own). The agent keeps its model after a restart.
    """
    models = context.session.models
    if not argument:
        lines: Sequence[str] = [*models.describe(), "/model NAME switches."]
    else:
        context.check_writable()
        name, flag, address = f" {argument}".partition(" --api-base")
        if not name.strip() or (flag and not address.strip(" =")):
            raise BadInput("/model takes a model, then maybe an address.", "/model openai/NAME --api-base URL")
        lines = await models.switch(name.strip(), address.strip(" =").strip("\"'") if flag else None)
    for line in lines:
        context.say(safe_line(line))


@command(
    "params",
    argument="[NAME=VALUE …]",
    complete=lambda session: [f"{param.name}=" for param in session.models.params()],
    by_word=True,
)
async def params(context: CommandContext, argument: str) -> None:
    """Show how the model is asked and what bounds a turn, or change it for this agent, from the next step on.

    NAME= unsets a parameter: what config.toml or else the provider says holds again. Those of the model are
    max_reply_tokens, temperature, top_p, seed and reasoning_effort; those of a turn begin with limits.
    """
    models, assignments = context.session.models, argument.split()
    if assignments:
        context.check_writable()
        await models.set_params(assignments)
    names = {text.partition("=")[0] for text in assignments}
    shown = [param for param in models.params() if not names or param.name in names]
    width = max(len(param.name) for param in shown)
    for param in shown:
        value = f"{param.value} ({param.origin})" if param.value else "not set"
        context.say(f"{param.name:<{width}}  {safe_line(value)}", hang_cells=4)


@command("like")
async def like(context: CommandContext, argument: str) -> None:
    """Tell the agent that you liked its last message."""
    context.check_writable()
    context.post(Event(EventKind.USER_LIKED))
    context.say("The agent is told that you liked it.", "dim")


@command("continue")
async def go_on(context: CommandContext, argument: str) -> None:
    """Let the agent go on where a limit, Ctrl-C or an error stopped it; the limits of a turn begin anew."""
    context.check_writable()
    if context.session.kernel.busy:
        raise BadInput("The agent is still at work.", "wait for it, or stop it with Ctrl-C.")
    if not await context.session.kernel.was_stopped():
        raise BadInput("Nothing was stopped: the agent had come to its end.", "say something.")
    context.post(Event(EventKind.HEARTBEAT, payload={"reason": "You were stopped; the user lets you go on."}))


@command("stop")
async def stop(context: CommandContext, argument: str) -> None:
    """Stop the running turn, as Ctrl-C does; what was shown is kept, and /continue goes on."""
    if not context.session.kernel.busy:
        raise BadInput("No turn is running.", "say something.")
    context.session.kernel.cancel()


@command("exit", aliases=("quit", "bye"))
async def leave(context: CommandContext, argument: str) -> None:
    """Leave; everything is kept already."""
    context.leave(0)
