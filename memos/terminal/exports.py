"""What the user can wish of an export, the forms there are, and what is said when it is done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Literal

from memos.errors import BadInput
from memos.safe_text import safe_line
from memos.storage.agent_export import AgentSnapshot, JsonLines

Form = Literal["jsonl", "markdown", "html"]

SUFFIXES: dict[Form, str] = {"jsonl": ".jsonl", "markdown": ".md", "html": ".html"}
"""The forms of an export, each with how its file's name ends."""


@dataclass(frozen=True, slots=True)
class ExportWish:
    """How an agent is to be exported. `file` '' lets memos find a name; `since` is UTC."""

    form: Form
    file: str = ""
    since: datetime | None = None
    with_thoughts: bool = False
    redact: bool = True
    force: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported, and where to. `redacted` tells of the secrets that were left out, '' where there were none."""

    agent: str
    file: str
    messages: int
    passages: int
    images: int
    size_bytes: int
    redacted: str

    def lines(self) -> list[str]:
        """Return what is said of it."""
        images = f", {counted(self.images, 'image')}" if self.images else ""
        what = f"{counted(self.messages, 'row', ' of recall storage')}, {counted(self.passages, 'passage')}{images}"
        where = f" to {safe_line(self.file)}" if self.file else ""
        told = [f"Exported {safe_line(self.agent)}{where}: {what} ({_size(self.size_bytes)})."]
        if self.redacted:
            told.append(f"Left out as secrets: {self.redacted}; they read [key]. --no-redact keeps them.")
        return told


def form_named(word: str) -> Form | None:
    """Return the form that a word names; `md` is one too."""
    return next((form for form in SUFFIXES if word.casefold() in (form, SUFFIXES[form][1:])), None)


def form_of(form: str | None, file: str) -> Form:
    """Return the form that was named, or that the name of the file tells; JSON lines otherwise. Raises: BadInput."""
    if form is None:
        suffix = PurePath(file).suffix.casefold()
        return {".md": "markdown", ".markdown": "markdown", ".html": "html", ".htm": "html"}.get(suffix, "jsonl")  # type: ignore[return-value]
    named = form_named(form)
    if named is None:
        raise BadInput(f'There is no format "{safe_line(form)[:60]}".', f"one of: {', '.join(SUFFIXES)}")
    return named


def pieces(snapshot: AgentSnapshot, wish: ExportWish) -> Iterable[bytes]:
    """Return the pieces of the file; they are made as they are asked for."""
    match wish.form:
        case "jsonl":
            return JsonLines(snapshot)
        case "markdown":
            from memos.terminal.markdown_export import markdown_lines

            return markdown_lines(snapshot, with_thoughts=wish.with_thoughts)
        case "html":
            from memos.terminal.html_export import html_lines

            return html_lines(snapshot, with_thoughts=wish.with_thoughts)


def file_name(agent: str, form: Form, day: datetime) -> str:
    """Return a name for the file: that of the agent, a label that may hold anything, and the day."""
    stem = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in agent).strip("-") or "agent"
    return f"{stem[:60]}-{day:%Y-%m-%d}{SUFFIXES[form]}"


def counted(count: int, what: str, more: str = "") -> str:
    """Return how many there are of something, such as `1 row of recall storage`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}{more}"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:,.1f} kB"
