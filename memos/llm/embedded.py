"""A model inside this process: weights fetched or named by the user, loaded once, asked in a worker thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from memos.errors import BadInput, EmbeddingProblem, ProcessorUnreachable
from memos.functions.table import SPEECH_FUNCTION
from memos.llm.token_counts import estimated
from memos.messages import MonologueDelta, Progress, Prompt, PromptTokens, Reply, ReplyPart, SpeechDelta, TokenUsage
from memos.safe_text import safe_line

if TYPE_CHECKING:
    from memos.llm.engine import Engine
    from memos.llm.gguf import ModelFile
    from memos.llm.meaning import TokenStates
    from memos.llm.one_call import OneCall

WINDOW_TOKENS = 8192
"""How much queue is kept at hand: the call format reads the queue itself and shows the model a few lines of it."""
_ENGINE_WINDOW_TOKENS = 2048
"""What the model reads at once: our examples and one sentence of the user's; memory grows with it."""

_ONE_CALL_WINDOW_TOKENS = 4096
"""In one call the model reads the queue itself, so what is kept at hand and what it reads are the same."""

COMPANION_PARAMETERS = 500_000_000
"""From this size on a model may put a stored line into a sentence; what it writes is checked against the line."""

LARGER_BYTES = 300_000_000
"""Weights above this belong to a model that may choose its own words for small talk (0.5B in 4 bits has 400 MB)."""

_Report = Callable[[Progress], None]
_Show = Callable[[ReplyPart], None]


class CallFormat(Protocol):
    """Turns main context into the next step, by way of a loaded engine."""

    def prefixes(self) -> tuple[tuple[int, str], ...]:
        """Return what each slot of the engine always begins with, the commonest first."""
        ...

    def warm_up(self) -> None:
        """Make ready for the first message."""
        ...

    def reply(self, prompt: Prompt, cancelled: threading.Event | None = None) -> Reply:
        """Return the next step."""
        ...


class _MessageWaits(Exception):
    """Reading ahead ends here for now."""


