"""Remote models by litellm: any provider it knows, streamed, with native function calls.

litellm is imported in a helper thread and never at start-up (it costs seconds), asks nobody anything but the endpoint
the user named, and retries nothing behind our back: every retry here is announced.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib.metadata
import logging
import os
import random
import threading
import urllib.parse
import warnings
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

from memos.errors import ContentFiltered, MemosError, NotConfigured, ProcessorUnreachable, StreamCut
from memos.llm.cache_marks import marked, wants_marks
from memos.llm.catalogue import facts
from memos.llm.chat_messages import ChatMessage, chat_messages, tools
from memos.llm.growing_reply import GrowingReply
from memos.llm.prices import cost_usd
from memos.llm.provider_errors import Failure, failure_of, unplaced_model
from memos.llm.server_window import window_of
from memos.llm.token_counts import KeptScales, TokenCounts
from memos.messages import Finish, Notice, Progress, Prompt, PromptTokens, Reply, ReplyPart, RetryIn, TokenUsage

_LOG = logging.getLogger(__name__)

LONGEST_WAIT_S = 30.0
NO_KEY = "none"  # what a local server gets: some refuse a request without any key
REFUSED_VERSIONS = {
    "1.82.7": "was published by a thief and steals keys",
    "1.82.8": "was published by a thief and steals keys",
    "1.106.2": "fails on every call with functions",
}
# Their credentials may come from a profile, a role or a metadata service that no variable names.
_KEYLESS_PROVIDERS = {"bedrock", "bedrock_converse", "sagemaker", "sagemaker_chat", "vertex_ai", "vertex_ai_beta"}


class LitellmProcessor:
    """One remote model, named as litellm names it: `openai/gpt-4.1`, `anthropic/…`, `bedrock/…`, `ollama_chat/…`.

    `openai/NAME` with `api_base` is any OpenAI-compatible server. Time-outs are in seconds: to connect, until the
    first piece of the reply, and between two pieces. Without `api_key` litellm takes the provider's variable from the
    environment; a server named by `api_base` for which there is none gets the key `none`.
    """

    def __init__(
        self,
        model: str,
        *,
        api_base: str | None = None,
        api_key: str | None = None,
        window_tokens: int | None = None,
        max_reply_tokens: int | None = None,
        temperature: float | None = None,
        connect_timeout_s: float = 10.0,
        first_byte_timeout_s: float = 60.0,
        gap_timeout_s: float = 30.0,
        retries: int = 3,
        backoff_s: float = 0.5,
        scales: KeptScales | None = None,
    ) -> None:
        self._model = model
        self._api_base = api_base
        self._api_key = api_key or None
        self._window_tokens = window_tokens
        self._max_reply_tokens = max_reply_tokens
        self._temperature = temperature
        self._connect_timeout_s = connect_timeout_s
        self._first_byte_timeout_s = first_byte_timeout_s
        self._gap_timeout_s = gap_timeout_s
        self._retries = retries
        self._backoff_s = backoff_s
        self._provider = ""
        self._asked_window: asyncio.Task[int | None] | None = None
        self._wants_marks = False
        self._told_window: int | None = None
        self._token_counts = TokenCounts(model, api_base or "", scales=scales, window_tokens=lambda: self.window_tokens)
        _OPEN.add(self)

    @property
    def model(self) -> str:
        """The model string the user chose."""
        return self._model

    @property
    def window_tokens(self) -> int | None:
        """The window the user set; else what the server said, or what litellm's list says; else None.

        A server named by `api_base` may run anything under any name, so the list is not asked about it.
        """
        if self._window_tokens is not None or self._api_base is not None:
            return self._window_tokens or self._told_window
        return facts(self._model).window_tokens

    def measure(self, prompt: Prompt) -> PromptTokens:
        """Count by the offline tokenizer, corrected by what this model has reported."""
        return self._token_counts.measure(prompt)

    def learn(self, measured: PromptTokens, usage: TokenUsage) -> None:
        """Correct later counts by what the provider reported."""
        self._token_counts.learn(measured, usage)

    def cost_usd(self, usage: TokenUsage) -> float | None:
        """Return the price by litellm's list; None for what it does not list, and for every server of one's own."""
        if not _is_imported() or self._api_base is not None or is_redirected(self._model):
            return None
        return cost_usd(_imported().result().model_cost, self._model, usage)

    async def find_window(self) -> None:
        """Ask the server once."""
        await self.warm_up()

    async def warm_up(self) -> None:
        """Load the tokenizer, import litellm, rehearse a call that goes to no wire, all in helper threads: seconds.

        The server the user named is asked how large its window is.
        """
        await _in_thread(_once("tokenizer", self._token_counts.load))
        await _in_thread(_imported())
        await _in_thread(_rehearsed())
        if self._window_tokens is None:
            await self._find_window()

    async def _find_window(self) -> None:
        """Ask the server the user named for its window, once; without such a server read litellm's list ahead."""
        if self._api_base is None:
            await asyncio.to_thread(facts, self._model)
            return
        if self._asked_window is None:
            key = None if self._api_key == NO_KEY else self._api_key
            self._asked_window = asyncio.create_task(window_of(self._model, self._api_base, key))
        self._told_window = await asyncio.shield(self._asked_window)

    async def check(self) -> None:
        """Check, without contact to anyone, that the model string names a provider and its key is there.

        Raises: BadInput, NotConfigured.
        """
        litellm = await _in_thread(_imported())
        if self._provider:
            return
        try:
            provider = litellm.get_llm_provider(model=self._model, api_base=self._api_base)[1]
        except Exception as error:
            raise unplaced_model(self._model) from error
        if self._api_key is None and provider not in _KEYLESS_PROVIDERS:
            _forget_empty_keys()
            asked = litellm.validate_environment(self._model)["missing_keys"]
            missing = [name for name in asked if "KEY" in name or "TOKEN" in name]
            if missing and self._api_base is None:
                what = f"The model {self._model} needs a key, and {missing[0]} is not set."
                raise NotConfigured(what, f"set {missing[0]} in the environment, or run `memos configure`.")
            if missing:
                self._api_key = NO_KEY
        self._wants_marks = wants_marks(self._model)
        self._provider = provider

    @property
    def reads_queue(self) -> bool:
        """The model reads all of the prompt."""
        return True

    @property
    def summarises(self) -> bool:
        """Whether it can write a summary to order: any remote model is trusted to, and held to its form."""
        return True

    async def infer(self, prompt: Prompt) -> AsyncIterator[ReplyPart]:
        """Stream the reply, as `Processor.infer` says.

        Raises: BadInput, NotConfigured, ProcessorError.
        """
        if not _is_imported():
            yield Progress("loading the model")
        await self.check()
        request = self._request(prompt)
        taken = [call.id for row in prompt.queue for call in row.calls]
        for attempt in range(1, self._retries + 2):
            try:
                async with aclosing(self._attempt(request, GrowingReply(taken))) as parts:
                    async for part in parts:
                        yield part
                return
            except _Failed as failed:
                wait_s = self._wait_before_retry(failed.failure, attempt)
                if wait_s is None:
                    raise failed.failure.error from failed.__cause__
                reason = failed.failure.error.what
            yield RetryIn(wait_s, attempt, self._retries, reason)
            await asyncio.sleep(wait_s)

    async def aclose(self) -> None:
        """Close the connections; litellm shares them between processors, so the last one closes."""
        _OPEN.discard(self)
        if self._asked_window is not None:
            self._asked_window.cancel()
        if _OPEN or not _is_imported():
            return
        litellm = _imported().result()
        await litellm.close_litellm_async_clients()
        litellm.in_memory_llm_clients_cache.flush_cache()  # else the next call would find a closed client

    # --- The request ------------------------------------------------------------------------------------------

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        import httpx

        longest_s = max(self._first_byte_timeout_s, self._gap_timeout_s) + self._connect_timeout_s
        request: dict[str, Any] = {
            "model": self._model,
            "messages": self._messages(prompt),
            "stream": True,
            "stream_options": {"include_usage": True},
            "timeout": httpx.Timeout(longest_s, connect=self._connect_timeout_s),
            "max_retries": 0,
            "num_retries": 0,
        }
        if prompt.functions:
            # koboldcpp offers the functions to its model only when tool_choice is there.
            request |= {"tools": tools(prompt.functions), "tool_choice": "auto"}
        optional = {
            "api_base": self._api_base,
            "api_key": self._api_key,
            "max_tokens": self._max_reply_tokens,
            "temperature": self._temperature,
        }
        request |= {key: value for key, value in optional.items() if value is not None}
        return _past_the_types(request) if self._provider == "openai" else request

    def _messages(self, prompt: Prompt) -> list[ChatMessage]:
        """Return the chat messages, with marks for the provider's cache where it wants them and they can pay."""
        messages = chat_messages(prompt)
        if prompt.purpose == "chat" and self._wants_marks:
            return marked(messages, prompt.instructions)
        return messages

    async def _attempt(self, request: dict[str, Any], growing: GrowingReply) -> AsyncGenerator[ReplyPart]:
        """Ask once. Before anything was streamed a failure is raised as `_Failed`; after, the reply is cut."""
        chunks: _Chunks | None = None
        limit_s = self._first_byte_timeout_s
        try:
            deadline = asyncio.get_running_loop().time() + limit_s
            async with asyncio.timeout_at(deadline):
                chunks = _Chunks(await _imported().result().acompletion(**request))
            chunk = await chunks.next(deadline)
            limit_s = self._gap_timeout_s
            while chunk is not None:
                for part in _parts(chunk, growing):
                    yield part
                chunk = await chunks.next(asyncio.get_running_loop().time() + limit_s)
            yield self._reply(chunks, growing)
        except Exception as error:
            failure = self._failure(error, limit_s)
            if growing.is_empty:
                raise _Failed(failure) from error
            yield Notice(failure.error.what)
            yield growing.finished(Finish.CUT)
        finally:
            if chunks is not None:
                await chunks.aclose()

    def _reply(self, chunks: _Chunks, growing: GrowingReply) -> Reply:
        """Return the finished reply, or the cut one. Raises: StreamCut, ContentFiltered."""
        reason = chunks.finish_reason
        if reason is None and growing.is_empty:
            raise StreamCut(
                f"{self._who} ended its answer before a word came.",
                "send it again; if it stays so, check the address given as api_base.",
            )
        if reason == "content_filter":
            raise ContentFiltered(
                f"The content filter of {self._who} stopped the reply.", "put it in other words and send it again."
            )
        finish = {None: Finish.CUT, "error": Finish.CUT, "length": Finish.LENGTH}.get(reason, Finish.STOP)
        return growing.finished(finish, chunks.usage)

    # --- Failures ---------------------------------------------------------------------------------------------

    @property
    def _who(self) -> str:
        """The endpoint as a person knows it: its host, or the provider's name."""
        host = urllib.parse.urlsplit(self._api_base or "").netloc.rpartition("@")[2]
        return host or self._model.partition("/")[0]

    def _failure(self, error: Exception, waited_s: float) -> Failure:
        if isinstance(error, TimeoutError):
            what = f"{self._who} sent nothing for {waited_s:g} s."
            # Not tried again by itself: a slow server would do the same work twice.
            return Failure(
                ProcessorUnreachable(what, "send it again, or allow more time under [timeouts] in config.toml.")
            )
        if isinstance(error, MemosError):
            return Failure(error, passing=isinstance(error, StreamCut))
        return failure_of(error, self._who, self._model, [self._api_key] if self._api_key else [])

    def _wait_before_retry(self, failure: Failure, attempt: int) -> float | None:
        """Return the seconds to wait before the next try, or None where there is none."""
        if not failure.passing or attempt > self._retries:
            return None
        if failure.retry_after_s is not None:
            return failure.retry_after_s if failure.retry_after_s <= LONGEST_WAIT_S else None
        wait_s: float = self._backoff_s * 2 ** (attempt - 1)
        # Jitter, so that many clients do not come back at once.
        return min(LONGEST_WAIT_S, wait_s * random.uniform(0.5, 1.5))


