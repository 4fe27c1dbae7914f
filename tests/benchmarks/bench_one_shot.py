"""What `memos run -p` costs against a warm endpoint on loopback, in CPU time against `python -c pass`.

    python tests/benchmarks/bench_one_shot.py

Medians of interleaved runs, by getrusage, over memos' own road; the server is a process of its own and not counted.
The first row is an ordinary answer: indexing and exact counting wait for a later session. The second has both: a
window so small that tokens are counted exactly, and a search by meaning, which embeds what no index holds yet.
"""

from __future__ import annotations

import compileall
import json
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.bench_litellm_road import fake_server  # noqa: E402
from benchmarks.bench_startup import command, interleaved  # noqa: E402
from benchmarks.figures import Figure, Size, run_alone  # noqa: E402

COUNTED_WINDOW_TOKENS = 5_000
"""Small enough that tokens are counted exactly, large enough that nothing is flushed."""
ANSWER, WITH_BOTH = "run -p", "run -p, exact counting and search by meaning"
BOUNDS = {ANSWER: 40, WITH_BOTH: 80}
RUNS: dict[Size, int] = {"quick": 4, "usual": 12, "full": 12}
SEARCHING = [
    {
        "calls": [{"name": "conversation_search", "arguments": {"query": "bees and honey", "request_heartbeat": True}}],
        "usage": {"prompt_tokens": 2_500, "completion_tokens": 30},
    },
    {
        "calls": [{"name": "send_message", "arguments": {"message": "You keep bees."}}],
        "usage": {"prompt_tokens": 2_650, "completion_tokens": 20},
    },
]
"""With a usage that can be: a model whose count is unknown is reckoned with half as much again, and warned early."""


def figures(size: Size) -> list[Figure]:
    """Return the CPU time of each run of `BOUNDS` as a multiple of `python -c pass`."""
    runs = RUNS[size]
    compileall.compile_dir(str(ROOT / "memos"), quiet=2)
    with tempfile.TemporaryDirectory() as home:
        script = Path(home) / "searching.json"
        script.write_text(json.dumps(SEARCHING * (runs + 2)))
        with fake_server("say:Good evening.") as plain, fake_server(str(script)) as searching:
            environ = {**os.environ, "MEMOS_HOME": home, "PYTHONPATH": str(ROOT)}
            options = ("-m", "memos", "run", "--model", "openai/fake-model", "-p", "What do I keep?")
            both = (*options, "--set", f"window_tokens={COUNTED_WINDOW_TOKENS}")
            measured = {
                "pass": command(environ, "-c", "pass"),
                ANSWER: command({**environ, "MEMOS_API_BASE": plain}, *options, "first"),
                WITH_BOTH: command({**environ, "MEMOS_API_BASE": searching}, *both, "--new"),
            }
            command({**environ, "MEMOS_API_BASE": plain}, *options, "--new", "first")()
            command({**environ, "MEMOS_API_BASE": searching}, *both, "--new", "second")()
            medians = interleaved(measured, runs)
    baseline = f"`python -c pass`, {1000 * medians['pass']:.0f} ms CPU; medians of {runs}"
    return [
        Figure(6, f"CPU of {name}", medians[name] / medians["pass"], "x", bound, baseline=baseline)
        for name, bound in BOUNDS.items()
    ]


if __name__ == "__main__":
    sys.exit(run_alone(figures))
