"""Remote embedding models by litellm: texts go to the endpoint the user named, vectors come back.

An endpoint that failed is left alone for a minute: no search and no batch waits for it meanwhile. litellm asks it in
its own process, and the time is kept here, for not every road through litellm keeps a time-out.
"""

from __future__ import annotations

import base64
import concurrent.futures
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from memos.errors import ContextOverflow, EmbeddingProblem, MemosError
from memos.llm.catalogue import model_table, redirection
from memos.llm.litellm_process import shared_process
from memos.llm.prices import cost_usd
from memos.llm.provider_errors import failure_of
from memos.llm.road import NO_KEY
from memos.messages import TokenUsage
from memos.safe_text import storable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

PAUSE_S = 60.0
"""How long an endpoint that failed is left alone."""

_Fields = dict[str, Any]

_TEXTS_PER_REQUEST = 32
_QUERY_TIMEOUT_S = 15.0  # somebody waits for the answer to a single text
_TEXT_LIMITS_CHARS = (8_000, 2_000, 500)  # the next one where the model says a text is too long for it
_TOO_LONG = re.compile(r"too (large|long)|physical batch size|maximum input length", re.IGNORECASE)
_CHANGED = "if another model answers there now: memos reindex --all"


class RemoteEmbedder:
    """One remote embedding model, named as litellm names it. It may be used from any thread.

    `dims` is the length of its vectors as known from before, 0 where nobody knows it yet. `on_call` is told what each
    request used and cost, None where nobody knows.
    """

    def __init__(
        self,
        model: str,
        *,
        api_base: str | None = None,
        api_key: str | None = None,
        dims: int = 0,
        timeout_s: float = 60.0,
        pause_s: float = PAUSE_S,
        on_call: Callable[[TokenUsage, float | None], None] = lambda usage, cost: None,
    ) -> None:
        self._model = model
        self._api_base = api_base
        self._api_key = api_key or (NO_KEY if api_base else None)
        self._dims = dims
        self._timeout_s = timeout_s
        self._pause_s = pause_s
        self._on_call = on_call
        self._lock = threading.Lock()
        self._problem: EmbeddingProblem | None = None
        self._asked_again_at = 0.0
        self._under_way: set[concurrent.futures.Future[_Fields]] = set()
        self._closed = False
        self._process = shared_process()

    @property
    def name(self) -> str:
        """Return the space of these vectors: the model, and the server it runs on where the user named one."""
        return space_name(self._model, self._api_base)

    @property
    def dims(self) -> int:
        """Return the length of a vector; 0 until the endpoint has answered for the first time."""
        return self._dims

    @property
    def who(self) -> str:
        """The endpoint as a person knows it: its host, or the provider's name."""
        return endpoint(self._model, self._api_base)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector a text, shape (n, dims) float32, of unit length; a row of NaN where it gave none.

        Raises: EmbeddingProblem. For a minute after one the endpoint is not asked again.
        """
        import numpy as np

        if self._problem is not None and time.monotonic() < self._asked_again_at:
            raise self._problem
        try:
            parts = [self._embedded(texts[at : at + _TEXTS_PER_REQUEST]) for at in _steps(len(texts))]
        except EmbeddingProblem as problem:
            self._problem, self._asked_again_at = problem, time.monotonic() + self._pause_s
            raise
        self._problem = None
        return np.concatenate(parts) if parts else np.zeros((0, self._dims), dtype=np.float32)

    def close(self) -> None:
        """Wait for nothing any more: calls under way are given up."""
        with self._lock:
            self._closed = True
            under_way = list(self._under_way)
        self._process.let_go(self)
        for future in under_way:
            future.cancel()

    # --- One request ------------------------------------------------------------------------------------------

    def _embedded(self, texts: Sequence[str]) -> Vectors:
        """Ask for some vectors, with shorter texts where the model finds these too long."""
        for limit_chars in _TEXT_LIMITS_CHARS:
            try:
                answer = self._asked([storable(text[:limit_chars]) or " " for text in texts])
                return self._checked(answer, len(texts))
            except _TooLong as error:
                problem = error.problem
        raise problem

    def _asked(self, texts: list[str]) -> list[str] | None:
        """Return the vectors as litellm's process packs them, None where there are none.

        Raises: EmbeddingProblem, _TooLong.
        """
        timeout_s = min(self._timeout_s, _QUERY_TIMEOUT_S) if len(texts) == 1 else self._timeout_s
        optional = {"api_base": self._api_base, "api_key": self._api_key}
        request = {
            "op": "embed",
            "model": self._model,
            "input": texts,
            "timeout": timeout_s,
            **{name: value for name, value in optional.items() if value},
        }
        try:
            answer = self._in_time(request, timeout_s)
        except concurrent.futures.CancelledError as error:
            raise EmbeddingProblem("The conversation ended before the embedder answered.") from error
        except TimeoutError as error:
            raise self._told(f"{self.who} sent no vectors for {timeout_s:g} s.", "check that server") from error
        except MemosError as error:
            raise self._told(error.what, error.next_step) from error
        except Exception as error:
            raise self._translated(error) from error
        self._report(answer["prompt_tokens"])
        vectors: list[str] | None = answer["vectors"]
        return vectors

    def _in_time(self, request: _Fields, timeout_s: float) -> _Fields:
        """Return what litellm's process brings. Raises: TimeoutError, CancelledError, what the request raises."""
        self._process.hold(self)
        self._until_closed(self._process.load()).result()  # that is not the endpoint's time
        asked = self._until_closed(self._process.ask_once(request))
        try:
            return asked.result(timeout_s + 1)  # where the time-out of the wire works it knows more to tell
        except TimeoutError:
            asked.cancel()
            raise

    def _until_closed(self, future: concurrent.futures.Future[_Fields]) -> concurrent.futures.Future[_Fields]:
        """Return the future, which `close` cancels, or has cancelled already."""
        with self._lock:
            self._under_way.add(future)
            closed = self._closed
        future.add_done_callback(self._under_way.discard)
        if closed:
            future.cancel()
        return future

    def _report(self, prompt_tokens: int | None) -> None:
        usage = TokenUsage(prompt_tokens, 0)
        own = self._api_base is not None or bool(redirection(self._model))
        self._on_call(usage, None if own else cost_usd(model_table(), self._model, usage))

    def _checked(self, sent: list[str] | None, count: int) -> Vectors:
        """Return the vectors of an answer, of unit length. Raises: EmbeddingProblem."""
        import numpy as np

        try:
            rows = [np.frombuffer(base64.b64decode(row), dtype=np.float32) for row in sent or ()]
            vectors = np.stack(rows)
        except ValueError as error:  # none at all, or of several lengths
            raise self._told(f"{self.who} sent something else than vectors.", "is it an embedding model?") from error
        if vectors.ndim != 2 or len(vectors) != count or not vectors.shape[1]:
            raise self._told(f"{self.who} did not send one vector for each text.", "is it an embedding model?")
        if self._dims and vectors.shape[1] != self._dims:
            what = f"{self.who} sent vectors of {vectors.shape[1]} dimensions; those of {self._model} had {self._dims}."
            raise self._told(what, _CHANGED)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        usable = np.isfinite(lengths) & (lengths > 0)
        if not usable.any():
            raise self._told(f"{self.who} sent vectors that are zero or not numbers.", "check the model on that server")
        self._dims = int(vectors.shape[1])
        unit: Vectors = np.where(usable, vectors / np.where(usable, lengths, 1), np.nan).astype(np.float32)
        return unit

    # --- Failures ---------------------------------------------------------------------------------------------

    def _translated(self, error: Exception) -> Exception:
        failure = failure_of(error, self.who, self._model, [self._api_key] if self._api_key else []).error
        problem = self._told(failure.what, failure.next_step.replace("api_base", "memory.embedding_api_base"))
        too_long = isinstance(failure, ContextOverflow) or _TOO_LONG.search(failure.what)
        return _TooLong(problem) if too_long else problem

    def _told(self, what: str, next_step: str) -> EmbeddingProblem:
        return EmbeddingProblem(f"No vectors, search goes on by words alone: {what}", next_step)


class _TooLong(Exception):
    """The model finds one of the texts too long."""

    def __init__(self, problem: EmbeddingProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def endpoint(model: str, api_base: str | None) -> str:
    """Return who gets the texts, as a person knows it: the host of `api_base`, or the provider's name."""
    return urllib.parse.urlsplit(api_base or "").netloc.rpartition("@")[2] or model.partition("/")[0]


def space_name(model: str, api_base: str | None) -> str:
    """Return the name of a model's vectors. The same name on another server may be another model."""
    if not api_base:
        return model
    parts = urllib.parse.urlsplit(api_base)
    return f"{model} at {parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def _steps(count: int) -> Iterator[int]:
    return iter(range(0, count, _TEXTS_PER_REQUEST))
