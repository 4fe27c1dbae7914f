"""Where objects are wired, and nowhere else: from settings and an agent's name to a session that can talk."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from memos import __version__
from memos.config import Places, Settings, find_key, load_human, load_persona, read_config
from memos.errors import BadInput, MemosError, NotConfigured
from memos.functions.process_functions import ProcessFunctions
from memos.functions.table import FunctionTable
from memos.kernel.control import Limits
from memos.kernel.executor import Executor
from memos.kernel.housekeeping import index_when_idle
from memos.kernel.kernel import Kernel, Machine
from memos.kernel.main_context import MainContext
from memos.kernel.queue_manager import QueueManager
from memos.kernel.syscalls import KernelSyscalls
from memos.memory.archival_storage import ArchivalStorage
from memos.memory.recall_storage import RecallStorage
from memos.memory.search import Search
from memos.memory.working_context import WorkingContext
from memos.messages import Block, Event, EventKind, Notice, utc_now
from memos.prompts import system_instructions
from memos.storage.agent_lock import AgentLock
from memos.storage.agents import Agent, Agents
from memos.storage.database import Database
from memos.terminal.session import Session

if TYPE_CHECKING:
    from memos.llm.processor import Processor
    from memos.memory.embedders import Embedder

BUILTIN_MODEL = "builtin/tiny"
_SMALL_WINDOW_SHARE = 5
"""Blocks together never take more than one part in so many of the window."""
_CHARS_PER_TOKEN = 4
_BLOCKS = (
    ("persona", "Who I am and how I speak. I may refine it as I learn what suits my user."),
    ("human", "What I know for certain about the person I talk to, one line a fact."),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asked for; `flags` by dotted setting name, None where not given."""

    agent_name: str = ""
    new: bool = False
    read_only: bool = False
    take_over: bool = False
    flags: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Machinery:
    """What outlives a conversation: places, environment, the database."""

    places: Places
    environ: Mapping[str, str]
    database: Database

    @property
    def agents(self) -> Agents:
        """The register of agents."""
        return Agents(self.database)


def settings_for(
    places: Places, environ: Mapping[str, str], flags: Mapping[str, object], agent: Agent | None = None
) -> Settings:
    """Return what holds for `agent` (or for a new one). Raises: BadInput."""
    given = read_config(places.config_file).given
    return Settings.resolve(flags, environ, agent.settings if agent else {}, given)


def find_agent(machinery: Machinery, wish: Wish) -> Agent | None:
    """Return the agent that is meant: the named one, the configured one, or the one used last; None: a new one.

    Raises: AgentNotFound.
    """
    if wish.new:
        return None
    if wish.agent_name:
        return machinery.agents.get(wish.agent_name)
    configured = settings_for(machinery.places, machinery.environ, wish.flags).config.agent
    if configured:
        return machinery.agents.get(configured)
    return next(iter(machinery.agents.all()), None)


def create_agent(machinery: Machinery, wish: Wish, model: str) -> Agent:
    """Make a new agent for `model` with its persona and human. Raises: BadInput."""
    places = machinery.places
    config = settings_for(places, machinery.environ, wish.flags).config
    persona_name = config.persona or default_persona(model)
    persona, human = load_persona(places, persona_name), load_human(places, config.human)
    limit_chars = _block_limit(config.memory.block_limit_chars, config.window_tokens)
    blocks = []
    for (label, description), text in zip(_BLOCKS, (persona.text, human.text), strict=True):
        if len(text) > limit_chars:
            raise BadInput(
                f"The {label} has {len(text)} characters and its block takes {limit_chars}.",
                "shorten the file, or raise memory.block_limit_chars",
            )
        blocks.append(Block(label, text, limit_chars, description))
    return machinery.agents.create(
        wish.agent_name or _free_name(machinery.agents, persona_name),
        model=model,
        persona_name=persona_name,
        human_name=config.human,
        blocks=blocks,
        settings={name: wish.flags[name] for name in ("model", "api_base") if wish.flags.get(name)},
    )


def default_persona(model: str) -> str:
    """Return the persona that suits a model: the built-in one is a clerk, and says so."""
    return "clerk" if model == BUILTIN_MODEL else "sam"


def processor_for(settings: Settings, machinery_places: Places, environ: Mapping[str, str]) -> Processor:
    """Return the processor of `settings.config.model`, not yet loaded. Raises: BadInput, NotConfigured."""
    config, model = settings.config, settings.config.model
    kind, _, path = model.partition(":")
    if kind == "scripted":
        from memos.llm.scripted import ScriptedProcessor

        return ScriptedProcessor.from_file(Path(path).expanduser())
    if model == BUILTIN_MODEL or kind == "gguf":
        return _embedded(settings, machinery_places)
    from memos.llm.catalogue import key_variables, provider_of
    from memos.llm.litellm_processor import LitellmProcessor

    provider = provider_of(model)
    key = find_key(settings, machinery_places, environ, provider=provider, variables=key_variables(provider))
    return LitellmProcessor(
        model,
        api_base=config.api_base or None,
        api_key=key.value if key else None,
        window_tokens=config.window_tokens or None,
        max_reply_tokens=config.max_reply_tokens or None,
        temperature=config.temperature,
        connect_timeout_s=config.timeouts.connect_s,
        first_byte_timeout_s=config.timeouts.first_byte_s,
        gap_timeout_s=config.timeouts.gap_s,
    )


def _embedded(settings: Settings, places: Places) -> Processor:
    from memos.llm.embedded import EmbeddedProcessor
    from memos.llm.weights import builtin_weights

    config = settings.config
    return EmbeddedProcessor(
        config.model,
        lambda report: builtin_weights(places.cache, report),
        threads=config.embedded.threads or None,
        window_tokens=config.window_tokens or None,
        similarity=_similarity(config.memory.embedding),
    )


def _similarity(embedding: str) -> Callable[[str, Sequence[str]], list[float]] | None:
    if embedding == "none":
        return None
    from memos.memory.embedders import similarity

    return similarity(shared_embedder())


@functools.cache
def shared_embedder() -> Embedder:
    """Return the one built-in embedder of this process; its weights are loaded when first used."""
    from memos.memory.embedders import builtin_embedder

    return builtin_embedder()


@asynccontextmanager
async def open_session(machinery: Machinery, agent: Agent, settings: Settings, wish: Wish) -> AsyncIterator[Session]:
    """Wire one conversation with `agent`, its kernel running unless it is read-only; close all of it at the end.

    Raises: AgentInUse, BadInput, NotConfigured.
    """
    lock = AgentLock(machinery.places.locks, agent.id, agent.name)
    if not wish.read_only:
        lock.acquire(take_over=wish.take_over)
    try:
        wiring = _Wiring(machinery, machinery.agents.reload(agent), settings)
        async with wiring.running(read_only=wish.read_only) as session:
            yield session
    finally:
        lock.release()
