"""Measuring a prompt: the tokenizer's loading, then 200 messages cold (nothing counted yet) and warm (the next step).

    python tests/benchmarks/bench_token_counts.py

Prints medians in milliseconds, of CPU time.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.prompts import invented_prompt

from memos.llm import offline_tokenizer
from memos.llm.token_counts import CountCache, TokenCounts, estimated


def milliseconds(work: Callable[[], object], times: int = 20) -> float:
    """Return the median CPU time of `work`."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return statistics.median(taken) * 1000


def main() -> None:
    """Measure and print."""
    prompt = invented_prompt(1, turns=60)
    prompt = replace(prompt, queue=prompt.queue[:198] + prompt.queue[-1:])
    print(f"a prompt with {len(prompt.queue)} messages")
    print(f"by the estimate from bytes, warm: {milliseconds(lambda: estimated(prompt)):.2f} ms")
    print(f"loading the tokenizer: {milliseconds(offline_tokenizer.load, 1):.0f} ms")
    warm = TokenCounts("m")
    print(f"cold: {milliseconds(lambda: TokenCounts('m', cache=CountCache()).measure(prompt)):.2f} ms")
    print(f"{warm.measure(prompt).total} tokens; warm: {milliseconds(lambda: warm.measure(prompt)):.2f} ms")
    print(f"another model (/model), warm: {milliseconds(lambda: TokenCounts('n').measure(prompt)):.2f} ms")


if __name__ == "__main__":
    main()
