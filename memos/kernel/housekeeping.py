"""What is done while the agent waits for its user: the derived index catches up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from memos.errors import EmbeddingProblem
from memos.kernel.kernel import Kernel

SETTLING_S = 2.0
"""How long the agent must have been idle: nobody's typing is slowed by work that can wait."""

PAUSE_S = 61.0
"""How long nothing is indexed after the embedder failed: a little more than it leaves its endpoint alone."""


async def index_when_idle(kernel: Kernel, step: Callable[[], int]) -> None:
    """Call `step` (a batch of rows; returns how many) in a thread while the kernel is idle, until cancelled.

    The index is derived from the database and nothing waits for it. An embedder that fails is tried again later, and
    search tells of it; any other failure is logged and ends this task only.
    """
    while True:
        await kernel.idle()
        await asyncio.sleep(SETTLING_S)
        if kernel.busy:
            continue
        try:
            done = await asyncio.to_thread(step)
        except EmbeddingProblem:
            await asyncio.sleep(PAUSE_S)
            continue
        except Exception:
            logging.getLogger(__name__).exception("indexing stopped")
            return
        if not done:
            await kernel.next_turn()
