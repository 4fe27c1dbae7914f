"""Personas and humans: who a new agent is and whom it talks to, as small Markdown files found by name.

The user's own files come first, then those that come with memos. A name is a label, never a path.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from memos.config.front_matter import FrontMatter, read_front_matter
from memos.config.places import Places, PortraitKind, shipped_folder
from memos.config.settings import nearest_name
from memos.errors import BadInput
from memos.safe_text import storable

SIZE_LIMIT_BYTES = 64 * 1024
_NAME = re.compile(r"\w[\w .-]{0,63}")
_ONE = {"personas": "persona", "humans": "human"}


@dataclass(frozen=True, slots=True)
class Portrait:
    """A persona or human: `name` finds it, `title` is what it is called, `text` is the first text of the block."""

    name: str
    title: str
    description: str
    text: str
    own: bool
    """Written by the user, not shipped with memos."""
    path: Path
    front: FrontMatter = field(default_factory=FrontMatter)
    """What the file asks for beside its text."""
    problem: str = ""
    """Why the file cannot be used, in a list; a portrait that was loaded has none."""


def load_persona(places: Places, name: str) -> Portrait:
    """Return the persona of that name. Raises: BadInput, with the nearest name."""
    return _load(places, "personas", name)


def load_human(places: Places, name: str) -> Portrait:
    """Return the human of that name. Raises: BadInput, with the nearest name."""
    return _load(places, "humans", name)


def list_personas(places: Places) -> list[Portrait]:
    """Return all personas by name, the user's own instead of shipped ones of the same name."""
    return _list(places, "personas")


def list_humans(places: Places) -> list[Portrait]:
    """Return all humans by name, the user's own instead of shipped ones of the same name."""
    return _list(places, "humans")


def _folders(places: Places, kind: PortraitKind) -> tuple[tuple[Path, bool], ...]:
    return (places.portraits(kind), True), (shipped_folder(kind), False)


def own_file(places: Places, kind: PortraitKind, name: str) -> Path:
    """Return where the user's own portrait of that name lies, or would lie. Raises: BadInput (it is no name)."""
    normal, folder = _named(kind, name), places.portraits(kind)
    return _file(folder, normal) or folder / f"{normal}.md"


def portrait_file(places: Places, kind: PortraitKind, name: str) -> tuple[Path, str]:
    """Return the file of a portrait and what stands in it, front matter and all, also where that cannot be used.

    Raises: BadInput (no such name, no text).
    """
    path, _ = _found(places, kind, _named(kind, name))
    return path, _text_of(path)


def parse_portrait(text: str, name: str, path: Path) -> Portrait:
    """Return the portrait that a file at `path`, one of the user's own, would be with this text. Raises: BadInput."""
    if len(text.encode()) > SIZE_LIMIT_BYTES:
        raise _too_large(path)
    return _parsed(text, path, name, own=True)


def _load(places: Places, kind: PortraitKind, name: str) -> Portrait:
    normal = _named(kind, name)
    path, own = _found(places, kind, normal)
    return _parsed(_text_of(path), path, normal, own)


def _named(kind: PortraitKind, name: str) -> str:
    normal = unicodedata.normalize("NFC", name)
    if not _usable(normal):
        raise BadInput(
            f"{name!r:.80} cannot be the name of a {_ONE[kind]}.",
            f"memos list {kind}; a name is letters, digits, spaces, dots and hyphens, not a path",
        )
    return normal


def _found(places: Places, kind: PortraitKind, normal: str) -> tuple[Path, bool]:
    """Return the file of that name, and whether it is the user's own. Raises: BadInput, with the nearest name."""
    for folder, own in _folders(places, kind):
        path = _file(folder, normal)
        if path is not None:
            return path, own
    guess = nearest_name(normal, [portrait.name for portrait in _list(places, kind)])
    hint = f'"{guess}" may be meant; ' if guess else ""
    raise BadInput(
        f'There is no {_ONE[kind]} named "{normal}".',
        f"{hint}memos list {kind}, or write your own as {places.portraits(kind) / (normal + '.md')}",
    )


def _list(places: Places, kind: PortraitKind) -> list[Portrait]:
    found: dict[str, Portrait] = {}
    for folder, own in _folders(places, kind):
        for path in sorted(folder.glob("*.md")) if folder.is_dir() else ():
            name = unicodedata.normalize("NFC", path.stem)
            if name in found or not _usable(name):
                continue
            try:
                found[name] = _parsed(_text_of(path), path, name, own)
            except BadInput as error:
                found[name] = Portrait(name, name, "", "", own, path, problem=error.what)
    return sorted(found.values(), key=lambda portrait: portrait.name.casefold())


def _usable(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and ".." not in name and not name.endswith((".", " "))


def _file(folder: Path, name: str) -> Path | None:
    """Return the file of that name. File systems may hold a name in another normal form than the user types."""
    for path in (folder / f"{name}.md", folder / f"{unicodedata.normalize('NFD', name)}.md"):
        if path.is_symlink() or path.exists():
            return path
    return None


def _text_of(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise BadInput(f"{path} is a link or no ordinary file.", "put the file itself there")
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:  # noqa: PTH123
            raw = file.read(SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}.", "check its permissions") from error
    if len(raw) > SIZE_LIMIT_BYTES:
        raise _too_large(path)
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text (byte {error.start}).", "save it as UTF-8") from error


def _too_large(path: Path) -> BadInput:
    return BadInput(f"{path} is larger than {SIZE_LIMIT_BYTES // 1024} KiB.", "shorten it")


def _parsed(text: str, path: Path, name: str, own: bool) -> Portrait:
    head, body = _split(storable(text))
    front = read_front_matter(head, path) if head else FrontMatter()
    if front.block_chars is not None and len(body) > front.block_chars:
        raise BadInput(
            f"{path}: the text has {len(body)} characters, and limits.block_chars is {front.block_chars}.",
            "shorten the text, or set limits.block_chars higher",
        )
    return Portrait(name, front.name or name, front.description, body, own, path, front)


def _split(text: str) -> tuple[str, str]:
    """Split off the front matter: what stands between two lines of three hyphens, at the very beginning."""
    lines = [line.rstrip() for line in text.split("\n")]
    if lines[0] != "---" or "---" not in lines[1:]:
        return "", text.strip()
    end = lines.index("---", 1)
    return "\n".join(text.split("\n")[1:end]), "\n".join(text.split("\n")[end + 1 :]).strip()
