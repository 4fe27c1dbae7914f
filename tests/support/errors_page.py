"""The tables of `memos help errors`: exit codes, and every error with sentences that the code itself makes.

`python -m support.errors_page` (in the folder `tests`) writes them into memos/help/errors.md. Each example is provoked,
not written: what fails is the code that would fail in use.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import pkgutil
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import memos
from memos.cli.bench.measuring import FailuresInARow, ModelFails
from memos.cli.boot import processor_for
from memos.config import Places, Settings, load_persona, parse_assignments
from memos.errors import (
    EXIT_CODES,
    AgentInUse,
    AgentNotFound,
    BadInput,
    ContentFiltered,
    ContextOverflow,
    DataDamaged,
    EmbeddingProblem,
    FunctionFailed,
    LimitReached,
    MemosError,
    NotConfigured,
    ProcessorError,
    ProcessorRefused,
    ProcessorUnreachable,
    RateLimited,
    StorageProblem,
    StreamCut,
)
from memos.functions.process_functions import ProcessFunctions
from memos.kernel.control import Limits, Turn, limit_reached, out_of_time, reason_it_is_not_whole
from memos.kernel.main_context import PromptTooLong
from memos.kernel.summariser import NoSummary, summarise
from memos.llm.provider_errors import failure_of
from memos.llm.remote_embedder import RemoteEmbedder
from memos.llm.scripted import ScriptedProcessor, ScriptedReply
from memos.messages import Finish, Message, Reply, Stopped
from memos.storage.agent_lock import AgentLock
from memos.storage.agents import Agents
from memos.storage.database import Database, too_new, translated_errors
from memos.terminal.report import ending_of
from support.agent_home import agent_home
from support.help_pages import HELP_FOLDER, in_markdown, write
from support.listening import Listener, play

PAGE = HELP_FOLDER / "errors.md"
ABSTRACT = {MemosError, ProcessorError}
"""Nothing raises these themselves."""
WHO, MODEL = "api.example.org", "openai/x"
Provoke = Callable[[Path], MemosError | Stopped]
"""Raises or returns the error; the folder is its own."""


def _refused(text: str, status: int, **headers: str) -> Provoke:
    class ApiError(Exception):
        status_code = status
        response = SimpleNamespace(headers=headers)

    return lambda folder: failure_of(ApiError(text), WHO, MODEL).error


def _cut(error: Exception) -> Provoke:
    return lambda folder: failure_of(error, WHO, MODEL).error


def _keyless(folder: Path) -> MemosError:
    processor_for(Settings.resolve({"model": "openai/x"}, {}, {}, {}), _places(folder), {})
    raise AssertionError


def _stranger(folder: Path) -> MemosError:
    database = Database.open(folder / "memos.db")
    try:
        Agents(database).create("sam", model="m", persona_name="sam", human_name="basic", blocks=())
        Agents(database).get("sma")
    finally:
        database.close()
    raise AssertionError


def _held(folder: Path) -> MemosError:
    first, second = (AgentLock(folder, "id", "sam") for _ in range(2))
    first.acquire()
    try:
        second.acquire()
    finally:
        first.release()
    raise AssertionError


def _torn(folder: Path) -> MemosError:
    (folder / "memos.db").write_bytes(b"no database, but long enough to be taken for one " * 100)
    Database.open(folder / "memos.db")
    raise AssertionError


def _full(folder: Path) -> MemosError:
    with translated_errors(folder / "memos.db"):
        raise sqlite3.OperationalError("database or disk is full")


def _vectorless(folder: Path) -> MemosError:
    embedder = RemoteEmbedder("openai/embedder", api_base="http://localhost:9/v1", api_key="none", dims=0, timeout_s=5)
    embedder.embed(["bees"])
    raise AssertionError


def _summaryless(folder: Path) -> MemosError:
    processor = ScriptedProcessor([ScriptedReply(text="Hm.")] * 5)
    said = Message("user", "I keep bees.", "agent", "turn")

    async def note(call: object) -> None:
        """Nobody pays."""

    asyncio.run(summarise(processor, "", [said], 8192, note))
    raise AssertionError


def _narrow(folder: Path) -> Stopped:
    home, stopped = agent_home(folder), list[Stopped]()

    async def scene(listener: Listener) -> None:
        await listener.say("I keep bees.")
        stopped.extend(listener.of(Stopped))

    play(home.kernel(ScriptedProcessor([], window_tokens=300)), scene)
    home.database.close()
    return replace(stopped[0], reason=stopped[0].reason.partition(" Your message is kept")[0])


def _failing(folder: Path) -> MemosError:
    row = FailuresInARow()
    while True:
        row.note(Stopped(str(_refused("Incorrect API key provided.", 401)(folder)), "error", 4))


def _places(folder: Path) -> Places:
    return Places.find({"MEMOS_HOME": str(folder)})


def _cut_off(folder: Path) -> Stopped:
    stopped = reason_it_is_not_whole(Reply(finish=Finish.CUT))
    assert stopped
    return stopped


def _many_steps(folder: Path) -> MemosError:
    reached = limit_reached(Turn(steps=30), Limits())
    assert reached
    return reached


def _speechless(folder: Path) -> MemosError:
    home = agent_home(folder)
    try:
        ProcessFunctions(home.syscalls).send_message(" ")
    finally:
        home.database.close()
    raise AssertionError


def _misnamed(folder: Path) -> MemosError:
    load_persona(_places(folder), "sma")
    raise AssertionError


def _misset(folder: Path) -> MemosError:
    parse_assignments(["limits.step=9"])
    raise AssertionError


EXAMPLES: Mapping[type[MemosError], Sequence[Provoke]] = {
    BadInput: [_misset, _misnamed],
    NotConfigured: [_keyless],
    ProcessorRefused: [
        _refused("Incorrect API key provided.", 401),
        _refused("The model `x` does not exist.", 404),
        _refused("You exceeded your current quota, please check your plan.", 429),
    ],
    ContextOverflow: [_refused("This model's maximum context length is 8192 tokens.", 400)],
    PromptTooLong: [_narrow],
    ContentFiltered: [_refused("The response was filtered due to content management policy.", 400)],
    ProcessorUnreachable: [_cut(ConnectionRefusedError()), _cut(TimeoutError()), _refused("Overloaded.", 529)],
    RateLimited: [_refused("Slow down.", 429, **{"retry-after": "20"})],
    StreamCut: [_cut_off],
    AgentNotFound: [_stranger],
    AgentInUse: [_held],
    LimitReached: [_many_steps, lambda folder: out_of_time(Limits())],
    DataDamaged: [_torn, lambda folder: too_new(folder / "memos.db", 4711)],
    StorageProblem: [_full],
    EmbeddingProblem: [_vectorless],
    ModelFails: [_failing],
    NoSummary: [_summaryless],
    FunctionFailed: [_speechless],
}
WITHIN: Mapping[type[MemosError], str] = {
    NoSummary: "nothing: your own words, shortened, stand in its place",
    FunctionFailed: "nothing: the model is told, and may call it again",
}
"""Errors that end nothing, and what becomes of them in place of a next step."""


_CHANGING = {
    r"take [\d,]+ of the \d+ tokens": "take 3,600 of the 2,048 tokens",
    r"process \d+": "process 4711",
    r"since [\d:]+": "since 10:42",
    r"schema \d+; this one knows \d+": "schema 12; this one knows 11",
}
"""What differs from machine to machine, and from version to version."""


def concrete_errors() -> set[type[MemosError]]:
    """Return every error of memos that can be raised, wherever it is defined."""
    for module in pkgutil.walk_packages(memos.__path__, "memos."):
        if module.name != "memos.__main__":
            importlib.import_module(module.name)
    return set(_below(MemosError)) - ABSTRACT


def provoked(error: type[MemosError], provoke: Provoke) -> tuple[int, str, str]:
    """Return the exit code, the sentence and the next step of an example, places and numbers of a machine replaced.

    Raises: AssertionError where it is another error.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = provoke(Path(folder))
        except MemosError as raised:
            made = raised
        if isinstance(made, Stopped):
            ending = ending_of(made)
            told = (ending.exit_code, ending.message, ending.next_step)
        else:
            assert type(made) is error, made
            what, _, step = str(made).partition(" Next: ")
            told = (made.exit_code, what, step)
        code, *sentences = told
        what, step = (_of_any_machine(sentence.replace(folder, "~/memos")) for sentence in sentences)
    return code, what, step


