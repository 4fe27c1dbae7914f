"""What is known of providers and models before any of them is asked."""

import subprocess
import sys

import pytest

from memos.llm.catalogue import (
    KEYLESS_PREFIXES,
    LOCAL_SERVERS,
    PROVIDERS,
    facts,
    key_variables,
    needs_key,
    provider_of,
    wants_thoughts_back,
)


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("openai/gpt-x", "openai"),
        ("openrouter/meta/llama:free", "openrouter"),
        ("ollama_chat/llama3:8b", "ollama_chat"),
        ("builtin/tiny", "builtin"),
        ("gguf:/a/b.gguf", "gguf"),
        ("scripted:C:/x.json", "scripted"),
        ("gpt-4o", "openai"),
        ("nobody-knows-this", ""),
        ("", ""),
    ],
)
def test_the_provider_is_read_from_the_model_string(model: str, provider: str) -> None:
    assert provider_of(model) == provider


def test_models_in_the_process_and_own_servers_want_no_key() -> None:
    for model in ("builtin/tiny", "gguf:/x.gguf", "scripted:/x.json", *(f"{p}/x" for p in KEYLESS_PREFIXES)):
        assert not needs_key(model, "") and key_variables(provider_of(model)) == ()
    assert not needs_key("openai/x", "http://127.0.0.1:8080/v1")
    assert not needs_key("bedrock/x", "")
    assert needs_key("openai/x", "") and needs_key("unlisted/x", "")


def test_an_access_key_of_aws_is_never_taken_for_an_api_key() -> None:
    assert key_variables("bedrock") == ("AWS_BEARER_TOKEN_BEDROCK",)


def test_a_provider_outside_the_catalogue_has_the_usual_name_of_variable() -> None:
    assert key_variables("cohere") == ("COHERE_API_KEY",)


def test_providers_are_asked_encrypted_and_servers_by_their_own_port() -> None:
    assert all(p.models_url.startswith("https://") for p in PROVIDERS if p.models_url)
    assert len({p.prefix for p in PROVIDERS}) == len(PROVIDERS)
    assert len({server.port for server in LOCAL_SERVERS}) == len(LOCAL_SERVERS)


def test_every_key_variable_is_one_that_litellm_reads() -> None:
    """The catalogue must not drift from the library that makes the calls: its sources name each variable."""
    from importlib.util import find_spec
    from pathlib import Path

    spec = find_spec("litellm")
    assert spec is not None and spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0])
    places = [
        root / "main.py",
        root / "utils.py",
        *(root / "llms").rglob("*.py"),
        *(root / "litellm_core_utils").glob("*.py"),
    ]
    sources = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in places)
    missing = [name for p in PROVIDERS for name in p.key_variables if f'"{name}"' not in sources]
    assert missing == []


def test_facts_about_a_model_are_known_without_importing_litellm() -> None:
    code = (
        "import sys; from memos.llm.catalogue import facts; f = facts('openai/gpt-4o');"
        "assert f.mode == 'chat' and f.calls_functions and f.window_tokens == 128000, f;"
        "assert 'litellm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_of_an_unknown_model_nothing_is_said() -> None:
    known = facts("openai/no-such-model")
    assert (known.mode, known.calls_functions, known.window_tokens) == (None, None, None)


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        ("anthropic/claude-sonnet-4-5", True),
        ("bedrock/us.anthropic.claude-3-5-haiku-20241022-v1:0", True),
        ("vertex_ai/claude-opus-4-5", True),
        ("openrouter/anthropic/claude-sonnet-4.5", False),
        ("gemini/gemini-2.5-pro", False),
        ("openai/claude-by-a-compatible-server", False),
    ],
)
def test_only_claude_wants_its_signed_thoughts_back(model: str, wanted: bool) -> None:
    assert wants_thoughts_back(model) is wanted
