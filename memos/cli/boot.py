"""Where objects are wired, and nowhere else: from settings and an agent to a session that can talk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from memos import __version__
from memos.cli.agent_choice import CLERK, Machinery, Wish
from memos.cli.agent_models import AgentModels, limits_of, paging_of
from memos.cli.days import in_words
from memos.cli.incognito import header_line, tell_agent
from memos.cli.other_agents import OtherAgents
from memos.config import Config, Places, Settings, find_key
from memos.config.parameters import sampling_params
from memos.errors import BadInput, MemosError, NotConfigured, StorageProblem
from memos.functions.process_functions import ProcessFunctions
from memos.functions.table import FunctionTable
from memos.kernel.executor import Executor
from memos.kernel.housekeeping import index_when_idle
from memos.kernel.kernel import Kernel, Machine
from memos.kernel.main_context import MainContext
from memos.kernel.operator import Operator
from memos.kernel.queue_manager import QueueManager
from memos.kernel.syscalls import KernelSyscalls
from memos.llm.catalogue import BUILTIN_MODEL, SMALL_MODEL
from memos.memory.archival_storage import ArchivalStorage
from memos.memory.finder import Finder
from memos.memory.index import Index, builtin_embedder, known_dims
from memos.memory.recall_storage import RecallStorage, Words
from memos.memory.working_context import Revision, WorkingContext
from memos.messages import Block, Event, EventKind, TokenUsage, utc_now
from memos.storage.agent_lock import AgentLock
from memos.storage.agents import Agent
from memos.storage.database import Database
from memos.storage.intention import broken_off, intention_file
from memos.storage.model_notes import ModelNotes
from memos.storage.usage_ledger import ModelCall, UsageLedger
from memos.terminal.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from memos.llm.processor import Processor
    from memos.llm.remote_processor import RemoteProcessor
    from memos.llm.road import Road
    from memos.memory.forgetting import Forgetting


def is_embedded(model: str) -> bool:
    """Whether a model string names a model that runs inside memos."""
    return model.startswith(("builtin/", "gguf:"))


def is_remote(model: str) -> bool:
    """Whether a model string names a model behind an endpoint."""
    return not is_embedded(model) and not model.startswith("scripted:")


def processor_for(
    settings: Settings,
    places: Places,
    environ: Mapping[str, str],
    notes: ModelNotes | None = None,
    *,
    keep_prefixes: bool = True,
) -> Processor:
    """Return the processor of `settings.config.model`, not yet loaded. Raises: BadInput, NotConfigured.

    `notes` keeps what is learned of a remote model: how it counts tokens, what it can do. `keep_prefixes`: what a model
    in the process has read of our fixed prompts may be written to the cache folder.
    """
    config, model = settings.config, settings.config.model
    _check_call_format(config)
    if model.startswith("scripted:"):
        from memos.llm.chain_follower import CHAIN_FOLLOWER, ChainFollower
        from memos.llm.scripted import ScriptedProcessor

        if model == CHAIN_FOLLOWER:
            return ChainFollower(config.window_tokens or None)
        return ScriptedProcessor.from_model(model, config.window_tokens or None)
    if is_embedded(model):
        return _embedded(settings, places, places.cache / "prefixes" if keep_prefixes else None)
    return _remote(settings, places, environ, notes)


def _check_call_format(config: Config) -> None:
    """Refuse a format that the model cannot be asked in. Raises: BadInput."""
    model, name = config.model, config.call_format
    if is_embedded(model) and name not in ("auto", "decomposed", "json_schema", "grammar"):
        what = f'{model} runs inside memos, where call_format "{name}" means nothing.'
    elif is_remote(model) and name == "decomposed":
        what = f'call_format "decomposed" is for models that run inside memos, and {model} does not.'
    else:
        return
    raise BadInput(what, "memos configure --set call_format=auto")


async def check_model(settings: Settings, places: Places, environ: Mapping[str, str]) -> None:
    """Find out, without contact to anyone, whether a model can be meant at all; seconds for providers nobody listed.

    Raises: BadInput, NotConfigured.
    """
    from memos.llm.catalogue import KEYLESS_PREFIXES, provider, provider_of

    processor = processor_for(settings, places, environ)
    prefix = provider_of(settings.config.model)
    if is_remote(settings.config.model) and not provider(prefix) and prefix not in KEYLESS_PREFIXES:
        await cast("RemoteProcessor", processor).check()  # what `_remote` returns; not imported for the others' sake
    await processor.aclose()


def _remote(
    settings: Settings, places: Places, environ: Mapping[str, str], notes: ModelNotes | None = None
) -> RemoteProcessor:
    from memos.llm.call_formats import first_format
    from memos.llm.catalogue import local_address, provider_of, wants_thoughts_back
    from memos.llm.remote_processor import Patience, RemoteProcessor
    from memos.llm.road import NO_KEY

    config, timeouts = settings.config, settings.config.timeouts
    # A provider's key from the environment never goes to another server.
    key = _key(settings, places, environ, config.model, "memos configure")
    if key is None and config.api_base and provider_of(config.model) != "bedrock":  # which signs by AWS's own keys
        key = NO_KEY
    return RemoteProcessor(
        config.model,
        _road(config, key),
        api_base=config.api_base or local_address(config.model) or None,
        api_key=key,
        window_tokens=config.window_tokens or None,
        params=sampling_params(config),
        stream=config.streaming,
        call_format=config.call_format,
        first_format=first_format(config.model),
        signed_thoughts=wants_thoughts_back(config.model),
        patience=Patience(first_byte_s(config), timeouts.gap_s),
        notes=notes,
    )


def _road(config: Config, key: str | None) -> Road:
    """Return the shortest road to a remote model, or the one that was chosen. Raises: BadInput."""
    from memos.llm.catalogue import (
        local_address,
        local_kind,
        name_at_endpoint,
        openai_address,
        provider_of,
        redirection,
    )

    model, connect_s = config.model, config.timeouts.connect_s
    kind, address = local_kind(provider_of(model)), openai_address(model, config.api_base)
    if kind is not None and kind.prefix == "koboldcpp" and config.road == "litellm":
        what = 'litellm knows no koboldcpp, and road "litellm" is set.'
        raise BadInput(what, f"name it openai/{name_at_endpoint(model)}, or memos configure --set road=auto")
    if kind is not None and not kind.api_path and config.road != "litellm":
        from memos.llm.ollama_road import OllamaRoad

        server = local_address(model, config.api_base)
        return OllamaRoad(name_at_endpoint(model), server, key, connect_timeout_s=connect_s)
    if kind is not None and kind.prefix == "koboldcpp":
        from memos.llm.kobold_road import KoboldRoad

        return KoboldRoad(name_at_endpoint(model), address, key, connect_timeout_s=connect_s)
    if not address and config.road == "httpx":
        raise BadInput(
            f'{model} has no OpenAI-compatible address, which road "httpx" needs.',
            "name one as api_base, or memos configure --set road=auto",
        )
    if address and config.road != "litellm":
        from memos.llm.httpx_road import HttpxRoad

        typed = bool(config.api_base or redirection(model))
        return HttpxRoad(name_at_endpoint(model), address, key, connect_timeout_s=connect_s, mends_address=typed)
    from memos.llm.litellm_road import LitellmRoad

    return LitellmRoad(model, api_base=config.api_base or None, api_key=key, connect_timeout_s=connect_s)


def first_byte_s(config: Config) -> float:
    """Return how long the first byte of the model's reply is waited for: longer where its server is near."""
    from memos.llm.catalogue import is_near

    near = is_near(config.model, config.api_base)
    return config.timeouts.first_byte_local_s if near else config.timeouts.first_byte_s


