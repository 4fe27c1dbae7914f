"""The files of memos' folders in which words can stand beside the database: found, cleaned, searched byte by byte."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from memos.errors import StorageProblem
from memos.storage.unwanted_words import UnwantedWords

_CHUNK_BYTES = 1 << 22
_SNAPSHOTS = "*.before-schema-*.db"
_FRONT_MATTER_END = re.compile(r"^---[ \t]*\r?\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class HomeFiles:
    """Where memos keeps what. `portraits` are the folders of a user's own personas and humans."""

    roots: Sequence[Path]
    database: Path
    history: Path
    logs: Path
    drafts: Path
    portraits: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class FileTrace:
    """A file that holds the words: what it is, in how many `places`, and what happens to it."""

    path: Path
    what: str
    fate: str
    places: int = 1


@dataclass(frozen=True, slots=True)
class Searched:
    """Files that were read to the last byte, and in which of them, how often, the words stand."""

    files: int
    bytes: int
    hits: Mapping[str, int]


def traces_in_files(home: HomeFiles, words: UnwantedWords) -> list[FileTrace]:
    """Return the files that can be cleaned, or are to be removed whole."""
    return [trace for trace, _ in _found(home, words)]


def clean_files(home: HomeFiles, words: UnwantedWords, spared: frozenset[Path] = frozenset()) -> list[FileTrace]:
    """Clean or remove all that `traces_in_files` gives but the spared ones; return what that was.

    Raises: StorageProblem.
    """
    done = []
    for trace, clean in _found(home, words):
        if trace.path in spared:
            continue
        try:
            clean()
        except OSError as error:
            raise StorageProblem(f"{trace.path} cannot be changed: {error}.", "mend that, and try again") from error
        done.append(trace)
    return done


def search_files(home: HomeFiles, words: UnwantedWords) -> Searched:
    """Search the bytes of every file below the roots; links are not followed, and what cannot be read is a hit."""
    pattern, overlap = words.pattern(), words.longest_bytes
    files = total = 0
    hits: dict[str, int] = {}
    for path in _all_files(home.roots):
        try:
            size, found = _hits(path, pattern, overlap)
        except FileNotFoundError:
            continue  # a lock or a log that has gone meanwhile
        except OSError:
            size, found = 0, 1
        files, total = files + 1, total + size
        if found or words.stand_in(path.name):
            hits[str(path)] = max(found, 1)
    return Searched(files, total, hits)


def _found(home: HomeFiles, words: UnwantedWords) -> Iterator[tuple[FileTrace, Callable[[], object]]]:
    if count := _entries_with(home.history, words):
        trace = FileTrace(home.history, "what was typed, for the up key", "loses these lines", count)
        yield trace, lambda: _write(home.history, "".join(_entries(home.history, words, held=False)))
    for path in sorted(home.logs.glob("*")) if home.logs.is_dir() else ():
        count = sum(map(words.stand_in, _text(path).splitlines()))
        if count or words.stand_in(_text(path)):
            trace = FileTrace(path, "a log", "loses these lines", max(count, 1))
            # In place: a process that writes to it goes on at its end.
            cleaned = words.lines_without(_text(path)).rstrip("\n") + "\n"
            yield trace, lambda path=path, cleaned=cleaned: _rewrite(path, cleaned)  # type: ignore[misc]
    for path in _all_files([home.drafts]):
        if words.stand_in(_text(path)):
            yield FileTrace(path, "a text left by an editor", "is removed"), path.unlink
    for path in sorted(home.database.parent.glob(_SNAPSHOTS)):
        if _database_holds(path, words):
            yield FileTrace(path, "a copy from before an upgrade", "is removed"), path.unlink
    for path in (path for folder in home.portraits for path in sorted(folder.glob("*.md"))):
        head, body = _front_matter_and_body(_text(path))
        if words.stand_in(body):
            count = max(1, sum(map(words.stand_in, body.split("\n"))))
            trace = FileTrace(path, "a persona or human of your own", "loses these lines", count)
            cleaned = head + words.lines_without(body).rstrip("\n") + "\n"
            yield trace, lambda path=path, cleaned=cleaned: _write(path, cleaned)  # type: ignore[misc]


def _typed(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the entries of the history, each a comment, then lines with a plus; and what was typed."""
    entry: list[str] = []
    for line in [*_text(path).splitlines(keepends=True), "\n"]:
        if not line.startswith("+") and any(kept.startswith("+") for kept in entry):
            yield "".join(entry), "".join(kept[1:] for kept in entry if kept.startswith("+"))
            entry = []
        entry.append(line)


def _entries(path: Path, words: UnwantedWords, *, held: bool) -> Iterator[str]:
    """Yield the entries of the history in which the words stand, or the others."""
    return (entry for entry, typed in _typed(path) if words.stand_in(typed) is held)


def clean_history(path: Path, is_meant: Callable[[str], bool]) -> int:
    """Take out of the typed history what `is_meant` holds of; return how many entries that were."""
    kept = "".join(entry for entry, typed in _typed(path) if not is_meant(typed))
    count = sum(is_meant(typed) for _, typed in _typed(path))
    if count:
        _write(path, kept)
    return count


def _entries_with(path: Path, words: UnwantedWords) -> int:
    return sum(1 for _ in _entries(path, words, held=True))


def _front_matter_and_body(text: str) -> tuple[str, str]:
    if text.startswith("---"):
        ends = list(_FRONT_MATTER_END.finditer(text))
        if len(ends) > 1:
            return text[: ends[1].end()], text[ends[1].end() :]
    return "", text


def _database_holds(path: Path, words: UnwantedWords) -> bool:
    """Whether any text of any table of a snapshot holds the words; one that cannot be read may."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            tables = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
                " AND name NOT LIKE '%!_fts!_%' ESCAPE '!'"
            ).fetchall()
            return any(
                isinstance(value, str) and words.stand_in(value)
                for (table,) in tables
                for row in connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608
                for value in row
            )
    except sqlite3.Error:
        return True


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    """Write a file anew, whole or not at all, with the rights it had."""
    draft = path.with_name(f".{path.name}.forgetting")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(path.stat().st_mode & 0o777)
    draft.replace(path)


def _rewrite(path: Path, text: str) -> None:
    with path.open("r+b") as file:
        file.write(text.encode("utf-8"))
        file.truncate()
        os.fsync(file.fileno())


def _all_files(roots: Sequence[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for root in roots:
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink() and path not in seen:
                    seen.add(path)
                    yield path


def _hits(path: Path, pattern: re.Pattern[bytes], overlap: int) -> tuple[int, int]:
    """Return the size of a file and how often the pattern is found in it."""
    size = found = 0
    rest = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            size += len(chunk)
            data = rest + chunk
            last = len(data) - overlap if len(chunk) == _CHUNK_BYTES else len(data)
            found += sum(1 for hit in pattern.finditer(data) if hit.start() < last)
            rest = data[max(0, last) :]
    return size, found + sum(1 for _ in pattern.finditer(rest))
