"""The commands. `main` is the edge of the program: signals and errors become exit codes here, and nowhere else."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, NoReturn

import memos
from memos.errors import MemosError
from memos.safe_text import safe_line

if TYPE_CHECKING:
    from pathlib import Path

    from memos.config import Places

_YOUNG_OBJECTS = 20_000
"""So many new objects make Python look for garbage among them; its own 700 cost a start a twentieth."""
EXIT_OK, EXIT_BUG, EXIT_BAD_INPUT, EXIT_STORAGE, EXIT_INTERRUPTED, EXIT_TERMINATED = 0, 1, 2, 10, 130, 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run memos with these arguments (those of the process when None) and return the exit code."""
    words = [*(sys.argv[1:] if arguments is None else arguments)]  # `list` is a module here once it was imported
    _open_what_is_closed()
    _speak_utf_8()
    os.umask(0o077)  # everything written from here on is the user's alone
    # pydantic, which typer uses, looks through every installed package for plug-ins: a tenth of the start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if words in (["--version"], ["-V"]):
        sys.stdout.write(f"memos {memos.__version__}\n")
        return EXIT_OK
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, _leave)
    try:
        return _guarded(words)
    except BrokenPipeError:  # nobody reads any more: as a shell's own tools, go without a word
        return EXIT_OK
    finally:
        _close_quietly()


def _guarded(words: list[str]) -> int:
    """Run the command; tell of what goes wrong in one sentence. Raises: BrokenPipeError."""
    try:
        code = _dispatch(words)
    except MemosError as error:
        code = _tell(error)
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        code = _tell_bug(error)
    try:
        sys.stdout.flush()  # a reader that has gone away is noticed here, not in the interpreter's last moments
    except BrokenPipeError:
        return code
    except OSError as error:
        if code == EXIT_OK:
            _print_problem(f"The output could not be written: {error.strerror}.", "free the disk, or write elsewhere")
        return code or EXIT_STORAGE
    return code


def _open_what_is_closed() -> None:
    """Give a standard stream that was closed (`memos … >&-`) the null device, lest a file of ours become it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: the stream's own
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def _speak_utf_8() -> None:
    """On Windows read and write UTF-8 in pipes and files too, where Python would take the console's code page.

    What PYTHONIOENCODING says holds; a console itself takes any character.
    """
    if os.name != "nt" or os.environ.get("PYTHONIOENCODING"):
        return
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.isatty():
            stream.reconfigure(encoding="utf-8")


def _dispatch(words: list[str]) -> int:
    gc.disable()  # what imports make lives to the end: looking for garbage in it costs a tenth of the start
    import typer
    from typer.main import get_command

    from memos.cli.app import app

    command = get_command(app)
    if "_MEMOS_COMPLETE" in os.environ:  # the shell asks what could follow
        command.main(prog_name="memos")
    try:  # not `command.main`: it would turn a closed pipe and Ctrl-C into exit codes of its own
        with command.make_context("memos", words) as context:
            gc.freeze()
            gc.set_threshold(_YOUNG_OBJECTS)  # commands import further parts, which live to the end too
            gc.enable()
            code = command.invoke(context)
    except typer.Exit as error:
        return error.exit_code
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        return _tell_usage(error)
    finally:
        gc.enable()
    return code if isinstance(code, int) else EXIT_OK


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(EXIT_TERMINATED)


def _tell(error: MemosError) -> int:
    _print_problem(error.what, error.next_step)
    if debugging():
        _print_traceback(error)
    return error.exit_code


def _tell_usage(error: Exception) -> int:
    """Tell of a wrong command line. typer's own errors live in a private module, so they are known by their shape."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "memos"
    what = error.format_message().replace("Value error, ", "")  # type: ignore[attr-defined]
    _print_problem(what, f"{path} --help")
    return EXIT_BAD_INPUT


def _tell_bug(error: Exception) -> int:
    if debugging():
        _print_traceback(error)
        _print_problem(f"A bug in memos: {type(error).__name__}.", "the traceback stands above")
        return EXIT_BUG
    path = _log_bug(error)
    where = f"the details are in {path}" if path else "run it again with memos --debug for the details"
    _print_problem(f"A bug in memos stopped it ({type(error).__name__}); what was confirmed is safe.", where)
    return EXIT_BUG


def _print_problem(what: str, next_step: str) -> None:
    """Write one sentence and its next step to stderr, in colour on a terminal that wants colour."""
    coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    cross = "\x1b[31m✗\x1b[0m" if coloured else "✗"
    with contextlib.suppress(OSError):  # nobody reads it: the exit code still tells
        sys.stderr.write(f"{cross} {safe_line(what)}\n")
        if next_step:
            sys.stderr.write(f"  Next: {safe_line(next_step)}\n")


def debugging() -> bool:
    """Whether tracebacks are wanted: `memos --debug …` or MEMOS_DEBUG=1."""
    return os.environ.get("MEMOS_DEBUG", "") not in ("", "0")


def _print_traceback(error: BaseException) -> None:
    from memos.config import Places

    sys.stderr.write(_without_secrets(_traceback(error), Places.find(os.environ)))


def _log_bug(error: Exception) -> Path | None:
    """Write the traceback into a log file and return its place, or None where even that fails, or may not be."""
    if "memos.cli.incognito" in sys.modules:
        from memos.cli.incognito import NO_FILE

        if NO_FILE in getattr(error, "__notes__", ()):
            return None
    from datetime import UTC, datetime

    from memos.config import Places

    places = Places.find(os.environ)
    folder = places.logs
    path = folder / f"bug-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    text = f"memos {memos.__version__}, Python {sys.version.split()[0]}, {sys.platform}\n{_traceback(error)}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(_without_secrets(text, places), encoding="utf-8", errors="replace")
    except OSError:
        return None
    return path


def _traceback(error: BaseException) -> str:
    import traceback

    trace: TracebackType | None = error.__traceback__
    return "".join(traceback.format_exception(type(error), error, trace))


def _without_secrets(text: str, places: Places) -> str:
    """Return `text` without stored keys and secrets of the environment: an exception may quote what failed."""
    from memos.config import stored_secrets

    secrets = {value: "<key>" for value in stored_secrets(places)}
    for name, value in os.environ.items():
        if any(word in name.upper() for word in ("KEY", "TOKEN", "SECRET", "PASSWORD")):
            secrets[value] = f"<{name}>"
    for value, replacement in secrets.items():
        if len(value) >= 8:  # a shorter one would tear ordinary words apart
            text = text.replace(value, replacement)
    return text


def _close_quietly() -> None:
    """Let what cannot be written go nowhere: the interpreter flushes once more at its end, and would complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
