"""Colours for dark and light backgrounds: the sixteen names that the drawing uses, as colours that can be read there.

Every colour has a contrast of at least 4.5 to 1 with any background of its kind. Without a theme the terminal's own
palette stands, which its user has chosen.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.style import Style, StyleType

DARK: Mapping[str, str] = MappingProxyType(
    {
        "red": "#ff8787",
        "green": "#87d787",
        "yellow": "#ffd75f",
        "blue": "#87afff",
        "magenta": "#d7a0ff",
        "cyan": "#87d7d7",
        "dim": "#a8a8a8",
    }
)
LIGHT: Mapping[str, str] = MappingProxyType(
    {
        "red": "#af0000",
        "green": "#005f00",
        "yellow": "#704f00",
        "blue": "#0000af",
        "magenta": "#870087",
        "cyan": "#005f87",
        "dim": "#585858",
    }
)
MARKDOWN: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("markdown.h1", "markdown.h2"), "bold underline"),
        **dict.fromkeys(("markdown.h3", "markdown.h4", "markdown.h5", "markdown.h6"), "bold"),
        "markdown.code": "cyan",
        "markdown.code_block": "cyan",
        "markdown.block_quote": "dim",
        "markdown.list": "none",
        "markdown.item.bullet": "bold",
        "markdown.item.number": "bold",
        "markdown.table.border": "dim",
        "markdown.table.header": "bold",
    }
)
"""Rich's names for the parts of a message; its own styles paint a background, which no theme here does."""
OWN: Mapping[str, str] = MappingProxyType({})
"""The terminal's own palette."""


def palette(theme: str) -> Mapping[str, str]:
    """Return the colours of a theme by the names that the drawing uses; none for the terminal's own."""
    if theme == "auto":
        theme = background()
    return {"dark": DARK, "light": LIGHT}.get(theme, OWN)


def background() -> str:
    """Return "dark" or "light" where COLORFGBG tells it (`15;0`), else ""."""
    last = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    if not last.isdigit():
        return ""
    return "light" if int(last) in (7, *range(9, 16)) else "dark"


def many_colours() -> bool:
    """Return whether the terminal says that it has more than sixteen."""
    return "256" in os.environ.get("TERM", "") or os.environ.get("COLORTERM", "") in ("truecolor", "24bit")


def screen_styles(colours: Mapping[str, str]) -> dict[str, str]:
    """Return the styles of the live part of the screen, as prompt_toolkit writes them."""
    dim, green = colours.get("dim", "dim"), colours.get("green", "ansigreen")
    return {
        "mark": f"bold {green}",
        "thought": f"{dim} italic",
        "name": f"bold {green}",
        "speech": "",
        "waiting": dim,
        "phase": dim,
        "bar": dim,
        "bar.full": green,
        "bar.filling": colours.get("yellow", "ansiyellow"),
        "bar.high": colours.get("red", "ansired"),
        "bar.matches": f"bold {colours.get('cyan', 'ansicyan')}",
        "auto-suggestion": dim,
    }


class ThemedConsole(Console):
    """A console whose named colours are those of a theme."""

    def __init__(self, *, colours: Mapping[str, str], **options: Any) -> None:
        super().__init__(**options)
        self._colours = colours

    def get_style(self, name: StyleType, *, default: StyleType | None = None) -> Style:
        """Return a style by its words, each colour as the theme has it."""
        if isinstance(name, str):
            name = MARKDOWN.get(name, name)
        if isinstance(name, str) and self._colours:
            name = _themed(name, self._colours)
        return super().get_style(name, default=default)


def _themed(words: str, colours: Mapping[str, str]) -> str:
    """Return a style's words with the theme's colours; "not dim" takes a rendition away and stays."""
    before, themed = "", []
    for word in words.split():
        themed.append(word if before == "not" else colours.get(word, word))
        before = word
    return " ".join(themed)
