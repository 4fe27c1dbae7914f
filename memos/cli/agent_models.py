"""Which models one agent runs on: the one it has, those that take over, and what a conversation may change of them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from memos.cli.agent_choice import Machinery
from memos.cli.models import absent_large_model, costs
from memos.config import Config, Settings, nearest_name, read_config
from memos.config.parameters import PARAMETERS, SAMPLING
from memos.config.settings import SETTINGS, Value, as_text
from memos.errors import BadInput
from memos.kernel.control import Limits
from memos.kernel.main_context import Paging
from memos.kernel.processor_line import Fallback, ProcessorLine
from memos.llm.catalogue import LOCAL_PREFIXES, LOCAL_SERVERS, LocalServerKind, provider_of, redirection
from memos.llm.processor import DEFAULT_WINDOW_TOKENS, Processor
from memos.storage.agents import Agent
from memos.terminal.session import Param

if TYPE_CHECKING:
    from memos.kernel.kernel import Kernel
    from memos.llm.discovery import LocalServer

Make = Callable[[Settings], Processor]
Check = Callable[[Settings], Awaitable[None]]


class AgentModels:
    """The models of one agent, and its kernel's line of processors made from them.

    `make` returns the processor of a model, `check` finds out whether a model can be meant; both raise BadInput and
    NotConfigured.
    """

    def __init__(self, machinery: Machinery, agent: Agent, settings: Settings, make: Make, check: Check) -> None:
        self.settings = settings
        self._machinery = machinery
        self._agent = agent
        self._make = make
        self._check = check
        self._kernel: Kernel | None = None
        self._retired: list[ProcessorLine] = []
        self._retiring: set[asyncio.Task[None]] = set()

    @property
    def model(self) -> str:
        """The model that the agent has."""
        return self.settings.config.model

    def line(self, settings: Settings | None = None, first: Processor | None = None) -> ProcessorLine:
        """Return the processors of these settings in order, the fallbacks not yet made.

        Raises: BadInput, NotConfigured.
        """
        settings = settings or self.settings
        config = settings.config
        names = [name for name in dict.fromkeys(config.fallback_models) if name != config.model]
        fallbacks = [Fallback(name, functools.partial(self.beside, name, settings)) for name in names]
        return ProcessorLine(first or self._make(settings), fallbacks)

    def beside(self, model: str, settings: Settings | None = None) -> Processor:
        """Return the processor of a further model, asked in the way that suits it. Raises: BadInput, NotConfigured."""
        way = self._way_to(model, settings or self.settings)
        return self._make(self._resolved({**way, "call_format": "auto"}))

    def drive(self, kernel: Kernel) -> None:
        """Let `kernel` run on what is changed here."""
        self._kernel = kernel

    async def aclose(self) -> None:
        """Close the processors that were in use before a change."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        for line in self._retired:
            await line.aclose()

    # --- what `/model` shows ---------------------------------------------------------------------------------

    def names(self) -> Sequence[str]:
        """Return the models that may be meant: those of this agent, and the built-in ones."""
        from memos.llm.weights import BUILTIN

        config = self.settings.config
        given = str(read_config(self._machinery.places.config_file).given.get("model", ""))
        return [name for name in dict.fromkeys((config.model, *config.fallback_models, given, *BUILTIN)) if name]

    def describe(self) -> Sequence[str]:
        """Return what is known of the model that answers, and of those that would take over."""
        line, processor = self._driven.machine.processors, self._driven.processor
        lines = [f"{processor.model} answers{_at(self.settings, processor.model)}. {_window_words(processor)}"]
        if processor.model != line.models[0]:
            lines.append(
                f"{line.models[0]} did not, and is left alone for {line.rests_for_s(line.models[0]):.0f} s more."
            )
        if line.models[1:]:
            lines.append(f"Where {line.models[0]} does not answer: {', then '.join(line.models[1:])}.")
        return [*lines, *_card_lines(processor)]

    # --- /model NAME -----------------------------------------------------------------------------------------

    async def switch(self, model: str, api_base: str | None = None) -> Sequence[str]:
        """Let the next step run on `model`, from now on and after a restart; return what that means.

        `api_base` is the address the user named; '' is the provider's own.

        Raises: MemosError, and nothing is changed.
        """
        from memos.cli.configure import absolute_model

        model = absolute_model(model)
        if api_base is not None:
            SETTINGS["api_base"].checked(api_base, "--api-base")
        way = self._way_to(model, self.settings, api_base)
        server = await self._usual_server(model) if api_base is None and not way["api_base"] else None
        way |= {"api_base": server.api_base} if server else {}
        settings = self._resolved(way)
        if found := await asyncio.to_thread(absent_large_model, self._machinery.places, model):
            raise BadInput(
                f"It is not on this computer yet. {costs(model, found)}",
                f"in another terminal: memos models get {model}",
            )
        await self._check(settings)
        processor = self._make(settings)
        try:
            words = await self._what_it_means(processor, settings)
            line = self.line(settings, processor)
        except BaseException:
            await processor.aclose()
            raise
        given = read_config(self._machinery.places.config_file).given
        await self._keep(
            {name: value if value or name == "api_base" or name in given else None for name, value in way.items()}
        )
        self._put_to_work(settings, line)
        return [*words, *_not_listed(model, server), *self._of_the_environment()]

    def _way_to(self, model: str, settings: Settings, api_base: str | None = None) -> dict[str, Any]:
        """Return the settings that are a model's own: what was set for another provider's is not taken along."""
        given = read_config(self._machinery.places.config_file).given
        if provider_of(model) == provider_of(settings.config.model):
            address, key_variable = settings.config.api_base, settings.config.api_key_env
        elif provider_of(model) == provider_of(str(given.get("model", ""))):
            address, key_variable = str(given.get("api_base", "")), str(given.get("api_key_env", ""))
        else:
            address, key_variable = "", ""
        if api_base is not None and api_base != address:
            address, key_variable = api_base, ""
        window: Value = settings.config.window_tokens if model == settings.config.model else 0
        if model == given.get("model") != settings.config.model:
            window = given.get("window_tokens", 0)
        return {"model": model, "api_base": address, "api_key_env": key_variable, "window_tokens": window}

    async def _usual_server(self, model: str) -> LocalServer | None:
        """Return the server on this computer that models of this kind are asked from, None where there is no such kind.

        Raises: BadInput where nothing answers.
        """
        kind = _usual_kind(model)
        if kind is None or redirection(model):
            return None
        from memos.llm.discovery import find_local_servers

        found = await asyncio.to_thread(find_local_servers, [kind])
        if not found:
            raise BadInput(
                f"Nothing answers at 127.0.0.1:{kind.port}, where {kind.title} usually is.",
                f"start it, or name its address: /model {model} --api-base URL",
            )
        return found[0]

    async def _what_it_means(self, processor: Processor, settings: Settings) -> list[str]:
        """Return what changes for the agent with this processor. Raises: BadInput where no prompt could fit."""
        await self._driven.opened()
        if processor.window_tokens is None:
            await processor.warm_up()
        main_context = self._driven.machine.main_context
        _, gauge = await main_context.measured(processor)
        fixed, room = gauge.tokens.fixed + gauge.tokens.margin, gauge.room_tokens
        if fixed >= room:
            raise BadInput(
                f"Instructions, functions and core memory alone take {fixed:,} of the {room:,} tokens that a prompt for"
                f" {processor.model} may have.",
                "choose a model with a larger window, or shorten core memory.",
            )
        flushes = gauge.fill > settings.config.paging.flush_percent / 100
        model = processor.model
        unseen = processor.sees is False and any(m.attachments for m in self._driven.machine.queue_manager.queue)
        return [
            f"{self._agent.name} goes on with {model}{_at(settings, model)}; its memory is the same.",
            *_consequences(processor, flushes=flushes),
            *(["It sees no images: it gets the names and sizes of yours."] if unseen else ()),
        ]

    def _of_the_environment(self) -> list[str]:
        names = [SETTINGS[name].variable for name in ("model", "api_base")]
        names = [name for name in names if self._machinery.environ.get(name, "").strip()]
        return [f"{' and '.join(names)} in the environment will stand above this at the next start."] if names else []

    # --- /params ---------------------------------------------------------------------------------------------

    def params(self) -> Sequence[Param]:
        """Return the sampling parameters and the bounds on a turn, with where each value comes from."""
        return [
            Param(
                name,
                _shown(self.settings.value(name)),
                self.settings.origins[name],
                as_text(SETTINGS[name].sample_value),
            )
            for name in PARAMETERS
        ]

    async def set_params(self, assignments: Sequence[str]) -> None:
        """Set or unset (`NAME=`) parameters for this agent, from the next step on and after a restart.

        Raises: BadInput, and nothing is changed.
        """
        changes = dict(_parameter(text) for text in assignments)
        sampling = sorted(changes.keys() & set(SAMPLING))
        names = self._driven.machine.processors.models
        if sampling and all(provider_of(name) in LOCAL_PREFIXES for name in names):
            raise BadInput(
                f"{self.model} runs inside memos, where {sampling[0]} means nothing.",
                "set the bounds on a turn (/params limits.steps=20), or choose another model: /model",
            )
        settings = self._resolved({name: None for name in changes}, changes)
        for name, value in changes.items():
            if value is not None and settings.origins[name] != "agent":
                raise BadInput(
                    f"{name} is {_shown(settings.value(name))} by {settings.origins[name]}, which no agent overrides.",
                    "unset that variable and start memos again.",
                )
        line = self.line(settings) if sampling else None
        await self._keep(changes)
        self._put_to_work(settings, line)

    # --- putting to work -------------------------------------------------------------------------------------

    @property
    def _driven(self) -> Kernel:
        assert self._kernel is not None, "drive() comes first"
        return self._kernel

    def _resolved(self, flags: Mapping[str, Any], changes: Mapping[str, Value] = {}) -> Settings:
        """Return what holds with these flags over those of the command line, None takes one out of them; `changes` are
        put over what the agent keeps. Raises: BadInput."""
        of_command_line = {name: self.settings.value(name) for name, o in self.settings.origins.items() if o == "flag"}
        kept = {**self._machinery.agents.reload(self._agent).settings, **changes}
        given = read_config(self._machinery.places.config_file).given
        return Settings.resolve({**of_command_line, **flags}, self._machinery.environ, kept, given)

    async def _keep(self, changes: Mapping[str, Value]) -> None:
        await self._machinery.database.run(lambda: self._machinery.agents.keep_settings(self._agent, changes))

    def _put_to_work(self, settings: Settings, line: ProcessorLine | None) -> None:
        """Let the kernel's next step run as `settings` say, on `line` if there is a new one."""
        self.settings = settings
        machine = self._driven.machine
        machine.limits = limits_of(settings.config)
        machine.main_context.paging = paging_of(settings.config)
        if line is not None:
            machine.main_context.forget_refusals(settings.config.model)
            self._retired.append(machine.processors)
            task = asyncio.create_task(self._retire(machine.processors))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
            machine.processors = line

    async def _retire(self, line: ProcessorLine) -> None:
        """Close processors once no step runs on them."""
        if self._driven.busy:
            await self._driven.next_turn()
        self._retired.remove(line)
        await line.aclose()


