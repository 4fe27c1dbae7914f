"""llama.cpp in this process: one model, a few slots that each keep the beginning of their prompt.

A thin skin over xllamacpp's `Server`. All of it blocks; callers use a worker thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memos.errors import BadInput, ContextOverflow, MemosError, ProcessorUnreachable
from memos.llm.engine_door import EngineDoor
from memos.llm.slot_files import SlotFiles, private_folder
from memos.messages import Finish, TokenUsage
from memos.safe_text import safe_line

_GGUF_MAGIC = b"GGUF"
_CANDIDATES = 300
"""How many of the likeliest next tokens are asked for when labels are weighed."""
_BATCH_TOKENS = 128
"""Tokens read at once. More reads no faster on a CPU and takes 10 MB more of a small model."""
_PIECE_CHARS = 400
_COUNTING_TIMEOUT_S = 1.0
_SOCKET = "closed.sock"
_QUIET = -1
"""llama.cpp's verbosity at which not even errors go to stderr, where they would tear the screen."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model wrote, and what it cost."""

    text: str
    finish: Finish
    usage: TokenUsage


def default_threads() -> int:
    """Return how many threads to use: one core stays free, for two spinning threads on a busy machine cost tenfold."""
    return max(1, (os.cpu_count() or 1) - 1)


