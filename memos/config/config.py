"""What can be set. Each field's docstring is its documentation: `config.example.toml` is made from this file.

`metadata` says what a type cannot: the smallest value, the values to choose from, an address, a sample where
there is no default.
"""

from __future__ import annotations

from dataclasses import dataclass, field

CALL_FORMATS = ("auto", "native", "json_schema", "grammar", "json_prompt", "plain", "decomposed")
THEMES = ("auto", "dark", "light", "none")
REASONING_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


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

    first_byte_local_s: float = field(default=600.0, metadata={"at_least": 0.1})
    """The same for a server on this computer or its network: a local model reads a long prompt slowly."""

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
    """Models that run inside memos: builtin/tiny, builtin/small and gguf:PATH."""

    threads: int = field(default=0, metadata={"at_least": 0})
    """Processor threads; 0 leaves one core free."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """What the screen shows."""

    greet: bool = True
    """Let the agent speak first when you come."""

    theme: str = field(default="auto", metadata={"choices": THEMES})
    """Colours for a dark or a light background; auto: as COLORFGBG says, else the terminal's own sixteen; none: no
    colours at all, as with NO_COLOR.
    """

    thoughts: str = field(default="short", metadata={"choices": ("short", "all", "none")})
    """How much of the inner monologue is shown: the first lines of a long one (Ctrl-O shows it), all, or nothing."""

    ascii: bool = False
    """Draw memos' own signs in plain ASCII. Where the terminal's encoding has no others, they are."""

    vi: bool = False
    """Edit the line you type by the keys of vi."""

    plain: bool = False
    """Write plain lines from top to bottom, without a status bar: the cursor is never moved (`--plain`)."""

    screen_reader: bool = False
    """The same, and say in words what goes on and when it is your turn (`--screen-reader`)."""

    recall_as_you_type: bool = True
    """Count in the status bar what is remembered about the line you type."""


@dataclass(frozen=True, slots=True)
class Config:
    """All settings. An agent keeps the model, persona and human it was made with."""

    model: str = ""
    """The model: any litellm id (openai/…, anthropic/…, ollama/…), koboldcpp/NAME, builtin/tiny, builtin/small,
    gguf:PATH or scripted:PATH."""

    fallback_models: tuple[str, ...] = field(default=(), metadata={"sample": ("ollama_chat/llama3.2", "builtin/tiny")})
    """Models asked, in this order, where the first does not answer: each as for `model`, commas between them."""

    api_base: str = field(default="", metadata={"address": True})
    """Address of an OpenAI-compatible server, such as http://127.0.0.1:8080/v1; empty means the provider's own."""

    api_key_env: str = ""
    """Name of the environment variable that holds the key; empty means the provider's usual one. Never the key."""

    window_tokens: int = field(default=0, metadata={"at_least": 0})
    """The model's context window in tokens; 0 means: what the server or litellm's table says, else 8192."""

    call_format: str = field(default="auto", metadata={"choices": CALL_FORMATS})
    """How calls of functions are had; auto: as the model was seen to obey. Of a remote model by the chat API's tools
    (native), as one JSON object that the server holds to a schema (json_schema) or a grammar (grammar) or that the
    prompt asks for (json_prompt), or not at all (plain); of a model inside memos by small decisions (decomposed) or as
    one JSON object under a grammar (json_schema, grammar).
    """

    streaming: bool = True
    """Ask for replies in pieces; false for gateways that can't."""

    road: str = field(default="auto", metadata={"choices": ("auto", "httpx", "litellm")})
    """What carries requests to a remote model; auto: memos' own small client for OpenAI-compatible endpoints, litellm
    for all others.
    """

    max_reply_tokens: int = field(default=0, metadata={"at_least": 0})
    """Tokens one reply may have; 0 leaves it to the provider."""

    temperature: float | None = field(default=None, metadata={"at_least": 0, "sample": 0.7})
    """How freely the model picks its words, usually 0 to 2; unset leaves it to the provider."""

    top_p: float | None = field(default=None, metadata={"at_least": 0, "at_most": 1, "sample": 0.9})
    """From which share of the likeliest words the model picks; unset leaves it to the provider."""

    seed: int | None = field(default=None, metadata={"sample": 1})
    """The same number asks for the same reply to the same prompt, as far as the provider can; unset asks for none."""

    reasoning_effort: str | None = field(default=None, metadata={"choices": REASONING_EFFORTS, "sample": "low"})
    """How much a model that reasons thinks before it answers, as far as it lets itself be told; unset: as it does."""

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
