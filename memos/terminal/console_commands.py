"""The operator's commands on memos itself: a long message from an editor, settings, the log, the version."""

from __future__ import annotations

import asyncio
import platform
import sqlite3
from pathlib import Path

from memos import __version__
from memos.errors import BadInput
from memos.safe_text import safe_line
from memos.terminal.command_registry import CommandContext, command, number_given

LOG_LINES = 20
_LOG_BYTES = 65_536
_MESSAGE = "message"


@command("editor")
async def write_in_editor(context: CommandContext, argument: str) -> None:
    """Write a long message in your editor ($VISUAL or $EDITOR): what you save is sent, nothing if it is empty."""
    context.check_writable()
    text = (await context.edit(argument, f"{_MESSAGE}.md")).strip()
    if not text:
        context.say("Nothing was saved, so nothing is sent.", "dim")
    elif context.send:
        context.send(text)


@command("save", aliases=("savechat",))
async def save(context: CommandContext, argument: str) -> None:
    """Say that all is saved: every message and edit is on disk before you see it."""
    if context.session.incognito:
        raise BadInput("Nothing is saved: this conversation is incognito.", "memos run, without it, keeps everything")
    context.say("Everything is saved already, as it happens; nothing is lost when you leave.")


@command("config", argument="[WORD]")
async def show_config(context: CommandContext, argument: str) -> None:
    """Show what holds for this agent, each setting with where it comes from; WORD shows those with it in their name.

    /model and /params change some of them, `memos configure` all.
    """
    rows = [row for row in context.session.settings() if argument.casefold() in row[0]]
    if not rows:
        raise BadInput(f"No setting has {safe_line(argument)!r} in its name.", "/config shows all")
    width = max(len(name) for name, _, _ in rows)
    for name, value, origin in rows:
        context.say(f"{name:<{width}}  {safe_line(value)}  ({safe_line(origin)})", hang_cells=4)


@command("log", argument="[N]")
async def show_log(context: CommandContext, argument: str) -> None:
    """Show the last N lines (20) of the log, where bugs and what libraries complain of are written."""
    count = number_given(argument, LOG_LINES, "/log 50", what="a number of lines")
    path = context.session.log_file
    if context.session.incognito:
        raise BadInput("Incognito no log is written.", "memos --debug run --incognito shows what goes wrong")
    lines = await asyncio.to_thread(_last_lines, path, count) if path else []
    for line in lines:
        context.say(safe_line(line))
    context.say(f"{path}: {'the end of it' if lines else 'nothing was written yet'}.", "dim")


@command("version")
async def show_version(context: CommandContext, argument: str) -> None:
    """Show the versions of memos, Python and SQLite, and the system."""
    python, sqlite = platform.python_version(), sqlite3.sqlite_version
    context.say(f"memos {__version__}, Python {python}, SQLite {sqlite}, {platform.platform()}")


def _last_lines(path: Path, count: int) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return lines[-count:] if count else []
