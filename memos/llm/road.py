"""The seam between a call format and a wire: what is asked of a chat endpoint, and the pieces that come back.

A road knows one way to reach endpoints and nothing of functions, memory or screens. A call format knows nothing of
wires. `RemoteProcessor` stands between them: it decides on the format, waits, asks again, and tells of failures.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from memos.messages import TokenUsage

NO_KEY = "none"
"""What a server of one's own gets in place of a key: some refuse a request without any."""

OPTIONAL_FIELDS = frozenset(
    {"stream_options", "tool_choice", "temperature", "top_p", "seed", "reasoning_effort", "max_tokens", "grammar"}
)
"""Fields of a request that can be left out, where an endpoint does not take them."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One inference as any chat endpoint takes it; what is empty is not sent.

    `tools` is in the chat API's form. `params` are the sampling parameters under OpenAI's names (`temperature`,
    `top_p`, `max_tokens`, `seed`, `reasoning_effort`). `schema` is a JSON schema that the answer must fit, `grammar`
    the same as GBNF; a wire that knows neither ignores or refuses them. `without` names fields of the body that the
    endpoint does not take. `stable_chars` is how much of the system message never changes. `window_tokens` is the
    window that is reckoned with, for servers that must be told; 0 leaves it to them.
    """

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    schema: Mapping[str, Any] | None = None
    grammar: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = True
    without: frozenset[str] = frozenset()
    stable_chars: int = 0
    window_tokens: int = 0


@dataclass(frozen=True, slots=True)
class CallPiece:
    """A piece of a call as it came; any of its fields may be missing, wrong, or of another type than it should be."""

    index: int | None = None
    id: str | None = None
    name: str | None = None
    arguments: Any = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a reply as it came; a reply that did not stream is one chunk.

    `finish` is the wire's own word (`stop`, `tool_calls`, `length`, …), None until it said one: a stream that ends
    without it broke off, whatever a library makes of it. `signed` are blocks of thought that the provider wants back.
    """

    content: str = ""
    reasoning: str = ""
    calls: tuple[CallPiece, ...] = ()
    finish: str | None = None
    usage: TokenUsage | None = None
    signed: tuple[Mapping[str, Any], ...] = ()


class WireError(Exception):
    """An endpoint said no, or reported a failure: `status_code` where it gave one, its words, its headers.

    `failed_generation` is what the model wrote where the endpoint could make no call of it (Groq's tool_use_failed).
    """

    def __init__(
        self,
        message: str,
        status_code: int | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        failed_generation: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.headers = headers or {}
        self.failed_generation = failed_generation


class NoUsableAnswer(Exception):
    """An endpoint answered with something that is no reply: a web page, half of a JSON text."""


class AddressMended(Exception):
    """The endpoint was found under another path of the same server: from now on that one is asked.

    Its text is one sentence for the user. The request is to be made again.
    """


class Road(Protocol):
    """A way to reach chat endpoints."""

    @property
    def is_ready(self) -> bool:
        """Whether it can be used at once: what it must load is loaded."""
        ...

    async def warm_up(self) -> None:
        """Load what must be loaded, off the event loop; nobody is contacted. Raises: NotConfigured."""
        ...

    async def check(self) -> None:
        """Find out, without contact to anyone, whether the model string and its key can be meant.

        Raises: BadInput, NotConfigured.
        """
        ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk]:
        """Ask once and yield the pieces as they come; closing the iterator closes the connection.

        Only the time to connect is bounded here; silence is the caller's to measure. Nothing is tried twice.

        Raises: what the wire raises, for `provider_errors.failure_of` to tell.
        """
        ...

    async def aclose(self) -> None:
        """Give up connections and processes."""
        ...
