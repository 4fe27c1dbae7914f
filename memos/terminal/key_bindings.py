"""What each key of `memos.terminal.keys` does that prompt_toolkit does not do by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from prompt_toolkit.application.current import get_app
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, emacs_mode, has_focus, vi_navigation_mode
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

from memos.terminal.input_line import complete_now, suggested
from memos.terminal.keys import COMMAND_KEYS
from memos.terminal.mentions import with_dropped_path

if TYPE_CHECKING:
    from prompt_toolkit.application import Application
    from prompt_toolkit.buffer import Buffer

ESCAPE_S = 0.02
"""After a lone Esc the rest of an Alt-key or of a function key is waited for so long, twice; they come in one piece."""
_CHORD_S = 1.0
_IN_LINE = has_focus(DEFAULT_BUFFER)


class KeyActions(Protocol):
    """What the screen does when a key asks for it."""

    def submit(self, text: str) -> None:
        """Take a line that was ended with Enter."""

    def line_changed(self, buffer: Buffer) -> None:
        """Take note of another line, where the buffer does not tell."""

    def interrupt(self, buffer: Buffer) -> None:
        """Stop what runs, else clear the line, else leave."""

    def escape(self) -> None:
        """Stop what runs, or turn back."""

    def leave(self, code: int) -> None:
        """End the conversation."""

    def edit_line(self) -> None:
        """Open the line in the user's editor."""

    def show_matches(self) -> None:
        """Show what is remembered about the line."""

    def quote(self) -> None:
        """Quote what is remembered in the line."""


def key_bindings(actions: KeyActions) -> KeyBindings:
    """Return the bindings; those of the line hold while it has the focus, and not in the words of Ctrl-R."""
    keys = KeyBindings()
    _bind_sending(keys, actions)
    _bind_leaving(keys, actions)

    @keys.add("tab", filter=_IN_LINE)
    def _complete(event: KeyPressEvent) -> None:
        complete_now(event.current_buffer)

    @keys.add("end", filter=_IN_LINE & Condition(lambda: bool(suggested(get_app().current_buffer))))
    def _take_over(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text(suggested(event.current_buffer))

    @keys.add("c-g", filter=_IN_LINE)
    def _edit(event: KeyPressEvent) -> None:
        actions.edit_line()

    for key, line in COMMAND_KEYS.items():
        keys.add(key, filter=_IN_LINE)(lambda event, line=line: actions.submit(line))

    @keys.add("f4", filter=_IN_LINE)
    def _show_matches(event: KeyPressEvent) -> None:
        actions.show_matches()

    @keys.add("f5", filter=_IN_LINE)
    def _quote(event: KeyPressEvent) -> None:
        actions.quote()

    return keys


def _bind_sending(keys: KeyBindings, actions: KeyActions) -> None:

    @keys.add("enter", filter=_IN_LINE)
    def _send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        text = buffer.text
        buffer.reset()
        actions.line_changed(buffer)  # a reset does not tell
        actions.submit(text)
        if text.strip():
            buffer.history.append_string(text)

    @keys.add("c-j", filter=_IN_LINE)
    @keys.add("escape", "enter", filter=_IN_LINE)
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add(Keys.BracketedPaste, filter=_IN_LINE)
    def _paste(event: KeyPressEvent) -> None:
        # As prompt_toolkit does it, but that a file's path becomes a mention, which can be seen and changed.
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        event.current_buffer.insert_text(with_dropped_path(text))


def _bind_leaving(keys: KeyBindings, actions: KeyActions) -> None:

    @keys.add("c-c", filter=_IN_LINE)
    @keys.add("<sigint>")
    def _interrupt(event: KeyPressEvent) -> None:
        actions.interrupt(event.app.current_buffer)

    @keys.add("escape", filter=_IN_LINE & (emacs_mode | vi_navigation_mode))
    def _escape(event: KeyPressEvent) -> None:
        actions.escape()

    @keys.add("c-d", filter=_IN_LINE & Condition(lambda: not get_app().current_buffer.text))
    def _leave(event: KeyPressEvent) -> None:
        actions.leave(0)


def hasten_escape(app: Application[str]) -> None:
    """Let a lone Esc act soon, and other beginnings of several keys (Ctrl-X, vi's d) wait for the next one."""
    app.ttimeoutlen = ESCAPE_S

    def after_a_key(_: object) -> None:
        begun = [press.key for press in app.key_processor.key_buffer]
        app.timeoutlen = ESCAPE_S if begun == [Keys.Escape] else _CHORD_S

    app.key_processor.after_key_press += after_a_key
