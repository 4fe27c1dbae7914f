"""What settings make of a processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from memos.cli.boot import first_byte_s, processor_for
from memos.config import Config, Places, Settings
from memos.config.parameters import sampling_params
from memos.errors import BadInput


def settings(**flags: object) -> Settings:
    return Settings.resolve(flags, {}, {}, {})


@pytest.mark.parametrize(
    ("model", "call_format"),
    [
        ("builtin/tiny", "native"),
        ("builtin/tiny", "json_prompt"),
        ("gguf:/x.gguf", "plain"),
        ("openai/x", "decomposed"),
    ],
)
def test_a_call_format_that_the_model_cannot_be_asked_in_is_one_sentence(
    tmp_path: Path, model: str, call_format: str
) -> None:
    places = Places.find({"MEMOS_HOME": str(tmp_path)})
    with pytest.raises(BadInput) as caught:
        processor_for(settings(model=model, call_format=call_format), places, {})
    assert model in caught.value.what and f'"{call_format}"' in caught.value.what
    assert caught.value.next_step == "memos configure --set call_format=auto"


@pytest.mark.parametrize("call_format", ["auto", "decomposed", "json_schema", "grammar"])
def test_a_model_inside_memos_takes_its_own_formats(tmp_path: Path, call_format: str) -> None:
    places = Places.find({"MEMOS_HOME": str(tmp_path)})
    assert processor_for(settings(model="builtin/tiny", call_format=call_format), places, {}).model == "builtin/tiny"


@pytest.mark.parametrize(
    ("model", "api_base", "seconds"),
    [
        ("openai/x", "", 60),
        ("openai/x", "https://gateway.example/v1", 60),
        ("openai/x", "http://8.8.8.8/v1", 60),
        ("openai/x", "http://127.0.0.1:8080/v1", 600),
        ("openai/x", "http://[::1]:8080/v1", 600),
        ("openai/x", "http://192.168.1.7:8080/v1", 600),
        ("openai/x", "http://box:8080/v1", 600),
        ("openai/x", "http://box.local/v1", 600),
        ("ollama_chat/x", "", 600),
    ],
)
def test_a_server_nearby_is_waited_for_longer(model: str, api_base: str, seconds: float) -> None:
    assert first_byte_s(settings(model=model, api_base=api_base).config) == seconds


def test_sampling_parameters_have_openais_names_and_unset_ones_are_left_out() -> None:
    assert sampling_params(Config()) == {}
    config = Config(max_reply_tokens=9, temperature=0.0, top_p=1.0, seed=0, reasoning_effort="low")
    assert sampling_params(config) == {
        "max_tokens": 9,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": 0,
        "reasoning_effort": "low",
    }


def test_a_road_that_does_not_lead_to_the_model_is_one_sentence(tmp_path: Path) -> None:
    places, environ = Places.find({"MEMOS_HOME": str(tmp_path)}), {"ANTHROPIC_API_KEY": "sk-x"}
    with pytest.raises(BadInput, match='anthropic/x has no OpenAI-compatible address, which road "httpx" needs'):
        processor_for(settings(model="anthropic/x", road="httpx"), places, environ)
    assert processor_for(settings(model="anthropic/x"), places, environ).model == "anthropic/x"
    forced = settings(model="openai/x", api_base="http://127.0.0.1:9/v1", road="litellm")
    assert processor_for(forced, places, environ).model == "openai/x"
