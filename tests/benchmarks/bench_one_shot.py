"""What `memos run -p` costs against a warm endpoint on loopback, in CPU time against `python -c pass`.

    python tests/benchmarks/bench_one_shot.py [RUNS]

Medians of interleaved runs, by getrusage, over memos' own road; the server is a process of its own and not counted.
The first line is an ordinary answer: indexing and exact counting wait for a later session. The second has both: a
window so small that tokens are counted exactly, and a search by meaning, which embeds what no index holds yet.
"""

from __future__ import annotations

import compileall
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.bench_litellm_road import fake_server  # noqa: E402
from benchmarks.bench_startup import command, cpu_s  # noqa: E402

COUNTED_WINDOW_TOKENS = 5_000
"""Small enough that tokens are counted exactly, large enough that nothing is flushed."""
BOUNDS = {"answer": 40, "answer with both": 80}
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


def ratios(runs: int) -> dict[str, float]:
    """Return the CPU time of each run of `BOUNDS` as a multiple of `python -c pass`: the median of `runs`."""
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
                "answer": command({**environ, "MEMOS_API_BASE": plain}, *options, "first"),
                "answer with both": command({**environ, "MEMOS_API_BASE": searching}, *both, "--new"),
            }
            command({**environ, "MEMOS_API_BASE": plain}, *options, "--new", "first")()
            command({**environ, "MEMOS_API_BASE": searching}, *both, "--new", "second")()
            times: dict[str, list[float]] = {name: [] for name in measured}
            for _ in range(runs):
                for name, run in measured.items():
                    times[name].append(cpu_s(run))
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(", ".join(f"{name} {1000 * value:.0f} ms" for name, value in medians.items()))
    return {name: medians[name] / medians["pass"] for name in BOUNDS}


def main(runs: int) -> int:
    found = ratios(runs)
    for name, ratio in found.items():
        print(f"{name:<18}{ratio:7.1f} x  (bound {BOUNDS[name]})")
    return int(any(found[name] > bound for name, bound in BOUNDS.items()))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
