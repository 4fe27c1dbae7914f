"""Models as the article's programs name them: MemGPT's endpoint types, AIOS's LLM names; what they are here.

Each becomes a model string and an address of ours, and one sentence says so.
Source: MemGPT 0.3, memgpt/cli/cli_config.py and docs/local_llm.md (endpoint types, their usual addresses); AIOS 2024,
README (`--llm_name`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit

from memos.config import nearest_name
from memos.errors import BadInput, MemosError
from memos.llm.catalogue import local_address, provider, provider_of


@dataclass(frozen=True, slots=True)
class _EndpointType:
    """What an endpoint type of MemGPT is here: our prefix, and the address where it is not the prefix's usual one."""

    prefix: str
    usual: str = ""


_ENDPOINT_TYPES: Mapping[str, _EndpointType] = MappingProxyType(
    {
        "openai": _EndpointType("openai"),
        "azure": _EndpointType("azure"),
        "anthropic": _EndpointType("anthropic"),
        "google_ai": _EndpointType("gemini"),
        "cohere": _EndpointType("cohere"),
        "mistral": _EndpointType("mistral"),
        "groq": _EndpointType("groq"),
        "together": _EndpointType("together_ai"),
        "hugging-face": _EndpointType("huggingface"),
        "koboldcpp": _EndpointType("koboldcpp"),
        "llamacpp": _EndpointType("openai", "http://127.0.0.1:8080/v1"),
        "lmstudio": _EndpointType("lm_studio"),
        "ollama": _EndpointType("ollama"),
        "vllm": _EndpointType("hosted_vllm"),
        "webui": _EndpointType("openai", "http://127.0.0.1:5000/v1"),
    }
)
_SUFFIXES = ("-legacy", "-chatcompletions")
"""MemGPT had some types twice or three times, by the endpoint's own API; memos finds out which there is."""

_AIOS_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "bedrock-anthropic-claude3-haiku": "bedrock/anthropic.claude-3-haiku-20240307-v1:0",
        "bedrock-anthropic-claude3-opus": "bedrock/anthropic.claude-3-opus-20240229-v1:0",
        "bedrock-anthropic-claude3-sonnet": "bedrock/anthropic.claude-3-sonnet-20240229-v1:0",
        "gpt-3.5-turbo": "openai/gpt-3.5-turbo",
        "gpt-4": "openai/gpt-4",
        "gemini-1.0-pro": "gemini/gemini-1.0-pro",
        "gemini-1.5-flash": "gemini/gemini-1.5-flash",
    }
)
_FAMILIES = (("claude-", "anthropic"), ("gpt-", "openai"), ("gemini-", "gemini"))


@dataclass(frozen=True, slots=True)
class OtherNames:
    """What a command line says in the words of MemGPT (`endpoint_type`, `endpoint`) or AIOS (`llm_name`)."""

    endpoint_type: str | None = None
    endpoint: str | None = None
    llm_name: str | None = None


def translated(flags: Mapping[str, object], names: OtherNames) -> tuple[dict[str, object], str]:
    """Return the flags with model and address as memos names them, and one sentence where that is something else.

    A model without a name is asked for at its endpoint. Raises: BadInput, ProcessorError.
    """
    if names.llm_name and (names.endpoint_type or names.endpoint):
        raise BadInput("--llm_name names a model, and so does --model-endpoint-type.", "give one of them")
    if names.llm_name:
        model = _aios_model(names.llm_name)
        return {**flags, "model": model}, f"--llm_name {names.llm_name} is {model} here."
    if names.endpoint_type:
        return _at_endpoint(dict(flags), names.endpoint_type, names.endpoint or "")
    if names.endpoint:
        raise BadInput(
            "--model-endpoint needs --model-endpoint-type.", f"name the kind of server: {', '.join(_ENDPOINT_TYPES)}"
        )
    return _not_groqs(dict(flags))


def _at_endpoint(flags: dict[str, object], type_name: str, endpoint: str) -> tuple[dict[str, object], str]:
    kind = _endpoint_type(type_name)
    given = str(flags.get("model") or "")
    known = provider(kind.prefix)
    address = (endpoint or kind.usual).rstrip("/")
    if known is not None and (not address or _host(address) in (_host(known.address), _host(known.models_url))):
        address = ""
    if kind.usual and address and not urlsplit(address).path.strip("/"):
        address += "/v1"
    model = given if given.startswith(f"{kind.prefix}/") else f"{kind.prefix}/{given}" if given else ""
    model = model or _only_model(kind.prefix, address, type_name)
    flags |= {"model": model, "api_base": address}
    flags, redirected = _not_groqs(flags)
    place = f" at {flags['api_base']}" if flags["api_base"] else ""
    return flags, redirected or f"--model-endpoint-type {type_name} is the model {flags['model']}{place} here."


def _endpoint_type(name: str) -> _EndpointType:
    short = name
    for suffix in _SUFFIXES:
        short = short.removesuffix(suffix)
    if short in _ENDPOINT_TYPES:
        return _ENDPOINT_TYPES[short]
    guess = nearest_name(name, _ENDPOINT_TYPES)
    raise BadInput(
        f'There is no endpoint type "{name:.60}".',
        f"{guess} may be meant" if guess else f"there are: {', '.join(_ENDPOINT_TYPES)}",
    )


def _only_model(prefix: str, address: str, type_name: str) -> str:
    """Return the model that the endpoint has, where it is one; koboldcpp takes any name. Raises: BadInput."""
    from memos.llm.discovery import list_endpoint_models

    server = address or local_address(f"{prefix}/")
    if not server:
        raise BadInput(f"--model-endpoint-type {type_name} needs the name of a model.", "add --model NAME")
    try:
        models = list_endpoint_models(server, prefix=prefix, timeout_s=3)
    except MemosError:
        if prefix == "koboldcpp":  # it answers to any name, and may be started later
            return "koboldcpp/koboldcpp"
        raise
    if len(models) == 1:
        return models[0]
    offered = ", ".join(model.partition("/")[2] for model in models[:8])
    raise BadInput(
        f"The server at {server} has {len(models)} models, and none is named.",
        f"add --model NAME: {offered}" if offered else "load a model there, or add --model NAME",
    )


def _not_groqs(flags: dict[str, object]) -> tuple[dict[str, object], str]:
    """Return the flags with `openai/` in place of `groq/` where the address is not Groq's: another gateway's."""
    model, address = str(flags.get("model") or ""), str(flags.get("api_base") or "")
    groq = provider("groq")
    if not model.startswith("groq/") or not address or groq is None or _host(address) == _host(groq.address):
        return flags, ""
    told = f"openai/{model.partition('/')[2]}"
    sentence = f"groq/ is Groq's own API, and {address} is another server: it is asked as {told} at that address."
    return {**flags, "model": told}, sentence


def _aios_model(name: str) -> str:
    if name in _AIOS_NAMES:
        return _AIOS_NAMES[name]
    for start, prefix in _FAMILIES:
        if name.startswith(start):
            return f"{prefix}/{name}"
    prefix = provider_of(name)
    if prefix and (provider(prefix) or local_address(f"{prefix}/")):
        return name if name.startswith(f"{prefix}/") else f"{prefix}/{name}"
    guess = nearest_name(name, _AIOS_NAMES)
    raise BadInput(
        f'Nobody can tell which model --llm_name "{name:.80}" is.',
        f"{guess} may be meant" if guess else "name it as PROVIDER/MODEL with --model; a model of your own: memos help",
    )


def _host(address: str) -> str:
    return (urlsplit(address).hostname or "") if address else ""
