"""The registry of slash commands: what a command is, and how a typed line finds its command.

One decorated function each; its docstring is its help, its name and aliases are what is completed.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.text import Text

from memos.errors import BadInput, MemosError
from memos.messages import Event
from memos.safe_text import safe_line, safe_text, storable
from memos.terminal.editor import edited
from memos.terminal.marks import Marks
from memos.terminal.mentions import path_completions, paths_like
from memos.terminal.session import Session
from memos.terminal.turn_details import TurnDetails
from memos.terminal.wrapping import hung

if TYPE_CHECKING:
    from memos.storage.unwanted_words import UnwantedWords

_FILE_PREFIX = "gguf:"
"""Stands before the path of a model in a file."""


class Lend(Protocol):
    """Lends the terminal to another program for as long as `work`, which is run in a thread, takes."""

    async def __call__(self, work: Callable[[], str]) -> str:
        """Return what `work` does."""
        ...


@dataclass
class CommandContext:
    """What a command may use. `leave` ends the conversation with an exit code; `post` hands the kernel an event.

    `wrap` breaks long lines at words, for a screen; a pipe gets them whole. `send` says something as if it had been
    typed; `put` puts a text into the line being typed, None where there is none; `lend` is None where there is no
    terminal for an editor. `drafts` are texts that could not be used yet; `details` is the last turn in full.
    """

    session: Session
    console: Console
    marks: Marks
    leave: Callable[[int], None]
    post: Callable[[Event], None]
    wrap: bool = False
    send: Callable[[str], None] | None = None
    put: Callable[[str], None] | None = None
    lend: Lend | None = None
    drafts: dict[str, str] = field(default_factory=dict)
    to_forget: UnwantedWords | None = None
    """What `/forget` has shown a preview of, and waits to hear whether it may go."""
    unremember: Callable[[Callable[[str], bool]], None] | None = None
    """Takes lines out of the history that this screen holds in memory."""
    details: TurnDetails = field(default_factory=TurnDetails)

    async def edit(self, text: str, name: str) -> str:
        """Let the user change a text in their own editor; return what was saved. Raises: BadInput."""
        lend, folder = self.lend, self.session.drafts_folder
        if self.session.incognito:
            raise BadInput("An editor needs a file, and incognito none is written.", "type it here.")
        if lend is None or folder is None:
            raise BadInput("There is no terminal here for an editor.", "run memos in one.")
        return await lend(lambda: edited(text, name, folder))

    def check_writable(self) -> None:
        """Refuse what would change anything in a session that only reads. Raises: BadInput."""
        if self.session.read_only:
            raise BadInput("This session only reads.", "leave it, and run memos where the agent is not open elsewhere.")

    def say(self, text: str | Text = "", style: str = "", hang_cells: int | None = None) -> None:
        """Print one line of plain text; its further rows stand under it, or `hang_cells` to the right.

        Whatever a command made it of, it is harmless here.
        """
        line = Text(text, style=style) if isinstance(text, str) else text
        line.plain = safe_text(line.plain)  # as long as before, so its colours stay where they are
        blanks = len(line.plain) - len(line.plain.lstrip(" "))
        for row in hung(line, self.width_cells, blanks if hang_cells is None else hang_cells):
            self.console.print(row, soft_wrap=not self.wrap)

    @property
    def width_cells(self) -> int | None:
        """The width at which lines are broken, None for not at all."""
        return self.console.width - 1 if self.wrap else None


Run = Callable[[CommandContext, str], Awaitable[None]]
Complete = Callable[[Session], Iterable[str]]


@dataclass(frozen=True)
class Command:
    """One entry of the registry. `complete` yields what its argument, or with `by_word` each word of it, may be.

    `takes_path`: its argument begins with the path of an image, and its line is worth typing only once.
    """

    name: str
    aliases: tuple[str, ...]
    usage: str
    help: str
    run: Run
    complete: Complete
    by_word: bool = False
    takes_path: bool = False

    @property
    def summary(self) -> str:
        """The first line of its help."""
        return self.help.split("\n", 1)[0]


COMMANDS: dict[str, Command] = {}
"""Every command by its name."""


FORMER_WORDS: dict[str, tuple[str, str]] = {
    "load": ("Nothing needs to be loaded: an agent is opened as it was left.", "/switch NAME opens another one."),
    "systemswap": ("The instructions are memos' own.", "/memory edit persona changes who the agent is."),
    "wipe": (
        "Nothing is wiped in passing.",
        "/clear begins an empty queue; /forget WORDS erases for good; /new begins another agent.",
    ),
    "add_function": ("Functions are not added in a chat.", "a persona's front matter says which an agent may use."),
    "remove_function": ("Functions are not removed in a chat.", "a persona's front matter says which it may use."),
}
"""MemGPT's commands that make no sense here: what to say, and what to do instead."""


