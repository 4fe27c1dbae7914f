"""The signs that stand before each kind of line: drawn ones, or words where a screen reader or a pipe listens."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Marks:
    """One set of signs. `speech` holds the place of the agent's name; the words may stand in the same line."""

    user: str
    thought: str
    speech: str
    speech_inline: bool
    call: str
    arrow: str
    memory: str
    step: str
    evicted: str
    stopped: str
    notice: str
    bar_full: str
    bar_empty: str
    more: str
    between: str


DRAWN = Marks(
    user="❯ ",
    thought="┊ ",
    speech="● {name}",
    speech_inline=False,
    call="⚙ ",
    arrow="→",
    memory="✎ {label}",
    step="↻ step {number}/{limit}",
    evicted="⇅ ",
    stopped="■ ",
    notice="· ",
    bar_full="█",
    bar_empty="░",
    more="…",
    between=" · ",
)

WORDS = Marks(
    user="> ",
    thought="[thought] ",
    speech="{name}: ",
    speech_inline=True,
    call="[call] ",
    arrow="->",
    memory="[memory {label}]",
    step="[step {number} of {limit}]",
    evicted="[memory] ",
    stopped="[stopped] ",
    notice="[notice] ",
    bar_full="#",
    bar_empty="-",
    more="...",
    between=" | ",
)
"""Plain ASCII: for pipes, dumb terminals, and encodings that know nothing else."""


def incognito(marks: Marks) -> Marks:
    """Return marks whose prompt says that nothing is kept."""
    return replace(marks, user=f"incognito {marks.user}")


_TYPED_IN_ASCII = str.maketrans({"·": "|", "…": "...", "–": "-", "→": "->", "✗": "x", "✓": "OK"})


def in_ascii(line: str) -> str:
    """Return a line of memos' own with its signs in ASCII; other letters, such as those of names, stay."""
    return line.translate(_TYPED_IN_ASCII)
