"""The picture in the README: a real session with the built-in model, drawn anew by this test.

`MEMOS_NEW_PICTURE=1 python -m pytest tests/terminal/test_picture.py` writes it; without that it is compared.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.picture_of_a_screen import svg
from support.screens import Screen, environment

from memos.llm.weights import builtin_weights

PICTURE = Path(__file__).parents[1] / "session.svg"
PATIENCE_S = 90.0
CHANGES = ((r"\d{4}-\d\d-\d\d", "2026-11-24"), (r"\b\d+ ms\b", "12 ms"))
"""What a clock writes into a row, and what stands for it."""
TOLD = "I'm Ana, I keep bees at Sant Feliu, and my sister Marta is allergic to nuts."


@contextmanager
def memos(home: Path, cache: Path) -> Iterator[Screen]:
    """Run `memos` on a wide screen in colour."""
    env = environment(home, MEMOS_CACHE=str(cache), COLORTERM="truecolor")
    screen = Screen([sys.executable, "-m", "memos"], env=env, columns=88, rows=40)
    try:
        yield screen
    finally:
        screen.close()


def say(screen: Screen, line: str, answer: str) -> None:
    """Type a line, and wait for the end of the turn."""
    screen.type(f"{line}\r")
    screen.until(answer, PATIENCE_S)
    screen.until(lambda: "idle" in screen.lines[-1] or any(" · idle" in row for row in screen.lines), PATIENCE_S)
    screen.until_quiet(1.0, PATIENCE_S)


@pytest.mark.terminal
@pytest.mark.builtin_model
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("usual_ports")
def test_the_picture_in_the_readme_is_what_a_session_looks_like(builtin_cache: Path) -> None:
    builtin_weights(builtin_cache, lambda _: None)
    home = Path(tempfile.mkdtemp(prefix="memos"))  # its path fits into a row
    with memos(home, builtin_cache) as screen:
        screen.until("Which model should the agent think with?", PATIENCE_S)
        screen.type("\r")
        screen.until("I look it up.", PATIENCE_S)
        screen.until_quiet(1.0, PATIENCE_S)
        say(screen, TOLD, "Filed:")
        say(screen, "Actually, the bees are in Olot now.", "Changed:")
        first = screen.cells_from("❯ I'm Ana", until="❯")
        screen.type("\x04")
        screen.exit_code()
    with memos(home, builtin_cache) as screen:
        screen.until("Welcome back, Ana.", PATIENCE_S)
        screen.until_quiet(1.0, PATIENCE_S)
        say(screen, "Where are my bees?", "You told me on")
        second = screen.cells_from("memos 0", until="")
    shutil.rmtree(home, ignore_errors=True)
    drawn = svg([*first, *_without_folders(second)], "memos", CHANGES)
    if os.environ.get("MEMOS_NEW_PICTURE"):
        PICTURE.write_text(drawn, encoding="utf-8")
    assert drawn == PICTURE.read_text(encoding="utf-8"), "look at it, and draw it anew with MEMOS_NEW_PICTURE=1"


def _without_folders(rows: Sequence[Sequence[object]]) -> list[Sequence[object]]:
    """Return rows without the one that names the folder of this test."""
    return [row for row in rows if "Everything stays" not in "".join(cell.data for cell in row)]  # type: ignore[attr-defined]
