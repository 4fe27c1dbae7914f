"""The operator's commands on what is seen: the last turn in full, thoughts, and what was said before."""

from __future__ import annotations

import asyncio

from rich.text import Text

from memos.errors import BadInput
from memos.safe_text import safe_line
from memos.terminal.command_registry import CommandContext, command, number_given
from memos.terminal.wrapping import displayable

THOUGHTS = {
    "short": "Long thoughts are folded; Ctrl-O or /last shows them in full.",
    "all": "Thoughts are shown in full.",
    "none": "Thoughts are not shown; Ctrl-O or /last shows those of the last turn.",
}
"""How thoughts may be shown, each with what is said of it."""
SAID_SHOWN = 20


@command("last")
async def show_last(context: CommandContext, argument: str) -> None:
    """Show the last turn in full: every thought, and each call with all it was given and returned."""
    lines = context.details.lines(context.marks)
    if not lines:
        raise BadInput("No turn ran since memos was started.", "/dump shows the queue, with all that went before.")
    for line in lines:
        context.say(line)


@command("thoughts", argument="[short | all | none]", complete=lambda session: THOUGHTS)
async def thoughts(context: CommandContext, argument: str) -> None:
    """Say how much of the inner monologue you want to see, or without a word the next of the three, until you leave.

    The setting terminal.thoughts is what memos begins with.
    """
    ways = list(THOUGHTS)
    if argument and argument not in ways:
        raise BadInput(f"/thoughts knows no {safe_line(argument)!r}.", f"one of {', '.join(ways)}")
    context.details.thoughts = argument or ways[(ways.index(context.details.thoughts) + 1) % len(ways)]
    context.say(THOUGHTS[context.details.thoughts], "dim")


@command("history", argument="[N]")
async def show_history(context: CommandContext, argument: str) -> None:
    """Show the last N things that were said (20), by you and the agent, whether or not they are still in the queue."""
    count = number_given(argument, SAID_SHOWN, "/history 50")
    said = await asyncio.to_thread(context.session.memory.last_said, count)
    for words in said:
        head = f"[{words.at.astimezone():%Y-%m-%d %H:%M}] {safe_line(words.speaker)}: "
        first, *rest = displayable(words.text).split("\n")
        context.say(Text(head, style="bold").append(first, style="not bold"))
        for row in rest:
            context.say(f"  {row}")
    if not said:
        context.say("Nothing was said yet.", "dim")