def _past_the_types(request: dict[str, Any]) -> dict[str, Any]:
    """Return the same request with its bulk as `extra_body`, which the openai client sends as it is.

    What it gets as parameters it walks through its types, 0.5 ms a message: most of the way from Enter to the wire.
    """
    bulk = {key: request[key] for key in ("messages", "tools", "tool_choice") if key in request}
    rest = {key: value for key, value in request.items() if key not in bulk}
    return rest | {"messages": bulk["messages"][-1:], "extra_body": bulk}


def is_redirected(model: str) -> bool:
    """Whether the environment names another address for the provider than its own, as litellm would follow it."""
    prefix = model.partition("/")[0].upper() if "/" in model else "OPENAI"
    return prefix != "AZURE" and any(os.environ.get(f"{prefix}_{name}") for name in ("API_BASE", "BASE_URL"))


class _Failed(Exception):
    """One attempt failed before anything was streamed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure.error))
        self.failure = failure


# --- What a stream brings ------------------------------------------------------------------------------------


class _Chunks:
    """litellm's stream, with what was received told apart from what litellm makes up."""

    def __init__(self, stream: Any) -> None:
        self.usage = TokenUsage()
        self._stream = stream
        self._at_end = False

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped, or None: litellm reports a stream that broke off as finished, but not here."""
        reason: str | None = self._stream.received_finish_reason
        return reason

    async def next(self, deadline: float) -> Any:
        """Return the next chunk, or None at the end. Raises: TimeoutError at `deadline` (the event loop's clock)."""
        if self._at_end:
            return None
        async with asyncio.timeout_at(deadline):
            chunk = await anext(self._stream, None)
        for received in self._stream.chunks:
            if (usage := getattr(received, "usage", None)) is not None:
                details = getattr(usage, "prompt_tokens_details", None)
                cached, written = (getattr(details, f"{name}_tokens", None) for name in ("cached", "cache_creation"))
                self.usage = TokenUsage(usage.prompt_tokens, usage.completion_tokens, cached, written)
        # litellm keeps all chunks to put them together again at the end, twice: a third of a reply's cost.
        self._stream.chunks.clear()
        # Its last chunk carries a usage; asking on would put the reply together a second time.
        self._at_end = self.finish_reason is not None and getattr(chunk, "usage", None) is not None
        return chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _parts(chunk: Any, growing: GrowingReply) -> Iterator[ReplyPart]:
    """Feed one chunk to the growing reply and yield what it lets us show."""
    for choice in (chunk.choices or ())[:1]:
        delta = choice.delta
        if delta is None:
            continue
        yield from growing.add_reasoning(getattr(delta, "reasoning_content", None) or "")
        yield from growing.add_content(delta.content or "")
        for call in delta.tool_calls or ():
            function = call.function
            yield from growing.add_call(call.index, call.id, function.name, function.arguments)
        if legacy := getattr(delta, "function_call", None):
            yield from growing.add_call(0, None, legacy.name, legacy.arguments)


# --- litellm itself ------------------------------------------------------------------------------------------

_OPEN: weakref.WeakSet[LitellmProcessor] = weakref.WeakSet()
_FUTURES: dict[str, concurrent.futures.Future[Any]] = {}
_FUTURES_LOCK = threading.Lock()


def litellm_module() -> Any:
    """Return litellm, quiet and offline; the first call of a process takes seconds. Raises: NotConfigured."""
    return _imported().result()


def _imported() -> concurrent.futures.Future[Any]:
    """Return the future of the litellm module; the first call starts the import."""
    return _once("import", _import_litellm)


def _is_imported() -> bool:
    future = _FUTURES.get("import")
    return future is not None and future.done() and future.exception() is None


def _rehearsed() -> concurrent.futures.Future[Any]:
    return _once("rehearsal", _rehearse)


def _once(name: str, work: Any) -> concurrent.futures.Future[Any]:
    """Run `work` once per process in a thread that does not hold up the exit of the program."""
    with _FUTURES_LOCK:
        future = _FUTURES.get(name)
        if future is None:
            future = _FUTURES[name] = concurrent.futures.Future()
            threading.Thread(target=_settle, args=(future, work), name=f"litellm {name}", daemon=True).start()
    return future


def _settle(future: concurrent.futures.Future[Any], work: Any) -> None:
    future.set_running_or_notify_cancel()
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)


