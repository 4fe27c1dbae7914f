"""Questions to a person at a terminal, one at a time. Ctrl-C at any of them raises KeyboardInterrupt."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from memos.safe_text import safe_line
from memos.terminal.consoles import colours_wanted
from memos.terminal.wrapping import wrap

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output
    from questionary import Question

T = TypeVar("T")

_FILTER_FROM = 12
"""A menu of so many lines can be narrowed by typing."""


@dataclass(frozen=True, slots=True)
class Option(Generic[T]):
    """One line of a menu and what it stands for."""

    title: str
    value: T


class Menus:
    """Menus and input lines, drawn by questionary on the terminal, or on the given `input` and `output`."""

    def __init__(self, source: Input | None = None, target: Output | None = None) -> None:
        from memos.terminal.screen_output import make_screen_output

        self._streams: dict[str, Any] = {}
        if source is not None:
            self._streams["input"] = source
        if target is not None:
            self._streams["output"] = target
        elif not colours_wanted():
            self._streams["output"] = make_screen_output(sys.stdout, colours=False)

    def select(self, question: str, options: Sequence[Option[T]], preselected: int = 0) -> T:
        """Return the value of the option the user picks; Enter alone picks the preselected one."""
        import questionary

        choices = [questionary.Choice(safe_line(option.title), value=number) for number, option in enumerate(options)]
        long = len(choices) >= _FILTER_FROM
        menu = questionary.select(
            safe_line(question),
            choices=choices,
            default=choices[preselected],
            instruction="(arrows, Enter; type to narrow)" if long else "(arrows, Enter)",
            use_search_filter=long,
            use_jk_keys=False,
            **self._streams,
        )
        answer: int = _ask(menu)
        return options[answer].value

    def text(self, question: str, preset: str = "") -> str:
        """Return a line of text, stripped; `preset` stands there already."""
        import questionary

        return str(_ask(questionary.text(safe_line(question), default=safe_line(preset), **self._streams))).strip()

    def secret(self, question: str) -> str:
        """Return a line that is not shown while it is typed or pasted, stripped; may be empty."""
        import questionary

        return str(_ask(questionary.password(safe_line(question), **self._streams))).strip()

    def confirm(self, question: str, *, preset: bool = True) -> bool:
        """Return the answer to a yes-or-no question; Enter alone is `preset`."""
        import questionary

        return bool(_ask(questionary.confirm(safe_line(question), default=preset, **self._streams)))

    def tell(self, text: str) -> None:
        """Print some words between the questions."""
        for row in wrap(safe_line(text), shutil.get_terminal_size().columns - 3):
            sys.stdout.write(f"  {row.rstrip()}\n")
        sys.stdout.flush()


def _ask(question: Question) -> Any:
    """Run a question; a SIGINT from outside ends it like Ctrl-C, which prompt_toolkit would otherwise swallow."""
    answer = question.application.run(handle_sigint=False)
    if answer is None:
        raise KeyboardInterrupt
    return answer