def command(
    name: str,
    *,
    aliases: Sequence[str] = (),
    argument: str = "",
    complete: Complete = lambda session: (),
    by_word: bool = False,
    takes_path: bool = False,
) -> Callable[[Run], Run]:
    """Register a function as `/name`. Raises: ValueError when its docstring is missing or a name is taken."""

    def register(run: Run) -> Run:
        help_text = inspect.getdoc(run)
        taken = {known for entry in COMMANDS.values() for known in (entry.name, *entry.aliases)}
        if not help_text or taken & {name, *aliases}:
            raise ValueError(f"/{name} needs a docstring and a name of its own")
        usage = f"/{name} {argument}".rstrip()
        COMMANDS[name] = Command(name, tuple(aliases), usage, help_text, run, complete, by_word, takes_path)
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


async def obey(context: CommandContext, line: str) -> None:
    """Run a line for which `is_command` holds. Raises: MemosError."""
    word, _, argument = line[1:].partition(" ")
    await find_command(word).run(context, storable(argument).strip())  # a NUL may be pasted, and no path takes it


async def run_command(context: CommandContext, line: str) -> bool:
    """Run a line for which `is_command` holds, tell in a sentence what goes wrong, and return whether nothing did."""
    try:
        await obey(context, line)
    except MemosError as error:
        context.say(f"{context.marks.notice}{safe_line(str(error))}", "red", hang_cells=2)
        return False
    return True


def is_worth_keeping(line: str) -> bool:
    """Return whether a command's line that could not be obeyed is given back to be mended."""
    try:
        return is_command(line) and find_command(line[1:].partition(" ")[0]).takes_path
    except BadInput:
        return False


def find_command(word: str) -> Command:
    """Return the command of that name, alias, or unambiguous beginning. Raises: BadInput."""
    names = {known: entry for entry in COMMANDS.values() for known in (entry.name, *entry.aliases)}
    word = word.lower()
    if word in names:
        return names[word]
    begun = {entry.name: entry for known, entry in names.items() if word and known.startswith(word)}
    shortest = min(begun, key=len, default="")
    if shortest and all(name.startswith(shortest) for name in begun):  # /mem is /memory, not /memorywarning
        return begun[shortest]
    if word in FORMER_WORDS:
        raise BadInput(*FORMER_WORDS[word])
    close = sorted(begun) or difflib.get_close_matches(word, names, n=2, cutoff=0.6)
    guess = f" Did you mean {' or '.join(f'/{name}' for name in close)}?" if close else ""
    raise BadInput(f'There is no command "/{safe_line(word)}".{guess}', "/help lists them all; //text sends a slash.")


def number_given(argument: str, default: int, example: str, *, what: str = "a number", at_least: int = 0) -> int:
    """Return the number that a command was given, `default` where none was.

    `example` is the command with a number, as it may be typed. Raises: BadInput.
    """
    if argument and not (argument.isdecimal() and int(argument) >= at_least):
        name = example.split(maxsplit=1)[0]
        raise BadInput(f"{name} takes {what}, not {safe_line(argument)!r}.", f"for example: {example}")
    return int(argument or default)


def completions(line: str, session: Session) -> Iterator[tuple[str, str]]:
    """Yield what the last word of `line` may become, with a word of explanation."""
    word, space, argument = line[1:].partition(" ")
    if not space:
        for name in sorted(COMMANDS):
            if name.startswith(word.lower()):
                yield f"/{name}", COMMANDS[name].summary
        return
    try:
        found = find_command(word)
    except BadInput:
        return
    if argument.startswith(_FILE_PREFIX):
        paths = paths_like(argument.removeprefix(_FILE_PREFIX), (".gguf",))
        yield from ((_FILE_PREFIX + path, "") for path in paths)
        return
    if found.takes_path:
        yield from ((path, "") for path in path_completions(argument.lstrip()))
        return
    before, blank, last = argument.rpartition(" ") if found.by_word else ("", "", argument)
    for value in found.complete(session):
        if value.startswith(last):
            yield f"{before}{blank}{value}", ""
