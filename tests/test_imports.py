"""Imports point one way: the contract in pyproject.toml, checked by import-linter."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )


def test_every_import_points_the_way_the_house_says() -> None:
    run = lint_imports(CHECKOUT)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 broken" in run.stdout


def rooms() -> list[str]:
    contracts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layered,) = [contract for contract in contracts if contract["type"] == "layers"]
    return [room.strip(" ()") for layer in layered["layers"] for room in layer.split("|")]


def test_an_import_against_the_direction_is_noticed(tmp_path: Path) -> None:
    """The contract can fail: in a house of empty rooms, a storage that reads the terminal breaks it."""
    (tmp_path / "pyproject.toml").write_text(
        (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    package = tmp_path / "memos"
    package.mkdir()
    for room in ["__init__", *rooms()]:
        (package / f"{room}.py").write_text("", encoding="utf-8")
    assert lint_imports(tmp_path).returncode == 0

    (package / "storage.py").write_text("import memos.terminal\n", encoding="utf-8")
    run = lint_imports(tmp_path)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "memos.storage is not allowed to import memos.terminal" in run.stdout
