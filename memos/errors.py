"""What can go wrong, drawn as a tree. Each error is one sentence, a next step, and an exit code.

    MemosError                     1   a bug, or something nobody foresaw
    ├── BadInput                   2   a flag, file, name or setting that cannot be used
    ├── NotConfigured              3   no model chosen, or its key is missing
    ├── ProcessorError                 the LLM did not answer
    │   ├── ProcessorRefused       4   it said no: wrong key, unknown model, request not accepted
    │   │   ├── ContextOverflow    4   the prompt is longer than its window
    │   │   └── ContentFiltered    4   its content filter stopped the request
    │   └── ProcessorUnreachable   5   no answer: refused, timed out, overloaded, cut
    │       ├── RateLimited        5   too many requests; may say when to come back
    │       └── StreamCut          5   the reply broke off
    ├── AgentNotFound              6
    ├── AgentInUse                 7   another process holds the agent
    ├── LimitReached               8   a bound on the turn stopped it
    ├── DataDamaged                9   a database that cannot be read, or is of a newer memos
    ├── StorageProblem            10   disk full, permission denied
    ├── EmbeddingProblem           5   no usable vectors: search goes on by words alone, with a notice
    └── FunctionFailed             -   the model's mistake; goes back to the model, never to the user

130 (Ctrl-C) and 143 (SIGTERM) come from the signals themselves.
"""

from __future__ import annotations


class MemosError(Exception):
    """An error that can be told to a person: what happened, and what to do next."""

    exit_code = 1

    def __init__(self, what: str, next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.what} Next: {self.next_step}" if self.next_step else self.what


class BadInput(MemosError):
    """A flag, file, name or setting that cannot be used."""

    exit_code = 2


class NotConfigured(MemosError):
    """No model is chosen, or the key it needs is missing."""

    exit_code = 3


class ProcessorError(MemosError):
    """The LLM did not answer."""


class ProcessorRefused(ProcessorError):
    """The provider said no, and would say no again."""

    exit_code = 4


class ContextOverflow(ProcessorRefused):
    """The prompt is longer than the model's window."""


class ContentFiltered(ProcessorRefused):
    """The provider's content filter stopped the request."""


class ProcessorUnreachable(ProcessorError):
    """There was no answer; another try may succeed."""

    exit_code = 5


class RateLimited(ProcessorUnreachable):
    """Too many requests. `retry_after_s` is what the provider asked for, or None."""

    def __init__(self, what: str, next_step: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(what, next_step)
        self.retry_after_s = retry_after_s


class StreamCut(ProcessorUnreachable):
    """The reply broke off; what came before is kept as incomplete."""


class AgentNotFound(MemosError):
    """There is no agent of that name."""

    exit_code = 6


class AgentInUse(MemosError):
    """Another process holds the agent's lock."""

    exit_code = 7


class LimitReached(MemosError):
    """A bound on the turn stopped it."""

    exit_code = 8


class DataDamaged(MemosError):
    """A database that cannot be read, or that a newer memos wrote."""

    exit_code = 9


class StorageProblem(MemosError):
    """The disk is full, or a file may not be written."""

    exit_code = 10


class EmbeddingProblem(MemosError):
    """There are no usable vectors (weights missing, an endpoint that is dead, NaN); search goes on by words.

    Only a command that makes vectors ends with it.
    """

    exit_code = 5


class FunctionFailed(MemosError):
    """A function could not do what the model asked; the sentence goes back to the model as the result."""
