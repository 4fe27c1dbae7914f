"""A scripted model that reports tokens and has a price, as a remote one does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

from memos.llm.scripted import ScriptedProcessor, ScriptedReply
from memos.messages import Finish, Prompt, Reply, ReplyPart, TokenUsage

USAGE = TokenUsage(1_000, 20, 600)
COST_USD = 0.25


class MeteredProcessor(ScriptedProcessor):
    """Each whole reply used `usage` and cost 0.25 USD where it is told; with `priced=False` nobody knows its price."""

    def __init__(self, script: Iterable[ScriptedReply], usage: TokenUsage = USAGE, *, priced: bool = True) -> None:
        super().__init__(script, model="metered/model")
        self._usage = usage
        self._priced = priced

    def cost_usd(self, usage: TokenUsage) -> float | None:
        return COST_USD if self._priced and usage.prompt_tokens is not None else None

    async def infer(self, prompt: Prompt) -> AsyncIterator[ReplyPart]:
        async for part in super().infer(prompt):
            whole = isinstance(part, Reply) and part.finish is not Finish.CUT
            yield replace(part, usage=self._usage) if whole and isinstance(part, Reply) else part
