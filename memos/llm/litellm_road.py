"""The road to every provider litellm knows; litellm itself lives in a process of its own (`litellm_process`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import Any

from memos.errors import NotConfigured
from memos.llm.cache_marks import marked, wants_marks
from memos.llm.litellm_process import error_of, shared_process
from memos.llm.provider_errors import unplaced_model
from memos.llm.road import NO_KEY, CallPiece, ChatRequest, Chunk
from memos.messages import TokenUsage


class LitellmRoad:
    """To one remote model, named as litellm names it: `openai/gpt-4.1`, `anthropic/…`, `bedrock/…`, `ollama_chat/…`.

    `openai/NAME` with `api_base` is any OpenAI-compatible server. Without `api_key` litellm takes the provider's
    variable from the environment; a server named by `api_base` for which there is none gets the key `none`.
    `longest_wait_s` is the longest silence of the wire that litellm bears: the caller measures its own.
    """

    def __init__(
        self,
        model: str,
        *,
        api_base: str | None = None,
        api_key: str | None = None,
        connect_timeout_s: float = 10.0,
        longest_wait_s: float = 600.0,
    ) -> None:
        self._model = model
        self._api_base = api_base
        self._api_key = api_key or None
        self._connect_timeout_s = connect_timeout_s
        self._longest_wait_s = longest_wait_s
        self._is_checked = False
        self._wants_marks = False
        self._process = shared_process()

    @property
    def is_ready(self) -> bool:
        """Whether litellm is loaded."""
        return self._process.is_loaded

    async def warm_up(self) -> None:
        """Have the process started and litellm loaded there; nobody is contacted. Raises: NotConfigured."""
        self._process.hold(self)
        await asyncio.wrap_future(self._process.load())
        await self._learn_of_marks()

    async def check(self) -> None:
        """Find out, without contact to anyone, whether the model string names a provider and its key is there.

        Raises: BadInput, NotConfigured.
        """
        if self._is_checked:
            return
        self._process.hold(self)
        question = {"op": "check", "model": self._model, "api_base": self._api_base, "has_key": bool(self._api_key)}
        found = await asyncio.wrap_future(self._process.ask_once(question))
        if not found["provider"]:
            raise unplaced_model(self._model)
        if found["missing"] and self._api_base is None:
            what = f"The model {self._model} needs a key, and {found['missing'][0]} is not set."
            raise NotConfigured(what, f"set {found['missing'][0]} in the environment, or run `memos configure`.")
        if found["missing"]:
            self._api_key = NO_KEY
        await self._learn_of_marks()
        self._is_checked = True

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk]:
        """Ask once and yield the pieces as they come; closing the iterator closes the connection.

        Raises: BadInput, NotConfigured, ProcessorUnreachable (the process ended), ErrorElsewhere.
        """
        await self.check()
        lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        number = self._process.ask(self._wire_request(request), lambda line: _hand_to(loop, lines, line))
        try:
            is_under_way = True
            while is_under_way:
                line = await lines.get()
                for fields in line["brought"]:
                    yield _chunk(fields)
                if (error := error_of(line)) is not None:
                    raise error
                is_under_way = "ended" not in line
        finally:
            self._process.cancel(number)

    async def aclose(self) -> None:
        """Let go of the process: it stays for others who hold it, and a little while for who may come."""
        self._process.let_go(self)

    async def _learn_of_marks(self) -> None:
        self._wants_marks = await asyncio.to_thread(wants_marks, self._model)  # it may read litellm's table

    def _wire_request(self, request: ChatRequest) -> dict[str, Any]:
        messages = [dict(message) for message in request.messages]
        if request.stable_chars and self._wants_marks:
            messages = marked(messages, request.stable_chars)
        return {
            "op": "chat",
            "model": self._model,
            "api_base": self._api_base,
            "api_key": self._api_key,
            "messages": messages,
            "tools": list(request.tools),
            "schema": request.schema,
            "grammar": request.grammar,
            "params": request.params,
            "stream": request.stream,
            "without": sorted(request.without),
            "connect_timeout_s": self._connect_timeout_s,
            "longest_wait_s": self._longest_wait_s,
        }


def _hand_to(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[dict[str, Any]], line: dict[str, Any]) -> None:
    with suppress(RuntimeError):  # a loop that was closed waits for nothing
        loop.call_soon_threadsafe(lines.put_nowait, line)


def _chunk(fields: Mapping[str, Any]) -> Chunk:
    return Chunk(
        content=fields.get("content", ""),
        reasoning=fields.get("reasoning", ""),
        calls=tuple(CallPiece(*call) for call in fields.get("calls", ())),
        finish=fields.get("finish"),
        usage=TokenUsage(*fields["usage"]) if "usage" in fields else None,
        signed=tuple(fields.get("signed", ())),
    )
