"""The operator's commands on core memory: look at it, edit it, take an edit back; and what a reply rested on."""

from __future__ import annotations

from memos.errors import BadInput
from memos.memory.working_context import Revision
from memos.messages import Block
from memos.safe_text import safe_line, storable
from memos.terminal.amounts import counted
from memos.terminal.command_registry import CommandContext, command
from memos.terminal.drawing import block_lines, difference_lines
from memos.terminal.grounds import grounds_lines
from memos.terminal.session import Session

EDITS_SHOWN = 5
LOG_EDITS_SHOWN = 20
EDIT_LIMIT_LINES = 4
OWN_EDIT_LIMIT_LINES = 40


def _labels(session: Session) -> list[str]:
    return [block.label for block in session.memory.blocks()]


def _memory_words(session: Session) -> list[str]:
    labels = _labels(session)
    return ["log", "undo", *labels, *(f"edit {label}" for label in labels)]


@command("memory", argument="[LABEL | log | edit LABEL | undo [ID]]", complete=_memory_words)
async def show_memory(context: CommandContext, argument: str) -> None:
    """Show what the agent always sees (its blocks), how much it keeps elsewhere, and the last edits.

    LABEL shows one block whole. log shows the last 20 edits: number, time, author, what changed. edit LABEL opens a
    block in your editor ($VISUAL or $EDITOR), also one that the agent may not edit. undo ID takes back one edit by its
    number, the newest one without; where later edits changed the same lines it does nothing and says so.
    """
    word, _, rest = argument.partition(" ")
    rest = rest.strip()
    match word.casefold():
        case "edit" if rest:
            await _edit(context, rest)
        case "edit":
            raise BadInput("/memory edit takes the label of a block.", f"one of: {_named(context)}")
        case "undo":
            await _undo(context, rest.removeprefix("#"))
        case "log" if not rest:
            _say_log(context)
        case "":
            _say_memory(context)
        case _:
            _say_block(context, _block(context, argument))


@command("remember", argument="TEXT")
async def remember(context: CommandContext, argument: str) -> None:
    """Keep TEXT in archival storage, in your own words; the agent finds it there when it searches."""
    context.check_writable()
    if not argument:
        raise BadInput("/remember takes the words to keep.", "for example: /remember The bees are at Sant Feliu.")
    new = await context.session.operator.remember(storable(argument))
    context.say("Kept in archival storage." if new else "It is in archival storage already.")


@command("why", argument="[all]", complete=lambda session: ("all",))
async def why(context: CommandContext, argument: str) -> None:
    """Show what the last reply could rest on: what stood in its prompt, and where that came from.

    Block lines with the edit that wrote them, what searches had found, the summary, the queue; all of the queue with
    all. It is read from what was stored with the reply: the model is not asked, and could not know.
    """
    if argument not in ("", "all"):
        raise BadInput(f"/why knows no {safe_line(argument)!r}.", "/why, or /why all for the whole queue")
    reply, grounds = await context.session.operator.grounds()
    if reply is None:
        raise BadInput("The agent has not said anything yet.", "say something first.")
    if grounds is None:
        raise BadInput(
            "What stood in the prompt of the last reply was not kept: an older memos wrote it.", "ask again."
        )
    for line in grounds_lines(grounds, context.marks, everything=bool(argument)):
        context.say(line)


async def _edit(context: CommandContext, label: str) -> None:
    context.check_writable()
    block = _block(context, label)
    text = await context.edit(context.drafts.get(block.label, block.value), f"{_file_name(block.label)}.md")
    context.drafts[block.label] = text
    try:
        edit = await context.session.operator.edit_block(block.label, block.value, text)
    except BadInput as problem:
        raise BadInput(problem.what, f"/memory edit {block.label} opens your text again; {problem.next_step}") from None
    del context.drafts[block.label]
    if edit is None:
        context.say(f"{safe_line(block.label)} is unchanged.")
    else:
        _say_own_edit(context, edit)


async def _undo(context: CommandContext, number: str) -> None:
    context.check_writable()
    if number and not number.isdecimal():
        raise BadInput(
            f"/memory undo takes the number of an edit, not {safe_line(number)!r}.", "/memory log shows them"
        )
    _say_own_edit(context, await context.session.operator.undo_edit(int(number) if number else None))


def _say_own_edit(context: CommandContext, edit: Revision) -> None:
    block = _block(context, edit.label)
    context.say(block_lines(block, context.marks)[0])
    for line in difference_lines(edit.before, edit.after, context.marks, OWN_EDIT_LIMIT_LINES):
        context.say(line)
    context.say(f"Edit {edit.seq}; /memory undo {edit.seq} takes it back.", "dim")


def _block(context: CommandContext, label: str) -> Block:
    for block in context.session.memory.blocks():
        if block.label.casefold() == label.casefold():
            return block
    raise BadInput(
        f'There is no block "{label:.80}".', f"/memory with one of: {_named(context)}; /memory log shows edits"
    )


def _named(context: CommandContext) -> str:
    return ", ".join(safe_line(label) for label in _labels(context.session))


def _file_name(label: str) -> str:
    """Return a label as the name of a file: a label is never a path."""
    return "".join(letter if letter.isalnum() else "-" for letter in label)[:40] or "block"


def _say_log(context: CommandContext) -> None:
    edits = context.session.memory.last_edits(LOG_EDITS_SHOWN)
    if not edits:
        context.say("No block has been edited yet.")
    for edit in edits:
        _say_edit(context, edit)
    if edits:
        context.say("/memory undo ID takes one back.", "dim")


def _say_block(context: CommandContext, block: Block) -> None:
    head, *value = block_lines(block, context.marks)
    context.say(head)
    if block.description:
        context.say(f"  {safe_line(block.description)}", "dim")
    for line in value:
        context.say(line)


def _say_memory(context: CommandContext) -> None:
    memory = context.session.memory
    for block in memory.blocks():
        for line in block_lines(block, context.marks):
            context.say(line)
    recall_count, archival_count = memory.counts()
    messages, passages = counted(recall_count, "message"), counted(archival_count, "passage")
    context.say(f"Recall storage: {messages}. Archival storage: {passages}.")
    edits = memory.last_edits(EDITS_SHOWN)
    if edits:
        context.say("Last edits, newest first:", "bold")
    for edit in edits:
        _say_edit(context, edit)


def _say_edit(context: CommandContext, edit: Revision) -> None:
    when = edit.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
    context.say(f"  {edit.seq}  {when}  {edit.author}  {safe_line(edit.label)}", "dim")
    for line in difference_lines(edit.before, edit.after, context.marks, EDIT_LIMIT_LINES, indent="    "):
        context.say(line)
