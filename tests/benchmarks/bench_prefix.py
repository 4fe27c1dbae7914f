"""How much of each prompt a prefix cache has read before: 200 turns of about 200 tokens with 20 edits of core memory.

    python tests/benchmarks/bench_prefix.py

The agent lives its turns in the real kernel, over a real database; its replies are a script. Of each request but the
first, in tokens of the offline tokenizer, is counted:

- read: what it shares with the request before it, from the first byte to the first that differs;
- optimum: what it would share if nothing changed but what had to. All of it is reused but (a) what is new: the rows
  the request before did not have, and the state of the newest event; and, where a block was edited or the queue was
  flushed between the two, (b) all that stands after the first character of the blocks, or of the summary, that is
  another one now. This is reckoned from the stored parts (blocks, summary, rows), not from the two requests.

The layout and the moments of the flushes are taken as they are: the optimum is that of the given order (an edit costs
the whole queue in the profile `full`) and says nothing about other ones. Replies that an engine still has in its cache
from writing them count as new. "By marks" is what Anthropic would read by the marks that memos sets: up to the last
mark both requests have, with at least 1,024 tokens; it reads nothing within the newest event.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.figures import Figure, Size, run_alone
from support.prefixes import prompts_of_a_life, reuse_of

POINTS_BOUND = 3.0
WINDOWS: dict[Size, tuple[int, ...]] = {
    "quick": (16_384,),
    "usual": (16_384, 32_768, 4_096),
    "full": (16_384, 32_768, 4_096),
}


def figures(size: Size) -> list[Figure]:
    """Return how far each window is from its optimum; only the profile `full` is bound to be near."""
    found = []
    for window_tokens in WINDOWS[size]:
        with tempfile.TemporaryDirectory() as folder:
            prompts = prompts_of_a_life(Path(folder), window_tokens, chains=0)
        reuse, profile = reuse_of(prompts), prompts[0].profile
        baseline = (
            f"optimum {reuse.optimum / reuse.sent:.2%}, read {reuse.read / reuse.sent:.2%}, by marks"
            f" {reuse.by_marks / reuse.sent:.2%}; {len(prompts)} requests of {reuse.sent // (len(prompts) - 1):,}"
            f" tokens, {reuse.edits} edits, {reuse.flushes} flushes"
        )
        name = f"prefix read before, window {window_tokens:,} ({profile}), points lost"
        bound = POINTS_BOUND if profile == "full" else None
        found.append(Figure(4, name, reuse.points_lost, "points", bound, baseline=baseline))
    return found


if __name__ == "__main__":
    sys.exit(run_alone(figures))