def _key(settings: Settings, places: Places, environ: Mapping[str, str], who: str, otherwise: str) -> str | None:
    """Return the key of `settings.config.model` and its server, None where there is none and none is needed.

    Raises: BadInput, NotConfigured, which names `who` needs it and what to do `otherwise`.
    """
    from memos.llm.catalogue import key_variables, needs_key, provider, provider_of

    config, prefix = settings.config, provider_of(settings.config.model)
    variables = key_variables(prefix)
    key = find_key(settings, places, environ, provider=prefix, variables=variables)
    if key is None and provider(prefix) and needs_key(config.model, config.api_base):
        raise NotConfigured(
            f"{who} needs a key, and {variables[0]} is not set.", f"export {variables[0]}=…, or {otherwise}"
        )
    return key.value if key else None


def is_remote_embedding(embedding: str) -> bool:
    """Whether the setting `memory.embedding` names a model that gets the text of messages."""
    return "/" in embedding and not embedding.startswith("builtin/")


def open_index(
    settings: Settings, places: Places, environ: Mapping[str, str], database: Database, *, forget: bool = False
) -> Index:
    """Return the index for `memory.embedding`; nothing is read or asked yet. `forget`: what is known of its vectors.

    Raises: BadInput, NotConfigured (a key is missing).
    """
    memory = settings.config.memory
    if not is_remote_embedding(memory.embedding):
        return Index.open(places.vectors, database, memory.embedding)
    from memos.llm.remote_embedder import RemoteEmbedder, space_name
    from memos.memory.embedders import PAYER

    model, api_base = memory.embedding, memory.embedding_api_base or None
    timeouts, ledger = settings.config.timeouts, UsageLedger(database)

    def record(usage: TokenUsage, cost_usd: float | None) -> None:
        with suppress(StorageProblem):  # the vectors are there; what they cost is not worth losing them
            ledger.record(PAYER.get(), "", ModelCall(model, "embed", usage, cost_usd))

    embedder = RemoteEmbedder(
        model,
        api_base=api_base,
        api_key=_embedding_key(settings, places, environ),
        dims=0 if forget else known_dims(database, space_name(model, api_base)),
        timeout_s=timeouts.first_byte_s,
        on_call=record,
    )
    return Index.of(places.vectors, database, embedder)


