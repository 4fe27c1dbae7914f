"""The shell commands that the README and the pages of `memos help` show, as they stand there.

In a block of `console` a command follows `$ `, and what it prints follows the command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "memos" / "help").glob("*.md"))]
_COMMENT = re.compile(r"\s+#\s.*$")
_EXPORT = re.compile(r"export (\w+)=(\S+)")


@dataclass(frozen=True)
class Documented:
    """A command, where it stands, and the variables that the lines before it in its block export.

    `printed` is what it prints, as its page says, on both streams; None where the page does not say.
    """

    page: str
    line: int
    command: str
    exports: dict[str, str] = field(default_factory=dict)
    printed: str | None = None

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"


def documented() -> list[Documented]:
    """Return all commands of all pages, in order."""
    return [command for page in PAGES for block in _blocks(page) for command in _commands(page.name, block)]


def _blocks(page: Path) -> Iterator[list[tuple[int, str]]]:
    """Yield the numbered lines of each block of shell: fenced as sh or console, or indented by four blanks."""
    block: list[tuple[int, str]] = []
    fence = ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            fence = "" if fence else line.removeprefix("```") or "text"
        elif fence in ("sh", "console"):
            block.append((number, line))
            continue
        elif not fence and line.startswith("    ") and line.strip():
            block.append((number, line.removeprefix("    ")))
            continue
        if block:
            yield block
            block = []
    if block:
        yield block


def _commands(page: str, block: list[tuple[int, str]]) -> Iterator[Documented]:
    if block[0][1].startswith("$ "):
        yield from _commands_and_what_they_print(page, block)
        return
    exports: dict[str, str] = {}
    begun, first = "", 0
    for number, line in block:
        words = f"{begun} {_COMMENT.sub('', line.strip())}".strip()
        first = first or number
        if words.endswith("\\"):
            begun = words.removesuffix("\\").rstrip()
            continue
        if export := _EXPORT.fullmatch(words):
            exports[export[1]] = export[2]
        elif words:
            yield Documented(page, first, words, dict(exports))
        begun, first = "", 0


def _commands_and_what_they_print(page: str, block: list[tuple[int, str]]) -> Iterator[Documented]:
    starts = [place for place, (_, line) in enumerate(block) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(block)], strict=True):
        number, line = block[start]
        printed = "".join(f"{text}\n" for _, text in block[start + 1 : end])
        yield Documented(page, number, line.removeprefix("$ "), {}, printed)