class EmbeddedProcessor:
    """A built-in model or `gguf:PATH`, by way of llama.cpp and a call format that suits the model's size.

    `weights` returns the path of the built-in model, fetching it first if need be; it is called in the worker thread
    and not at all for `gguf:PATH`. `token_states` (of the sentence embedder) is what the clerk reads sentences by.
    """

    def __init__(
        self,
        model: str,
        weights: Callable[[_Report], Path],
        token_states: TokenStates,
        *,
        threads: int | None = None,
        window_tokens: int | None = None,
        prefix_folder: Path | None = None,
        call_format: str = "auto",
    ) -> None:
        """Remember what to load. `call_format`: auto, decomposed, or json_schema, the same as grammar. `prefix_folder`
        keeps what the model has read of our fixed prompts, nothing else.

        Raises: BadInput when `model` names nothing that can be loaded.
        """
        self._model = model
        self._path = _named_path(model)
        self._weights = weights
        self._threads = threads
        self._one_call = call_format in ("json_schema", "grammar")
        self._window_tokens = window_tokens or (_ONE_CALL_WINDOW_TOKENS if self._one_call else WINDOW_TOKENS)
        self._token_states = token_states
        self._prefix_folder = prefix_folder
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="memos-model")
        self._closed = threading.Event()
        self._listeners: list[_Report] = []
        self._nobody_waits = asyncio.Event()
        self._nobody_waits.set()
        self._phase: Progress | None = None
        self._engine: Engine | None = None
        self._unread: list[tuple[int, str]] = []
        self._format: CallFormat | None = None
        self._streaming: OneCall | None = None

    @property
    def model(self) -> str:
        """The model string the user chose."""
        return self._model

    @property
    def window_tokens(self) -> int | None:
        """How many tokens of main context are kept at hand."""
        return self._window_tokens

    @property
    def reads_queue(self) -> bool:
        """Whether it reads all of the queue: clerk and companion look at the newest turn, and search the rest."""
        return self._one_call

    @property
    def summarises(self) -> bool:
        """Whether it can write a summary to order: a clerk or companion of this size invents."""
        return False

    @property
    def sees(self) -> bool | None:
        """Never: no projector of pictures is loaded beside the weights."""
        return False

    async def infer(self, prompt: Prompt) -> AsyncIterator[ReplyPart]:
        """Stream progress while the model is got ready, then the step that comes next.

        Raises: ProcessorUnreachable, BadInput, StorageProblem when the model cannot be had or run.
        """
        loop = asyncio.get_running_loop()
        parts: asyncio.Queue[ReplyPart | None] = asyncio.Queue()
        cancelled = threading.Event()

        def report(part: ReplyPart) -> None:
            with contextlib.suppress(RuntimeError):  # the loop may have ended while the weights were on their way
                loop.call_soon_threadsafe(parts.put_nowait, part)

        def finished(work: asyncio.Future[Reply]) -> None:
            work.cancelled() or work.exception()  # looked at here, for nobody may be left to do so
            parts.put_nowait(None)

        if self._phase:  # somebody else is loading it already
            parts.put_nowait(self._phase)
        self._listeners.append(report)
        self._nobody_waits.clear()
        work = loop.run_in_executor(self._worker, lambda: self._step(prompt, cancelled, report))
        work.add_done_callback(finished)
        try:
            while (part := await parts.get()) is not None:
                yield part
            yield await work
        finally:
            cancelled.set()
            self._listeners.remove(report)
            if not self._listeners:
                self._nobody_waits.set()

    def measure(self, prompt: Prompt) -> PromptTokens:
        """Count by the model's own tokenizer in one call, once it is loaded; else estimate from bytes.

        The clerk and the companion read the queue themselves and show the model a sentence of it at a time: the prompt
        reaches no LLM as a whole, so an estimate of how much is kept at hand is all there is to know.
        """
        exact = self._streaming.measure(prompt) if self._streaming is not None else None
        return exact or estimated(prompt)

    def learn(self, measured: PromptTokens, usage: TokenUsage) -> None:
        """Do nothing: what is counted by the model's own tokenizer needs no correction."""

    def cost_usd(self, usage: TokenUsage) -> float | None:
        """Return 0: nobody is paid for a model in the process."""
        return 0.0

    async def find_window(self) -> None:
        """Do nothing: it is known."""

    async def warm_up(self) -> None:
        """Fetch and load the model and let it read its examples, in the worker thread; a message goes before that."""
        loop = asyncio.get_running_loop()
        while not await loop.run_in_executor(self._worker, self._warm_up):
            await self._nobody_waits.wait()

    async def aclose(self) -> None:
        """Stop what is under way at the next token and free the model's memory."""
        if self._closed.is_set():
            return
        self._closed.set()
        await asyncio.get_running_loop().run_in_executor(self._worker, self._unload)
        self._worker.shutdown(wait=False)

    def _step(self, prompt: Prompt, cancelled: threading.Event, show: _Show) -> Reply:
        call_format = self._ready()
        if self._streaming is not None:
            return self._streaming.reply(prompt, cancelled, show)
        try:
            reply = call_format.reply(prompt, cancelled)
        except EmbeddingProblem as problem:
            raise ProcessorUnreachable(
                "The clerk reads with the built-in embedder, which failed.", problem.next_step
            ) from problem
        for delta in _deltas(reply):
            show(delta)
        return reply

    def _ready(self) -> CallFormat:
        """Return the call format over a loaded model; in the worker thread only."""
        if self._format is None:
            try:
                self._format = self._load()
            finally:
                self._phase = None
        self._go_on()
        return self._format

    def _load(self) -> CallFormat:
        path = self._path or self._weights(self._report)
        self._report(Progress("loading the model"))
        call_format = self._format_for(path)
        assert self._engine is not None
        for slot, prefix in call_format.prefixes():
            if not self._engine.restore_prefix(prefix, slot):
                self._unread.append((slot, prefix))
        return call_format

    def _format_for(self, path: Path) -> CallFormat:
        """Load the model and return the call format for its size."""
        from memos.llm.decomposed import SLOTS, Decomposed
        from memos.llm.gguf import read_gguf
        from memos.llm.meaning import Meaning

        file = read_gguf(path)
        if self._one_call:
            return self._one_call_format(path, file)
        meaning = Meaning(self._token_states)
        window_tokens = min(_ENGINE_WINDOW_TOKENS, file.context_tokens or _ENGINE_WINDOW_TOKENS)
        larger = path.stat().st_size > LARGER_BYTES
        if file.parameters < COMPANION_PARAMETERS:
            engine = self._engine_for(path, SLOTS, window_tokens)
            return Decomposed(engine, meaning, go_on=self._go_on, larger=larger)
        from memos.llm.companion import SLOTS as COMPANION_SLOTS
        from memos.llm.companion import Companion

        engine = self._engine_for(path, COMPANION_SLOTS, window_tokens)
        return Companion(engine, Decomposed(engine, meaning, go_on=self._go_on, larger=larger))

    def _one_call_format(self, path: Path, file: ModelFile) -> CallFormat:
        from memos.llm.one_call import SLOTS, OneCall

        # What is kept at hand is what the model reads, and that is no more than it was made for.
        self._window_tokens = min(self._window_tokens, file.context_tokens or self._window_tokens)
        self._streaming = OneCall(self._engine_for(path, SLOTS, self._window_tokens))
        return self._streaming

    def _engine_for(self, path: Path, slots: int, window_tokens: int) -> Engine:
        from memos.llm.engine import Engine, default_threads

        self._engine = Engine(
            path,
            threads=self._threads or default_threads(),
            window_tokens=window_tokens,
            slots=slots,
            prefix_folder=self._prefix_folder,
            writes_much=self._one_call,
            counts=self._one_call,
        )
        return self._engine

    def _warm_up(self) -> bool:
        """Load the model and let it read, once and for all later processes, what its prompts begin with.

        Return whether that is done: it gives way to a message that waits, and what was read by then stays read.
        """
        call_format = self._ready()
        assert self._engine is not None
        try:
            while self._unread:
                slot, prefix = self._unread[0]
                self._engine.read_prefix(prefix, slot, self._give_way)
                self._unread.pop(0)
        except _MessageWaits:
            return False
        self._engine.close_door()
        call_format.warm_up()
        return True

    def _give_way(self) -> None:
        """Raises: _MessageWaits when somebody waits for a reply; ProcessorUnreachable when closed."""
        self._go_on()
        if self._listeners:
            raise _MessageWaits

    def _unload(self) -> None:
        self._format = self._streaming = None
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _report(self, progress: Progress) -> None:
        self._go_on()
        self._phase = progress
        for listener in tuple(self._listeners):
            listener(progress)

    def _go_on(self) -> None:
        """Raises: ProcessorUnreachable when the processor was closed in the meantime, which ends long work."""
        if self._closed.is_set():
            raise ProcessorUnreachable("The embedded model has been closed.", "run memos again")


def _named_path(model: str) -> Path | None:
    """Return the file that `model` names, None for the built-in model. Raises: BadInput."""
    from memos.llm.weights import BUILTIN

    kind, colon, name = model.partition(":")
    if kind == "gguf" and colon:
        from memos.llm.engine import check_gguf

        path = Path(name).expanduser()
        check_gguf(path)
        return path
    if model not in BUILTIN:
        known = ", ".join(BUILTIN)
        raise BadInput(f"There is no built-in model {safe_line(model)}.", f"choose {known} or gguf:/path/to/model.gguf")
    return None


def _deltas(reply: Reply) -> list[ReplyPart]:
    """Return what the user sees of `reply`, in pieces: nothing is shown before it has been checked as a whole."""
    deltas: list[ReplyPart] = [MonologueDelta(reply.monologue)] if reply.monologue else []
    spoken = [json.loads(call.arguments)["message"] for call in reply.calls if call.name == SPEECH_FUNCTION]
    return deltas + [SpeechDelta(message) for message in [*spoken, reply.text] if message]
