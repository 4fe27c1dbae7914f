"""What the roads over httpx have in common: a client made late and kept alive, and small questions to a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from memos.errors import BadInput
from memos.llm.quick_httpx import is_loopback, spare_unused_parts

if TYPE_CHECKING:
    import httpx

_ANSWER_LIMIT_BYTES = 8 * 1024 * 1024
_KEEP_ALIVE_S = 120.0
"""How long an idle connection is kept: people think between two messages."""


class WireClient:
    """Connections to one server, with its key on every request; usable from one event loop at a time."""

    def __init__(self, address: str, key: str | None, connect_timeout_s: float) -> None:
        self._address = urlsplit(address)
        self._key = key
        self._connect_timeout_s = connect_timeout_s
        self._client: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def warm_up(self) -> None:
        """Import httpx and make the client, before the first message."""
        await asyncio.to_thread(_import_httpx)
        self.here()

    def check(self) -> None:
        """Find out whether the key can be sent at all. Raises: BadInput."""
        if self._key and not (self._key.isascii() and self._key.isprintable()):
            raise BadInput("The key has characters in it that no key has.", "paste it again: memos configure")

    def here(self) -> httpx.AsyncClient:
        """Return the client of this event loop: its connections belong to the loop they were opened in."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._client, self._loop = self._new_client(), loop
        return self._client

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()

    def _new_client(self) -> httpx.AsyncClient:
        spare_unused_parts()
        import httpx

        headers = {"content-type": "application/json", "accept": "text/event-stream, application/json"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        return httpx.AsyncClient(
            headers=headers,
            # How long silence may last is measured by the caller, who knows whether a first word has come.
            timeout=httpx.Timeout(None, connect=self._connect_timeout_s),
            limits=httpx.Limits(keepalive_expiry=_KEEP_ALIVE_S),
            trust_env=not is_loopback(self._address.hostname or ""),
            # Reading the certificates costs as much as a request.
            verify=self._address.scheme == "https",
        )


class WireRoad:
    """The part of a road that is its client: one model, `name`, at one `address`; from one event loop at a time."""

    def __init__(self, name: str, address: str, key: str | None = None, *, connect_timeout_s: float = 10.0) -> None:
        self._name = name
        self._address = address.rstrip("/")
        self._client = WireClient(address, key, connect_timeout_s)

    @property
    def is_ready(self) -> bool:
        """There is next to nothing to load."""
        return True

    async def warm_up(self) -> None:
        """Import httpx and make the client, before the first message."""
        await self._client.warm_up()

    async def check(self) -> None:
        """Find out whether the key can be sent at all. Raises: BadInput."""
        self._client.check()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


async def json_answer(client: httpx.AsyncClient, url: str, body: Mapping[str, Any] | None = None) -> Any:
    """Return what an address answers to GET, or to POST with a `body`; None for anything but JSON with status 200."""
    import httpx

    content = bytearray()
    try:
        async with client.stream("POST" if body else "GET", url, json=body) as response:
            if response.status_code != httpx.codes.OK:
                return None
            async for piece in response.aiter_bytes():
                content += piece
                if len(content) > _ANSWER_LIMIT_BYTES:
                    return None
        return json.loads(bytes(content))
    except (httpx.HTTPError, OSError, ValueError, RecursionError):
        return None


def _import_httpx() -> None:
    spare_unused_parts()
    import httpx  # noqa: F401
