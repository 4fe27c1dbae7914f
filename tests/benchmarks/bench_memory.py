"""What a running chat with the built-in model takes of memory: `python tests/benchmarks/bench_memory.py`.

The real program in a pseudo-terminal, by the kernel's own account of it (`/proc/PID/smaps_rollup`, so Linux alone): RSS
counts every page it has mapped, PSS shares those that others have mapped too. Model, embedder and the clerk's layer are
loaded; told and asked four times, then left alone until the index is written.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.figures import Figure, Size, run_alone, skipped
from benchmarks.given import NO_WEIGHTS, cache_folder, has_weights
from support.screens import Screen, environment

RSS_BOUND_MB = 450
PATIENCE_S = 120.0
TOLD = ("My name is Anna and I live in Bergen.", "I work as a nurse.", "Where do I live?", "What is my job?")
IDLE_S: dict[Size, float] = {"quick": 8.0, "usual": 15.0, "full": 15.0}


def megabytes(pid: int) -> dict[str, float]:
    """Return RSS, PSS and the anonymous part of a process."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    known = {name: float(rest.split()[0]) / 1024 for name, _, rest in (row.partition(":") for row in rows)}
    return {name: known[name] for name in ("Rss", "Pss", "Anonymous")}


def figures(size: Size) -> list[Figure]:
    """Return what the process takes after a conversation, and when nothing goes on."""
    what = "memory of a chat with the built-in model"
    if not Path("/proc/self/smaps_rollup").exists():
        return [skipped(3, what, "this system has no /proc/PID/smaps_rollup")]
    if not has_weights():
        return [skipped(3, what, NO_WEIGHTS)]
    with tempfile.TemporaryDirectory() as home:
        screen = Screen(
            [sys.executable, "-m", "memos", "run", "--model", "builtin/tiny"],
            env=environment(Path(home), MEMOS_CACHE=str(cache_folder())),
        )
        try:
            screen.until("● clerk", PATIENCE_S)
            screen.until_quiet(3.0, PATIENCE_S)
            for line in TOLD:
                screen.type(line + "\r")
                screen.until_quiet(3.0, PATIENCE_S)
            talked = megabytes(screen.pid)
            screen.read(IDLE_S[size])
            idle = megabytes(screen.pid)
        finally:
            screen.close()
    return [
        Figure(3, f"{what}, RSS", talked["Rss"], "MB", RSS_BOUND_MB, baseline=f"after {len(TOLD)} messages"),
        Figure(3, f"{what}, PSS", talked["Pss"], "MB", baseline=f"of it {talked['Anonymous']:.0f} MB anonymous"),
        Figure(
            *(3, f"{what}, idle, RSS", idle["Rss"], "MB", RSS_BOUND_MB),
            baseline=f"{IDLE_S[size]:.0f} s later; PSS {idle['Pss']:.0f} MB",
        ),
    ]


if __name__ == "__main__":
    sys.exit(run_alone(figures))
