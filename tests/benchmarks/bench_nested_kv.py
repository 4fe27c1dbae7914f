"""Nested keys in archival storage, followed by the fixed rule: `python tests/benchmarks/bench_nested_kv.py`.

Runs `memos bench nested-kv --model scripted:nested-kv`, on the task file in `MEMOS_SHARED` if there is one, else on
tasks made from a seed. What is measured is the machine (search, functions, heartbeats), not a model.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.figures import Figure, Size, run_alone
from benchmarks.given import shared_data

TASKS: dict[Size, int] = {"quick": 5, "usual": 30, "full": 30}
"""A level, where they are made from a seed."""


def figures(size: Size) -> list[Figure]:
    """Return how many tasks of each level are solved."""
    given = shared_data("nested_kv_dev.json")
    tasks = ["--tasks", str(TASKS[size])] if isinstance(given, str) else ["--file", str(given)]
    how = "made from a seed" if isinstance(given, str) else f"of {given.name}"
    command = [sys.executable, "-m", "memos", "bench", "nested-kv", "--model", "scripted:nested-kv", "--json", *tasks]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return [
        Figure(
            *(4, f"nested keys, level {level['level']}", 100 * level["share"], "%", 100, "higher"),
            baseline=f"{level['solved']} of {level['of']} tasks {how}; {level['mean_steps']} steps each",
        )
        for level in found["levels"]
        if level["of"]
    ]


if __name__ == "__main__":
    sys.exit(run_alone(figures))
