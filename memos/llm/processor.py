"""The seam between the kernel and any LLM: one method that streams a reply, and what the reply cost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from memos.messages import Prompt, PromptTokens, ReplyPart, TokenUsage
from memos.storage.usage_ledger import ModelCall, Purpose

DEFAULT_WINDOW_TOKENS = 8_192
"""What is reckoned with where nobody has said how large the window is: most models have at least this."""


class Processor(Protocol):
    """An LLM that turns main context into a reply."""

    @property
    def model(self) -> str:
        """The model string the user chose, such as `builtin/tiny` or `openai/gpt-4.1`."""
        ...

    @property
    def window_tokens(self) -> int | None:
        """The context window in tokens, or None where nobody has said."""
        ...

    @property
    def reads_queue(self) -> bool:
        """Whether it reads all of the FIFO queue; what is there need not be found for it then."""
        ...

    @property
    def summarises(self) -> bool:
        """Whether it can write a summary to order: a prompt of the purpose `summarise`, answered in plain text."""
        ...

    @property
    def sees(self) -> bool | None:
        """Whether it takes images; None where nobody knows: then they are sent, and a refusal tells."""
        ...

    def infer(self, prompt: Prompt) -> AsyncIterator[ReplyPart]:
        """Stream the reply to `prompt`: pieces as they arrive, then one `Reply`, last.

        Closing the iterator (`aclose`, cancellation) stops the inference and its connection. A stream that breaks
        off before its end yields a `Reply` whose finish is `cut` (its calls dropped), never one that looks whole.

        Raises: ProcessorError when no reply could be had at all.
        """
        ...

    def measure(self, prompt: Prompt) -> PromptTokens:
        """Return what `prompt` will cost this model, by part: by its own tokenizer, or estimated with a margin.

        Blocking and quick, for counts are kept per message; on the event loop or in a worker thread.
        """
        ...

    def learn(self, measured: PromptTokens, usage: TokenUsage) -> None:
        """Take what the provider reported for a prompt that was measured so; nonsense is ignored. Quick."""
        ...

    def cost_usd(self, usage: TokenUsage) -> float | None:
        """Return what an inference of so many tokens cost: 0 in the process, None where nobody knows the price."""
        ...

    async def find_window(self) -> None:
        """Ask the user's own server how large the window is, where nobody has said and it was never asked."""
        ...

    async def warm_up(self) -> None:
        """Do what can be done before the first prompt (imports, loading weights), off the event loop."""
        ...

    async def aclose(self) -> None:
        """Release connections and memory."""
        ...


@asynccontextmanager
async def closing_stream(parts: AsyncIterator[ReplyPart]) -> AsyncIterator[AsyncIterator[ReplyPart]]:
    """Close the stream, and with it its connection, however the block is left."""
    try:
        yield parts
    finally:
        aclose = getattr(parts, "aclose", None)
        if aclose:
            await aclose()


def model_call(processor: Processor, purpose: Purpose, usage: TokenUsage = TokenUsage()) -> ModelCall:
    """Return the ledger's entry of a request to `processor`."""
    return ModelCall(processor.model, purpose, usage, processor.cost_usd(usage))