def check_gguf(path: Path) -> None:
    """Make sure `path` is a GGUF file. Raises: BadInput."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise BadInput(
            f"The model file {safe_line(str(path))} cannot be read: {error.strerror or error}.",
            "name an existing file, as in gguf:/path/to/model.gguf",
        ) from error
    if magic != _GGUF_MAGIC:
        raise BadInput(f"{safe_line(str(path))} is not a GGUF file.", "name a model in llama.cpp's GGUF format")


class Engine:
    """A loaded model. Each slot keeps what it last read, so a prompt costs only what differs from the slot's last."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int,
        window_tokens: int,
        slots: int = 1,
        prefix_folder: Path | None = None,
        writes_much: bool = False,
        counts: bool = False,
    ) -> None:
        """Load the model. `prefix_folder`: where `read_prefix` keeps what it has read, until `close_door`.

        `writes_much` has the weights laid out anew: 1.5B then write 17 tokens per CPU second and not 12, but loading
        takes 3 s and not 1, during which nothing else in the process runs, and 600 MB more. Reading is as quick.
        `counts` keeps the way in open as long as the engine lives, for `tokens`, which needs it.

        Raises: BadInput when the file is not a model this engine can run.
        """
        check_gguf(path)
        self.window_tokens = window_tokens
        self._one_at_a_time = threading.Lock()
        self._at_work = False
        self._counter: EngineDoor | None = None
        self._door = Path(tempfile.mkdtemp(prefix="memos-"))
        key = secrets.token_urlsafe(32)
        if os.name != "posix" or prefix_folder is None or not private_folder(prefix_folder):
            prefix_folder = None
        try:
            settings = _settings(path, threads, window_tokens, slots)
            settings.no_extra_bufts = not writes_much
            if prefix_folder is not None:
                settings.slot_save_path = f"{prefix_folder}{os.sep}"
            self._server: Any = _start(path, settings, self._door, key)
        except BaseException:
            self.close_door()
            raise
        self._files = self._slot_files(prefix_folder, path, key) if prefix_folder else None
        self._counter = EngineDoor(self._door / _SOCKET, key) if counts and os.name == "posix" else None
        if self._files is None:
            self.close_door()

    def _slot_files(self, folder: Path, path: Path, key: str) -> SlotFiles:
        from importlib.metadata import version

        engine = f"{version('xllamacpp')} {self.window_tokens}"
        return SlotFiles(folder, path, self._door / _SOCKET, key, engine=engine)

    def restore_prefix(self, prefix: str, slot: int) -> bool:
        """Let `slot` begin with `prefix` as an earlier process read it; return whether that was at hand."""
        with self._one_at_a_time:
            return self._files is not None and self._server is not None and self._files.restore(slot, prefix)

    def read_prefix(self, prefix: str, slot: int, go_on: Callable[[], None] = lambda: None) -> None:
        """Read `prefix` in `slot` and keep it for later processes; `go_on` may raise between pieces to end it.

        `prefix` must be ours alone: nothing the user said.
        """
        for end in range(_PIECE_CHARS, len(prefix), _PIECE_CHARS):
            go_on()
            self.complete(prefix[:end], max_tokens=1, slot=slot)
        go_on()
        self.complete(prefix, max_tokens=1, slot=slot)
        with self._one_at_a_time:
            if self._files is not None and self._server is not None:
                self._files.save(slot, prefix)

    def close_door(self) -> None:
        """Remove the way to the engine from outside this object, but for `tokens`: nothing more is kept or restored."""
        self._files = None
        if self._counter is None:
            shutil.rmtree(self._door, ignore_errors=True)

    def tokens(self, text: str) -> list[int] | None:
        """Return how many bytes each token of `text` has, as it would be read as a prompt; None where that is not said.

        4 ms for a thousand tokens; also while the engine writes.
        """
        if self._counter is None:
            return None
        text = text.encode("utf-8", "replace").decode()  # half a surrogate pair has no way into JSON
        wish = {"content": text, "add_special": True, "parse_special": True, "with_pieces": True}
        answer = self._counter.post("/tokenize", wish, timeout_s=_COUNTING_TIMEOUT_S)
        return [_bytes(token) for token in json.loads(answer)["tokens"]] if answer else None

    def complete(
        self,
        prompt: str,
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        slot: int = 0,
        grammar: str | None = None,
        on_text: Callable[[str], None] | None = None,
        cancelled: threading.Event | None = None,
    ) -> Completion:
        """Continue `prompt`, greedily. `on_text` gets each piece; a set `cancelled` ends it at the next token.

        Raises: ContextOverflow, ProcessorUnreachable.
        """
        request: dict[str, Any] = {"prompt": prompt, "n_predict": max_tokens, "stop": list(stop)}
        if grammar is not None:
            request["grammar"] = grammar
        pieces: list[str] = []
        last: dict[str, Any] = {}

        def take(chunk: dict[str, Any]) -> bool:
            last.update(chunk)
            if text := _text(chunk):
                pieces.append(text)
                if on_text is not None:
                    on_text(text)
            return cancelled is not None and cancelled.is_set()

        self._ask(request, slot, take)
        finish = _FINISH.get(str(_choice(last).get("finish_reason")), Finish.CANCELLED)
        return Completion("".join(pieces), finish, _usage(last))

    def next_token(self, prompt: str, labels: Sequence[str], *, slot: int = 0) -> list[float]:
        """Return the log probability of each of `labels` (one token each, with its leading blank) after `prompt`.

        A label that is not among the likeliest few hundred tokens gets a value below all of them.
        Raises: ContextOverflow, ProcessorUnreachable.
        """
        answers: list[dict[str, Any]] = []

        def take(chunk: dict[str, Any]) -> bool:
            answers.append(chunk)
            return False

        self._ask({"prompt": prompt, "n_predict": 1, "n_probs": _CANDIDATES}, slot, take)
        candidates = next((found for chunk in answers if (found := _candidates(chunk))), {})
        if not candidates:
            raise ProcessorUnreachable("The embedded model gave no probabilities.", "run memos again")
        floor = min(candidates.values()) - 1.0
        return [candidates.get(label, floor) for label in labels]

    def close(self) -> None:
        """Stop the engine's threads and free its memory, after a request that is under way."""
        if not self._at_work:
            # The native loop starts in a thread of its own. Told to stop before that, it would start afterwards and
            # never end, and closing would wait for it forever; after an answer it is known to run.
            with contextlib.suppress(MemosError):
                self.complete(".", max_tokens=1)
        with self._one_at_a_time:
            self._server = self._counter = None
            self.close_door()

    def _ask(self, request: dict[str, Any], slot: int, take: Callable[[dict[str, Any]], bool]) -> None:
        failures: list[BaseException] = []

        def guarded(chunk: dict[str, Any]) -> bool:
            # The native side swallows what a callback raises, so it is carried around it.
            try:
                _raise_on_error(chunk)
                return take(chunk)
            except BaseException as error:
                failures.append(error)
                return True

        common = {"temperature": 0.0, "cache_prompt": True, "id_slot": slot, "stream": True}
        with self._one_at_a_time:
            if self._server is None:
                raise ProcessorUnreachable("The embedded model has been closed.", "run memos again")
            answer = self._server.handle_completions({**common, **request}, guarded)
            self._at_work = True
        if failures:
            raise failures[0]
        if isinstance(answer, dict):
            _raise_on_error(answer)


