"""What starting memos costs, in CPU time against `python -c pass`: medians of interleaved runs, by getrusage.

    python tests/benchmarks/bench_startup.py

The last row drives the real program in a pseudo-terminal until its prompt stands.
"""

from __future__ import annotations

import compileall
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.figures import Figure, Size, run_alone  # noqa: E402

PROMPT = "❯ "
FIRST_PROMPT = "run, until its prompt is drawn"
BOUNDS = {"--version": 3, "--help": 20, "list": 25, FIRST_PROMPT: 45}
RUNS: dict[Size, int] = {"quick": 5, "usual": 20, "full": 20}


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cpu_s(run: Callable[[], None]) -> float:
    before = children_cpu_s()
    run()
    return children_cpu_s() - before


def command(environ: dict[str, str], *words: str) -> Callable[[], None]:
    def run() -> None:
        subprocess.run(
            [sys.executable, *words], env=environ, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )

    return run


def first_prompt(environ: dict[str, str], script: Path) -> Callable[[], None]:
    """Start a chat on a scripted model, and kill it as soon as its prompt is drawn: what came after is not counted."""

    def run() -> None:
        import pexpect

        child = pexpect.spawn(
            sys.executable,
            ["-m", "memos", "run", "--model", f"scripted:{script}"],
            env={**environ, "PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm-256color"},
            encoding="utf-8",
            timeout=60,
            dimensions=(24, 80),
        )
        child.expect_exact(PROMPT)
        child.kill(9)
        child.wait()
        child.close()

    return run


def figures(size: Size) -> list[Figure]:
    """Return the CPU time of each command of `BOUNDS` as a multiple of `python -c pass`."""
    compileall.compile_dir(str(ROOT / "memos"), quiet=2)
    with tempfile.TemporaryDirectory() as home:
        script = Path(home) / "script.json"
        script.write_text(json.dumps([{"calls": [{"name": "send_message", "arguments": {"message": "Hello."}}]}]))
        environ = {**os.environ, "MEMOS_HOME": home, "PYTHONPATH": str(ROOT)}
        measured = {
            "pass": command(environ, "-c", "pass"),
            "--version": command(environ, "-m", "memos", "--version"),
            "--help": command(environ, "-m", "memos", "--help"),
            "list": command(environ, "-m", "memos", "list"),
            FIRST_PROMPT: first_prompt(environ, script),
        }
        measured[FIRST_PROMPT]()  # makes the database and its agent, once
        medians = interleaved(measured, RUNS[size])
    baseline = f"`python -c pass`, {1000 * medians['pass']:.0f} ms CPU; medians of {RUNS[size]}"
    return [
        Figure(2, f"CPU of {name}", medians[name] / medians["pass"], "x", bound, baseline=baseline)
        for name, bound in BOUNDS.items()
    ]


def interleaved(measured: Mapping[str, Callable[[], None]], runs: int) -> dict[str, float]:
    """Return the median CPU seconds of each command, run by turns."""
    times: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(runs):
        for name, run in measured.items():
            times[name].append(cpu_s(run))
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    sys.exit(run_alone(figures))
