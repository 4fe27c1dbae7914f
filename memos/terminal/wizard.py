"""`memos configure` at a terminal: where the model comes from, which one, a trial, and who a new agent is.

Nothing is written before the last question is answered: Ctrl-C at any point leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from memos.config import (
    Places,
    Portrait,
    Settings,
    find_key,
    key_name,
    list_humans,
    list_personas,
    store_key,
    write_config,
)
from memos.config.settings import Value
from memos.errors import BadInput, MemosError
from memos.llm.catalogue import LOCAL_SERVERS, PROVIDERS, LocalServerKind, Provider, key_variables, provider_of
from memos.llm.discovery import LocalServer, find_local_servers, list_provider_models
from memos.terminal.amounts import counted
from memos.terminal.finds import builtin_options, pick_model, providers_at_hand, reach_endpoint, wants_model
from memos.terminal.menus import Menus, Option

Trial = Callable[[Settings], str]
"""Makes one real call and returns a sentence on how it went; raises MemosError when the model cannot be used."""

TryOut = Callable[[Settings, Menus], None]
"""Offers to find out what a model can do, at a cost that it names, and tells what it found."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A model as it was picked; `pasted_key` is stored only when the choice is kept."""

    model: str
    api_base: str = ""
    api_key_env: str = ""
    pasted_key: str = ""

    def changes(self, before: Settings) -> dict[str, Value]:
        """Return what config.toml must say. What was set for another model (its window) does not outlive it."""
        config = before.config
        changes: dict[str, Value] = {
            "model": self.model,
            "api_base": self.api_base or None,
            "api_key_env": self.api_key_env or None,
        }
        return changes if self.model == config.model else {**changes, "window_tokens": None}


Source = Provider | LocalServer | Choice | Literal["keep", "paste", "server", "file"]


