"""The road to koboldcpp, by its OpenAI-compatible API, with what is koboldcpp's own.

Its `/v1/chat/completions` takes a grammar (GBNF) beside the messages and puts them into the template of the model
itself (or of the adapter it was started with), which `/api/v1/generate` leaves to the caller; so that is the way, and
memos asks in the format `grammar` first: it streams, and holds in every version. With `tools` nothing streams.
Source: LostRuins/koboldcpp, koboldcpp.py (transform_genparams, handle_sse_stream, do_POST: abort, is_quota_available).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace

from memos.llm.httpx_road import HttpxRoad
from memos.llm.road import ChatRequest, Chunk

_REPLY_SHARE = 8
"""One part in so many of the window is asked for as the reply: left out, koboldcpp stops after a few hundred tokens;
too much, and it drops the beginning of the prompt without a word (LostRuins/koboldcpp#2481)."""
_FEWEST_TOKENS = 256
_ABORT_LIMIT_S = 2.0


class KoboldRoad(HttpxRoad):
    """The model that the koboldcpp at `address`, such as `http://127.0.0.1:5001/v1`, has loaded; any name will do."""

    def __init__(self, name: str, address: str, key: str | None = None, *, connect_timeout_s: float = 10.0) -> None:
        super().__init__(name, address, key, connect_timeout_s=connect_timeout_s)
        self._aborting: set[asyncio.Task[None]] = set()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk]:
        """Ask once, as `Road.stream` says; who stops listening stops the model. Raises: as `HttpxRoad.stream`."""
        name = f"memos{secrets.token_hex(6)}"
        reply_tokens = max(_FEWEST_TOKENS, request.window_tokens // _REPLY_SHARE)
        ours = {"max_tokens": reply_tokens, **request.params, "genkey": name}
        finished = False
        try:
            async with aclosing(super().stream(replace(request, params=ours))) as chunks:
                async for chunk in chunks:
                    yield chunk
            finished = True
        except Exception:
            finished = True
            raise
        finally:
            if not finished:  # it notices a connection that was closed only when it has something to send
                self._abort(name)

    async def aclose(self) -> None:
        """Close the connections."""
        await asyncio.gather(*self._aborting, return_exceptions=True)
        await super().aclose()

    def _abort(self, name: str) -> None:
        task = asyncio.create_task(self._send_abort(name))
        self._aborting.add(task)
        task.add_done_callback(self._aborting.discard)

    async def _send_abort(self, name: str) -> None:
        client = self._client.here()
        import httpx

        root = self._address.removesuffix("/v1")
        with suppress(httpx.HTTPError, TimeoutError):
            async with asyncio.timeout(_ABORT_LIMIT_S):
                await client.post(f"{root}/api/extra/abort", json={"genkey": name})
