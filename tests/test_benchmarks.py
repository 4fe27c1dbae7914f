"""The benchmarks are complete and can be trusted; nothing is timed here."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.figures import Figure, Size, as_json, exit_code, failed, from_json, skipped, table

FOLDER = Path(__file__).parent / "benchmarks"
SHARED = {"__main__", "figures", "given", "machine"}
FITTED = {"train_meaning"}
"""Fits weights, measures nothing, and needs torch."""
NAMES = sorted(path.stem for path in FOLDER.glob("bench_*.py"))


def figures_of(name: str) -> Callable[[Size], list[Figure]]:
    found: Callable[[Size], list[Figure]] = importlib.import_module(f"benchmarks.{name}").figures
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_script_gives_its_figures(name: str) -> None:
    assert list(inspect.signature(figures_of(name)).parameters) == ["size"]
    assert "run_alone(figures)" in (FOLDER / f"{name}.py").read_text(encoding="utf-8")


def test_one_command_lists_every_script_with_what_it_is_for() -> None:
    run = subprocess.run(
        [sys.executable, str(FOLDER), "--list"], capture_output=True, text=True, check=True, timeout=60
    )
    rows = dict(line.split(maxsplit=1) for line in run.stdout.splitlines())
    assert sorted(rows) == NAMES and all(rows.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_script_takes_the_options_that_the_one_command_gives_it(name: str) -> None:
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--json", "--quick", "--help"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0 and "--full" in run.stdout, run.stdout + run.stderr


def test_no_other_script_measures_anything() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == {*NAMES, *SHARED, *FITTED}


@pytest.mark.parametrize("name", ["bench_agent", "bench_clerk", "bench_first_reply", "bench_memory"])
def test_what_needs_the_built_in_model_is_skipped_without_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMOS_CACHE", str(tmp_path))
    (row,) = figures_of(name)("quick")
    assert row.value is None and row.missing.startswith("skipped: ") and not row.failed


def test_what_needs_data_of_others_is_skipped_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = figures_of("bench_search_recipe")
    monkeypatch.delenv("MEMOS_SHARED", raising=False)
    assert "MEMOS_SHARED is not set" in recipe("quick")[0].missing
    monkeypatch.setenv("MEMOS_SHARED", str(tmp_path))
    assert str(tmp_path / "data") in recipe("quick")[0].missing


def test_a_script_that_fails_is_told_in_its_row_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one_command = importlib.import_module("benchmarks.__main__")
    (tmp_path / "bench_broken.py").write_text('raise SystemError("no luck")\n', encoding="utf-8")
    (tmp_path / "bench_slow.py").write_text("import time\ntime.sleep(60)\n", encoding="utf-8")
    good = "import json\nprint(json.dumps([dict(issue=8, name='echo', value=2.0, unit='ms', bound=30, met=True)]))\n"
    (tmp_path / "bench_whole.py").write_text(good, encoding="utf-8")
    monkeypatch.setattr(one_command, "HERE", tmp_path)
    monkeypatch.setattr(one_command, "LIMITS_S", {"usual": 1.0})
    assert one_command.main([]) == 1
    shown = capsys.readouterr().out
    assert "failed: exit code 1, SystemError: no luck" in shown
    assert "failed: not done after 1 s" in shown
    assert "| 8     | echo" in shown and "2 ms" in shown
    assert "1 bounds kept, 0 broken; 0 skipped, 2 failed" in shown
    assert "CPU:" in shown and "load average:" in shown and "commit:" in shown


def test_a_figure_keeps_its_bound_on_the_right_side() -> None:
    assert Figure(8, "echo", 30.0, "ms", 30.0).met and not Figure(8, "echo", 30.1, "ms", 30.0).met
    assert Figure(5, "recall", 76.0, "%", 76.0, "higher").met and not Figure(5, "recall", 75.9, "%", 76.0, "higher").met
    assert Figure(5, "counts", 1.0, "ms").met is None and skipped(3, "clerk", "no weights").met is None


def test_only_a_broken_bound_or_a_failed_script_is_an_error() -> None:
    assert exit_code([Figure(8, "echo", 3.0, "ms", 30.0), Figure(5, "counts", 1.0, "ms"), skipped(3, "clerk", "")]) == 0
    assert exit_code([Figure(8, "echo", 31.0, "ms", 30.0)]) == 1
    assert exit_code([failed("bench_console", "no terminal")]) == 1


def test_the_table_has_issues_in_order_and_says_what_broke() -> None:
    figures = [
        Figure(8, "echo", 31.0, "ms", 30.0, baseline="of 100 keys"),
        skipped(3, "clerk", "no weights"),
        Figure(5, "found", 12_345.6, "", 9_000, "higher"),
    ]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(figures).splitlines()[2:]]
    assert rows == [
        ["3", "clerk", "", "", "skipped", "skipped: no weights"],
        ["5", "found", "12,346", "≥ 9000", "yes", ""],
        ["8", "echo", "31 ms", "≤ 30", "NO", "of 100 keys"],
    ]
    assert from_json(as_json(figures)) == figures
