"""The operator's commands that look something up in the agent's memory."""

from __future__ import annotations

import asyncio

from memos.errors import BadInput
from memos.memory.finder import Place
from memos.safe_text import safe_line
from memos.terminal.command_registry import CommandContext, command
from memos.terminal.highlighting import find_line

SHOWN = 10


@command("search", argument="WORDS")
async def search(context: CommandContext, argument: str) -> None:
    """Search all that was said and all that was archived; by words and by meaning, the best ten of each.

    /recall and /archival search one of the two; `memos search` searches all agents, and by date.
    """
    await _say_finds(context, "search", argument, ("recall", "archival"))


@command("recall", argument="WORDS")
async def recall(context: CommandContext, argument: str) -> None:
    """Search recall storage: all that was said, including what has left the queue."""
    await _say_finds(context, "recall", argument, ("recall",))


@command("archival", argument="WORDS")
async def archival(context: CommandContext, argument: str) -> None:
    """Search archival storage: the passages the agent keeps for itself."""
    await _say_finds(context, "archival", argument, ("archival",))


async def _say_finds(context: CommandContext, name: str, query: str, places: tuple[Place, ...]) -> None:
    if not query:
        raise BadInput(f"/{name} takes the words to look for.", f"for example: /{name} honey yield")
    session = context.session
    for place in places:
        found = await asyncio.to_thread(session.finder.find, session.agent, place, query, SHOWN)
        if found.degraded:
            context.say(f"{context.marks.notice}{safe_line(found.degraded)}", "dim")
        context.say(f"{place.capitalize()} storage: {_count(found.total, len(found.finds))}", "bold")
        for find in found.finds:
            context.say(find_line(find, query, "  "), hang_cells=4)


def _count(total: int, shown: int) -> str:
    if not total:
        return "nothing found."
    return f"{total:,} found, the best {shown}:" if total > shown else f"{total:,} found:"
