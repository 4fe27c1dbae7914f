"""litellm with its network habits, its prints and its hidden work switched off. Imported in a process of its own only.

It costs seconds of CPU and holds the interpreter's lock for a third of a second at a time: see `litellm_process`.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import warnings
from typing import Any

from memos.errors import NotConfigured
from memos.llm.road import NO_KEY

_LOG = logging.getLogger(__name__)

REFUSED_VERSIONS = {
    "1.82.7": "was published by a thief and steals keys",
    "1.82.8": "was published by a thief and steals keys",
    "1.106.2": "fails on every call with functions",
}
_INSTALL = "install another: pip install 'litellm>=1.98,<1.106'."


def import_litellm() -> Any:
    """Return litellm, quiet and offline. Raises: NotConfigured."""
    try:
        version = importlib.metadata.version("litellm")
        if version not in REFUSED_VERSIONS:
            return _imported()
    except Exception as error:  # whatever a package that is broken raises when it is imported
        raise NotConfigured(f"litellm cannot be loaded ({type(error).__name__}: {error}).", _INSTALL) from error
    raise NotConfigured(f"The installed litellm {version} {REFUSED_VERSIONS[version]}.", _INSTALL)


def _imported() -> Any:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it fetches its price list at import
    os.environ["LITELLM_MODE"] = "PRODUCTION"  # else it reads .env files of the current folder
    import litellm

    litellm.suppress_debug_info = True  # else it prints to stdout at errors and unknown models
    litellm.telemetry = False
    litellm.drop_params = True  # a provider that does not know a parameter goes without it
    litellm.disable_hf_tokenizer_download = True  # else some model names make it call huggingface.co
    vars(litellm)["DEFAULT_MAX_RETRIES"] = 0  # else embeddings are asked for three times, whatever the request says
    litellm.disable_token_counter = True  # we count ourselves; it would count every prompt without usage
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    # Servers that send arguments as objects make pydantic compose this at every chunk.
    warnings.filterwarnings("ignore", message="Pydantic serializer warnings", category=UserWarning)
    return litellm


async def rehearse(litellm: Any) -> None:
    """Run one call through litellm whose transport answers by itself: what is loaded late is loaded now."""
    try:
        await _rehearsal(litellm)
    except Exception:
        _LOG.debug("litellm could not be warmed up", exc_info=True)


async def _rehearsal(litellm: Any) -> None:
    import httpx
    import openai

    frames = ('{"choices": [{"index": 0, "delta": {"content": "."}, "finish_reason": "stop"}]}', "[DONE]")
    body = "".join(f"data: {frame}\n\n" for frame in frames).encode()
    headers = {"content-type": "text/event-stream"}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, headers=headers, content=body))
    function = {"name": "rehearse", "description": "", "parameters": {"type": "object", "properties": {}}}
    async with httpx.AsyncClient(transport=transport) as wire:
        stream = await litellm.acompletion(
            model="openai/rehearsal",
            messages=[{"role": "user", "content": "."}],
            tools=[{"type": "function", "function": function}],
            stream=True,
            stream_options={"include_usage": True},
            max_retries=0,
            num_retries=0,
            client=openai.AsyncOpenAI(api_key=NO_KEY, base_url="http://nowhere.invalid/v1", http_client=wire),
        )
        async for _ in stream:
            pass
