"""Every key of the chat that is not plain editing: `/keys`, `memos help keys` and the bindings agree with this table.

Editing itself is that of Emacs, or of vi (`terminal.vi`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """A key or two that do the same: how people write them, what they do, and how prompt_toolkit names them."""

    names: str
    what: str
    bindings: tuple[tuple[str, ...], ...]


KEYS = (
    Key("Enter", "sends; while a reply runs, the line waits its turn", (("enter",),)),
    Key("Alt-Enter, Ctrl-J", "begin a new line", (("escape", "enter"), ("c-j",))),
    Key("Esc", "stops the reply; twice on an empty line offers /edit", (("escape",),)),
    Key("Ctrl-C", "stops the reply, else clears the line; twice leaves", (("c-c",),)),
    Key("Ctrl-D", "on an empty line leaves", (("c-d",),)),
    Key("Tab", "completes commands, their arguments, and paths", (("tab",),)),
    Key("Up, Down", "go through what you typed before that begins as the line does", (("up",), ("down",))),
    Key("Ctrl-R", "searches what you typed before", (("c-r",),)),
    Key("Right, End", "take over what is suggested in grey", (("right",), ("end",))),
    Key("Ctrl-G", "opens the line in $EDITOR", (("c-g",),)),
    Key("Ctrl-O", "is /last", (("c-o",),)),
    Key("Ctrl-T", "is /thoughts: shows more or less of them", (("c-t",),)),
    Key("Ctrl-L", "clears the screen", (("c-l",),)),
    Key("Ctrl-Z", "suspends memos", (("c-z",),)),
    Key("F1", "is /help", (("f1",),)),
    Key("F2", "is /memory", (("f2",),)),
    Key("F3", "is /context", (("f3",),)),
    Key("F4", "shows what is remembered about the line you type", (("f4",),)),
    Key("F5", "quotes the best of it in the line; again, the next", (("f5",),)),
)

COMMAND_KEYS = {"f1": "/help", "f2": "/memory", "f3": "/context", "c-o": "/last", "c-t": "/thoughts"}
"""Keys that are commands."""