async def _in_thread(future: concurrent.futures.Future[Any]) -> Any:
    return await asyncio.shield(asyncio.wrap_future(future))


def _import_litellm() -> Any:
    """Import litellm with its network habits, prints and hidden work switched off. Raises: NotConfigured."""
    version = importlib.metadata.version("litellm")
    if version in REFUSED_VERSIONS:
        what = f"The installed litellm {version} {REFUSED_VERSIONS[version]}."
        raise NotConfigured(what, "install another: pip install 'litellm>=1.98,<1.106'.")
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
    # Servers that send arguments as objects make it print this on the terminal.
    warnings.filterwarnings("ignore", message="Pydantic serializer warnings", category=UserWarning)
    return litellm


def _forget_empty_keys() -> None:
    """Take empty keys out of our environment: litellm asks only whether a variable is there."""
    for name in [name for name, value in os.environ.items() if not value and name.endswith(("_KEY", "_TOKEN"))]:
        del os.environ[name]


def _rehearse() -> None:
    """Run one call through litellm whose transport answers by itself: what is loaded late is loaded now."""
    try:
        asyncio.run(_rehearsal())
    except Exception:
        _LOG.debug("litellm could not be warmed up", exc_info=True)


async def _rehearsal() -> None:
    import httpx
    import openai

    litellm = _imported().result()
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
