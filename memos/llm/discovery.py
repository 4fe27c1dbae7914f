"""Finding models: servers on this computer, and what an endpoint says it has. Asked only where the user's act leads.

`find_local_servers` looks at loopback only. `list_models` contacts one endpoint, which the user named or picked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from memos.errors import BadInput, ProcessorRefused, ProcessorUnreachable
from memos.llm.catalogue import LOCAL_SERVERS, LocalServerKind, Provider, facts, local_address
from memos.llm.ollama_road import root_of
from memos.llm.quick_httpx import is_loopback, spare_unused_parts
from memos.safe_text import safe_line

if TYPE_CHECKING:
    import httpx

ANSWER_LIMIT_BYTES = 8 * 1024 * 1024
NAME_LIMIT_CHARS = 200
_ANTHROPIC_VERSION = "2023-06-01"


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server that answered on loopback, with the model strings it offers (possibly none)."""

    title: str
    api_base: str
    models: tuple[str, ...]


def find_local_servers(
    kinds: Sequence[LocalServerKind] = LOCAL_SERVERS, *, timeout_s: float = 1.5
) -> list[LocalServer]:
    """Return the servers that answer on 127.0.0.1, in the order of `kinds`, within `timeout_s` in all.

    Not to be called on a running event loop.
    """
    return asyncio.run(_find(kinds, timeout_s))


def list_models(
    url: str, *, key: str | None = None, prefix: str, key_style: str = "bearer", timeout_s: float = 10
) -> list[str]:
    """Ask the endpoint at `url` for its models and return them as model strings `prefix/name`, the likeliest first.

    Models that are known not to chat (embeddings, pictures, speech) are left out.

    Raises: ProcessorRefused (key not accepted, no such address), ProcessorUnreachable, BadInput (not a URL).
    Not to be called on a running event loop.
    """
    if not _is_address(url):
        raise BadInput(f"{url!r:.200} is not the address of a server.", "for example: http://127.0.0.1:8080/v1")
    names = asyncio.run(_ask_models(url, _headers(key, key_style), timeout_s))
    return _ranked([_model_string(prefix, name) for name in names])


def list_provider_models(provider: Provider, key: str, *, timeout_s: float = 10) -> list[str]:
    """Ask a remote provider for its models with the user's key. As `list_models`; [] where it cannot be asked."""
    if not provider.models_url:
        return []
    url, style = provider.models_url, provider.key_style
    return list_models(url, key=key, prefix=provider.prefix, key_style=style, timeout_s=timeout_s)


def list_endpoint_models(api_base: str, *, prefix: str, key: str | None = None, timeout_s: float = 10) -> list[str]:
    """Ask the server at `api_base` for its models, as its kind is asked. As `list_models`."""
    ollama = prefix in ("ollama", "ollama_chat")
    url = (
        f"{root_of(api_base)}/api/tags"
        if ollama
        else f"{local_address(f'{prefix}/', api_base) or api_base.rstrip('/')}/models"
    )
    return list_models(url, key=key, prefix=prefix, timeout_s=timeout_s)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _headers(key: str | None, key_style: str) -> dict[str, str]:
    if not key:
        return {}
    if not key.isascii() or not key.isprintable():
        raise BadInput("The key has characters in it that no key has.", "paste it again")
    if key_style == "x-api-key":
        return {"x-api-key": key, "anthropic-version": _ANTHROPIC_VERSION}
    return {"authorization": f"Bearer {key}"}


