"""How large a window a server gives its model, asked of that server in the ways its kind may know.

Only the address the user named is asked, once; a server that does not say, or says nonsense, is no failure.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from memos.llm.ollama_road import root_of
from memos.llm.processor import DEFAULT_WINDOW_TOKENS
from memos.llm.quick_httpx import is_loopback, spare_unused_parts
from memos.llm.wire_client import json_answer

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

_SMALLEST, _LARGEST = 256, 100_000_000
_OLLAMA_PREFIXES = ("ollama", "ollama_chat")
_OLLAMA_PARAMETER = re.compile(r"^num_ctx\s+(\d+)", re.MULTILINE)
_MODEL_KEYS = ("max_model_len", "loaded_context_length", "context_length", "context_window", "max_context_length")


async def window_of(model: str, api_base: str, key: str | None = None, *, timeout_s: float = 2.0) -> int | None:
    """Ask the server at `api_base` for the window of `model` (`prefix/name`), in tokens; None where it does not say."""
    prefix, _, name = model.partition("/")
    ask = _ollama if prefix in _OLLAMA_PREFIXES else _openai_like
    return await _asked(api_base, key, timeout_s, lambda client, address: ask(client, address, name))


async def takes_grammar(api_base: str, key: str | None = None, *, timeout_s: float = 2.0) -> bool:
    """Ask whether the server at `api_base` is llama.cpp or koboldcpp, which hold a reply to a grammar (GBNF)."""

    async def ask(client: httpx.AsyncClient, address: str) -> bool:
        root = address.removesuffix("/v1")
        props, kobold = await asyncio.gather(
            json_answer(client, f"{root}/props"), json_answer(client, f"{root}/api/extra/version")
        )
        return "default_generation_settings" in _mapping(props) or "koboldcpp" in str(_mapping(kobold)).casefold()

    return bool(await _asked(api_base, key, timeout_s, ask))


async def _asked(
    api_base: str, key: str | None, timeout_s: float, ask: Callable[[httpx.AsyncClient, str], Awaitable[T]]
) -> T | None:
    """Return what `ask` finds out at the address; None where that fails or takes too long."""
    spare_unused_parts()
    import httpx

    headers = {"authorization": f"Bearer {key}"} if key and key.isascii() and key.isprintable() else {}
    try:
        address = urlsplit(api_base)
        loopback, encrypted = is_loopback(address.hostname or ""), address.scheme == "https"
        async with (
            asyncio.timeout(timeout_s),
            httpx.AsyncClient(trust_env=not loopback, timeout=timeout_s, headers=headers, verify=encrypted) as client,
        ):
            return await ask(client, api_base.rstrip("/"))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, ValueError):
        return None


async def _ollama(client: httpx.AsyncClient, address: str, name: str) -> int | None:
    """Return the window to ask Ollama for: what the model is set to or loaded with, else what most machines bear.

    Each request says it (`num_ctx`), so that it is true whatever the server would do by itself.
    """
    root = root_of(address)
    loaded, card = await asyncio.gather(
        json_answer(client, f"{root}/api/ps"), json_answer(client, f"{root}/api/show", {"model": name})
    )
    rows = (row for row in _rows(loaded, "models") if {name, f"{name}:latest"} & {row.get("name"), row.get("model")})
    in_use = _first(row.get("context_length") for row in rows)
    chosen = _OLLAMA_PARAMETER.search(str(_mapping(card).get("parameters") or ""))
    facts = _mapping(_mapping(card).get("model_info"))
    trained = _first(value for key, value in facts.items() if str(key).endswith(".context_length"))
    usual = _tokens(int(chosen[1])) if chosen else trained and min(trained, DEFAULT_WINDOW_TOKENS)
    return max(filter(None, (in_use, usual)), default=None)


async def _openai_like(client: httpx.AsyncClient, api_base: str, name: str) -> int | None:
    """Ask llama.cpp, koboldcpp and LM Studio in their own ways, and the list of models; what is in use goes first."""
    root = api_base.removesuffix("/v1")
    listed_at = f"{api_base}/models" if urlsplit(api_base).path else f"{root}/v1/models"
    props, kobold, studio, models = await asyncio.gather(
        json_answer(client, f"{root}/props"),
        json_answer(client, f"{root}/api/extra/true_max_context_length"),
        json_answer(client, f"{root}/api/v0/models"),
        json_answer(client, listed_at),
    )
    settings = _mapping(_mapping(props).get("default_generation_settings"))
    told = [settings.get("n_ctx"), _mapping(props).get("n_ctx"), _mapping(kobold).get("value")]
    for listed in (studio, models):
        row = _row_of(name, _rows(listed, "data"))
        meta = _mapping(row.get("meta"))
        told += [row.get("loaded_context_length"), *(row.get(key) for key in _MODEL_KEYS)]
        told += [meta.get("n_ctx"), meta.get("n_ctx_train")]
    return _first(told)


def _row_of(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the row of the model, or the only one: a server of one model answers to any name."""
    named = [row for row in rows if row.get("id") == name]
    return (named or (rows if len(rows) == 1 else [{}]))[0]


def _rows(answer: Any, key: str) -> list[dict[str, Any]]:
    rows = _mapping(answer).get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(values: Iterable[Any]) -> int | None:
    return next((tokens for value in values if (tokens := _tokens(value))), None)


def _tokens(value: Any) -> int | None:
    """Return a number that can be a window's size."""
    return value if type(value) is int and _SMALLEST <= value <= _LARGEST else None
