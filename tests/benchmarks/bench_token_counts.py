"""Measuring a prompt: the tokenizer's loading, then 200 messages cold (nothing counted yet) and warm (the next step).

python tests/benchmarks/bench_token_counts.py
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.figures import Figure, Size, run_alone
from support.prompts import invented_prompt

from memos.llm import offline_tokenizer
from memos.llm.token_counts import CountCache, TokenCounts, estimated

TIMES: dict[Size, int] = {"quick": 5, "usual": 20, "full": 20}


def milliseconds(work: Callable[[], object], times: int) -> float:
    """Return the median CPU time of `work`."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return statistics.median(taken) * 1000


def figures(size: Size) -> list[Figure]:
    """Return what measuring costs."""
    times = TIMES[size]
    prompt = invented_prompt(1, turns=60)
    prompt = replace(prompt, queue=prompt.queue[:198] + prompt.queue[-1:])
    loading = milliseconds(offline_tokenizer.load, 1)
    warm = TokenCounts("m")
    total = warm.measure(prompt).total
    found = {
        "estimated from bytes": milliseconds(lambda: estimated(prompt), times),
        "nothing counted yet": milliseconds(lambda: TokenCounts("m", cache=CountCache()).measure(prompt), times),
        "the next step": milliseconds(lambda: warm.measure(prompt), times),
        "another model": milliseconds(lambda: TokenCounts("n").measure(prompt), times),
    }
    how = f"CPU, median of {times}; {len(prompt.queue)} messages, {total:,} tokens"
    return [
        Figure(4, "loading the offline tokenizer", loading, "ms", baseline="CPU, once"),
        *(Figure(4, f"measuring a prompt, {name}", value, "ms", baseline=how) for name, value in found.items()),
    ]


if __name__ == "__main__":
    sys.exit(run_alone(figures))
