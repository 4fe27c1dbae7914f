"""The backends memos is tried against, each with a fake faithful to its wire, and the help page made from that.

`python -m support.backends` (in the folder `tests`) writes the table into memos/help/backends.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from memos.llm.capability_card import FormatName
from support.fake_claude import FakeClaude
from support.fake_converse import FakeConverse
from support.fake_ollama import FakeOllama
from support.fake_openai_like import (
    FakeGateway,
    FakeGroq,
    FakeKobold,
    FakeLlamaCpp,
    FakeLlamafile,
    FakeLmStudio,
    FakeOpenRouter,
    FakeVllm,
    OpenAiLike,
)
from support.help_pages import HELP_FOLDER, write
from support.wire_server import WireServer

HELP = HELP_FOLDER / "backends.md"
NATIVE, SCHEMA, GRAMMAR, PROMPT, PLAIN = FormatName
COLUMNS: Mapping[FormatName, str] = {
    NATIVE: "native",
    SCHEMA: "json_schema",
    GRAMMAR: "grammar",
    PROMPT: "json_prompt",
}


@dataclass(frozen=True)
class Backend:
    """One kind of server. `formats` are those it obeys, `auto` the one memos comes to by itself.

    `ignored` are formats whose field it ignores: the model is held by the prompt alone, and all goes well.
    """

    name: str
    title: str
    model: str
    serve: Callable[[], WireServer]
    formats: Sequence[FormatName]
    auto: FormatName = NATIVE
    ignored: Sequence[FormatName] = ()
    by_litellm: bool = False
    sees: bool = True
    """Whether a model that sees gets images there."""
    notices: int = 0
    """How many sentences a first conversation shows on what was found out about it."""
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def cases(self) -> list[str]:
        """The call formats to try, `auto` first."""
        return ["auto", *(name.value for name in self.formats)]


AWS = {"AWS_ACCESS_KEY_ID": "AKIAFAKEFAKEFAKEFAKE", "AWS_SECRET_ACCESS_KEY": "fake", "AWS_REGION_NAME": "us-east-1"}
CLAUDE_3 = FakeConverse.models[0]

BACKENDS: Sequence[Backend] = (
    Backend("openai", "OpenAI, or any compatible server", "openai/fake-model", OpenAiLike, (NATIVE, SCHEMA, PROMPT)),
    Backend("anthropic", "Anthropic", "anthropic/claude-x", FakeClaude, (NATIVE, PROMPT), by_litellm=True),
    Backend(
        "bedrock",
        "Amazon Bedrock (Converse)",
        f"bedrock/{CLAUDE_3}",
        FakeConverse,
        (NATIVE, PROMPT),
        by_litellm=True,
        environ=AWS,
    ),
    Backend(
        "gateway",
        "Bedrock Access Gateway",
        f"openai/{CLAUDE_3}",
        FakeGateway,
        (NATIVE, SCHEMA, PROMPT),
        ignored=(SCHEMA,),
    ),
    Backend("groq", "Groq", "groq/fake-model", FakeGroq, (NATIVE, PROMPT)),
    Backend("openrouter", "OpenRouter", "openrouter/fake-model", FakeOpenRouter, (NATIVE, SCHEMA, PROMPT)),
    Backend(
        "koboldcpp",
        "koboldcpp 1.76",
        "koboldcpp/mistral-7b",
        FakeKobold,
        (NATIVE, SCHEMA, GRAMMAR, PROMPT),
        auto=GRAMMAR,
        ignored=(SCHEMA,),
    ),
    Backend(
        "koboldcpp-new",
        "koboldcpp 1.99",
        "koboldcpp/mistral-7b",
        lambda: FakeKobold(version="1.99"),
        (NATIVE, SCHEMA, GRAMMAR, PROMPT),
        auto=GRAMMAR,
    ),
    Backend("ollama", "Ollama", "ollama/llama3.2", FakeOllama, (NATIVE, SCHEMA, PROMPT)),
    Backend(
        "ollama-toolless",
        "Ollama, a model without tools",
        "ollama/llama3.2",
        lambda: FakeOllama(tools=False, thinks=False),
        (SCHEMA, PROMPT),
        auto=SCHEMA,
        notices=1,
    ),
    Backend("lm_studio", "LM Studio", "lm_studio/fake-model", FakeLmStudio, (NATIVE, SCHEMA, PROMPT)),
    Backend("llama.cpp", "llama.cpp server", "openai/fake-model", FakeLlamaCpp, (NATIVE, SCHEMA, GRAMMAR, PROMPT)),
    Backend(
        "llamafile",
        "llamafile",
        "llamafile/fake-model",
        FakeLlamafile,
        (SCHEMA, GRAMMAR, PROMPT),
        auto=GRAMMAR,
        sees=False,
    ),
    Backend(
        "vllm",
        "vLLM",
        "hosted_vllm/fake-model",
        FakeVllm,
        (SCHEMA, PROMPT),
        auto=SCHEMA,
        notices=1,
    ),
    Backend(
        "vllm-tools",
        "vLLM with --enable-auto-tool-choice",
        "hosted_vllm/fake-model",
        lambda: FakeVllm(calls_tools=True),
        (NATIVE, SCHEMA, PROMPT),
    ),
)


def table() -> str:
    """Return the table of backends and call formats as Markdown."""
    heads = ["backend", "model string", *COLUMNS.values(), "auto comes to", "images"]
    rows = [heads, ["---"] * len(heads)]
    for backend in BACKENDS:
        prefix = backend.model.partition("/")[0]
        rows.append(
            [
                backend.title,
                f"`{prefix}/…`",
                *(_word(backend, name) for name in COLUMNS),
                COLUMNS[backend.auto],
                "yes" if backend.sees else "–",
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _word(backend: Backend, name: FormatName) -> str:
    if name in backend.ignored:
        return "ignored"
    return "yes" if name in backend.formats else "–"


if __name__ == "__main__":
    write(HELP, table())