class Wizard:
    """One run through the questions. `settings` are the answers that stand already."""

    def __init__(
        self,
        places: Places,
        environ: Mapping[str, str],
        settings: Settings,
        menus: Menus,
        trial: Trial | None,
        kinds: Sequence[LocalServerKind] = LOCAL_SERVERS,
        try_out: TryOut | None = None,
    ) -> None:
        self._places = places
        self._environ = environ
        self._settings = settings
        self._menus = menus
        self._trial = trial
        self._kinds = kinds
        self._try_out = try_out

    def run(self) -> None:
        """Ask, try, and write. Raises: KeyboardInterrupt (nothing written), StorageProblem, BadInput."""
        self._menus.tell("Looking for models on this computer …")
        servers = [server for server in find_local_servers(self._kinds) if server.models]
        choice = self._tried_choice(servers)
        config = self._settings.config
        suits: Option[str] = Option("The one that suits the model", "")
        persona = self._portrait("Who should a new agent be?", [suits], list_personas(self._places), config.persona)
        human = self._portrait("What should it know about you at first?", [], list_humans(self._places), config.human)
        self._keep(choice, {"persona": persona or None, "human": human or None})

    def _tried_choice(self, servers: list[LocalServer]) -> Choice:
        """Ask until a choice answers, or is kept all the same."""
        while True:
            try:
                choice = self._choose(self._source(servers))
            except MemosError as error:
                self._menus.tell(f"✗ {error}")
                continue
            if wants_model(self._menus, self._places.cache, choice.model) and self._accepted(choice):
                return choice

    # --- where the model comes from ---------------------------------------------------------------------------

    def _source(self, servers: list[LocalServer]) -> Source:
        options: list[Option[Source]] = []
        if self._settings.config.model:
            options.append(Option(f"Keep {self._settings.config.model}", "keep"))
        options += [Option(f"{s.title} on this computer, {counted(len(s.models), 'model')}", s) for s in servers]
        at_hand = providers_at_hand(self._environ)
        options += [Option(f"{provider.title} (found {variable})", provider) for provider, variable in at_hand]
        options += [Option(title, Choice(model)) for title, model in builtin_options(self._places.cache)]
        options += [
            Option("Another provider: paste a key", "paste"),
            Option("A server of your own, by its address", "server"),
            Option("A GGUF file on this computer", "file"),
        ]
        return self._menus.select("Which model should the agent think with?", options)

    def _choose(self, source: Source) -> Choice:
        config = self._settings.config
        if isinstance(source, LocalServer):
            model = pick_model(self._menus, list(source.models), current=config.model, prefix=_prefix(source))
            return Choice(model, source.api_base)
        if isinstance(source, Provider):
            return self._from_provider(source)
        if source == "keep":
            return Choice(config.model, config.api_base, config.api_key_env)
        if source == "paste":
            titles = [Option(provider.title, provider) for provider in PROVIDERS]
            return self._from_provider(self._menus.select("Which provider?", titles))
        if source == "server":
            return self._from_server()
        return source if isinstance(source, Choice) else Choice(f"gguf:{self._file()}")

    def _from_provider(self, provider: Provider) -> Choice:
        """Ask for a key where none is known, then ask the provider for its models."""
        pasted = ""
        key = self._known_key(provider.prefix, "")
        if key is None and not any(self._environ.get(name, "").strip() for name in provider.signs):
            key = pasted = self._required_key(provider.title)
        models = list_provider_models(provider, key) if key else []
        model = pick_model(self._menus, models, current=self._settings.config.model, prefix=provider.prefix)
        return Choice(model, pasted_key=pasted)

    def _from_server(self) -> Choice:
        config = self._settings.config
        address = self._menus.text("Address:", config.api_base or "http://127.0.0.1:8080/v1")
        pasted = ""
        key = self._known_key("openai", address)
        if key is None:
            key = pasted = self._menus.secret("Its key, if it wants one (not shown; Enter for none):")
        address, models = reach_endpoint(address, prefix="openai", key=key or None)
        model = pick_model(self._menus, models, current=config.model, prefix="openai")
        return Choice(model, address, pasted_key=pasted)

    def _known_key(self, prefix: str, api_base: str) -> str | None:
        """Return a key that is there already for this provider or address."""
        blank = Settings.resolve({"model": f"{prefix}/", "api_base": api_base}, {}, {}, {})
        key = find_key(blank, self._places, self._environ, provider=prefix, variables=key_variables(prefix))
        if key is None or key.origin.startswith("environment"):
            return key.value if key else None
        return key.value if self._menus.confirm(f"Use the key {key.masked} from {key.origin}?") else None

    def _required_key(self, title: str) -> str:
        while True:
            key = self._menus.secret(f"Key for {title} (not shown):")
            if key:
                return key
            self._menus.tell("Without a key this provider does not answer. Ctrl-C leaves.")

    def _file(self) -> Path:
        path = Path(self._menus.text("Path of the GGUF file:")).expanduser().absolute()
        if not path.is_file():
            raise BadInput(f"There is no file {path}.", "give the path of a .gguf file")
        return path

    # --- the trial, and keeping it ----------------------------------------------------------------------------

    def _accepted(self, choice: Choice) -> bool:
        """Try the choice with one real call; on failure the user decides. False: choose again."""
        if self._trial is None or not self._worth_a_trial(choice.model):
            return True
        while True:
            self._menus.tell(f"Trying {choice.model} with one real call …")
            try:
                self._menus.tell(f"✓ {self._trial(self._settings_with(choice))}")
            except MemosError as error:
                self._menus.tell(f"✗ {error}")
            else:
                if self._try_out is not None:
                    self._try_out(self._settings_with(choice), self._menus)
                return True
            answer = self._menus.select(
                "What now?",
                [
                    Option("Choose again", "again"),
                    Option("Try once more", "retry"),
                    Option("Keep it all the same", "keep"),
                ],
            )
            if answer != "retry":
                return answer == "keep"

    def _worth_a_trial(self, model: str) -> bool:
        """A built-in model is fetched when it is first used, with its progress shown; not here."""
        from memos.llm.weights import BUILTIN, is_present

        return model not in BUILTIN or is_present(self._places.cache, BUILTIN[model])

    def _settings_with(self, choice: Choice) -> Settings:
        flags = {"model": choice.model, "api_base": choice.api_base, "api_key_env": choice.api_key_env}
        changed = Settings.resolve(flags, {}, {}, {})
        config = replace(
            self._settings.config, model=choice.model, api_base=choice.api_base, api_key_env=choice.api_key_env
        )
        return Settings(config, changed.origins, choice.pasted_key)

    def _portrait(self, question: str, first: list[Option[str]], portraits: list[Portrait], current: str) -> str:
        usable = [portrait for portrait in portraits if not portrait.problem]
        options = first + [Option(f"{portrait.name}: {portrait.description}", portrait.name) for portrait in usable]
        if not options:
            return current
        names = [option.value for option in options]
        return self._menus.select(question, options, names.index(current) if current in names else 0)

    def _keep(self, choice: Choice, portraits: Mapping[str, Value]) -> None:
        """Write the key first: a config that names a model without its key would be worse than none."""
        if choice.pasted_key:
            name = key_name(provider_of(choice.model), choice.api_base)
            self._menus.tell(f"The key is in {store_key(self._places, name, choice.pasted_key)}.")
        write_config(self._places.config_file, {**choice.changes(self._settings), **portraits})
        self._menus.tell(f"Saved in {self._places.config_file}. Talk: memos run")


def _prefix(server: LocalServer) -> str:
    return server.models[0].partition("/")[0]
