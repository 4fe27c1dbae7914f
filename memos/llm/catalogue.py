"""What must be known about providers before any of them is asked: key variables, addresses, ports. No model names.

Names of providers are litellm's prefixes, such as `anthropic` in `anthropic/…`. Facts about single models (chat or not,
functions or not) are read from the table that litellm ships, as data: importing litellm costs seconds.
"""

from __future__ import annotations

import functools
import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

BUILTIN_MODEL, SMALL_MODEL = "builtin/tiny", "builtin/small"
"""The models that memos can bring itself."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A remote provider. `models_url` answers with its models; empty where there is no such address to ask.

    `address` is where it takes chat requests in OpenAI's form; empty where it has a form of its own.
    """

    prefix: str
    title: str
    key_variables: tuple[str, ...]
    models_url: str = ""
    key_style: Literal["bearer", "x-api-key"] = "bearer"
    signs: tuple[str, ...] = ()
    """Variables that show the user has access in another way than by a key."""
    address: str = ""


PROVIDERS: tuple[Provider, ...] = (
    Provider(
        "openai", "OpenAI", ("OPENAI_API_KEY",), "https://api.openai.com/v1/models", address="https://api.openai.com/v1"
    ),
    Provider(
        "anthropic", "Anthropic", ("ANTHROPIC_API_KEY",), "https://api.anthropic.com/v1/models?limit=1000", "x-api-key"
    ),
    Provider(
        "gemini",
        "Google Gemini",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        "https://generativelanguage.googleapis.com/v1beta/openai/models",
    ),
    Provider(
        "groq",
        "Groq",
        ("GROQ_API_KEY",),
        "https://api.groq.com/openai/v1/models",
        address="https://api.groq.com/openai/v1",
    ),
    Provider(
        "mistral",
        "Mistral",
        ("MISTRAL_API_KEY",),
        "https://api.mistral.ai/v1/models",
        address="https://api.mistral.ai/v1",
    ),
    Provider(
        "openrouter",
        "OpenRouter",
        ("OPENROUTER_API_KEY",),
        "https://openrouter.ai/api/v1/models",
        address="https://openrouter.ai/api/v1",
    ),
    Provider(
        "deepseek",
        "DeepSeek",
        ("DEEPSEEK_API_KEY",),
        "https://api.deepseek.com/models",
        address="https://api.deepseek.com/v1",
    ),
    Provider("xai", "xAI", ("XAI_API_KEY",), "https://api.x.ai/v1/models", address="https://api.x.ai/v1"),
    Provider(
        "together_ai",
        "Together",
        ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY"),
        "https://api.together.xyz/v1/models",
        address="https://api.together.xyz/v1",
    ),
    Provider(
        "fireworks_ai",
        "Fireworks",
        ("FIREWORKS_AI_API_KEY", "FIREWORKS_API_KEY"),
        "https://api.fireworks.ai/inference/v1/models",
        address="https://api.fireworks.ai/inference/v1",
    ),
    Provider(
        "cerebras",
        "Cerebras",
        ("CEREBRAS_API_KEY",),
        "https://api.cerebras.ai/v1/models",
        address="https://api.cerebras.ai/v1",
    ),
    Provider("bedrock", "Amazon Bedrock", ("AWS_BEARER_TOKEN_BEDROCK",), signs=("AWS_ACCESS_KEY_ID", "AWS_PROFILE")),
)


@dataclass(frozen=True, slots=True)
class LocalServerKind:
    """A server people run on their own computer: its usual port, and what to put before a model's name."""

    title: str
    port: int
    prefix: str
    api_path: str = "/v1"
    """Appended to the address to make `api_base`."""
    models_path: str = "/v1/models"


LOCAL_SERVERS: tuple[LocalServerKind, ...] = (
    LocalServerKind("Ollama", 11434, "ollama_chat", api_path="", models_path="/api/tags"),
    LocalServerKind("LM Studio", 1234, "lm_studio"),
    LocalServerKind("llama.cpp", 8080, "openai"),
    LocalServerKind("vLLM", 8000, "hosted_vllm"),
    LocalServerKind("koboldcpp", 5001, "koboldcpp"),
)

_NOT_LOOKED_FOR = (LocalServerKind("llamafile", 8080, "llamafile"),)
"""What answers at the port of another kind in the same way."""

LOCAL_PREFIXES = frozenset({"builtin", "gguf", "scripted"})
"""Model strings that never leave the process."""

KEYLESS_PREFIXES = frozenset({"ollama", "ollama_chat", "lm_studio", "hosted_vllm", "llamafile", "koboldcpp"})
"""Providers that are usually one's own computer and want no key."""


def provider_of(model: str) -> str:
    """Return the provider's prefix of a model string: `openai` for `openai/gpt…` and for a bare name litellm knows.

    Empty where nobody can say; `builtin`, `gguf` and `scripted` for models in the process.
    """
    for separator in (":", "/"):
        prefix, found, _ = model.partition(separator)
        if found and (separator == "/" or prefix in LOCAL_PREFIXES):
            return prefix
    known = model_table().get(model, {})
    return str(known.get("litellm_provider", ""))


