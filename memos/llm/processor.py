"""The seam between the kernel and any LLM: one method that streams a reply."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from memos.messages import Prompt, PromptTokens, ReplyPart, TokenUsage

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

    async def warm_up(self) -> None:
        """Do what can be done before the first prompt (imports, loading weights), off the event loop."""
        ...

    async def aclose(self) -> None:
        """Release connections and memory."""
        ...