def _embedding_key(settings: Settings, places: Places, environ: Mapping[str, str]) -> str | None:
    """Return the key of the remote embedder: its own, never that of the chat model's server.

    Raises: BadInput, NotConfigured.
    """
    memory = settings.config.memory
    config = replace(
        settings.config,
        model=memory.embedding,
        api_base=memory.embedding_api_base,
        api_key_env=memory.embedding_api_key_env,
    )
    who = f"{memory.embedding}, the embedding model,"
    otherwise = "memos configure --set memory.embedding=builtin/minilm"
    return _key(Settings(config, settings.origins), places, environ, who, otherwise)


def _embedded(settings: Settings, places: Places, prefix_folder: Path | None) -> Processor:
    from memos.llm.embedded import EmbeddedProcessor
    from memos.llm.weights import BUILTIN, builtin_weights

    config = settings.config
    return EmbeddedProcessor(
        config.model,
        lambda report: builtin_weights(places.cache, report, BUILTIN[config.model]),
        lambda texts: builtin_embedder().token_states(texts),
        threads=config.embedded.threads or None,
        window_tokens=config.window_tokens or None,
        prefix_folder=prefix_folder,
        call_format=config.call_format,
    )


@asynccontextmanager
async def open_session(
    machinery: Machinery, agent: Agent, settings: Settings, wish: Wish, *, stays: bool
) -> AsyncIterator[Session]:
    """Wire one conversation with `agent`, its kernel running unless it is read-only; close all of it at the end.

    Where it `stays` open, the model is made ready ahead of the first message, and the index catches up when idle.

    Raises: AgentInUse, BadInput, NotConfigured.
    """
    with _held(machinery, agent, wish):
        if wish.incognito:
            tell_agent(machinery.database, agent)
        wiring = _Wiring(machinery, machinery.agents.reload(agent), settings, wish)
        async with wiring.running(read_only=wish.read_only, stays=stays) as session:
            yield session


@contextmanager
def _held(machinery: Machinery, agent: Agent, wish: Wish) -> Iterator[None]:
    """Hold the agent within the block, unless nothing of it will be written. Raises: AgentInUse."""
    if wish.read_only or wish.incognito:
        yield
        return
    lock = AgentLock(machinery.places.locks, agent.id, agent.name)
    lock.acquire(take_over=wish.take_over)
    try:
        yield
    finally:
        lock.release()


