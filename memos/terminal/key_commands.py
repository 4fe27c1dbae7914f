"""`/keys`: the keys of the conversation."""

from __future__ import annotations

from rich.text import Text

from memos.terminal.command_registry import CommandContext, command
from memos.terminal.keys import KEYS


@command("keys")
async def show_keys(context: CommandContext, argument: str) -> None:
    """List the keys; the line itself is edited as in Emacs, or with terminal.vi as in vi."""
    width = max(len(key.names) for key in KEYS)
    for key in KEYS:
        row = Text(f"{key.names:<{width}}  ", style="bold").append(key.what, style="not bold")
        context.say(row, hang_cells=width + 2)
