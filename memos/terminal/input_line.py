"""The line being typed: its private history, its completion, and the prompt_toolkit session around it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.layout import HSplit, Window
from prompt_toolkit.layout.controls import FormattedTextControl
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.styles import Style

from memos.safe_text import safe_line
from memos.terminal.commands import completions, may_be_command
from memos.terminal.line_display import HarmlessLine
from memos.terminal.marks import Marks
from memos.terminal.mentions import begun_mention, path_completions
from memos.terminal.session import Session
from memos.terminal.themes import palette, screen_styles

_MENU_ROWS = 6

Drawn = Callable[[], StyleAndTextTuples]


def make_input_line(
    session: Session, marks: Marks, keys: KeyBindings, output: Output, *, above: Drawn, below: Drawn, colours: bool
) -> PromptSession[str]:
    """Return the line, with what `above` and `below` return drawn around it."""
    prompt: PromptSession[str] = PromptSession(
        message=above,
        prompt_continuation=" " * len(marks.user),
        history=_private_history(session),
        completer=_CommandCompleter(session),
        reserve_space_for_menu=_MENU_ROWS,
        # Without any rendition a suggestion could not be told from what was typed.
        auto_suggest=AutoSuggestFromHistory() if colours else None,
        search_ignore_case=True,
        enable_suspend=True,
        vi_mode=session.screen.vi,
        input_processors=[HarmlessLine()],
        key_bindings=keys,
        style=Style.from_dict(screen_styles(palette(session.screen.theme))),
        color_depth=None if colours else ColorDepth.DEPTH_1_BIT,
        erase_when_done=True,
        output=output,
    )
    completed = Condition(lambda: _may_be_completed(prompt.default_buffer.document.text_before_cursor))
    prompt.complete_while_typing = completed
    prompt.enable_history_search = ~completed  # prompt_toolkit has one or the other
    root = prompt.layout.container
    assert isinstance(root, HSplit)
    # prompt_toolkit's own toolbar waits for the terminal to tell where its cursor is, which is never asked.
    root.children.append(Window(FormattedTextControl(below), height=1, dont_extend_height=True))
    return prompt


def unremember(buffer: Buffer, holds: Callable[[str], bool]) -> None:
    """Take lines out of the history that this process has read; what is being typed stays."""
    history = buffer.history
    history._loaded_strings = [line for line in history._loaded_strings if not holds(line)]  # there is no public way
    buffer.reset(buffer.document)


def complete_now(buffer: Buffer) -> None:
    """Take over the only completion, or the next one of the menu.

    prompt_toolkit completes in a task of its own, and forgets a Tab that comes while that task is at work.
    """
    if buffer.complete_state is None and buffer.completer:
        found = list(buffer.completer.get_completions(buffer.document, CompleteEvent(completion_requested=True)))
        if len(found) == 1:
            buffer.apply_completion(found[0])
        elif found:
            buffer.start_completion(insert_common_part=True)
    else:
        buffer.complete_next()


def suggested(buffer: Buffer) -> str:
    """Return what is suggested behind the cursor at the end of the line."""
    suggestion = buffer.suggestion
    return suggestion.text if suggestion and buffer.document.is_cursor_at_the_end else ""


def _may_be_completed(before_cursor: str) -> bool:
    return may_be_command(before_cursor) or begun_mention(before_cursor) is not None


class _CommandCompleter(Completer):
    """Completes slash commands, their arguments, and the paths of images, never the words of a message."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what may stand at the cursor."""
        line = document.text_before_cursor
        if not may_be_command(line):
            typed = begun_mention(line)
            for path in path_completions(typed) if typed is not None else ():
                yield Completion(path, start_position=-len(typed or ""), display=safe_line(path))
            return
        word = line if " " not in line else line.partition(" ")[2].lstrip()
        for text, meta in completions(line, self._session):
            yield Completion(text, start_position=-len(word), display=safe_line(text), display_meta=safe_line(meta))


def _private_history(session: Session) -> History:
    """Return the history of what was typed, in a file that only its owner can read."""
    path = session.history_file
    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
        path.chmod(0o600)
    except OSError:
        return InMemoryHistory()  # a history is a comfort, not a reason to refuse a conversation
    return FileHistory(str(path))