class _Wiring:
    """The objects of one conversation."""

    def __init__(self, machinery: Machinery, agent: Agent, settings: Settings, wish: Wish) -> None:
        self._machinery = machinery
        self._agent = agent
        self._settings = settings
        self._wish = wish
        database = machinery.database
        self._index = _index_or_words(settings, machinery)
        if wish.incognito:
            self._index = replace(self._index, indexer=None)
        self._syscalls = KernelSyscalls(machinery.agents, agent)
        self._memory = WorkingContext(database, agent.id, self._syscalls)
        self._recall = RecallStorage(database, agent.id, agent.name, self._index.search("recall"), self._syscalls)
        self._notes = ModelNotes(database)
        self._models = AgentModels(machinery, agent, settings, self._processor, self._check)
        summariser = settings.config.paging.summariser
        self._summary_processor = self._models.beside(summariser) if summariser else None
        self._archival = ArchivalStorage(database, agent.id, self._index.search("archival"), self._syscalls)
        self._kernel = Kernel(agent, self._machine())
        self._models.drive(self._kernel)

    def _machine(self) -> Machine:
        config, database = self._settings.config, self._machinery.database
        providers = [ProcessFunctions(self._syscalls), self._memory, self._recall, self._archival]
        table = FunctionTable(providers, self._agent.settings.get("functions"))
        queue_manager = QueueManager(database, self._machinery.agents, self._agent, self._recall)
        main_context = MainContext(
            database,
            table,
            self._memory,
            self._recall,
            queue_manager,
            paging_of(config),
            self._summary_processor,
        )
        return Machine(
            processors=self._models.line(),
            main_context=main_context,
            queue_manager=queue_manager,
            executor=Executor(database, table, queue_manager, self._syscalls),
            limits=limits_of(config),
            idle_heartbeat_s=config.heartbeat_minutes * 60.0,
        )

    def _processor(self, settings: Settings) -> Processor:
        places, kept = self._machinery.places, not self._wish.incognito
        return processor_for(settings, places, self._machinery.environ, self._notes, keep_prefixes=kept)

    async def _check(self, settings: Settings) -> None:
        await check_model(settings, self._machinery.places, self._machinery.environ)

    @asynccontextmanager
    async def running(self, *, read_only: bool, stays: bool) -> AsyncIterator[Session]:
        """Yield the session, its tasks running; end them afterwards, the kernel first."""
        work = [] if read_only else [self._kernel.run(), self._keep_notes()]
        tasks = [asyncio.create_task(coroutine) for coroutine in work]
        if stays and not read_only:
            tasks.append(asyncio.create_task(self._keep_house()))
        if read_only:
            await self._kernel.look()
        try:
            yield self._session(read_only=read_only, stays=stays)
        finally:
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception):
                    logging.getLogger(__name__).error("a task of the session failed", exc_info=outcome)
            await self._models.aclose()
            await self._kernel.machine.processors.aclose()
            if self._summary_processor:
                await self._summary_processor.aclose()
            await self._store_notes()
            await asyncio.to_thread(self._index.close)

    async def _keep_notes(self) -> None:
        """Write what was learned of the model after each turn that taught something."""
        while True:
            await self._kernel.next_turn()
            await self._store_notes()

    async def _store_notes(self) -> None:
        with suppress(StorageProblem):  # learned again; what must be kept says so itself
            await self._machinery.database.run(self._notes.store)

    async def _keep_house(self) -> None:
        with suppress(MemosError):  # the turn that needs the processor will say so
            await self._kernel.processor.warm_up()
        if self._index.indexer:
            await index_when_idle(self._kernel, self._index.indexer.step)

    def _session(self, *, read_only: bool, stays: bool) -> Session:
        config, places, incognito = self._settings.config, self._machinery.places, self._wish.incognito
        database, let_go = self._machinery.database, self._index.let_go
        return Session(
            kernel=self._kernel,
            agent=self._agent,
            memory=StoredMemory(self._memory, self._recall),
            operator=Operator(
                database, self._kernel, self._memory, self._archival, lambda: forgetting_of(places, database, let_go)
            ),
            models=self._models,
            usage=UsageLedger(self._machinery.database),
            finder=Finder(self._index),
            words_finder=Finder(Index(self._machinery.database)) if config.terminal.recall_as_you_type else None,
            agents=OtherAgents(self._machinery, self._agent, self._wish, self._recall, self._check),
            settings=self._settings_now,
            header=[
                *header(self._agent, config, places, incognito=incognito),
                *(self._better_model() if stays and not read_only else []),
                *filter(None, [self._index.problem or embedding_note(config), unfinished_erasure(self._machinery)]),
            ],
            history_file=None if incognito else places.history_file,
            drafts_folder=None if incognito else places.drafts,
            log_file=None if incognito else places.log_file,
            read_only=read_only,
            incognito=incognito,
            screen=config.terminal,
            login=self._login() if config.terminal.greet and not read_only else None,
        )

    def _better_model(self) -> list[str]:
        """Return what is said once of a better model, where the clerk answers and files may be written."""
        if self._models.settings.config.model != BUILTIN_MODEL or self._wish.incognito:
            return []
        from memos.cli.better_model import told_once

        told = told_once(self._machinery.places, self._machinery.environ)
        return [told] if told else []

    def _settings_now(self) -> Sequence[tuple[str, str, str]]:
        from memos.cli.configure import rows_of

        return rows_of(self._models.settings)

    def _login(self) -> Event:
        now, before = utc_now(), self._agent.last_login_at
        self._machinery.agents.note_login(self._agent, now)
        last = {"last_login": before.isoformat(), "away_for": in_words(now - before)} if before else {}
        return Event(EventKind.LOGIN, payload=last or {"last_login": "never"}, created_at=now)


