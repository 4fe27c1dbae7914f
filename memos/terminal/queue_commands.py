"""The operator's commands on main context: look at it, take back, flush, wake the agent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from memos.errors import BadInput
from memos.messages import Event, EventKind
from memos.safe_text import safe_line
from memos.terminal.command_registry import CommandContext, command
from memos.terminal.context_map import context_json, context_lines
from memos.terminal.drawing import clipped

if TYPE_CHECKING:
    from memos.kernel.operator import Operator, TakenBack


@command("context", argument="[--json]", complete=lambda session: ("--json",))
async def show_context(context: CommandContext, argument: str) -> None:
    """Show the model's window: what each part takes, and what would be evicted next.

    The letters of the bar are those of the list below it. --json prints the same as one JSON object.
    """
    if argument not in ("", "--json"):
        raise BadInput(f"/context knows no {safe_line(argument)!r}.", "/context, or /context --json")
    found = await context.session.operator.context()
    if argument:
        context.say(json.dumps(context_json(found)))
        return
    for line in context_lines(found, context.console.width, context.marks):
        context.say(line)


@command("pop", argument="[N]")
async def pop(context: CommandContext, argument: str) -> None:
    """Drop the last N messages from the queue, 3 if no number is given: the agent no longer sees nor finds them.

    A call and its result go together. Edits of memory stay; /undo takes those back too.
    """
    if argument and not argument.isdigit():
        raise BadInput(f"/pop takes a number, not {safe_line(argument)!r}.", "for example: /pop 2")
    count = await _operator(context).pop(int(argument or 3))
    context.say(f"Dropped the last {count} messages of the queue.")


@command("undo")
async def undo(context: CommandContext, argument: str) -> None:
    """Take back your last message, all that came after it, and what the agent then changed in its memory."""
    _say_taken_back(context, await _operator(context).undo())


@command("retry")
async def retry(context: CommandContext, argument: str) -> None:
    """Take back the last turn as /undo does, and say the same words again."""
    _say_taken_back(context, await _operator(context).retry())


@command("clear")
async def clear(context: CommandContext, argument: str) -> None:
    """Begin an empty queue. Memory is kept, and all that was said is still found by search."""
    count = await _operator(context).clear()
    context.say(f"The queue is empty: {count} messages left it. They stay in recall storage.")


@command("summarize")
async def summarise(context: CommandContext, argument: str) -> None:
    """Flush the queue now: its older half leaves, and a summary takes its place."""
    evicted, summary = await _operator(context).summarise()
    context.say(f"{evicted.messages} messages ({evicted.tokens:,} tokens) left the queue. The summary now:")
    for line in summary.splitlines():
        context.say(f"  {safe_line(line)}")


@command("memorywarning")
async def warn_of_memory_pressure(context: CommandContext, argument: str) -> None:
    """Warn the agent of memory pressure, as memos does when the queue has nearly filled its window."""
    context.check_writable()
    context.post(Event(EventKind.MEMORY_PRESSURE, "The user asks you to save now what you will want at hand later."))


@command("heartbeat")
async def heartbeat(context: CommandContext, argument: str) -> None:
    """Give the agent another step."""
    context.check_writable()
    context.post(Event(EventKind.HEARTBEAT, payload={"reason": "The user gives you another step."}))


def _operator(context: CommandContext) -> Operator:
    """Return the operator of a session that may write. Raises: BadInput."""
    context.check_writable()
    return context.session.operator


def _say_taken_back(context: CommandContext, taken: TakenBack) -> None:
    also = [f"{taken.edits} edits of core memory"] * bool(taken.edits)
    also += [f"{taken.passages} passages"] * bool(taken.passages)
    with_them = f", with {' and '.join(also)}" if also else ""
    words = clipped(taken.words or "an image" * bool(taken.images), 40, context.marks.more)
    context.say(f'Taken back: "{words}" and what followed ({taken.messages} messages{with_them}).')
    for label in taken.left:
        context.say(f"Core memory {safe_line(label)} was changed again since; it keeps what it holds.", "yellow")