def table() -> str:
    """Return both tables as Markdown."""
    codes = [(str(code), f"`{word}`", meaning) for code, (word, meaning) in EXIT_CODES.items()]
    rows = [row for error, examples in EXAMPLES.items() for row in _rows(error, examples)]
    first = in_markdown(["exit code", "word in JSON", "meaning"], codes)
    return f"{first}\n\n## Errors\n\n{in_markdown(['error', 'exit code', 'for example', 'next'], rows)}"


def _rows(error: type[MemosError], examples: Sequence[Provoke]) -> Iterator[tuple[str, ...]]:
    about = (inspect.getdoc(error) or "").partition("\n")[0].partition(". ")[0].removesuffix(".")
    for number, provoke in enumerate(examples):
        code, what, step = provoked(error, provoke)
        first = f"{error.__name__}: {about}" if not number else ""
        yield (first, "–" if error in WITHIN else str(code), what, step or WITHIN[error])


def _of_any_machine(text: str) -> str:
    for pattern, usual in _CHANGING.items():
        text = re.sub(pattern, usual, text)
    return text


def _below(error: type[MemosError]) -> Iterator[type[MemosError]]:
    yield error
    for further in error.__subclasses__():
        yield from _below(further)


if __name__ == "__main__":
    write(PAGE, table())
