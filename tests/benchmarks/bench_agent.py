"""How well the built-in model keeps what invented people tell it: `python tests/benchmarks/bench_agent.py`.

Runs `memos bench agent --model builtin/tiny --seed 7`; nothing of the clerk was fitted on its people. 20 of them take
some seven minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.figures import Figure, Size, run_alone, skipped
from benchmarks.given import NO_WEIGHTS, has_weights

PEOPLE: dict[Size, int] = {"quick": 1, "usual": 20, "full": 20}
ISSUE_PEOPLE = 20
BOUNDS_PERCENT = {
    "saved": 90,
    "recalled": 85,
    "corrected": 80,
    "unknown_said": 80,
    "greeted": 80,
    "archive_found": None,
}


def figures(size: Size) -> list[Figure]:
    """Return each share that went well, and what a turn costs."""
    people = PEOPLE[size]
    what = f"clerk, {people} invented {'person' if people == 1 else 'people'}"
    if not has_weights():
        return [skipped(3, what, NO_WEIGHTS)]
    command = ["bench", "agent", "--model", "builtin/tiny", "--people", str(people), "--seed", "7", "--json"]
    run = subprocess.run([sys.executable, "-m", "memos", *command], stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(run.stdout)
    whole = people == ISSUE_PEOPLE
    shares = [
        Figure(
            *(3, f"{what}: {name.replace('_', ' ')}", 100 * score["share"], "%", bound if whole else None, "higher"),
            baseline=f"{score['good']} of {score['of']}",
        )
        for name, bound in BOUNDS_PERCENT.items()
        if (score := found["scores"][name])["of"]
    ]
    spread = found["turn_cpu_s"]
    return [
        *shares,
        Figure(
            *(3, f"{what}: wrong statements", found["wrong_statements"], "", 0),
            baseline=f"in {found['answers_judged']} answers",
        ),
        Figure(
            *(3, "clerk, CPU of a turn, median", spread["median"], "s", 1.5),
            baseline=f"{found['turns']} turns; start {found['start_cpu_s']['median']} s",
        ),
    ]


if __name__ == "__main__":
    sys.exit(run_alone(figures))
