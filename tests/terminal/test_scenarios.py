"""How much is tried in a real pseudo-terminal: counted from the tests themselves."""

from __future__ import annotations

import ast
from pathlib import Path

from support.conversation import GOLDEN
from terminal.test_scenes import ALL_SCENES, WIDTHS

TESTS = Path(__file__).parents[1]
OPENS_A_TERMINAL = {"Screen", "memos_screen", "memos_on_a_terminal"}


def scenarios() -> set[str]:
    """Return every test that opens a pseudo-terminal, itself or by a function of its file; parameters do not count."""
    found = set()
    for path in TESTS.rglob("test_*.py"):
        functions = {node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
        names = {
            name: {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} for name, node in functions.items()
        }
        opening = set(OPENS_A_TERMINAL)
        while more := {name for name in functions if names[name] & opening and name not in opening}:
            opening |= more
        found |= {f"{path.stem}::{name}" for name in opening if name.startswith("test_")}
    return found


def test_at_least_sixty_scenarios_are_tried_in_a_pseudo_terminal() -> None:
    assert len(scenarios()) >= 60, sorted(scenarios())


def test_every_main_scene_has_a_golden_screen_at_each_width_and_there_are_no_others() -> None:
    wanted = {f"{name}_{columns}.txt" for name in ALL_SCENES for columns in WIDTHS}
    assert {path.name for path in GOLDEN.iterdir()} == wanted
    assert len(ALL_SCENES) >= 12 and WIDTHS == (60, 80, 120)
