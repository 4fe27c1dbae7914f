"""The slash commands: the operator's console.

One decorated function each; its docstring is its help, its name and aliases are what is completed.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from memos.errors import BadInput, MemosError
from memos.memory.working_context import Revision
from memos.messages import Event, EventKind, utc_now
from memos.safe_text import safe_line
from memos.terminal.amounts import sentence
from memos.terminal.drawing import block_lines, changed_lines, clipped
from memos.terminal.marks import Marks
from memos.terminal.session import Session

EDITS_SHOWN = 5
LOG_EDITS_SHOWN = 20
EDIT_LIMIT_LINES = 4


@dataclass
class CommandContext:
    """What a command may use. `leave` ends the conversation with an exit code; `post` hands the kernel an event.

    `wrap` breaks long lines at words, for a screen; a pipe gets them whole.
    """

    session: Session
    console: Console
    marks: Marks
    leave: Callable[[int], None]
    post: Callable[[Event], None]
    wrap: bool = False

    def say(self, text: str | Text = "", style: str = "") -> None:
        """Print one line of plain text."""
        self.console.print(Text(text, style=style) if isinstance(text, str) else text, soft_wrap=not self.wrap)


Run = Callable[[CommandContext, str], Awaitable[None]]
Complete = Callable[[Session], Iterable[str]]


@dataclass(frozen=True)
class Command:
    """One entry of the registry. `complete` yields what its argument may be."""

    name: str
    aliases: tuple[str, ...]
    usage: str
    help: str
    run: Run
    complete: Complete

    @property
    def summary(self) -> str:
        """The first line of its help."""
        return self.help.split("\n", 1)[0]


COMMANDS: dict[str, Command] = {}
"""Every command by its name, in the order of `/help`."""


def command(
    name: str, *, aliases: Sequence[str] = (), argument: str = "", complete: Complete = lambda session: ()
) -> Callable[[Run], Run]:
    """Register a function as `/name`. Raises: ValueError when its docstring is missing or a name is taken."""

    def register(run: Run) -> Run:
        help_text = inspect.getdoc(run)
        taken = {known for entry in COMMANDS.values() for known in (entry.name, *entry.aliases)}
        if not help_text or taken & {name, *aliases}:
            raise ValueError(f"/{name} needs a docstring and a name of its own")
        COMMANDS[name] = Command(name, tuple(aliases), f"/{name} {argument}".rstrip(), help_text, run, complete)
        return run

    return register


def is_command(line: str) -> bool:
    """Return whether a typed line is for the operator's console: `/x` is, `//x` and `/ x` are not."""
    return len(line) > 1 and line[0] == "/" and line[1] not in "/ \n\t"


def may_be_command(line: str) -> bool:
    """Return whether a line, as far as it is typed, is a command or may become one."""
    return line == "/" or is_command(line)


def as_message(line: str) -> str:
    """Return a typed line as the message it stands for: `//x` says `/x`."""
    return line[1:] if line.startswith("//") else line


async def run_command(context: CommandContext, line: str) -> None:
    """Run a line for which `is_command` holds; what goes wrong is told in one sentence."""
    word, _, argument = line[1:].partition(" ")
    try:
        await find_command(word).run(context, argument.strip())
    except MemosError as error:
        context.say(f"{context.marks.notice}{safe_line(str(error))}", "red")


def find_command(word: str) -> Command:
    """Return the command of that name, alias, or unambiguous beginning. Raises: BadInput."""
    names = {known: entry for entry in COMMANDS.values() for known in (entry.name, *entry.aliases)}
    word = word.lower()
    if word in names:
        return names[word]
    begun = {entry.name: entry for known, entry in names.items() if word and known.startswith(word)}
    if len(begun) == 1:
        return next(iter(begun.values()))
    close = sorted(begun) or difflib.get_close_matches(word, names, n=2, cutoff=0.5)
    guess = f" Did you mean {' or '.join(f'/{name}' for name in close)}?" if close else ""
    raise BadInput(f'There is no command "/{safe_line(word)}".{guess}', "/help lists them all; //text sends a slash.")


def completions(line: str, session: Session) -> Iterator[tuple[str, str]]:
    """Yield what the last word of `line` may become, with a word of explanation."""
    word, space, argument = line[1:].partition(" ")
    if not space:
        for entry in COMMANDS.values():
            if entry.name.startswith(word.lower()):
                yield f"/{entry.name}", entry.summary
        return
    try:
        found = find_command(word)
    except BadInput:
        return
    for value in found.complete(session):
        if value.startswith(argument):
            yield value, ""


@command("help", aliases=("?",), argument="[COMMAND]", complete=lambda session: COMMANDS)
async def show_help(context: CommandContext, argument: str) -> None:
    """List the commands, or explain one."""
    if argument:
        entry = find_command(argument.removeprefix("/"))
        context.say(entry.usage, "bold")
        context.say(entry.help)
        if entry.aliases:
            context.say("Also: " + ", ".join(f"/{alias}" for alias in entry.aliases), "dim")
        return
    width = max(len(entry.usage) for entry in COMMANDS.values())
    for entry in COMMANDS.values():
        context.say(Text(f"{entry.usage:<{width}}  ", style="bold").append(entry.summary, style="not bold"))
    context.say("Enter sends, Alt-Enter or Ctrl-J begins a new line, //text sends a line that begins with a slash.")
    context.say("Ctrl-C stops a reply, twice leaves; Ctrl-D leaves. Everything is kept as it happens.")


