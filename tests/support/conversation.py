"""What scenarios in a pseudo-terminal say and wait for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from support.screens import Screen, saying

GREETING = saying("Good evening. I am Sam.")
SENTENCES = [f"Sentence {number} of the story, with [abc] and [/foo] in it." for number in range(1, 13)]
STORY = "\n".join(SENTENCES)
CTRL_A, CTRL_C, CTRL_D, CTRL_G, CTRL_J, CTRL_R, CTRL_Z = "\x01", "\x03", "\x04", "\x07", "\n", "\x12", "\x1a"
CTRL_O, CTRL_T = "\x0f", "\x14"
ESC, ALT_ENTER, UP, DOWN, RIGHT, END = "\x1b", "\x1b\r", "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[F"
F1, F2, F3, F4, F5 = "\x1bOP", "\x1bOQ", "\x1bOR", "\x1bOS", "\x1b[15~"
PASTE, PASTED = "\x1b[200~", "\x1b[201~"
GOLDEN = Path(__file__).parents[1] / "terminal" / "golden"


def slow(message: str, delay_s: float = 0.04) -> dict[str, Any]:
    """Return a scripted reply that streams slowly."""
    return saying(message, delay_s=delay_s, chunk_chars=8, monologue="A story, then.")


def ready(screen: Screen) -> None:
    """Wait for the greeting to be over."""
    screen.until("Good evening. I am Sam.")
    screen.until(lambda: idle(screen))


def idle(screen: Screen) -> bool:
    """Whether the prompt waits and nothing goes on."""
    return screen.prompt_line.startswith("❯") and not any(row.startswith("· ") for row in screen.lines)


def squeezed(text: str) -> str:
    """Return a text without any blanks, however it was wrapped."""
    return re.sub(r"\s+", "", text)


def bar_of(screen: Screen) -> str:
    """Return the status bar."""
    return next((row for row in reversed(screen.lines) if row.startswith("sam")), "")
