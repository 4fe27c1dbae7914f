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

130 (Ctrl-C), 143 (SIGTERM) and 129 (SIGHUP) come from the signals themselves.
`memos help errors` is made from this tree.
"""

from __future__ import annotations

from collections.abc import Mapping

EXIT_CODES: Mapping[int, tuple[str, str]] = {
    0: ("ok", "done"),
    1: ("internal", "a bug in memos"),
    2: ("bad_input", "a flag, file, name or setting that cannot be used"),
    3: ("not_configured", "no model chosen, or its key is missing"),
    4: ("refused", "the model's provider refused"),
    5: ("unreachable", "the model's provider, or the embedder, could not be reached, broke off, or took too long"),
    6: ("agent_not_found", "no such agent"),
    7: ("agent_in_use", "the agent is open elsewhere (`--take-over`)"),
    8: ("limit_reached", "a bound on the turn stopped it"),
    9: ("data_damaged", "the database cannot be read, or is from a newer memos"),
    10: ("storage_problem", "the disk is full, or a file may not be written"),
    129: ("hangup", "the terminal was closed (SIGHUP)"),
    130: ("interrupted", "stopped by Ctrl-C (SIGINT)"),
    143: ("terminated", "stopped by SIGTERM"),
}
"""What memos ends with: to each exit code one word for programs, and its meaning for people."""


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
