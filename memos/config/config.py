"""What can be set. Each field's docstring is its documentation: `config.example.toml` is made from this file.

`metadata` says what a type cannot: the smallest value, the values to choose from, an address, a sample where
there is no default.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one turn. The stop is shown, and nothing is lost by it."""

    steps: int = field(default=30, metadata={"at_least": 1})
    """Inferences in one turn: the first reply and every heartbeat after it."""

    identical_calls: int = field(default=3, metadata={"at_least": 1})
    """Times in one turn that the same function may be called with the same arguments."""

    turn_tokens: int = field(default=500_000, metadata={"at_least": 0})
    """Tokens of all prompts and replies in one turn; 0 sets no bound."""

    turn_seconds: float = field(default=1800.0, metadata={"at_least": 0})
    """Seconds one turn may last; a reply under way is ended then, what came of it is kept; 0 sets no bound."""

    turn_usd: float = field(default=0.0, metadata={"at_least": 0})
    """US dollars the model calls of one turn may cost, as far as their price is known; 0 sets no bound."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for a remote model, in seconds."""

    connect_s: float = field(default=10.0, metadata={"at_least": 0.1})
    """Until the connection stands."""

    first_byte_s: float = field(default=60.0, metadata={"at_least": 0.1})
    """From the request to the first byte of the reply."""

    gap_s: float = field(default=30.0, metadata={"at_least": 0.1})
    """Between two pieces of a streaming reply."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the agent keeps and how it finds it again."""

    embedding: str = field(
        default="builtin/minilm", metadata={"choices": ("builtin/minilm", "none"), "or_litellm_id": True}
    )
    """Search by meaning: builtin/minilm runs on this computer; "none" searches by words alone; any litellm id, such as
    openai/text-embedding-3-small or ollama/nomic-embed-text, gets the text of all messages and passages of all agents.
    """

    embedding_api_base: str = field(default="", metadata={"address": True})
    """Address of the server of that embedding model; empty means the provider's own."""

    embedding_api_key_env: str = ""
    """Name of the environment variable that holds its key; empty means the provider's usual one. Never the key."""

    block_limit_chars: int = field(default=2000, metadata={"at_least": 100})
    """Characters that a core memory block of a new agent may hold; less in a small context window."""


@dataclass(frozen=True, slots=True)
class Paging:
    """How the queue of messages is paged out of the model's window. Nothing is lost by it: search finds all of it.

    Percentages are of the room that the window leaves beside the reply.
    """

    warn_percent: int = field(default=70, metadata={"at_least": 1})
    """From here on the agent is warned of memory pressure, once per filling, so that it can save what matters."""

    flush_percent: int = field(default=100, metadata={"at_least": 10, "at_most": 100})
    """At this fill the oldest messages leave the queue, and a summary takes their place."""

    evict_percent: int = field(default=50, metadata={"at_least": 5, "at_most": 95})
    """How much of the queue leaves at a flush. Large steps are cheap: a provider reads again all that stands behind."""

    summariser: str = ""
    """The model that writes the summaries, as for `model`; empty means the one that runs the agent."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Models that run inside memos: builtin/tiny and gguf:PATH."""

    threads: int = field(default=0, metadata={"at_least": 0})
    """Processor threads; 0 leaves one core free."""

    format: str = field(default="auto", metadata={"choices": ("auto", "decomposed", "json_schema")})
    """How calls are had: small decisions (decomposed), one JSON call (json_schema), or what suits the size (auto)."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """What the screen shows."""

    greet: bool = True
    """Let the agent speak first when you come."""


@dataclass(frozen=True, slots=True)
class Config:
    """All settings. An agent keeps the model, persona and human it was made with."""

    model: str = ""
    """The model: any litellm id (openai/…, anthropic/…, ollama_chat/…), builtin/tiny, gguf:PATH or scripted:PATH."""

    api_base: str = field(default="", metadata={"address": True})
    """Address of an OpenAI-compatible server, such as http://127.0.0.1:8080/v1; empty means the provider's own."""

    api_key_env: str = ""
    """Name of the environment variable that holds the key; empty means the provider's usual one. Never the key."""

    window_tokens: int = field(default=0, metadata={"at_least": 0})
    """The model's context window in tokens; 0 means: what the server or litellm's table says, else 8192."""

    max_reply_tokens: int = field(default=0, metadata={"at_least": 0})
    """Tokens one reply may have; 0 leaves it to the provider."""

    temperature: float | None = field(default=None, metadata={"at_least": 0, "sample": 0.7})
    """How freely the model picks its words, usually 0 to 2; unset leaves it to the provider."""

    agent: str = ""
    """The agent that `memos` opens; empty means the one used last."""

    persona: str = ""
    """The persona of a new agent, by name (memos list personas); empty means the one that suits the model."""

    human: str = "basic"
    """What a new agent knows about you at first, by name (memos list humans)."""

    heartbeat_minutes: int = field(default=0, metadata={"at_least": 0})
    """Minutes of silence after which a timed heartbeat wakes the agent; 0 means never."""

    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    memory: Memory = Memory()
    paging: Paging = Paging()
    embedded: Embedded = Embedded()
    terminal: Terminal = Terminal()