def forgetting_of(places: Places, database: Database, let_go: Callable[[], None] = lambda: None) -> Forgetting:
    """Return what erases words from all that lies in `places`."""
    from memos.memory.forgetting import Forgetting
    from memos.storage.home_files import HomeFiles

    portraits = (places.portraits("personas"), places.portraits("humans"))
    home = HomeFiles(places.roots, places.database, places.history_file, places.logs, places.drafts, portraits)
    return Forgetting(database, home, places.vectors, let_go)


def unfinished_erasure(machinery: Machinery) -> str:
    """Return one sentence where an erasure was broken off; empty where none was."""
    if broken_off(intention_file(machinery.places.database)) is None:
        return ""
    return "An erasure was broken off before its end. Next: /forget with the same words completes it."


@dataclass(frozen=True, slots=True)
class StoredMemory:
    """What `/memory` shows, read from the database."""

    working_context: WorkingContext
    recall: RecallStorage

    def blocks(self) -> Sequence[Block]:
        """Return the blocks of working context."""
        return self.working_context.blocks()

    def counts(self) -> tuple[int, int]:
        """Return how many messages recall storage and how many passages archival storage hold."""
        return self.recall.counts()

    def last_said(self, count: int) -> Sequence[Words]:
        """Return what was said last, oldest first."""
        return self.recall.last_said(count)

    def last_edits(self, count: int) -> Sequence[Revision]:
        """Return the newest edits, newest first."""
        return self.working_context.last_edits(count)


def _index_or_words(settings: Settings, machinery: Machinery) -> Index:
    """Return the index, or search by words alone where the embedder cannot be had: no reason not to talk."""
    try:
        return open_index(settings, machinery.places, machinery.environ, machinery.database)
    except MemosError as problem:
        return Index(machinery.database, problem=f"Search goes on by words alone: {problem}")


def embedding_note(config: Config) -> str:
    """Return one sentence on who gets the text of messages for search by meaning; empty where nobody does."""
    model = config.memory.embedding
    if not is_remote_embedding(model):
        return ""
    from memos.llm.remote_embedder import endpoint

    who = endpoint(model, config.memory.embedding_api_base)
    return f"Search by meaning: the text of all messages and passages goes to {who} ({model})."


def header(agent: Agent, config: Config, places: Places, *, incognito: bool = False) -> list[str]:
    """Return the lines drawn first: who this is, what it can do, where everything lies."""
    model = config.model
    lines = [f"memos {__version__} · {agent.name} · {model}"]
    if model == BUILTIN_MODEL:
        lines.append("A clerk of 135M parameters: it files what you tell it, finds and quotes it.")
        lines.append("It can't converse; a larger model can: memos configure")
    elif model == SMALL_MODEL:
        lines.append("1.5B parameters: it files and finds as the clerk does, and answers in words of its own.")
    elif agent.persona_name == CLERK and not is_embedded(model):
        lines.append("This agent is a clerk, made for the built-in model; memos run --new begins a companion.")
    if config.fallback_models:
        lines.append(f"Where {model} does not answer: {', then '.join(config.fallback_models)}.")
    everything = f"Everything stays in {places.data} · /help"
    lines.append(header_line(model, is_remote(model)) if incognito else everything)
    return lines
