"""The first start: nothing is configured, somebody is there. One menu, the best find preselected, Enter accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memos.config import Places, Settings, read_config, write_config
from memos.config.settings import Value
from memos.errors import MemosError, NotConfigured
from memos.llm.catalogue import LOCAL_SERVERS, LocalServerKind, Provider
from memos.llm.discovery import LocalServer, find_local_servers, list_provider_models
from memos.terminal.finds import COSTS, builtin_options, pick_model, providers_at_hand, wants_model
from memos.terminal.menus import Menus, Option

MODELS_PER_SERVER = 5


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model and, for a server on this computer, its address."""

    model: str
    api_base: str = ""


def choose_model(
    places: Places,
    environ: Mapping[str, str],
    menus: Menus | None = None,
    kinds: Sequence[LocalServerKind] = LOCAL_SERVERS,
) -> ModelChoice:
    """Ask which model to use, write the answer into config.toml, and return it.

    Looks at loopback and at the environment, for at most 1.5 s; a provider is asked only after it was picked.
    Not to be called on a running event loop.

    Raises: NotConfigured when the user leaves the menu; StorageProblem.
    """
    menus = menus or Menus()
    options = _options(places, environ, find_local_servers(kinds))
    try:
        menus.tell(COSTS)
        choice = _ask(menus, options, places, environ)
        if choice is None:
            return _by_wizard(places, environ, menus, kinds)
    except (KeyboardInterrupt, EOFError):
        raise NotConfigured("No model was chosen.", "memos run to choose, or memos configure") from None
    changes: dict[str, Value] = {"model": choice.model}
    if choice.api_base:
        changes["api_base"] = choice.api_base
    write_config(places.config_file, changes)
    return choice


Picked = ModelChoice | Provider | None
"""A model; a provider to be asked for its models; None: the full questions."""


def _options(places: Places, environ: Mapping[str, str], servers: list[LocalServer]) -> list[Option[Picked]]:
    """Return the menu, the best first: what is free and private, then what a key is there for, then built in."""
    options: list[Option[Picked]] = []
    for server in servers:
        for model in server.models[:MODELS_PER_SERVER]:
            options.append(Option(f"{model}: {server.title} on this computer", ModelChoice(model, server.api_base)))
    for provider, variable in providers_at_hand(environ):
        options.append(Option(f"{provider.title}: found {variable}; its models are asked for next", provider))
    options += [Option(title, ModelChoice(model)) for title, model in builtin_options(places.cache)]
    options.append(Option("Another model: paste a key, name a server or a file", None))
    return options


def _ask(menus: Menus, options: list[Option[Picked]], places: Places, environ: Mapping[str, str]) -> ModelChoice | None:
    while True:
        picked = menus.select("Which model should the agent think with?", options)
        if isinstance(picked, ModelChoice) and not wants_model(menus, places.cache, picked.model):
            continue
        if not isinstance(picked, Provider):
            return picked
        try:
            return ModelChoice(_from_provider(menus, picked, environ))
        except MemosError as error:
            menus.tell(f"✗ {error}")


def _from_provider(menus: Menus, provider: Provider, environ: Mapping[str, str]) -> str:
    keys = (environ.get(name, "").strip() for name in provider.key_variables)
    key = next((key for key in keys if key), "")
    models = list_provider_models(provider, key) if key else []
    return pick_model(menus, models, current="", prefix=provider.prefix)


def _by_wizard(
    places: Places, environ: Mapping[str, str], menus: Menus, kinds: Sequence[LocalServerKind]
) -> ModelChoice:
    from memos.terminal.wizard import Wizard

    settings = Settings.resolve({}, {}, {}, read_config(places.config_file).given)
    Wizard(places, environ, settings, menus, None, kinds).run()
    config = read_config(places.config_file).config
    return ModelChoice(config.model, config.api_base)
