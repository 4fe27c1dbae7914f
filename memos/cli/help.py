"""`memos help`: what there is to read, drawn on a terminal, as it is in a pipe."""

from __future__ import annotations

import re
import sys

from memos.cli.printing import print_table, print_text
from memos.config import nearest_name
from memos.errors import BadInput
from memos.help import text_of, topics
from memos.terminal.consoles import colours_wanted, make_console

_COMMENT = re.compile(r"^<!--.*?-->\n?", re.MULTILINE | re.DOTALL)


def show_help(topic: str | None) -> int:
    """Print a topic, or the list of them, and return the exit code. Raises: BadInput."""
    if topic is None:
        print_table(("topic", "about"), list(topics().items()))
        print_text("\nmemos help TOPIC shows one; memos --help lists the commands, /help those of the chat.")
        return 0
    if topic not in topics():
        guess = nearest_name(topic, topics())
        there_are = f"there are: {', '.join(topics())}"
        raise BadInput(f'There is no help on "{topic:.60}".', f"memos help {guess}" if guess else there_are)
    text = _COMMENT.sub("", text_of(topic)).strip()
    if not sys.stdout.isatty():
        print_text(text)
        return 0
    from rich.markdown import Markdown

    make_console(sys.stdout, colours=colours_wanted()).print(Markdown(text))
    return 0