def provider(prefix: str) -> Provider | None:
    """Return the provider of that prefix, or None for one that is not in the catalogue (litellm may know it)."""
    return next((entry for entry in PROVIDERS if entry.prefix == prefix), None)


def key_variables(prefix: str) -> tuple[str, ...]:
    """Return the environment variables that usually hold this provider's key, the preferred one first; () for none."""
    if prefix in LOCAL_PREFIXES or prefix in KEYLESS_PREFIXES or not prefix:
        return ()
    known = provider(prefix)
    return known.key_variables if known else (f"{prefix.upper()}_API_KEY",)


def is_near(model: str, api_base: str) -> bool:
    """Whether the model's server is on this computer or its network, as far as the address or the provider tells."""
    server = api_base or redirection(model)
    if not server:
        return provider_of(model) in KEYLESS_PREFIXES
    host = urlsplit(server).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".lan", ".internal", ".localhost"))
    return address.is_private or address.is_loopback or address.is_link_local


def needs_key(model: str, api_base: str) -> bool:
    """Whether a request is sure to fail without a key. Bedrock may have profiles and roles; own servers want none."""
    prefix = provider_of(model)
    return bool(key_variables(prefix)) and not api_base and prefix != "bedrock"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What litellm's table says of a model. None: it does not say."""

    mode: str | None
    calls_functions: bool | None
    window_tokens: int | None


def facts(model: str) -> ModelFacts:
    """Return what is known of a model string without asking anybody."""
    _, _, bare = model.partition("/")
    row = model_table().get(model) or model_table().get(bare) or {}
    window = row.get("max_input_tokens")
    calls = row.get("supports_function_calling")
    return ModelFacts(
        row.get("mode") if isinstance(row.get("mode"), str) else None,
        calls if isinstance(calls, bool) else None,
        window if isinstance(window, int) else None,
    )


def caches_prompts(model: str) -> bool | None:
    """Whether the model's provider caches the beginning of a prompt; None where litellm's table does not say.

    A region in front of the name, or a road to it, makes no other model of it.
    """
    last = model.rpartition("/")[2]
    names = (model, model.partition("/")[2], last, last[last.find("anthropic.") :] if "anthropic." in last else last)
    rows = [model_table()[name] for name in names if name in model_table()]
    return next((bool(row.get("supports_prompt_caching")) for row in rows), None)


def wants_thoughts_back(model: str) -> bool:
    """Whether the provider refuses a reply's calls in a history without the signed thoughts before them: Claude's."""
    return "claude" in model and provider_of(model) in ("anthropic", "bedrock", "bedrock_converse", "vertex_ai")


def openai_address(model: str, api_base: str = "") -> str:
    """Return where a model takes chat requests in OpenAI's form: the user's server, the environment's, the provider's.

    Empty where its provider has a form of its own, or nobody knows it.
    """
    prefix = provider_of(model)
    known, local = provider(prefix), local_kind(prefix)
    if local is not None:
        return local_address(model, api_base) if local.api_path else ""
    if not (known and known.address) and prefix != "openai":
        return ""
    return api_base or redirection(model) or (known.address if known else "")


def local_kind(prefix: str) -> LocalServerKind | None:
    """Return the kind of server that a prefix names; None for `openai`, which names no kind, and for providers."""
    prefix = "ollama_chat" if prefix == "ollama" else prefix
    kinds = (*LOCAL_SERVERS, *_NOT_LOOKED_FOR)
    return next((kind for kind in kinds if kind.prefix == prefix != "openai"), None)


def local_address(model: str, api_base: str = "") -> str:
    """Return the address of the user's own server that a model string names: as set, by the environment, or as usual.

    Empty for models that are not of a kind people run themselves. An address without a path gets the kind's.
    """
    kind = local_kind(provider_of(model))
    if kind is None:
        return ""
    address = (api_base or redirection(model) or f"http://127.0.0.1:{kind.port}").rstrip("/")
    return address if urlsplit(address).path.strip("/") else address + kind.api_path


def name_at_endpoint(model: str) -> str:
    """Return what a model is called at its endpoint: without our prefix for its provider."""
    return model.partition("/")[2] if "/" in model else model


def redirection(model: str) -> str:
    """Return the address that the environment names for a provider, as litellm would follow it; empty for none."""
    prefix = model.partition("/")[0].upper() if "/" in model else "OPENAI"
    prefix = "OLLAMA" if prefix == "OLLAMA_CHAT" else prefix
    names = () if prefix == "AZURE" else (f"{prefix}_API_BASE", f"{prefix}_BASE_URL")
    return next(filter(None, (os.environ.get(name, "").strip() for name in names)), "")


@functools.cache
def model_table() -> Mapping[str, Mapping[str, Any]]:
    """Return what litellm's table says of each model, prices included."""
    spec = find_spec("litellm")  # finds the folder without importing anything
    if spec is None or not spec.submodule_search_locations:
        return MappingProxyType({})
    path = Path(spec.submodule_search_locations[0]) / "model_prices_and_context_window_backup.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return MappingProxyType({})  # a later litellm may have moved it: then nothing is known of single models
    return {name: row for name, row in table.items() if isinstance(row, dict)}
