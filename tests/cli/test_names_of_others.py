"""The article's own flags: what MemGPT's endpoint types and AIOS's names become, told in one sentence."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from support.command_line import memos
from support.fake_ollama import FakeOllama
from support.fake_openai_like import FakeGateway, FakeKobold, FakeLlamaCpp, OpenAiLike
from support.minds import GREETED, HELLO
from support.wire_server import WireServer

from memos.cli.names_of_others import OtherNames, translated
from memos.errors import BadInput, ProcessorUnreachable

KOBOLD = "http://localhost:5001"
NOBODY = "http://127.0.0.1:9"

ENDPOINTS: dict[str, tuple[str, str | None, str, str, str]] = {
    "the article's": ("koboldcpp", KOBOLD, "any", "koboldcpp/any", KOBOLD),
    "an older koboldcpp": ("koboldcpp-legacy", KOBOLD, "any", "koboldcpp/any", KOBOLD),
    "Ollama": ("ollama", "http://localhost:11434", "dolphin2.2", "ollama/dolphin2.2", "http://localhost:11434"),
    "Ollama at its usual place": ("ollama-legacy", None, "dolphin2.2", "ollama/dolphin2.2", ""),
    "LM Studio": ("lmstudio-chatcompletions", "http://localhost:1234", "x", "lm_studio/x", "http://localhost:1234"),
    "vLLM": ("vllm", "http://box:8000", "x", "hosted_vllm/x", "http://box:8000"),
    "llama.cpp": ("llamacpp", "http://localhost:8080", "x", "openai/x", "http://localhost:8080/v1"),
    "llama.cpp at its usual place": ("llamacpp", None, "x", "openai/x", "http://127.0.0.1:8080/v1"),
    "web UI": ("webui", "http://localhost:5000", "x", "openai/x", "http://localhost:5000/v1"),
    "OpenAI": ("openai", "https://api.openai.com/v1", "gpt-4", "openai/gpt-4", ""),
    "OpenAI without an address": ("openai", None, "openai/gpt-4", "openai/gpt-4", ""),
    "a compatible server": ("openai", "http://localhost:9000/v1", "x", "openai/x", "http://localhost:9000/v1"),
    "Anthropic": ("anthropic", "https://api.anthropic.com/v1", "claude-x", "anthropic/claude-x", ""),
    "Groq": ("groq", "https://api.groq.com/openai", "llama3-70b", "groq/llama3-70b", ""),
    "Gemini": ("google_ai", None, "gemini-x", "gemini/gemini-x", ""),
}


@pytest.mark.parametrize(("kind", "endpoint", "name", "model", "api_base"), ENDPOINTS.values(), ids=ENDPOINTS)
def test_each_endpoint_type_of_memgpt_has_its_model_string(
    kind: str, endpoint: str | None, name: str, model: str, api_base: str
) -> None:
    flags, sentence = translated({"model": name, "persona": "sam"}, OtherNames(kind, endpoint))
    assert flags == {"model": model, "api_base": api_base, "persona": "sam"}
    assert sentence == f"--model-endpoint-type {kind} is the model {model}{f' at {api_base}' if api_base else ''} here."


def test_the_articles_groq_that_is_no_groq_is_redirected_and_explained() -> None:
    address = "http://lb.example/api"
    for flags, names in (
        ({"model": "anthropic.claude-3"}, OtherNames("groq", address)),
        ({"model": "groq/anthropic.claude-3", "api_base": address}, OtherNames()),
    ):
        told, sentence = translated(flags, names)
        assert (told["model"], told["api_base"]) == ("openai/anthropic.claude-3", address)
        assert sentence == (
            f"groq/ is Groq's own API, and {address} is another server:"
            " it is asked as openai/anthropic.claude-3 at that address."
        )


def test_groq_itself_is_left_alone() -> None:
    for flags in ({"model": "groq/x"}, {"model": "groq/x", "api_base": "https://api.groq.com/openai/v1"}):
        assert translated(flags, OtherNames()) == (flags, "")


AIOS = {
    "bedrock-anthropic-claude3-sonnet": "bedrock/anthropic.claude-3-sonnet-20240229-v1:0",
    "bedrock-anthropic-claude3-haiku": "bedrock/anthropic.claude-3-haiku-20240307-v1:0",
    "gpt-4": "openai/gpt-4",
    "gpt-4o-mini": "openai/gpt-4o-mini",
    "claude-3-5-sonnet-20240620": "anthropic/claude-3-5-sonnet-20240620",
    "gemini-1.5-flash": "gemini/gemini-1.5-flash",
    "ollama/llama3:8b": "ollama/llama3:8b",
}


@pytest.mark.parametrize(("name", "model"), AIOS.items())
def test_aioss_names_are_models_here(name: str, model: str) -> None:
    assert translated({}, OtherNames(llm_name=name)) == ({"model": model}, f"--llm_name {name} is {model} here.")


WRONG: dict[str, tuple[OtherNames, str, str]] = {
    "a type nobody has": (OtherNames("koboldcp", KOBOLD), "no endpoint type", "koboldcpp may be meant"),
    "an address alone": (OtherNames(None, KOBOLD), "needs --model-endpoint-type", "koboldcpp"),
    "both at once": (OtherNames("ollama", None, "gpt-4"), "names a model, and so does", "one of them"),
    "a name nobody knows": (OtherNames(llm_name="bedrock-anthropic-claude3-sonet"), "which model", "claude3-sonnet"),
    "a model of Hugging Face": (OtherNames(llm_name="google/gemma-2b-it"), "which model", "--model"),
    "no model at a provider": (OtherNames("openai"), "needs the name of a model", "--model NAME"),
}


@pytest.mark.parametrize(("names", "what", "next_step"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_meant_is_one_sentence_with_a_next_step(names: OtherNames, what: str, next_step: str) -> None:
    with pytest.raises(BadInput) as caught:
        translated({}, names)
    assert what in caught.value.what
    assert next_step in caught.value.next_step


UNNAMED: dict[str, tuple[Callable[[], WireServer], str, str]] = {
    "koboldcpp": (FakeKobold, "koboldcpp", "koboldcpp/mistral-7b"),
    "Ollama": (FakeOllama, "ollama", "ollama/llama3.2:latest"),
    "llama.cpp": (FakeLlamaCpp, "llamacpp", "openai/fake-model"),
}


@pytest.mark.parametrize(("serve", "kind", "model"), UNNAMED.values(), ids=UNNAMED)
def test_a_model_without_a_name_is_the_one_the_server_has(
    serve: Callable[[], WireServer], kind: str, model: str
) -> None:
    with serve() as server:
        assert translated({}, OtherNames(kind, server.root))[0]["model"] == model


def test_one_of_several_must_be_named() -> None:
    with FakeGateway() as server, pytest.raises(BadInput, match="has 2 models") as caught:
        translated({}, OtherNames("openai", server.url))
    assert "anthropic.claude-3-sonnet" in caught.value.next_step


def test_koboldcpp_may_be_started_later_and_others_must_be_there() -> None:
    assert translated({}, OtherNames("koboldcpp", NOBODY))[0]["model"] == "koboldcpp/koboldcpp"
    with pytest.raises(ProcessorUnreachable):
        translated({}, OtherNames("ollama", NOBODY))


# --- The real program -----------------------------------------------------------------------------------------


def test_the_articles_command_answers(tmp_path: Path) -> None:
    with FakeKobold() as server:
        way = ("--model-endpoint-type", "koboldcpp", "--model-endpoint", server.root)
        run = memos(tmp_path, "run", *way, "-p", HELLO)
        again = memos(tmp_path, "run", "-p", HELLO)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == GREETED
    assert f"--model-endpoint-type koboldcpp is the model koboldcpp/mistral-7b at {server.root} here." in run.stderr
    assert again.stdout.strip() == GREETED, again.stderr
    assert "--model-endpoint-type" not in again.stderr
    assert server.violations == []


def test_the_articles_flags_configure_too(tmp_path: Path) -> None:
    with FakeKobold() as server:
        way = ("--model-endpoint-type", "koboldcpp", "--model-endpoint", server.root)
        run = memos(tmp_path, "configure", *way)
    assert run.returncode == 0, run.stderr
    assert "calls functions" in run.stderr
    (file,) = tmp_path.rglob("config.toml")
    written = tomllib.loads(file.read_text(encoding="utf-8"))
    assert (written["model"], written["api_base"]) == ("koboldcpp/mistral-7b", server.root)


def test_aioss_flag_is_taken_with_its_underscore(tmp_path: Path) -> None:
    run = memos(tmp_path, "configure", "--llm_name", "bedrock-anthropic-claude3-sonnet", "--no-test")
    assert run.returncode == 0, run.stderr
    assert "is bedrock/anthropic.claude-3-sonnet-20240229-v1:0 here" in run.stderr


def test_a_groq_that_is_a_gateway_answers(tmp_path: Path) -> None:
    with OpenAiLike() as server:
        run = memos(tmp_path, "run", "--model", "groq/fake-model", "--api-base", server.url, "-p", HELLO)
    assert run.stdout.strip() == GREETED, run.stderr
    assert "it is asked as openai/fake-model at that address" in run.stderr
