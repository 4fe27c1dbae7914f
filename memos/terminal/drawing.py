"""Single pieces of the screen as Rich text: a call with its result, a core edit, a bar.

Whatever comes from a model, memory or a file passes `displayable` and then `Text`: never markup, never an escape.
"""

from __future__ import annotations

import difflib
import json
import re

from rich.text import Text

from memos.messages import Block, FunctionCall, FunctionResult, MemoryEdited
from memos.safe_text import safe_line
from memos.terminal.marks import Marks
from memos.terminal.wrapping import displayable

ARGUMENT_LIMIT_CHARS = 48
RESULT_LIMIT_CHARS = 160
DIFF_LIMIT_LINES = 12
EDIT_BAR_CELLS = 10
_ALIKE = 0.4
"""Lines less alike than this are not compared word by word."""
_WORDS = re.compile(r"\s+|\w+|[^\w\s]+")
_CALL_PLUMBING = {"request_heartbeat"}


def clipped(text: str, limit_chars: int, more: str) -> str:
    """Return `text` on one safe line; what does not fit is cut, and the line says how much that was."""
    line = safe_line(text)
    if len(line) <= limit_chars:
        return line
    return f"{line[:limit_chars].rstrip()}{more} ({len(line) - limit_chars} more characters)"


def call_line(call: FunctionCall, result: FunctionResult, elapsed_s: float, marks: Marks) -> Text:
    """Return a call and what it came to, in one line."""
    outcome = clipped(result.text, RESULT_LIMIT_CHARS, marks.more).removesuffix(".") or "OK"
    line = Text().append(f"{marks.call}{call_text(call, marks.more)} ", style="cyan")
    line.append(f"{marks.arrow} ", style="dim")
    line.append(outcome if result.ok else f"failed: {outcome}", style="" if result.ok else "red")
    return line.append(f", {_duration(elapsed_s)}", style="dim")


def call_text(call: FunctionCall, more: str) -> str:
    """Return a call as it would be written by hand: `core_memory_append("human", "Name: Ana")`."""
    name = safe_line(call.name)
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        return f"{name}({clipped(call.arguments, ARGUMENT_LIMIT_CHARS, more)})"
    shown = (_argument(value, more) for key, value in arguments.items() if key not in _CALL_PLUMBING)
    return f"{name}({', '.join(shown)})"


def _argument(value: object, more: str) -> str:
    if not isinstance(value, str):
        return clipped(json.dumps(value, ensure_ascii=False), ARGUMENT_LIMIT_CHARS, more)
    line = safe_line(value)
    return f'"{line[:ARGUMENT_LIMIT_CHARS].rstrip()}{more}"' if len(line) > ARGUMENT_LIMIT_CHARS else f'"{line}"'


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def edit_lines(edit: MemoryEdited, marks: Marks) -> list[Text]:
    """Return a core edit: the block, how full it was and is, and what changed, with the number that takes it back."""
    head = Text(marks.memory.format(label=safe_line(edit.label)), style="magenta")
    if not marks.speech_inline:  # a bar is nothing to be read aloud
        head.append(" ").append_text(bar(len(edit.after), edit.limit_chars, marks, EDIT_BAR_CELLS))
    head.append(f" {len(edit.before)}/{edit.limit_chars} {marks.arrow} {len(edit.after)}/{edit.limit_chars}")
    if edit.revision:
        head.append(f"  /memory undo {edit.revision}", style="not bold dim")
    return [head, *difference_lines(edit.before, edit.after, marks, DIFF_LIMIT_LINES)]


def difference_lines(before: str, after: str, marks: Marks, limit_lines: int, indent: str = "  ") -> list[Text]:
    """Return what went (-, red) and what came (+, green), line by line; in a changed line the words that differ are
    underlined. Of more than `limit_lines` the first are shown.
    """
    changes = _changed_lines(before, after)
    lines = [_changed_line(indent, *change) for change in changes[:limit_lines]]
    if len(changes) > limit_lines:
        lines.append(Text(f"{indent}{marks.more} {len(changes) - limit_lines} more changed lines", style="dim"))
    return lines


def _changed_line(indent: str, sign: str, line: str, counterpart: str | None) -> Text:
    style = "red" if sign == "-" else "green"
    shown = Text(f"{indent}{sign} ", style=style)
    for word, same in _compared(displayable(line), None if counterpart is None else displayable(counterpart)):
        shown.append(word, style="" if same else "bold underline")
    return shown


def _compared(line: str, counterpart: str | None) -> list[tuple[str, bool]]:
    """Return the pieces of a line, and whether the counterpart has them too; all of it where the two hardly agree."""
    if counterpart is None:
        return [(line, True)]
    words, others = _WORDS.findall(line), _WORDS.findall(counterpart)
    matcher = difflib.SequenceMatcher(a=words, b=others, autojunk=False)
    if matcher.ratio() < _ALIKE:
        return [(line, True)]
    return [("".join(words[a:b]), tag == "equal") for tag, a, b, _, _ in matcher.get_opcodes() if b > a]


def _changed_lines(before: str, after: str) -> list[tuple[str, str, str | None]]:
    """Return the lines that went ("-") and came ("+") in the order of the text, each with the line it changed to or
    from, where there is one."""
    old, new = before.split("\n") if before else [], after.split("\n") if after else []
    changes: list[tuple[str, str, str | None]] = []
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    for tag, old_start, old_end, new_start, new_end in matcher.get_opcodes():
        if tag != "equal":
            went, came = old[old_start:old_end], new[new_start:new_end]
            changes.extend(("-", line, came[n] if n < len(came) else None) for n, line in enumerate(went))
            changes.extend(("+", line, went[n] if n < len(went) else None) for n, line in enumerate(came))
    return changes


def bar(used: int, limit: int, marks: Marks, width_cells: int = 20) -> Text:
    """Return a bar of how full something is; green below 60 %, yellow below 85 %, red above."""
    share = min(1.0, used / limit) if limit > 0 else 1.0
    full = round(share * width_cells)
    style = "green" if share < 0.6 else "yellow" if share < 0.85 else "red"
    return Text(marks.bar_full * full, style=style).append(marks.bar_empty * (width_cells - full), style="dim")


def block_lines(block: Block, marks: Marks) -> list[Text]:
    """Return a block: its label, how full it is, and every line of its value."""
    head = Text(f"{safe_line(block.label)}  ", style="bold")
    head.append_text(bar(len(block.value), block.limit_chars, marks))
    head.append(f"  {len(block.value)}/{block.limit_chars}" + ("  read only" if block.read_only else ""), style="dim")
    return [head, *(Text(f"  {displayable(line)}") for line in (block.value or "(empty)").split("\n"))]
