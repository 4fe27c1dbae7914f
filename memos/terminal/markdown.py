"""A message as Markdown: what its author marked is drawn, and nothing that was not markup is lost.

Rich draws it, with a narrower reading than CommonMark's, because chats are full of ordinary text that looks like
markup: HTML, entities, paths, links and `[brackets]` stay as they were typed, `__init__` and `2*3*4` too, an item keeps
its number, and a line that ends, ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich import markdown
from rich.console import Console, ConsoleOptions, RenderResult
from rich.rule import Rule
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from memos.terminal.wrapping import wrap

LIMIT_CHARS = 50_000
"""A longer piece is drawn as it is: what reads Markdown is not made for books."""
_LIMIT_LEVELS = 8
"""What is nested deeper has no room, and beyond 20 the parser drops it. (A list is one level, its items another.)"""
_AS_TYPED = ("html_block", "html_inline", "entity", "autolink", "link", "image", "reference", "lheading", "text_join")
_ESCAPED = "*_`~#|>"
"""Signs of markup; a backslash before another one is a backslash."""


def markdown_rows(text: str, console: Console, width_cells: int) -> list[list[Segment]]:
    """Return the rows of `text`, which is harmless for a terminal already, each at most `width_cells` wide."""
    message = _Message(text) if len(text) <= LIMIT_CHARS else None
    if message is None or any(token.level > _LIMIT_LEVELS for token in message.parsed):
        return [[Segment(row.rstrip())] for row in wrap(text, width_cells)]
    options = console.options.update(width=width_cells, height=None)
    rows = [_bare(row) for row in console.render_lines(message, options, pad=False, new_lines=False)]
    while rows and not rows[-1]:
        rows.pop()
    while rows and not rows[0]:
        rows.pop(0)
    return rows


def _bare(row: list[Segment]) -> list[Segment]:
    """Return a row without the blanks at its end, which a narrower terminal would break into rows of their own."""
    kept = list(row)
    while kept and not kept[-1].text.rstrip():
        kept.pop()
    return [*kept[:-1], Segment(kept[-1].text.rstrip(), kept[-1].style)] if kept else []


@cache
def _reader() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable(list(_AS_TYPED))


class _Heading(markdown.Heading):
    """Stands at the left, at every level."""

    LEVEL_ALIGN = dict.fromkeys(markdown.Heading.LEVEL_ALIGN, "left")


class _Code(markdown.CodeBlock):
    """Is drawn in one colour: which keyword is which is not worth the time of loading every language."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        style = console.get_style("markdown.code_block")
        rows = console.render_lines(
            Text(str(self.text).rstrip("\n"), style), options.update(width=options.max_width - 2)
        )
        for row in rows:
            yield Segment("  ")
            yield from row
            yield Segment.line()


class _Item(markdown.ListItem):
    """Keeps its own number and the sign behind it: "2019." may be the end of a sentence."""

    def __init__(self, number: str) -> None:
        super().__init__()
        self._number = number

    @classmethod
    def create(cls, markdown: markdown.Markdown, token: Token) -> _Item:
        """Return the item that a token opens."""
        return cls(f"{token.info}{token.markup} ")

    def render_number(self, console: Console, options: ConsoleOptions, number: int, last_number: int) -> RenderResult:
        width = max(len(f"{last_number}. "), len(self._number))
        rows = console.render_lines(self.elements, options.update(width=options.max_width - width), style=self.style)
        style = console.get_style("markdown.item.number")
        for place, row in enumerate(rows):
            yield Segment(" " * width if place else self._number.rjust(width), style)
            yield from row
            yield Segment.line()


class _Table(markdown.TableElement):
    """Has no empty rows for edges."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            if isinstance(table, Table):
                table.show_edge = False
            yield table


class _Rule(markdown.HorizontalRule):
    """Takes one row."""

    new_line = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Rule(style=console.get_style("markdown.hr"))


class _Message(markdown.Markdown):
    """One message, or a finished part of it."""

    elements = markdown.Markdown.elements | {
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
        "list_item_open": _Item,
        "table_open": _Table,
        "hr": _Rule,
    }

    def __init__(self, text: str) -> None:
        super().__init__("", hyperlinks=False)
        self.parsed = _reader().parse(text)
        for token in self.parsed:
            if token.children:
                token.children = list(_as_typed(token.children))


def _as_typed(tokens: list[Token]) -> Iterator[Token]:
    """Yield the pieces of a line, with signs that are hardly meant as markup as the words they are."""
    plain = _unmarked(tokens)
    for place, token in enumerate(tokens):
        if token.type == "softbreak":
            yield Token("hardbreak", "br", 0)
        elif place in plain:
            yield Token("text", "", 0, content=token.markup)
        elif token.type == "text_special":
            yield Token("text", "", 0, content=token.content if token.content in _ESCAPED else token.markup)
        else:
            yield token


def _unmarked(tokens: list[Token]) -> set[int]:
    """Return the places of emphasis that is none: by underscores, or by one star within a word or a sum."""
    plain: set[int] = set()
    open_places: list[int] = []
    for place, token in enumerate(tokens):
        if token.type in ("em_open", "strong_open"):
            open_places.append(place)
        elif token.type in ("em_close", "strong_close"):
            opened = open_places.pop()
            joined = token.markup == "*" and (
                _touches(tokens[:opened], lambda text: text[-1:])
                or _touches(tokens[place + 1 :], lambda text: text[:1])
            )
            if token.markup.startswith("_") or joined:
                plain |= {opened, place}
    return plain


def _touches(neighbours: list[Token], edge: Callable[[str], str]) -> bool:
    """Return whether a letter or digit stands at that edge of the nearest of some pieces."""
    nearest = neighbours[-1:] if edge("ab") == "b" else neighbours[:1]
    return any(token.type in ("text", "text_special") and edge(token.content).isalnum() for token in nearest)
