"""What holds, and where it comes from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos.config import Config, Settings, parse_assignments
from memos.config.settings import SETTINGS, config_of
from memos.errors import BadInput, MemosError

LAYERS = ("flag", "environment MEMOS_LIMITS_STEPS", "agent", "config.toml", "persona", "default")


@pytest.mark.parametrize("first", range(6))
def test_each_layer_wins_over_all_below_it(first: int) -> None:
    layers = [
        {"limits.steps": 5},
        {"MEMOS_LIMITS_STEPS": "6"},
        {"limits.steps": 7},
        {"limits.steps": 8},
        {"limits.steps": 9},
    ]
    flags, environ, agent, given_values, wishes = (
        {} if number < first else layer for number, layer in enumerate(layers)
    )
    settings = Settings.resolve(flags, environ, agent, given_values, wishes)
    assert settings.config.limits.steps == [5, 6, 7, 8, 9, 30][first]
    assert settings.origins["limits.steps"] == LAYERS[first]


def test_every_setting_has_a_variable_of_its_own() -> None:
    variables = [setting.variable for setting in SETTINGS.values()]
    assert len(set(variables)) == len(variables)
    assert "MEMOS_MODEL" in variables and "MEMOS_TIMEOUTS_FIRST_BYTE_S" in variables
    assert not {"MEMOS_HOME", "MEMOS_CACHE", "MEMOS_DEBUG"} & set(variables)


def test_the_defaults_of_all_settings_are_the_config_without_any() -> None:
    assert Settings.resolve({}, {}, {}, {}).config == Config() == config_of({})


def test_an_empty_variable_counts_as_unset() -> None:
    assert Settings.resolve({}, {"MEMOS_LIMITS_STEPS": " "}, {}, {}).origins["limits.steps"] == "default"


def test_a_flag_that_was_not_given_leaves_the_setting_alone() -> None:
    assert Settings.resolve({"model": None}, {"MEMOS_MODEL": "a/b"}, {}, {}).config.model == "a/b"


def test_a_model_left_empty_in_the_file_leaves_it_to_the_persona() -> None:
    settings = Settings.resolve({}, {}, {}, {"model": ""}, {"model": "a/b"})
    assert (settings.config.model, settings.origins["model"]) == ("a/b", "persona")


def test_what_an_agent_keeps_beside_settings_is_left_alone() -> None:
    assert Settings.resolve({}, {}, {"something": 1, "model": "a/b"}, {}).config.model == "a/b"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("terminal.greet=off", {"terminal.greet": False}),
        ("terminal.greet=Yes", {"terminal.greet": True}),
        ("temperature=0", {"temperature": 0.0}),
        ("temperature=", {"temperature": None}),
        ("model=openai/a=b", {"model": "openai/a=b"}),
        (" limits.steps =7", {"limits.steps": 7}),
        ("fallback_models=a/b, gguf:/c d.gguf", {"fallback_models": ("a/b", "gguf:/c d.gguf")}),
        ("fallback_models= ", {"fallback_models": ()}),
        ("seed=-3", {"seed": -3}),
        ("reasoning_effort=", {"reasoning_effort": None}),
    ],
)
def test_an_assignment_is_read_as_its_setting_wants(text: str, value: dict[str, object]) -> None:
    assert parse_assignments([text]) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("limits.stepps=3", "limits.steps may be meant"),
        ("limits.steps=three", "a whole number"),
        ("limits.steps=1.5", "a whole number"),
        ("limits.steps=0", "1 or more"),
        ("paging.flush_percent=101", "paging.flush_percent must be 100 or less"),
        ("paging.warn_percent=0", "paging.warn_percent must be 1 or more"),
        ("paging.evict_percent=96", "paging.evict_percent must be 95 or less"),
        ("temperature=nan", "a number"),
        ("terminal.greet=perhaps", "true or false"),
        ("memory.embedding=bert", "builtin/minilm, none, or PROVIDER/MODEL"),
        ("memory.embedding=builtin/other", "builtin/minilm, none"),
        ("memory.embedding=openai/two words", "builtin/minilm, none"),
        ("memory.embedding_api_base=localhost", "memory.embedding_api_base=http://"),
        (
            "fallback_models=a/b,,c/d",
            "empty text (--set). Next: for example: memos configure --set fallback_models=olla",
        ),
        ("call_format=xml", "call_format must be one of auto, native, json_schema, grammar, json_prompt, plain, dec"),
        ("road=rail", "road must be one of auto, httpx, litellm"),
        ("top_p=1.5", "top_p must be 1 or less"),
        ("seed=lucky", "a whole number"),
        ("reasoning_effort=hard", "reasoning_effort must be one of none, minimal, low"),
        ("embedded.format=auto", "There is no setting"),
        ("model", "key=value"),
        ("api_key=sk-123", "never holds one"),
        ("api_base=localhost", "an address such as"),
        ("api_base=http://[x", "an address such as"),
        ("limits=3", "There is no setting"),
        ("=3", "There is no setting"),
    ],
)
def test_a_wrong_assignment_is_refused_with_a_next_step(text: str, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_assignments([text])
    assert words in str(caught.value)
    assert caught.value.next_step


def test_a_list_is_taken_from_every_layer() -> None:
    from_environment = Settings.resolve({}, {"MEMOS_FALLBACK_MODELS": "a/b,c/d"}, {}, {})
    from_agent = Settings.resolve({}, {}, {"fallback_models": ["a/b", "c/d"]}, {"fallback_models": ("x/y",)})
    assert from_environment.config.fallback_models == from_agent.config.fallback_models == ("a/b", "c/d")
    assert Settings.resolve({}, {}, {"fallback_models": []}, {"fallback_models": ("x/y",)}).config.fallback_models == ()


@pytest.mark.parametrize("value", ["a/b", ["a/b", 3], {"a": 1}, [" "]])
def test_a_list_of_anything_else_than_texts_is_refused(value: object) -> None:
    with pytest.raises(BadInput, match="fallback_models"):
        Settings.resolve({}, {}, {"fallback_models": value}, {})


def test_a_wrong_value_in_the_environment_is_refused_by_its_name() -> None:
    with pytest.raises(BadInput, match="MEMOS_LIMITS_STEPS"):
        Settings.resolve({}, {"MEMOS_LIMITS_STEPS": "many"}, {}, {})


@given(st.lists(st.text()))
def test_no_assignment_whatever_raises_anything_but_a_sentence(texts: list[str]) -> None:
    try:
        parse_assignments(texts)
    except MemosError as error:
        assert error.what and error.next_step


def test_a_pasted_key_is_not_shown_by_printing_the_settings() -> None:
    assert "sk-abc" not in repr(Settings.resolve({}, {}, {}, {}, pasted_key="sk-abc"))
