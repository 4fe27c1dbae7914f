"""The operator's command that writes this agent into a file."""

from __future__ import annotations

from memos.errors import BadInput
from memos.safe_text import safe_line
from memos.terminal.command_registry import CommandContext, command
from memos.terminal.exports import SUFFIXES, ExportWish, form_named, form_of
from memos.terminal.session import Session

_FLAGS = ("--with-thoughts", "--no-redact", "--force")


def _words(session: Session) -> list[str]:
    return [*SUFFIXES, *_FLAGS]


@command("export", argument="[FORMAT] [FILE]", complete=_words, by_word=True)
async def export(context: CommandContext, argument: str) -> None:
    """Write this agent into a file: jsonl (all of it, for memos import agent), markdown or html (to read).

    Without FILE it goes into this folder, named after the agent and the day. Keys, tokens and passwords that are
    recognised are left out; --no-redact keeps them. --with-thoughts adds thoughts and function calls to markdown and
    html, --force replaces a file.
    """
    words = argument.split()
    flags = {word for word in words if word in _FLAGS}
    named = [word for word in words if word not in _FLAGS]
    if unknown := [word for word in named if word.startswith("--")]:
        raise BadInput(f"/export knows no {safe_line(unknown[0])}.", f"it knows: {', '.join(_FLAGS)}")
    form = form_named(named[0]) if named else None
    file = " ".join(named[1:] if form else named).strip('"')
    wish = ExportWish(
        form or form_of(None, file),
        file,
        with_thoughts="--with-thoughts" in flags,
        redact="--no-redact" not in flags,
        force="--force" in flags,
    )
    for line in (await context.session.agents.export(wish)).lines():
        context.say(line)
