"""The process in which litellm lives, as memos sees it: started with the first request, shared by all who need it.

Importing litellm costs seconds of CPU and holds the interpreter's lock for a third of a second at a time: in the
process of memos somebody's typing would stall. Nothing here blocks; threads of ours write to the process and read from
it, and hand what comes to whoever asked, in whatever thread or event loop that waits.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import functools
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memos.errors import NotConfigured, ProcessorUnreachable
from memos.llm.provider_errors import ErrorElsewhere, ErrorFacts

Fields = dict[str, Any]
Receive = Callable[[Fields], object]

ANSWER = b"\x02"
"""What a line of an answer begins with: the packages of an environment may print before the process speaks."""

LINGER_S = 60.0
"""How long the process stays after the last one who held it has let go of it: it has 200 MB of memory."""

_ENDED = "The process that speaks to providers for memos (litellm) ended unexpectedly."
_AGAIN = "try again, it is started anew."


@dataclass(eq=False, slots=True)
class _Child:
    """A running process, the requests it has been given and has not answered, and the environment it knows of."""

    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    numbers: set[int] = field(default_factory=set)
    is_loaded: bool = False
    has_ended: bool = False


class LitellmProcess:
    """Hands requests to `memos.llm.litellm_host` and its answers to who asked. It may be used from any thread."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._requests: queue.SimpleQueue[tuple[int, Fields]] = queue.SimpleQueue()
        self._receivers: dict[int, Receive] = {}
        self._holders: weakref.WeakSet[Any] = weakref.WeakSet()
        self._child: _Child | None = None
        self._writer: threading.Thread | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether litellm is there, ready for a request."""
        child = self._child
        return child is not None and child.is_loaded and not child.has_ended

    @property
    def pid(self) -> int | None:
        """The number of the running process, None where there is none."""
        child = self._child
        return None if child is None or child.has_ended else child.process.pid

    def hold(self, holder: object) -> None:
        """Keep the process running for `holder`, as long as that lives or until it lets go."""
        self._holders.add(holder)

    def let_go(self, holder: object) -> None:
        """Take back `hold`."""
        self._holders.discard(holder)

    def ask(self, request: Fields, receive: Receive) -> int:
        """Hand over a request and return its number, at once.

        `receive` gets each line of the answer, the last one with the key `ended`; it is called in a thread of ours.
        """
        number = next(self._numbers)
        with self._lock:
            self._receivers[number] = receive
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_on, name="litellm writer", daemon=True)
                self._writer.start()
        self._requests.put((number, request))
        return number

    def ask_once(self, request: Fields) -> concurrent.futures.Future[Fields]:
        """Hand over a request whose answer is one piece, and return its future; cancelling that cancels the request.

        The future raises: NotConfigured, ProcessorUnreachable, ErrorElsewhere.
        """
        future: concurrent.futures.Future[Fields] = concurrent.futures.Future()
        brought: list[Fields] = []

        def receive(answer: Fields) -> None:
            brought.extend(answer["brought"])
            if "ended" in answer:
                with suppress(concurrent.futures.InvalidStateError):  # given up meanwhile
                    if (error := error_of(answer)) is not None:
                        future.set_exception(error)
                    else:
                        future.set_result(brought[0] if brought else {})

        number = self.ask(request, receive)
        future.add_done_callback(lambda done: self.cancel(number) if done.cancelled() else None)
        return future

    def cancel(self, number: int) -> None:
        """End a request, its connection included: nothing of it is received any more. It may have ended before."""
        with self._lock:
            was_under_way = self._receivers.pop(number, None) is not None
        if was_under_way:
            self._requests.put((number, {"op": "cancel"}))

    def load(self) -> concurrent.futures.Future[Fields]:
        """Start the process if need be, and return a future that is done when litellm is there."""
        return self.ask_once({"op": "load"})

    def end(self) -> None:
        """End the process; who waits for an answer gets an error."""
        child = self._child
        if child is not None and not child.has_ended:
            child.process.kill()  # it keeps nothing
            child.process.wait()

    # --- The writer's thread ----------------------------------------------------------------------------------

    def _write_on(self) -> None:
        while True:
            try:
                number, request = self._requests.get(timeout=LINGER_S if self.pid is not None else None)
            except queue.Empty:
                if not self._holders and not self._receivers:
                    self.end()
                continue
            try:
                self._write(number, request)
            except Exception as error:  # a process that cannot be started, or ends just now
                self._fail([number], error)

    def _write(self, number: int, request: Fields) -> None:
        child = self._running(number, may_start=request["op"] != "cancel")
        if child is None:
            return
        lines = [{"id": number, **request}]
        if changes := _changes(child.environment):
            lines.insert(0, {"id": 0, "op": "environment", "changes": changes})
        data = "".join(json.dumps(line, default=_plain) + "\n" for line in lines).encode()
        assert child.process.stdin is not None
        while data:
            data = data[child.process.stdin.write(data) :]

    def _running(self, number: int, may_start: bool) -> _Child | None:
        """Return the process that is to have the request of that number, None for what only an ended one could have."""
        with self._lock:
            child = self._child
            if child is not None and not child.has_ended and child.process.poll() is None:
                if may_start:
                    child.numbers.add(number)
                return child
            if not may_start:
                return None
        child = _started()
        with self._lock:
            child.numbers.add(number)
            self._child = child
        threading.Thread(target=self._read_on, args=(child,), name="litellm reader", daemon=True).start()
        return child

    def _fail(self, numbers: list[int], error: Exception) -> None:
        facts = ErrorFacts.of(error).as_data()
        failed = {"brought": [], "ended": True}
        failed |= {"gone": True} if isinstance(error, OSError | EOFError) else {"error": facts}
        for number in numbers:
            self._hand_over({"id": number, **failed})

    # --- The reader's thread ----------------------------------------------------------------------------------

    def _read_on(self, child: _Child) -> None:
        """Hand over each line until the process ends, then tell all who still wait for it."""
        assert child.process.stdout is not None
        with child.process, os.fdopen(child.process.stdout.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                if not (line.startswith(ANSWER) and line.endswith(b"\n")):
                    continue  # printed by who knows what while Python started; or the end of all, in mid-word
                answer = json.loads(line[len(ANSWER) :])
                if "ended" in answer:
                    child.numbers.discard(answer["id"])
                    child.is_loaded |= answer.get("loaded", False)
                self._hand_over(answer)
            with self._lock:
                child.has_ended = True
        self._fail(sorted(child.numbers), EOFError())

    def _hand_over(self, answer: Fields) -> None:
        with self._lock:
            take = self._receivers.pop if "ended" in answer else self._receivers.get
            receive = take(answer["id"], None)
        if receive is not None:
            receive(answer)


def error_of(answer: Fields) -> Exception | None:
    """Return the error that the last line of an answer tells of, None where all went well."""
    if "not_configured" in answer:
        return NotConfigured(*answer["not_configured"])
    if "gone" in answer:
        return ProcessorUnreachable(_ENDED, _AGAIN)
    return ErrorElsewhere(ErrorFacts.from_data(answer["error"])) if "error" in answer else None


@functools.cache
def shared_process() -> LitellmProcess:
    """Return the one process that all of memos shares; it ends with the interpreter at the latest."""
    shared = LitellmProcess()
    atexit.register(shared.end)
    return shared


def _started() -> _Child:
    """Start the process. No key is among its arguments, and its environment is ours."""
    import memos

    environment = dict(os.environ)
    packages = [str(Path(memos.__file__).parents[1]), *filter(None, [environment.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "memos.llm.litellm_host"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env=environment | {"PYTHONPATH": os.pathsep.join(packages)},
        start_new_session=True,  # the user's Ctrl-C is not meant for it, not even while Python starts
    )
    return _Child(process, environment)


def _changes(known: dict[str, str]) -> dict[str, str | None]:
    """Return what changed in our environment since the process was told of it, None for what is gone."""
    now = dict(os.environ)
    if now == known:
        return {}
    changes: dict[str, str | None] = {name: now.get(name) for name in known.keys() | now.keys()}
    changed = {name: value for name, value in changes.items() if known.get(name) != value}
    known.clear()
    known.update(now)
    return changed


def _plain(value: Any) -> Any:
    """Return what JSON makes of a value it does not know."""
    return dict(value) if isinstance(value, Mapping) else str(value)
