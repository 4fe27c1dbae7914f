"""`/forget`: a preview of all that holds the words, then, once the user says so, their erasure and its certificate."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from memos.errors import BadInput
from memos.safe_text import safe_line
from memos.terminal.command_registry import CommandContext, command
from memos.terminal.drawing import clipped

if TYPE_CHECKING:
    from memos.memory.forgetting import Preview
    from memos.storage.unwanted_words import UnwantedWords

SHOWN = 40
NEAR_SHOWN = 3
_CLIP_CHARS = 90
_YES = re.compile(r"yes(?:\s+but\s+(\d[\d\s,]*))?", re.IGNORECASE)


@command("forget", argument="WORDS | yes [but N …] | no", complete=lambda session: ("yes", "no"))
async def forget(context: CommandContext, argument: str) -> None:
    """Erase all that holds WORDS, for good: first it is shown, and /forget yes erases it.

    Letter case and spacing aside, WORDS are found as they are written: in messages, calls and their results, blocks and
    their edits, passages, summaries, images' names, the history of typed lines, logs, copies from before upgrades.
    Whole messages and passages go; of blocks, summaries and files only the lines or sentences that hold the words.
    /forget yes but 2 5 keeps those numbers, /forget no keeps all. This agent's memory is meant; `memos forget` erases
    from that of all agents. What only means the same is not found. The model is not asked, and cannot do this itself.
    """
    context.check_writable()
    pending, context.to_forget = context.to_forget, None
    if pending and argument.casefold() == "no":
        context.say("Nothing was erased. The words stand in the history of typed lines, where you wrote them.")
    elif pending and (agreed := _YES.fullmatch(argument)):
        await _erase(context, pending, [int(number) for number in re.findall(r"\d+", agreed[1] or "")])
    elif not argument:
        raise BadInput("/forget takes the words that are to be erased.", "for example: /forget my locker code 4711")
    else:
        from memos.storage.unwanted_words import UnwantedWords

        await _preview(context, UnwantedWords(_unquoted(argument)))


async def _preview(context: CommandContext, words: UnwantedWords) -> None:
    preview = await context.session.operator.preview_forgetting(words)
    for line in preview_lines(preview, context.marks.more):
        context.say(line)
    if not preview.traces and not preview.broken_off:
        return
    for line in await _near(context, words):
        context.say(line)
    context.to_forget = words
    context.say("/forget yes erases all of this for good; /forget yes but 2 5 keeps those; /forget no keeps all.")


async def _erase(context: CommandContext, words: UnwantedWords, numbers: Sequence[int]) -> None:
    session = context.session
    context.say("Erasing; what you say meanwhile waits.", "dim")
    certificate = await session.operator.forget(words, numbers)
    if context.unremember and f"file:{session.history_file}" not in certificate.spared:
        context.unremember(words.stand_in)
    context.details.begin()
    for label in [label for label, text in context.drafts.items() if words.stand_in(text)]:
        del context.drafts[label]
    for line in certificate.lines():
        context.say(safe_line(line) if not line.startswith(" ") else "  " + safe_line(line))


def preview_lines(preview: Preview, more: str) -> Iterator[str]:
    """Yield what an erasure would touch, numbered, what it leaves, and what it cannot see."""
    if preview.broken_off:
        began = preview.broken_off.astimezone()
        yield f"An erasure that began {began:%Y-%m-%d %H:%M} was broken off; with the same words it comes to its end."
    count = len(preview.traces)
    yield (
        f"{count} {'things hold' if count != 1 else 'thing holds'} these words."
        if count
        else ("Nothing in memory or its files holds these words, letter by letter.")
    )
    for number, trace in enumerate(preview.traces[:SHOWN], start=1):
        yield f"  {number}  {safe_line(trace.what)} {safe_line(trace.fate)}: {clipped(trace.text, _CLIP_CHARS, more)}"
    if count > SHOWN:
        yield f"  {more} and {count - SHOWN} more"
    for name in preview.named:
        yield f"  Left as it is, a name or setting: {safe_line(name)}"


async def _near(context: CommandContext, words: UnwantedWords) -> list[str]:
    """Return what is near in meaning and does not hold the words: it is not erased."""
    session = context.session
    lines: list[str] = []
    for place in ("recall", "archival"):
        found = await asyncio.to_thread(session.finder.find, session.agent, place, words.folded, NEAR_SHOWN)
        near = [find for find in found.finds if not words.stand_in(find.text)]
        lines += [f"    {place}: {clipped(find.text, _CLIP_CHARS, context.marks.more)}" for find in near]
    return ["  Near to it, and not erased (it does not hold the words):", *lines] if lines else []


def _unquoted(text: str) -> str:
    quoted = len(text) > 2 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text