def _memory_words(session: Session) -> list[str]:
    return ["log", *(block.label for block in session.memory.blocks())]


@command("memory", argument="[LABEL | log]", complete=_memory_words)
async def show_memory(context: CommandContext, argument: str) -> None:
    """Show what the agent always sees (its blocks), how much it keeps elsewhere, and the last edits.

    LABEL shows one block whole; log shows the last 20 edits: when, by whom, and what changed.
    """
    if argument.casefold() == "log":
        _say_log(context)
    elif argument:
        _say_block(context, argument)
    else:
        _say_memory(context)


def _say_log(context: CommandContext) -> None:
    edits = context.session.memory.last_edits(LOG_EDITS_SHOWN)
    if not edits:
        context.say("No block has been edited yet.")
    for edit in edits:
        _say_edit(context, edit)


def _say_block(context: CommandContext, label: str) -> None:
    blocks = context.session.memory.blocks()
    block = next((block for block in blocks if block.label.casefold() == label.casefold()), None)
    if block is None:
        names = ", ".join(safe_line(block.label) for block in blocks)
        raise BadInput(f'There is no block "{label:.80}".', f"/memory with one of: {names}; /memory log shows edits")
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
    context.say(f"Recall storage: {recall_count} messages. Archival storage: {archival_count} passages.")
    edits = memory.last_edits(EDITS_SHOWN)
    if edits:
        context.say("Last edits, newest first:", "bold")
    for edit in edits:
        _say_edit(context, edit)


def _say_edit(context: CommandContext, edit: Revision) -> None:
    more = context.marks.more
    when = edit.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
    context.say(f"  {when}  {edit.author}  {safe_line(edit.label)}", "dim")
    changes = changed_lines(edit.before, edit.after)
    for sign, line in changes[:EDIT_LIMIT_LINES]:
        context.say(f"    {sign} {clipped(line, 100, more)}", "red" if sign == "-" else "green")
    if len(changes) > EDIT_LIMIT_LINES:
        context.say(f"    {more} {len(changes) - EDIT_LIMIT_LINES} more changed lines", "dim")


@command("usage")
async def show_usage(context: CommandContext, argument: str) -> None:
    """Show what this agent's model calls used and cost, today and in all.

    `memos usage` has it by day and model. Where a model does not report tokens, or its price is not known, it says so.
    """
    agent_id, ledger = context.session.agent.id, context.session.usage
    today = utc_now().astimezone().date()
    for label, since in (("Today", today), ("In all", None)):
        spent = await asyncio.to_thread(ledger.spent, agent_id=agent_id, since=since)
        context.say(f"{label}: {sentence(spent)}.")


@command("model", argument="[MODEL]")
async def model(context: CommandContext, argument: str) -> None:
    """Show the model that answers, or switch to another one.

    MODEL is any litellm id (openai/gpt-4.1, ollama_chat/llama3.2), builtin/tiny, or gguf:PATH.
    """
    session = context.session
    if not argument:
        context.say(f"{safe_line(session.model)} answers. /model NAME switches.")
        return
    if session.read_only:
        raise BadInput("This session only reads.", "leave it, and run memos where the agent is not open elsewhere.")
    sentence = await session.switch_model(argument)
    session.model = argument
    context.say(safe_line(sentence))


@command("like")
async def like(context: CommandContext, argument: str) -> None:
    """Tell the agent that you liked its last message."""
    if context.session.read_only:
        raise BadInput("This session only reads.", "leave it, and run memos where the agent is not open elsewhere.")
    context.post(Event(EventKind.USER_LIKED))
    context.say("The agent is told that you liked it.", "dim")


@command("continue")
async def go_on(context: CommandContext, argument: str) -> None:
    """Let the agent go on where a limit, Ctrl-C or an error stopped it; the limits of a turn begin anew."""
    if context.session.read_only:
        raise BadInput("This session only reads.", "leave it, and run memos where the agent is not open elsewhere.")
    if context.session.kernel.busy:
        raise BadInput("The agent is still at work.", "wait for it, or stop it with Ctrl-C.")
    if not await context.session.kernel.was_stopped():
        raise BadInput("Nothing was stopped: the agent had come to its end.", "say something.")
    context.post(Event(EventKind.HEARTBEAT, payload={"reason": "You were stopped; the user lets you go on."}))


@command("exit", aliases=("quit", "bye"))
async def leave(context: CommandContext, argument: str) -> None:
    """Leave; everything is kept already."""
    context.leave(0)


from memos.terminal import queue_commands  # noqa: E402,F401  they register themselves, once the registry is there
