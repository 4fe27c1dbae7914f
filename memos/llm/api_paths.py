"""Where a server has its chat API, when the address that was typed has not: `/v1`, `/api/v1`, `/openai/v1` or the root.

The article's gateway is typed as `…/api` (MemGPT put `/v1` behind it) and as `…/api/v1`; people leave `/v1` out.
Source: aws-samples/bedrock-access-gateway, README and setting.py (API_ROUTE_PREFIX = /api/v1).
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from memos.llm.road import WireError
from memos.llm.wire_client import json_answer

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 3.0
_PATHS = ("/v1", "/api/v1", "/openai/v1", "")
_TAIL = re.compile(r"(/chat/completions|/completions|/models)?/*$")
_VERSION = re.compile(r"(/api|/openai)?(/v1)?$")
_OF_A_MODEL = re.compile(r"model", re.IGNORECASE)
_NO_SUCH_PATH = re.compile(r"unexpected endpoint|not found|does not exist|no route|cannot post", re.IGNORECASE)


def is_wrong_path(error: WireError) -> bool:
    """Whether an endpoint says that there is nothing at this path, and not that it lacks the model."""
    if error.status_code in (404, 405):
        return _OF_A_MODEL.search(error.message) is None
    # LM Studio answers 200 with an error: "Unexpected endpoint or method. (POST /chat/completions)"
    return error.status_code in (None, 200) and _NO_SUCH_PATH.match(error.message) is not None


async def api_path_beside(client: httpx.AsyncClient, address: str) -> str:
    """Return the address, at the same server, that answers with a list of models; empty where none does."""
    typed = _TAIL.sub("", address)
    root = _VERSION.sub("", typed)
    candidates = [found for path in _PATHS if (found := f"{root}{path}") != address]
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            answers = await asyncio.gather(*(_lists_models(client, candidate) for candidate in candidates))
    except TimeoutError:
        return ""
    return next((candidate for candidate, lists in zip(candidates, answers, strict=True) if lists), "")


async def _lists_models(client: httpx.AsyncClient, address: str) -> bool:
    answer = await json_answer(client, f"{address}/models")
    return isinstance(answer, dict) and isinstance(answer.get("data"), list)
