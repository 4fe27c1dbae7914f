"""What the screen leaves out of a turn: long thoughts in full, and each call with all it was given and returned."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from rich.text import Text

from memos.messages import CallFinished, FunctionCall
from memos.safe_text import safe_line
from memos.terminal.marks import Marks
from memos.terminal.wrapping import displayable

FOLDED_ROWS = 3
"""So many rows of a folded thought are shown."""


@dataclass
class TurnDetails:
    """The last turn as it went, in full; `thoughts` says how thoughts are shown: "short", "all" or "none"."""

    thoughts: str = "all"
    _lines: list[tuple[str, CallFinished | str]] = field(default_factory=list)

    def begin(self) -> None:
        """Forget the turn before."""
        self._lines.clear()

    def thought(self, text: str) -> None:
        """Keep a piece of inner monologue."""
        if text.strip():
            self._lines.append(("thought", text.strip()))

    def call(self, finished: CallFinished) -> None:
        """Keep a call with its result."""
        self._lines.append(("call", finished))

    def lines(self, marks: Marks) -> list[Text]:
        """Return the turn, in its order."""
        lines: list[Text] = []
        for _, piece in self._lines:
            if isinstance(piece, str):
                lines += [Text(f"{marks.thought}{row}", style="dim italic") for row in displayable(piece).split("\n")]
            else:
                lines += _call_lines(piece, marks)
        return lines


def _call_lines(finished: CallFinished, marks: Marks) -> list[Text]:
    call, result = finished.call, finished.result
    lines = [Text(f"{marks.call}{safe_line(call.name)}", style="cyan")]
    lines += [Text(f"    {row}") for row in _arguments(call)]
    outcome = displayable(result.text).split("\n")
    style = "" if result.ok else "red"
    lines.append(Text(f"  {marks.arrow} {'' if result.ok else 'failed: '}{outcome[0]}", style=style))
    return [*lines, *(Text(f"    {row}", style=style) for row in outcome[1:])]


def _arguments(call: FunctionCall) -> list[str]:
    """Return what a call was given, a line each; as it was written where that is no JSON object."""
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        return displayable(call.arguments).split("\n")
    rows: list[str] = []
    for name, value in arguments.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        rows += displayable(f"{name}: {text}").split("\n")
    return rows