_FINISH = {"stop": Finish.STOP, "length": Finish.LENGTH}


def _settings(path: Path, threads: int, window_tokens: int, slots: int) -> Any:
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(path)
    settings.n_ctx = window_tokens
    settings.n_parallel = slots
    settings.n_batch = settings.n_ubatch = _BATCH_TOKENS
    settings.kv_unified = True  # the slots share one window, and so its memory
    settings.cache_ram_mib = 0  # else it keeps up to 8 GiB of old prompts
    settings.n_ctx_checkpoints = 0
    settings.cpuparams.n_threads = threads
    settings.cpuparams_batch.n_threads = threads
    settings.verbosity = _QUIET
    settings.warmup = False  # a run for nothing: our own prefixes warm it
    settings.fit_params = False
    settings.use_jinja = False
    settings.ui = False
    settings.endpoint_slots = False
    settings.n_threads_http = 1
    return settings


def _start(path: Path, settings: Any, door: Path, key: str) -> Any:
    import xllamacpp

    # The library insists on an HTTP listener. It gets a key nobody else knows and, where the system has them, a socket
    # file in a private folder, removed when it is no longer needed: no port is opened, and no one can come in.
    settings.api_keys = [key]
    if os.name == "posix":
        settings.hostnames = [str(door / _SOCKET)]
    try:
        return xllamacpp.Server(settings)
    except RuntimeError as error:
        raise BadInput(
            f"{safe_line(str(path))} could not be loaded as a model.", "choose another GGUF file, or free some memory"
        ) from error


def _choice(chunk: dict[str, Any]) -> dict[str, Any]:
    choices = chunk.get("choices") or [{}]
    first = choices[0]
    return first if isinstance(first, dict) else {}


def _text(chunk: dict[str, Any]) -> str:
    return str(_choice(chunk).get("text") or "")


def _candidates(chunk: dict[str, Any]) -> dict[str, float]:
    content = (_choice(chunk).get("logprobs") or {}).get("content") or []
    return {entry["token"]: float(entry["logprob"]) for entry in content[0]["top_logprobs"]} if content else {}


def _bytes(token: dict[str, Any]) -> int:
    """Return the length of a token in bytes: its piece is text, or a list of bytes where it is not valid text."""
    piece = token["piece"]
    return len(piece.encode()) if isinstance(piece, str) else len(piece)


def _usage(chunk: dict[str, Any]) -> TokenUsage:
    usage = chunk.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    return TokenUsage(usage.get("prompt_tokens"), usage.get("completion_tokens"), details.get("cached_tokens"))


def _raise_on_error(chunk: dict[str, Any]) -> None:
    error = chunk.get("error")
    if not error:
        return
    message = safe_line(str(error.get("message", error) if isinstance(error, dict) else error))[:300]
    if isinstance(error, dict) and error.get("type") == "exceed_context_size_error":
        raise ContextOverflow(f"The prompt does not fit the embedded model: {message}.", "shorten the message")
    raise ProcessorUnreachable(f"The embedded model failed: {message}.", "try again, or choose another model")