def limits_of(config: Config) -> Limits:
    """Return the bounds on a turn."""
    limits = config.limits
    return Limits(limits.steps, limits.identical_calls, limits.turn_tokens, limits.turn_seconds, limits.turn_usd)


def paging_of(config: Config) -> Paging:
    """Return how the queue is paged."""
    paging = config.paging
    return Paging(
        paging.warn_percent / 100,
        paging.flush_percent / 100,
        paging.evict_percent / 100,
        config.max_reply_tokens or 0,
    )


def _parameter(text: str) -> tuple[str, Value]:
    """Return what `NAME=VALUE` says; None for no value. Raises: BadInput."""
    name, equals, value = text.partition("=")
    if name not in PARAMETERS:
        guess = nearest_name(name, PARAMETERS)
        hint = f"{guess} may be meant" if guess else f"it knows {', '.join(PARAMETERS)}"
        raise BadInput(f'/params knows no "{name:.60}".', hint)
    example = f"/params {name}={as_text(SETTINGS[name].sample_value)}"
    if not equals:
        raise BadInput(f"{name} needs a value.", f"{example}, or {name}= to unset it")
    try:
        return name, SETTINGS[name].parsed(value, "/params") if value else None
    except BadInput as error:
        raise BadInput(error.what, f"for example: {example}") from None


