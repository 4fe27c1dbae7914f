"""`memos run`: open an agent, and talk to it in a REPL, or once."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from memos.cli.agent_choice import Machinery, Wish, create_agent, find_agent, settings_of_portraits
from memos.cli.boot import check_model, open_session
from memos.cli.incognito import check_incognito, log_nowhere, no_file_about_it
from memos.cli.models import agree_first
from memos.cli.once import Once
from memos.cli.other_agents import opened
from memos.config import Places, Settings, read_config
from memos.llm.catalogue import BUILTIN_MODEL
from memos.storage.agents import Agent, Agents
from memos.storage.database import Database
from memos.terminal.report import Report
from memos.terminal.session import Session

if TYPE_CHECKING:
    from memos.terminal.one_shot import OneMessage


def run(
    agent: str | None,
    *,
    flags: Mapping[str, object],
    new: bool,
    read_only: bool,
    take_over: bool,
    incognito: bool,
    once: Once,
    report: Report,
) -> int:
    """Talk to `agent` (the one used last if None), or say one thing, and return the exit code. Raises: MemosError."""
    wish = Wish(agent or "", new, read_only, take_over, flags, incognito)
    if not incognito:
        return _run(wish, once, report)
    check_incognito(read_only=read_only, take_over=take_over)
    with no_file_about_it():
        return _run(wish, once, report)


def _run(wish: Wish, once: Once, report: Report) -> int:
    message = once.message(sys.stdin) if once.is_wanted(sys.stdin) else None
    places = Places.find(os.environ)
    for warning in read_config(places.config_file).warnings:
        once.note(warning)
    if wish.incognito and message:
        once.note("Incognito: nothing of this is written or remembered.")
    database = _database(places, wish)
    try:
        machinery = Machinery(places, os.environ, database)
        found, settings = _agent_and_settings(machinery, wish, once, ask=message is None and _is_a_terminal())
        if message is None:
            return asyncio.run(_talk(machinery, found, settings, wish))
        return asyncio.run(_say(machinery, found, settings, wish, message, once, report))
    finally:
        database.close()


def _database(places: Places, wish: Wish) -> Database:
    """Open the database and the log; incognito the one is a copy in memory, and the other nowhere."""
    if wish.incognito:
        from memos.storage.memory_copy import open_in_memory

        log_nowhere()
        return open_in_memory(places.database)
    log_to_file(places)
    database = Database.open(places.database)
    if not wish.read_only and Agents(database).any_time_is_over():
        from memos.cli.delete import empty_trash

        empty_trash(places, database)
    return database


def _agent_and_settings(machinery: Machinery, wish: Wish, once: Once, *, ask: bool) -> tuple[Agent, Settings]:
    """Return whom to talk to and what holds for it; a new agent is made where there is none."""
    agent = find_agent(machinery, wish)
    settings = machinery.settings(wish.flags, agent)
    if agent is None and not settings.config.model:
        settings = settings_of_portraits(machinery, wish, settings)
    if not settings.config.model:
        settings = _choose_model(
            machinery, wish, agent, once, ask=ask and not wish.incognito
        )  # which writes config.toml
    if not wish.read_only:
        agree_first(machinery.places, settings.config.model, named_here=ask and settings.origins["model"] == "flag")
    if agent is None:
        asyncio.run(check_model(settings, machinery.places, machinery.environ))
        agent = create_agent(machinery, wish, settings)
        settings = machinery.settings({**wish.flags, "model": settings.config.model}, agent)  # now with its limits
    elif agent.model != settings.config.model and "model" not in wish.flags and not wish.read_only:
        machinery.agents.note_model(agent, settings.config.model)  # config.toml names another one now
    return agent, settings


def _choose_model(machinery: Machinery, wish: Wish, agent: Agent | None, once: Once, *, ask: bool) -> Settings:
    """Nothing is configured: ask once where there is somebody to ask, else take the built-in model and say so."""
    if ask:
        from memos.terminal.first_run import choose_model

        choose_model(machinery.places, machinery.environ)  # written to config.toml
        return machinery.settings(wish.flags, agent)
    once.note(f"No model is configured: {BUILTIN_MODEL} answers, a clerk. Next: memos configure")
    return machinery.settings({**wish.flags, "model": BUILTIN_MODEL}, agent)


async def _say(
    machinery: Machinery,
    agent: Agent,
    settings: Settings,
    wish: Wish,
    message: OneMessage,
    once: Once,
    report: Report,
) -> int:
    from memos.terminal.one_shot import run_once

    async with open_session(machinery, agent, settings, wish, stays=False) as session:
        return await run_once(session, message, report, once.aside(), once.timeout_s)


async def _talk(machinery: Machinery, agent: Agent, settings: Settings, wish: Wish) -> int:
    from memos.terminal.repl import run_repl

    open_staying = functools.partial(open_session, stays=True)

    def open_agent(name: str) -> AbstractAsyncContextManager[Session]:
        return opened(machinery, name, wish, open_staying) if name else open_staying(machinery, agent, settings, wish)

    return await run_repl(open_agent)


def _is_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def log_to_file(places: Places) -> None:
    """Send warnings of the libraries and tracebacks of failed turns to a file: the screen belongs to the REPL."""
    places.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    handler = logging.FileHandler(places.log_file, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
