"""Image files in what is typed: `@path` within a message, and the path that a terminal types where a file is dropped.

Only a path that ends like an image's counts, so that `@ana` stays what it is; `@@cat.png` says `@cat.png`.
"""

from __future__ import annotations

import itertools
import os
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".webp")
_OTHER_ENDINGS = (".heic", ".heif", ".avif", ".bmp", ".tif", ".tiff", ".svg")
"""Images as well; they are refused with a reason, not sent as words."""
_PATH = r"""(?:"[^"\n]+"|'[^'\n]+'|(?:\\.|[^\s\\"'])(?:\\.|[^\s\\])*)"""
_MENTION = re.compile(rf"(?<!\S)@({_PATH})")
_FIRST_PATH = re.compile(rf"({_PATH})(?:\s+|$)")
_BEGUN = re.compile(r"(?<!\S)@((?:\\.|[^\s\\\"'@])(?:\\.|[^\s\\])*)?$")
_AFTER_A_PATH = ".,;:!?)]}"
_SCANNED, _OFFERED = 5_000, 100


@dataclass(frozen=True, slots=True)
class Typed:
    """What was typed: the words that are said, and the paths of the images that go with them."""

    words: str
    paths: tuple[str, ...]


def read_mentions(text: str) -> Typed:
    """Return a message's words, in which each image is named without its folder, and the images' paths."""
    paths: list[str] = []

    def said(found: re.Match[str]) -> str:
        path, rest = _unquoted(found[1]), ""
        if found[1][0] not in "\"'":
            path, rest = _without_punctuation(path)
        if path.startswith("@") and _ends_like(path):
            return path + rest
        if not _ends_like(path):
            return found[0]
        paths.append(path)
        return Path(path).name + rest

    words = _MENTION.sub(said, text)
    bare = not _MENTION.sub("", text).strip()
    return Typed("" if paths and bare else words, tuple(dict.fromkeys(paths)))


def mentions_images(text: str) -> bool:
    """Return whether a message names an image, or escapes such a name."""
    return "@" in text and read_mentions(text) != Typed(text, ())


def with_dropped_path(text: str) -> str:
    """Return what a terminal types where an image file is dropped on it, or is pasted, as a mention; else `text`.

    That is an absolute path, as it is, quoted, with backslashes, or as a `file:` URL, and nothing else.
    """
    typed = text.strip()
    if not typed or "\n" in typed or not typed.startswith(("/", "~", "'", '"', "file://")):
        return text
    quoted = re.fullmatch(_PATH, typed)
    for path in (_of_url(typed), typed, _unquoted(typed) if quoted else ""):
        if path.startswith(("/", "~")) and _ends_like(path) and _is_file(path):
            return as_mention(path)
    return text


def as_mention(path: str) -> str:
    """Return a path as it is typed within a message."""
    return f"@{_escaped(path)}"


def split_path(argument: str) -> tuple[str, str]:
    """Return the path that `/image` was given, and the words after it; all of it where that is a file."""
    if _is_file(argument):
        return argument, ""
    found = _FIRST_PATH.match(argument)
    return (_unquoted(found[1]), argument[found.end() :].strip()) if found else (argument, "")


def begun_mention(before_cursor: str) -> str | None:
    """Return the path that is being typed after an `@`, as it is typed; None where none is."""
    found = _BEGUN.search(before_cursor)
    return None if found is None else found[1] or ""


def path_completions(typed: str) -> Iterator[str]:
    """Yield the folders and images that a path may become, as they are typed."""
    yield from map(_escaped, paths_like(_unquoted(typed), _ENDINGS))


def paths_like(path: str, endings: tuple[str, ...]) -> Iterator[str]:
    """Yield the folders, and the files of these endings, that a path may become; the first 100 of a folder by name."""
    folder, slash, beginning = path.rpartition("/")
    place = Path(f"{folder}{slash}" or ".")
    try:
        with os.scandir(place.expanduser()) as entries:
            found = sorted(
                entry.name + "/" * entry.is_dir()
                for entry in itertools.islice(entries, _SCANNED)
                if _fits(entry.name, beginning) and (entry.is_dir() or _ends_like(entry.name, endings))
            )
    except (OSError, ValueError, RuntimeError):
        return
    for name in found[:_OFFERED]:
        yield f"{folder}{slash}{name}"


def _fits(name: str, beginning: str) -> bool:
    return name.startswith(beginning) and (not name.startswith(".") or beginning.startswith("."))


def _ends_like(path: str, endings: tuple[str, ...] = _ENDINGS + _OTHER_ENDINGS) -> bool:
    return path.casefold().endswith(endings) and Path(path).suffix != ""


def _is_file(path: str) -> bool:
    try:
        return Path(path).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):
        return False


def _of_url(typed: str) -> str:
    parts = urllib.parse.urlsplit(typed) if typed.startswith("file://") else None
    return urllib.parse.unquote(parts.path) if parts and parts.netloc in ("", "localhost") else ""


def _without_punctuation(path: str) -> tuple[str, str]:
    bare = path.rstrip(_AFTER_A_PATH)
    return bare, path[len(bare) :]


def _unquoted(path: str) -> str:
    if len(path) > 1 and path[0] == path[-1] and path[0] in "\"'":
        return path[1:-1]
    return re.sub(r"\\(.)", r"\1", path)


def _escaped(path: str) -> str:
    return re.sub(r"""([\s\\"'])""", r"\\\1", path)