def _shown(value: Value) -> str:
    return "" if value is None else as_text(value)


def _usual_kind(model: str) -> LocalServerKind | None:
    """Return the kind of server on this computer that models of this provider are asked from."""
    prefix = provider_of(model)
    prefix = "ollama_chat" if prefix == "ollama" else prefix
    return next((kind for kind in LOCAL_SERVERS if kind.prefix == prefix != "openai"), None)


def _not_listed(model: str, server: LocalServer | None) -> list[str]:
    if server is None or not server.models:
        return []
    name = model.partition("/")[2]
    offered = [listed.partition("/")[2] for listed in server.models]
    if name in offered or f"{name}:latest" in offered:
        return []
    return [f"{server.title} does not list {name}; it has {', '.join(offered[:5])}."]


def _at(settings: Settings, model: str) -> str:
    config = settings.config
    return f" at {config.api_base}" if config.api_base and model == config.model else ""


def _window_words(processor: Processor) -> str:
    if processor.window_tokens is None:
        return f"Its window is unknown; memos reckons with {DEFAULT_WINDOW_TOKENS:,} tokens."
    return f"Its window is {processor.window_tokens:,} tokens."


def _consequences(processor: Processor, *, flushes: bool) -> list[str]:
    """Return what it means for an agent to run on `processor`, its capability card included where it has one."""
    from memos.llm.capability_card import FormatName

    window = _window_words(processor)
    words = [f"{window[:-1]}: the older part of the queue is flushed at the next step." if flushes else window]
    if not processor.reads_queue:
        words.append("It reads only the newest messages; what came before is found by search.")
    if not processor.summarises:
        words.append("It writes no summaries: the messages' own words stand in their place.")
    card = getattr(processor, "card", None)
    if card is not None and card.best() is FormatName.PLAIN:
        words.append("It was seen to call no functions: it talks, and cannot edit its memory.")
    return words


def _card_lines(processor: Processor) -> list[str]:
    """Return how a remote model is asked, and what was seen of it: where that comes from, then line by line."""
    from memos.llm.capability_card import origin, rows
    from memos.llm.remote_processor import RemoteProcessor

    if not isinstance(processor, RemoteProcessor):
        return []
    asked, card = f"Its functions are offered in the call format {processor.format_name.value}.", processor.card
    if not card.formats:
        return [f"{asked} Nothing was seen of it yet; memos doctor --probe tries it out."]
    return [f"{asked} Seen of it, {origin(card)}:", *(f"{name}: {words}" for name, words in rows(card))]