async def _find(kinds: Sequence[LocalServerKind], timeout_s: float) -> list[LocalServer]:
    """Knock first: no HTTP client is imported where nothing listens, the usual case."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    open_ports = await asyncio.gather(*(_listens(kind.port, timeout_s / 3) for kind in kinds))
    listening = [kind for kind, is_open in zip(kinds, open_ports, strict=True) if is_open]
    if not listening:
        return []
    spare_unused_parts()
    import httpx  # noqa: F401  # its import time belongs to the look-out's budget, not to the answers' shares

    left_s = max(0.2, deadline - asyncio.get_running_loop().time())
    found = await asyncio.gather(*(_ask_local(kind, left_s) for kind in listening))
    return [server for server in found if server is not None]


async def _listens(port: int, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _ask_local(kind: LocalServerKind, timeout_s: float) -> LocalServer | None:
    address = f"http://127.0.0.1:{kind.port}"
    try:
        names = await _ask_models(address + kind.models_path, {}, timeout_s)
    except (ProcessorRefused, ProcessorUnreachable):
        return None  # something else listens there
    models = _ranked([_model_string(kind.prefix, name) for name in names])
    return LocalServer(kind.title, address + kind.api_path, tuple(models))


async def _ask_models(url: str, headers: dict[str, str], timeout_s: float) -> list[str]:
    """GET the list of models. Neither redirects nor, on loopback, proxies of the environment are followed."""
    spare_unused_parts()
    import httpx

    host = urlsplit(url).hostname or ""
    loopback = is_loopback(host)
    shown = safe_line(host)
    try:
        async with (
            asyncio.timeout(timeout_s),
            httpx.AsyncClient(trust_env=not loopback, timeout=timeout_s) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            _check_status(response, shown)
            names = _model_names(_parsed(await _body(response)))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
        reason = "no answer in time" if isinstance(error, TimeoutError | httpx.TimeoutException) else "no connection"
        raise ProcessorUnreachable(
            f"{shown} could not be asked for its models: {reason}.", "check the address and the network"
        ) from error
    if names is None:
        raise ProcessorRefused(
            f"{shown} did not answer with a list of models.", "check the address: it often ends in /v1"
        )
    return names


def _check_status(response: httpx.Response, host: str) -> None:
    if response.status_code in (401, 403):
        raise ProcessorRefused(
            f"{host} did not accept the key ({response.status_code}).",
            "check the key, or paste another in memos configure",
        )
    if response.status_code == 429 or response.status_code >= 500:
        raise ProcessorUnreachable(f"{host} is overloaded ({response.status_code}).", "try again in a minute")
    if response.status_code != 200:
        raise ProcessorRefused(
            f"{host} has no list of models at that address ({response.status_code}).",
            "check the address: it often ends in /v1",
        )


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > ANSWER_LIMIT_BYTES:
            return b""
    return bytes(body)


def _parsed(body: bytes) -> Any:
    import json

    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _model_names(answer: Any) -> list[str] | None:
    """Return the names in OpenAI's form (`data[].id`), Ollama's (`models[].name`) or a bare list; None for no list.

    Newest first where the endpoint says when a model was made.
    """
    rows = answer
    if isinstance(answer, dict):
        rows = answer.get("data", answer.get("models"))
    if not isinstance(rows, list):
        return None
    chatting = [row for row in rows if isinstance(row, dict) and not _embeds(row)]
    chatting.sort(key=_made_at, reverse=True)
    names = [row.get("id") or row.get("name") for row in chatting]
    usable = [name.removeprefix("models/") for name in names if isinstance(name, str) and _usable(name)]
    return list(dict.fromkeys(usable))


def _model_string(prefix: str, name: str) -> str:
    """Return the model string of a name in a list; koboldcpp's names begin with our prefix already."""
    return name if name.startswith("koboldcpp/") and prefix == "koboldcpp" else f"{prefix}/{name}"


def _embeds(row: dict[str, Any]) -> bool:
    """Whether the server says that this model makes vectors, not words (Ollama: families; others: type)."""
    details = row.get("details")
    family = str(details.get("family", "")) if isinstance(details, dict) else ""
    return family.endswith("bert") or row.get("type") in ("embedding", "embeddings")


def _made_at(row: dict[str, Any]) -> float:
    created = row.get("created")
    return float(created) if isinstance(created, int | float) else 0.0


def _usable(name: str) -> bool:
    return 0 < len(name) <= NAME_LIMIT_CHARS and name.isprintable() and name == name.strip()


def _ranked(models: list[str]) -> list[str]:
    """Models known to call functions first, unknown ones next; those known not to chat not at all."""
    rank = {True: 0, None: 1, False: 2}
    known = [(model, facts(model)) for model in models]
    chatting = [(model, fact) for model, fact in known if fact.mode in (None, "chat", "responses")]
    chatting.sort(key=lambda pair: rank[pair[1].calls_functions])
    return [model for model, _ in chatting]
