"""litellm in a process of its own: `python -m memos.llm.litellm_host`, which `LitellmProcess` starts and speaks to.

Requests come as JSON lines on standard input, many at once, each with a number; answers go out as JSON lines on what
was standard output, each with the number of its request. An answer of the number 0 says that litellm is loaded.

    {"op": "load"}    is answered when litellm is there
    {"op": "check"}   is the model string meant, and which keys are missing
    {"op": "chat"}    the pieces of a reply
    {"op": "embed"}   one vector a text
    {"op": "cancel"}  ends the request of that number
    {"op": "environment"}  what changed in the environment of memos

The process ends with its input, and so with memos, however that ends.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import signal
import threading
from array import array
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from memos.errors import NotConfigured
from memos.llm.litellm_process import ANSWER
from memos.llm.provider_errors import ErrorFacts
from memos.llm.quiet_litellm import import_litellm, rehearse
from memos.llm.road import NoUsableAnswer

Fields = dict[str, Any]

GATHER_S = 0.01
"""Chunks that come faster than this go out together: nobody reads faster, and each line costs both processes."""

_CHUNK_LIMIT_CHARS = 8 * 1024 * 1024

# Their credentials may come from a profile, a role or a metadata service that no variable names.
_KEYLESS_PROVIDERS = {"bedrock", "bedrock_converse", "sagemaker", "sagemaker_chat", "vertex_ai", "vertex_ai_beta"}


class LitellmHost:
    """Runs requests as they come, each as a task, and hands what they bring to `answers`."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._loaded = asyncio.Event()
        self._litellm: Any = None
        self._problem: NotConfigured | None = None
        self._operations = {"load": self._load, "check": self._check, "chat": self._chat, "embed": self._embed}

    async def serve(self, requests: int) -> None:
        """Load litellm, then serve what comes by the file descriptor `requests`, until this process is ended."""
        loop = asyncio.get_running_loop()
        reader = threading.Thread(
            target=_read_lines, args=(requests, lambda line: loop.call_soon_threadsafe(self._take, line)), daemon=True
        )
        reader.start()
        forget_empty_keys()
        try:
            self._litellm = import_litellm()
            await rehearse(self._litellm)
        except NotConfigured as problem:
            self._problem = problem
        gc.collect()
        gc.freeze()  # a hundred thousand objects of litellm that are never garbage
        self._answers.end(0, {"loaded": self._problem is None})
        self._loaded.set()
        await loop.create_future()

    def _take(self, line: bytes) -> None:
        request = json.loads(line)
        number, operation = request.pop("id"), request.pop("op")
        if operation == "environment":
            _change_environment(request["changes"])
        elif operation == "cancel":
            if (task := self._tasks.get(number)) is not None:
                task.cancel()
        else:
            task = asyncio.create_task(self._run(number, self._operations[operation], request))
            self._tasks[number] = task
            task.add_done_callback(lambda done: self._forget(number, done))

    def _forget(self, number: int, task: asyncio.Task[None]) -> None:
        del self._tasks[number]
        if task.cancelled():
            self._answers.end(number, {})

    async def _run(self, number: int, operation: Callable[[Fields], AsyncGenerator[Fields]], request: Fields) -> None:
        try:
            await self._loaded.wait()
            if self._problem is not None:
                raise self._problem
            async with aclosing(operation(request)) as brought:
                async for fields in brought:
                    await self._answers.add(number, fields)
            self._answers.end(number, {})
        except NotConfigured as problem:
            self._answers.end(number, {"not_configured": [problem.what, problem.next_step]})
        except Exception as error:
            self._answers.end(number, {"error": ErrorFacts.of(error).as_data()})

    # --- Operations -------------------------------------------------------------------------------------------

    async def _load(self, request: Fields) -> AsyncGenerator[Fields]:
        """Bring nothing: that it ends says that litellm is there."""
        yield {}

    async def _check(self, request: Fields) -> AsyncGenerator[Fields]:
        """Bring the provider of a model string, None where there is none, and the variables of missing keys."""
        provider = self._provider(request)
        missing: list[str] = []
        if provider and provider not in _KEYLESS_PROVIDERS and not request["has_key"]:
            asked = self._litellm.validate_environment(request["model"])["missing_keys"]
            missing = [name for name in asked if "KEY" in name or "TOKEN" in name]
        yield {"provider": provider, "missing": missing}

    async def _chat(self, request: Fields) -> AsyncGenerator[Fields]:
        answer = await self._litellm.acompletion(**self._arguments(request))
        if not request["stream"]:
            yield _bounded(_whole(answer))
            return
        async with aclosing(_Stream(answer)) as stream:
            async for fields in stream.pieces():
                yield _bounded(fields)

    async def _embed(self, request: Fields) -> AsyncGenerator[Fields]:
        """Bring one vector a text as float32 in base64, none where the answer is no vectors; and the tokens read."""
        answer = await self._litellm.aembedding(
            **_given(request), max_retries=0, num_retries=0, encoding_format="float"
        )
        try:
            rows = [row["embedding"] for row in sorted(answer.data, key=lambda row: row["index"])]
            vectors = [_packed(row) for row in rows]
        except (AttributeError, KeyError, TypeError, ValueError):
            vectors = None
        tokens = getattr(getattr(answer, "usage", None), "prompt_tokens", None)
        yield {"vectors": vectors, "prompt_tokens": tokens or None}

    # --- The request ------------------------------------------------------------------------------------------

    def _provider(self, request: Fields) -> str | None:
        try:
            found = self._litellm.get_llm_provider(model=request["model"], api_base=request["api_base"])
        except Exception:  # it raises whatever it pleases at a name it cannot place
            return None
        return str(found[1]) or None

    def _arguments(self, request: Fields) -> Fields:
        """Return a request of ours as litellm takes it."""
        import httpx

        provider, without = self._provider(request), set(request["without"])
        timeout = httpx.Timeout(request["longest_wait_s"], connect=request["connect_timeout_s"])
        passed = {name: request[name] for name in ("model", "messages", "api_base", "api_key")}
        ours: Fields = {**_given(passed), "timeout": timeout, "max_retries": 0, "num_retries": 0}
        if request["stream"]:
            ours |= {"stream": True, "stream_options": {"include_usage": True}}
        if request["tools"]:
            # koboldcpp offers the functions to its model only when tool_choice is there.
            ours |= {"tools": request["tools"], "tool_choice": "auto"}
        if request["schema"] is not None:
            schema = {"name": "call", "strict": True, "schema": request["schema"]}
            ours["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request["grammar"] and provider in (*self._litellm.openai_compatible_providers, "openai"):
            ours["grammar"] = request["grammar"]
        arguments = {name: value for name, value in (request["params"] | ours).items() if name not in without}
        if "grammar" in arguments:
            arguments["extra_body"] = {"grammar": arguments.pop("grammar")}
        return _past_the_types(arguments) if provider == "openai" else arguments


def _given(fields: Mapping[str, Any]) -> Fields:
    return {name: value for name, value in fields.items() if value is not None}


def _past_the_types(arguments: Fields) -> Fields:
    """Return the same request with its bulk as `extra_body`, which the openai client sends as it is.

    What it gets as parameters it walks through its types, 0.5 ms a message: most of the way from Enter to the wire.
    """
    bulk = {key: arguments[key] for key in ("messages", "tools", "tool_choice") if key in arguments}
    rest = {key: value for key, value in arguments.items() if key not in bulk}
    return rest | {"messages": bulk["messages"][-1:], "extra_body": {**rest.get("extra_body", {}), **bulk}}


# --- The environment -----------------------------------------------------------------------------------------


def forget_empty_keys() -> None:
    """Take empty keys out of our environment: litellm asks only whether a variable is there."""
    for name in [name for name, value in os.environ.items() if not value and name.endswith(("_KEY", "_TOKEN"))]:
        del os.environ[name]


def _change_environment(changes: Mapping[str, str | None]) -> None:
    """Follow the environment of memos, from which litellm takes keys and addresses."""
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    forget_empty_keys()


# --- What comes back -----------------------------------------------------------------------------------------


class _Stream:
    """litellm's stream, with what was received told apart from what litellm makes up."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._usage: list[int | None] | None = None
        self._thoughts = _Thoughts()

    async def pieces(self) -> AsyncGenerator[Fields]:
        """Yield the fields of our chunks; the last one says why the model stopped, if it did, and what was used."""
        async for chunk in self._stream:
            self._keep_usage()
            if fields := self._fields(chunk):
                yield fields
            if self._is_last(chunk):
                break
        self._keep_usage()
        # litellm reports a stream that broke off as finished, but not here.
        yield _filled(finish=self._stream.received_finish_reason, usage=self._usage)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    def _is_last(self, chunk: Any) -> bool:
        """Whether a chunk is litellm's last, which carries a usage; asking on would put the reply together again."""
        return self._stream.received_finish_reason is not None and getattr(chunk, "usage", None) is not None

    def _keep_usage(self) -> None:
        for received in self._stream.chunks:
            self._usage = _usage(received) or self._usage
        # litellm keeps all chunks to put them together again at the end, twice: a third of a reply's cost.
        self._stream.chunks.clear()

    def _fields(self, chunk: Any) -> Fields:
        delta = chunk.choices[0].delta if chunk.choices else None
        if delta is None:
            return {}
        signed = list(self._thoughts.add(getattr(delta, "thinking_blocks", None) or ()))
        return _filled(**_said(delta), calls=list(_calls(delta)), signed=signed)


class _Thoughts:
    """Puts signed thoughts together: the words come in pieces, the signature last, with all the words or with none."""

    def __init__(self) -> None:
        self._words = ""

    def add(self, blocks: Sequence[Mapping[str, Any]]) -> Iterator[Fields]:
        """Yield each block that is whole now, as the provider wants it back."""
        for block in blocks:
            words, signature = str(block.get("thinking") or ""), block.get("signature")
            if block.get("type") == "thinking" and not signature:
                self._words += words
                continue
            yield {**block, "thinking": words or self._words} if signature else dict(block)
            self._words = ""


def _whole(answer: Any) -> Fields:
    """Return the fields of the one chunk that a reply without a stream is."""
    usage = _usage(answer)
    if not answer.choices:
        return _filled(usage=usage)
    choice = answer.choices[0]
    signed = [dict(block) for block in getattr(choice.message, "thinking_blocks", None) or ()]
    calls = list(_calls(choice.message))
    return _filled(**_said(choice.message), calls=calls, signed=signed, finish=choice.finish_reason, usage=usage)


def _said(message: Any) -> Fields:
    return {"content": message.content, "reasoning": getattr(message, "reasoning_content", None)}


def _calls(message: Any) -> Iterator[list[Any]]:
    """Yield index, id, name and arguments of each piece of a call, as they came."""
    for place, call in enumerate(getattr(message, "tool_calls", None) or ()):
        yield [getattr(call, "index", place), call.id, call.function.name, call.function.arguments]
    if legacy := getattr(message, "function_call", None):
        yield [0, None, legacy.name, legacy.arguments]


def _usage(answer: Any) -> list[int | None] | None:
    """Return the tokens of prompt and reply, and of the prompt those read from a cache and written to it."""
    usage = getattr(answer, "usage", None)
    if usage is None or not (usage.prompt_tokens or usage.completion_tokens):  # it makes up zeros where none came
        return None
    details = getattr(usage, "prompt_tokens_details", None)
    cached, written = (getattr(details, f"{name}_tokens", None) for name in ("cached", "cache_creation"))
    return [usage.prompt_tokens, usage.completion_tokens, cached, written]


def _bounded(fields: Fields) -> Fields:
    """Return the fields of a chunk. Raises: NoUsableAnswer, where nobody wants so much at once."""
    words = (fields.get("content"), fields.get("reasoning"), *(call[3] for call in fields.get("calls", ())))
    if sum(len(word) for word in words if isinstance(word, str)) > _CHUNK_LIMIT_CHARS:
        raise NoUsableAnswer(f"a piece of its answer is longer than {_CHUNK_LIMIT_CHARS} characters")
    return fields


def _filled(**fields: Any) -> Fields:
    return {name: value for name, value in fields.items() if value}


def _packed(vector: Sequence[float | None]) -> str:
    numbers = array("f", (float("nan") if value is None else value for value in vector))
    return base64.b64encode(numbers.tobytes()).decode()


# --- The lines -----------------------------------------------------------------------------------------------


class Answers:
    """Writes answers; what one request brings in quick succession goes out as one line."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._gathered: dict[int, list[Fields]] = {}
        self._due: asyncio.TimerHandle | None = None
        self._written_at = 0.0
        self._put(b"\n")  # ends what anything printed before

    async def add(self, number: int, fields: Fields) -> None:
        """Take what a request brought, to be written at once, or soon where something was written just before."""
        loop = asyncio.get_running_loop()
        self._gathered.setdefault(number, []).append(fields)
        if self._due is None:
            self._due = loop.call_at(max(loop.time(), self._written_at + GATHER_S), self._flush)
        elif loop.time() > self._due.when():
            await asyncio.sleep(0)  # a stream that never has to wait lets nothing else run, not even its cancelling

    def end(self, number: int, fields: Fields) -> None:
        """Write what a request brought and that it has ended; `fields` say how, if not well."""
        self._write({"id": number, "brought": self._gathered.pop(number, []), "ended": True, **fields})

    def _flush(self) -> None:
        self._due = None
        gathered, self._gathered = self._gathered, {}
        for number, brought in gathered.items():
            self._write({"id": number, "brought": brought})
        self._written_at = asyncio.get_running_loop().time()

    def _write(self, line: Fields) -> None:
        self._put(ANSWER + json.dumps(line, default=str).encode() + b"\n")

    def _put(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            os._exit(0)  # nobody reads any more


def _read_lines(descriptor: int, take: Callable[[bytes], object]) -> None:
    """Hand on each line until the input ends, and this process with it, whatever else it is doing."""
    with os.fdopen(descriptor, "rb") as lines:
        for line in lines:
            take(line)
    os._exit(0)


def _private(descriptor: int) -> int:
    """Return a copy of a standard descriptor, which itself leads nowhere from now on: libraries may print to it."""
    copy = os.dup(descriptor)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
    return copy


def main() -> None:
    """Serve the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for memos, which cancels what it wants cancelled
    requests, answers = _private(0), _private(1)
    asyncio.run(LitellmHost(Answers(answers)).serve(requests))


if __name__ == "__main__":
    main()
