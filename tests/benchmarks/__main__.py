"""Measure all that any issue bounds, and print it as one table, with the machine.

    python tests/benchmarks [--quick | --full] [--only WORD] [--json] [--list]

Every script `bench_*.py` runs in a process of its own, so that imports and memory of one do not touch another; one that
fails is told in its row and does not stop the others. The sizes are those of the issues; `--quick` takes small ones, a
few minutes in all, `--full` also what takes very long (a million rows). Exits with 1 when
a bound is broken or a script fails.

Data that is no part of the project is looked for in `MEMOS_SHARED` (a folder with `data/`), the built-in model in
`MEMOS_CACHE` or the user's cache; what needs them is skipped without them, with the reason in its row. Weights are not
measured here but fitted: `bench_clerk.py fit`, `bench_search_recipe.py M.jsonl Q.jsonl`, `train_meaning.py`.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.figures import (  # noqa: E402
    SMALL,
    Figure,
    Size,
    as_json,
    exit_code,
    failed,
    from_json,
    size_options,
    table,
)
from benchmarks.machine import load, machine  # noqa: E402

HERE = Path(__file__).parent
LIMITS_S: Mapping[Size, float] = {"quick": 600, "usual": 3_600, "full": 3 * 3_600}
"""Longer than this no script may take."""


def scripts(only: str = "") -> list[Path]:
    """Return the scripts whose names have that word, all of them by default."""
    return [path for path in sorted(HERE.glob("bench_*.py")) if only in path.stem]


def purpose(script: Path) -> str:
    """Return the first line of a script's docstring, without running it."""
    return (ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def measured(script: Path, size: Size, limit_s: float | None = None) -> list[Figure]:
    """Return the figures of one script, run in a process of its own; where it fails, one row that says so."""
    command = [sys.executable, str(script), "--json", *([] if size == "usual" else [f"--{size}"])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as told:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=told, text=True, start_new_session=True
        )
        try:
            written, _ = process.communicate(timeout=limit_s or LIMITS_S[size])
        except subprocess.TimeoutExpired as late:
            return [failed(script.stem, f"not done after {late.timeout:.0f} s")]
        finally:
            _end(process)
        try:
            return from_json(json.loads(written))
        except (ValueError, TypeError):
            told.seek(0)
            last = (told.read().strip() or written.strip() or "it printed nothing").splitlines()[-1]
            return [failed(script.stem, f"exit code {process.returncode}, {last[:200]}")]


def _end(process: subprocess.Popen[str]) -> None:
    """End a script that is still running, with all it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def all_figures(chosen: Sequence[Path], size: Size) -> Iterator[Figure]:
    """Yield the figures of one script after the other; progress is told on stderr."""
    for number, script in enumerate(chosen, 1):
        print(f"{number}/{len(chosen)} {script.stem} …", end="", flush=True, file=sys.stderr)
        began = time.monotonic()
        yield from measured(script, size)
        print(f" {time.monotonic() - began:.0f} s", file=sys.stderr)


def main(words: Sequence[str] | None = None) -> int:
    """Run what the command line asks for, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    size_options(parser)
    parser.add_argument("--only", metavar="WORD", default="", help="only the scripts with WORD in their names")
    parser.add_argument("--json", action="store_true", help="print figures, machine and load as JSON")
    parser.add_argument("--list", action="store_true", help="say what there is, and measure nothing")
    options = parser.parse_args(words)
    chosen = scripts(options.only)
    if not chosen:
        parser.error(f"no script has {options.only!r} in its name; --list says what there is")
    if options.list:
        for script in chosen:
            print(f"{script.stem:<26} {purpose(script)}")
        return 0
    figures: list[Figure] = []
    began, load_before, ended = time.monotonic(), load(), ""
    try:
        for figure in all_figures(chosen, options.size):
            figures.append(figure)
    except KeyboardInterrupt:
        ended = "ended by Ctrl-C: what came before it is here"
    about = {**machine(), "load average": f"{load_before} at the start, {load()} at the end"}
    about |= {"sizes": options.size, "took": f"{time.monotonic() - began:.0f} s"} | ({"ended": ended} if ended else {})
    if options.json:
        print(json.dumps({"figures": as_json(figures), "machine": about}, ensure_ascii=False, indent=2))
    else:
        print_all(figures, about, options.size)
    return 130 if ended else exit_code(figures)


def print_all(figures: Sequence[Figure], about: Mapping[str, str], size: Size) -> None:
    """Print the table and the machine."""
    print(table(figures))
    print()
    if size == "quick":
        print(SMALL)
    for name, value in about.items():
        print(f"{name + ':':<14}{value}")
    kept, broken = (sum(figure.met is wanted for figure in figures) for wanted in (True, False))
    missing = [sum(figure.missing.startswith(word) for figure in figures) for word in ("skipped", "failed")]
    print(f"{kept} bounds kept, {broken} broken; {missing[0]} skipped, {missing[1]} failed")


if __name__ == "__main__":
    sys.exit(main())
