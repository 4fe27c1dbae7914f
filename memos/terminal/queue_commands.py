"""The operator's commands on main context: look at it, take back, flush, wake the agent."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from memos.errors import BadInput
from memos.memory.message_rows import spoken_words, thought_of
from memos.messages import Event, EventKind, Message, MessageState
from memos.safe_text import safe_line
from memos.terminal.amounts import counted
from memos.terminal.command_registry import CommandContext, command, number_given
from memos.terminal.context_map import context_json, context_lines
from memos.terminal.drawing import call_text, clipped
from memos.terminal.wrapping import displayable

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
    count = await _operator(context).pop(number_given(argument, 3, "/pop 2"))
    context.say(f"Dropped the last {counted(count, 'message')} of the queue.")


@command("undo")
async def undo(context: CommandContext, argument: str) -> None:
    """Take back your last message, all that came after it, and what the agent then changed in its memory."""
    _say_taken_back(context, await _operator(context).undo())


@command("retry")
async def retry(context: CommandContext, argument: str) -> None:
    """Take back the last turn as /undo does, and say the same words again."""
    _say_taken_back(context, await _operator(context).retry())


@command("edit")
async def edit(context: CommandContext, argument: str) -> None:
    """Take back the last turn as /undo does, and put your words into the line, to be changed and sent anew."""
    if context.put is None:
        raise BadInput("There is no line here to put your words into.", "/undo, and say it anew.")
    taken = await _operator(context).undo()
    _say_taken_back(context, taken)
    context.put(f"/{taken.words}" if taken.words.startswith("/") else taken.words)
    if taken.images:
        context.say("Its images are not in the line: name them anew with @PATH.", "yellow")


@command("rethink", argument="TEXT")
async def rethink(context: CommandContext, argument: str) -> None:
    """Let the agent have thought TEXT: it takes the place of its last inner monologue."""
    await _operator(context).rethink(_given(argument, "rethink", "thought"))
    context.say("The last thought reads so now; the old one is kept, and no longer counts.")


@command("rewrite", argument="TEXT")
async def rewrite(context: CommandContext, argument: str) -> None:
    """Let the agent have said TEXT: it takes the place of its last message to you."""
    await _operator(context).rewrite(_given(argument, "rewrite", "message"))
    context.say("The last message reads so now; the old one is kept, and no longer counts.")


@command("dump", argument="[COUNT]")
async def dump(context: CommandContext, argument: str) -> None:
    """Print the queue as it stands, the last COUNT messages of it: what was said, thought, called and returned."""
    for message in await _last_messages(context, argument, "dump"):
        for line in _dumped(message, context.marks.more):
            context.say(line)


@command("dumpraw", argument="[COUNT]")
async def dump_raw(context: CommandContext, argument: str) -> None:
    """Print the queue as it is stored, a JSON object a message."""
    for message in await _last_messages(context, argument, "dumpraw"):
        context.say(json.dumps(dataclasses.asdict(message), default=str))


@command("clear")
async def clear(context: CommandContext, argument: str) -> None:
    """Begin an empty queue. Memory is kept, and all that was said is still found by search."""
    count = await _operator(context).clear()
    context.say(f"The queue is empty: {counted(count, 'message')} left it, and stayed in recall storage.")


@command("summarize", aliases=("evict",), argument="[N]")
async def summarise(context: CommandContext, argument: str) -> None:
    """Flush the queue now: its older half, or at least N messages, leave, and a summary takes their place."""
    at_least = number_given(argument, 0, "/summarize 10", at_least=1)
    evicted, summary = await _operator(context).summarise(at_least)
    context.say(f"{counted(evicted.messages, 'message')} ({evicted.tokens:,} tokens) left the queue. The summary now:")
    for line in summary.splitlines():
        context.say(f"  {safe_line(line)}", hang_cells=4)


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


def _given(text: str, name: str, what: str) -> str:
    if not text:
        raise BadInput(f"/{name} takes the words of the new {what}.", f"for example: /{name} I see.")
    return text


async def _last_messages(context: CommandContext, argument: str, name: str) -> Sequence[Message]:
    count = number_given(argument, 0, f"/{name} 5")
    await context.session.kernel.opened()
    queue = context.session.operator.queue
    if not queue:
        raise BadInput("The queue is empty.", "say something.")
    return queue[-count:] if count else queue


def _dumped(message: Message, more: str) -> Iterator[Text]:
    """Yield the lines of a message: a head, then each of its parts."""
    what = message.kind or message.name or ("reply" if message.role == "assistant" else message.role)
    state = "" if message.state is MessageState.COMPLETE else f" ({message.state})"
    yield Text(f"{message.seq}  {message.created_at.astimezone():%Y-%m-%d %H:%M:%S}  {safe_line(what)}{state}", "bold")
    thought = "" if message.role != "assistant" else thought_of(message)
    for line in displayable(thought).splitlines():
        yield Text(f"  {line}", style="dim italic")
    words = message.content if message.role != "assistant" else ""
    words = words or ("" if message.calls else spoken_words(message))
    for line in displayable(words).splitlines():
        yield Text(f"  {line}")
    for call in message.calls:
        yield Text(f"  {call_text(call, more)}", style="cyan")


def _say_taken_back(context: CommandContext, taken: TakenBack) -> None:
    also = [counted(taken.edits, "edit of core memory", "edits of core memory")] * bool(taken.edits)
    also += [counted(taken.passages, "passage")] * bool(taken.passages)
    with_them = f", with {' and '.join(also)}" if also else ""
    words = clipped(taken.words or "an image" * bool(taken.images), 40, context.marks.more)
    messages = counted(taken.messages, "message")
    context.say(f'Taken back: "{words}" and what followed ({messages}{with_them}).')
    for label in taken.left:
        context.say(f"Core memory {safe_line(label)} was changed again since; it keeps what it holds.", "yellow")
