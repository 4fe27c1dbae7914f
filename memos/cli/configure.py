"""`memos configure`: the wizard at a terminal, `--set` without one, `--show` to see what holds."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from memos.cli.endpoint_key import endpoint_key
from memos.cli.printing import note, print_table, print_text
from memos.config import Places, Settings, parse_assignments, read_config, write_config
from memos.config.settings import SETTINGS, Value
from memos.errors import BadInput, MemosError

_CHOICE_OF_MODEL = {"model", "api_base", "api_key_env"}


def configure(assignments: Sequence[str], *, non_interactive: bool, show: bool, test: bool, probe: bool = False) -> int:
    """Change or show settings and return the exit code. Raises: MemosError."""
    places = Places.find(os.environ)
    if show:
        return _show(places, os.environ)
    if assignments or non_interactive:
        return _set(places, os.environ, assignments, test=test, probe=probe)
    return _ask(places, os.environ, test=test)


def _set(places: Places, environ: Mapping[str, str], assignments: Sequence[str], *, test: bool, probe: bool) -> int:
    changes = parse_assignments(assignments)
    if not changes:
        raise BadInput("There is nothing to set.", "memos configure --set model=builtin/tiny")
    if isinstance(changes.get("model"), str):
        changes["model"] = absolute_model(str(changes["model"]))
    if isinstance(fallbacks := changes.get("fallback_models"), tuple):
        changes["fallback_models"] = tuple(absolute_model(model) for model in fallbacks)
    if test and changes.keys() & _CHOICE_OF_MODEL:
        _try(places, environ, changes)
    if probe:
        _probe(places, environ, changes)
    write_config(places.config_file, changes)
    note(f"Saved in {places.config_file}.")
    return 0


def _probe(places: Places, environ: Mapping[str, str], changes: Mapping[str, Value]) -> None:
    """Find out what the model can do; the flag has said yes to what that costs, which is told all the same."""
    from memos.cli.probing import Probing, progress
    from memos.llm.capability_card import rows

    settings = Settings.resolve(changes, environ, {}, read_config(places.config_file).given)
    probing = Probing.of(settings, places, environ)
    note(f"Trying out what {settings.config.model} can do: {probing.cost} …")
    for name, words in rows(probing.run(progress)):
        note(f"  {name}: {words}")


def _try(places: Places, environ: Mapping[str, str], changes: Mapping[str, Value]) -> None:
    """Make one real call with the new settings; nothing is written when it fails."""
    from memos.cli.trial import try_model

    settings = Settings.resolve(changes, environ, {}, read_config(places.config_file).given)
    if not settings.config.model:
        return
    try:
        _fetch_large_model(places, settings.config.model)
        note(f"Trying {settings.config.model} with one real call …")
        note(try_model(settings, places, environ))
    except MemosError:
        note("Nothing was changed (--no-test keeps a choice untried).")
        raise


def _fetch_large_model(places: Places, model: str) -> None:
    """Fetch a large built-in model, for it is named, with its progress shown: a trial lasts no longer than a call."""
    from memos.cli.models import absent_large_model, costs, fetch_shown

    if found := absent_large_model(places, model):
        note(costs(model, found))
        fetch_shown(places, model)


def absolute_model(model: str) -> str:
    """Return the model string with the path in `gguf:PATH` and `scripted:PATH` made absolute."""
    from memos.llm.chain_follower import CHAIN_FOLLOWER

    kind, colon, path = model.partition(":")
    if colon and kind in ("gguf", "scripted") and model != CHAIN_FOLLOWER:
        return f"{kind}:{Path(path).expanduser().absolute()}"
    return model


def _ask(places: Places, environ: Mapping[str, str], *, test: bool) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadInput("The questions need a terminal.", "memos configure --non-interactive --set model=…")
    from memos.terminal.finds import COSTS
    from memos.terminal.menus import Menus
    from memos.terminal.wizard import Wizard

    def trial(settings: Settings) -> str:
        from memos.cli.trial import try_model

        return try_model(settings, places, environ)

    def try_out(settings: Settings, menus: Menus) -> None:
        from memos.cli.probing import offer

        offer(settings, places, environ, menus)

    settings = Settings.resolve({}, {}, {}, read_config(places.config_file).given)
    try:
        menus = Menus()
        menus.tell(COSTS)
        Wizard(places, environ, settings, menus, trial if test else None, try_out=try_out).run()
    except (KeyboardInterrupt, EOFError):
        note("Nothing was changed.")
        return 130
    return 0


# --- What holds -----------------------------------------------------------------------------------------------


def _show(places: Places, environ: Mapping[str, str]) -> int:
    file = read_config(places.config_file)
    for warning in file.warnings:
        note(warning)
    settings = Settings.resolve({}, environ, {}, file.given)
    print_table(("setting", "value", "from"), [*rows_of(settings), _key_row(settings, places, environ)])
    print_text("")
    from memos.cli.boot import embedding_note

    if sends := embedding_note(settings.config):
        print_text(f"{sends}\n")
    for label, path in (
        ("settings", places.config_file),
        ("memory", places.database),
        ("state", places.state),
        ("weights", places.cache),
    ):
        print_text(f"{label:<10}{path}")
    return 0


def rows_of(settings: Settings) -> list[tuple[str, str, str]]:
    """Return each setting with its value as text, passwords in addresses left out, and where it comes from."""
    return [(name, _shown(settings.value(name)), settings.origins[name]) for name in SETTINGS]


def _key_row(settings: Settings, places: Places, environ: Mapping[str, str]) -> tuple[str, str, str]:
    """Say which key the configured model would get, masked, and where it comes from."""
    from memos.llm.catalogue import needs_key, provider_of

    config = settings.config
    provider = provider_of(config.model)
    name = f"key ({provider})" if provider else "key"
    try:
        key = endpoint_key(settings, places, environ)
    except BadInput as error:
        return name, f"missing: {error.what}", ""
    if key is not None:
        return name, key.masked, key.origin
    return name, "missing" if needs_key(config.model, config.api_base) else "none needed", ""


def _shown(value: Value) -> str:
    if value is None or value in ("", ()):
        return "(not set)"
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and "@" in urlsplit(value).netloc:
        return value.replace(urlsplit(value).netloc.rpartition("@")[0], "…", 1)  # a password in an address
    return str(value)
