"""The first start asks once, and Enter is a good answer. Menus are driven by keys on a pipe."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from support.able_model import able
from support.fake_openai import FakeOpenAI, refused_url

from memos.cli.probing import offer
from memos.config import Places, Settings, read_config, store_key, stored_key, write_config
from memos.errors import BadInput, NotConfigured, ProcessorRefused
from memos.llm.catalogue import LocalServerKind, Provider
from memos.terminal.finds import builtin_options
from memos.terminal.first_run import ModelChoice, choose_model
from memos.terminal.menus import Menus
from memos.terminal.wizard import Choice, Wizard

os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"  # never the key store of whoever runs this

ENTER, DOWN, UP, CTRL_C, CTRL_D, CLEAR = "\r", "\x1b[B", "\x1b[A", "\x03", "\x04", "\x01\x0b"
NOWHERE: tuple[LocalServerKind, ...] = ()


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places.find({"MEMOS_HOME": str(tmp_path / "home"), "MEMOS_CACHE": str(tmp_path / "cache")})


@contextmanager
def keys(text: str) -> Iterator[Menus]:
    with create_pipe_input() as pipe:
        pipe.send_text(text)
        yield Menus(pipe, DummyOutput())


def lm_studio(server: FakeOpenAI) -> list[LocalServerKind]:
    return [LocalServerKind("LM Studio", server.port, "lm_studio")]


def answered(model: str = "a model") -> Callable[[Settings], str]:
    return lambda settings: f"{settings.config.model} answered"


def refused(settings: Settings) -> str:
    raise ProcessorRefused("It said no.", "choose another")


# --- the first run --------------------------------------------------------------------------------------------


def test_enter_takes_a_model_of_a_server_on_this_computer(places: Places) -> None:
    with FakeOpenAI(models=("one", "two")) as server, keys(ENTER) as menus:
        choice = choose_model(places, {}, menus, lm_studio(server))
    assert choice == ModelChoice("lm_studio/one", server.url)
    assert read_config(places.config_file).given == {"model": "lm_studio/one", "api_base": server.url}


def test_enter_takes_the_built_in_model_where_nothing_else_is_there(places: Places) -> None:
    with keys(ENTER) as menus:
        assert choose_model(places, {}, menus, NOWHERE) == ModelChoice("builtin/tiny")
    assert read_config(places.config_file).given == {"model": "builtin/tiny"}
    assert not places.cache.exists()  # nothing is fetched by choosing


def test_arrows_pick_another_line(places: Places) -> None:
    with FakeOpenAI(models=("one", "two")) as server, keys(DOWN + ENTER) as menus:
        assert choose_model(places, {}, menus, lm_studio(server)).model == "lm_studio/two"


@pytest.mark.parametrize("key", [CTRL_C, DOWN + CTRL_C])
def test_leaving_the_menu_changes_nothing(places: Places, key: str) -> None:
    with keys(key) as menus, pytest.raises(NotConfigured, match="No model was chosen"):
        choose_model(places, {}, menus, NOWHERE)
    assert not places.config_file.exists()


def test_a_provider_without_a_list_is_asked_for_by_name(places: Places) -> None:
    """Bedrock shows itself by AWS variables and has no list of models to ask for."""
    with keys(ENTER + "vendor.model-v1:0" + ENTER) as menus:
        choice = choose_model(places, {"AWS_PROFILE": "work"}, menus, NOWHERE)
    assert choice.model == "bedrock/vendor.model-v1:0"


def test_the_last_line_leads_to_all_the_questions(places: Places) -> None:
    with FakeOpenAI(models=("own",)) as server:
        server_by_address = UP + UP + ENTER + CLEAR + server.url + ENTER + ENTER + ENTER
        with keys(UP + ENTER + server_by_address + ENTER + ENTER) as menus:
            choice = choose_model(places, {}, menus, NOWHERE)
    assert choice == ModelChoice("openai/own", server.url)


def test_the_small_model_is_taken_after_its_size_and_memory_were_agreed_to(places: Places) -> None:
    with keys(DOWN + ENTER + "n" + DOWN + ENTER + "y") as menus:
        assert choose_model(places, {}, menus, NOWHERE) == ModelChoice("builtin/small")
    assert read_config(places.config_file).given == {"model": "builtin/small"}
    assert not places.cache.exists()


def test_the_menu_says_what_each_built_in_model_costs_and_what_is_there_comes_first(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tiny, _), (small, name) = builtin_options(places.cache)
    assert "93 MB, fetched once" in tiny and name == "builtin/small"
    assert "1.1 GB, fetched once; 1.6 GB memory" in small
    monkeypatch.setattr("memos.llm.weights.is_present", lambda *_: True)
    assert [name for _, name in builtin_options(places.cache)] == ["builtin/small", "builtin/tiny"]


# --- the wizard -----------------------------------------------------------------------------------------------


def wizard(places: Places, menus: Menus, trial: Callable[[Settings], str] | None = None) -> Wizard:
    settings = Settings.resolve({}, {}, {}, read_config(places.config_file).given)
    return Wizard(places, {}, settings, menus, trial, NOWHERE)


SERVER = UP + UP + ENTER  # the last but one line of the first menu


def test_a_server_by_its_address_with_a_pasted_key(places: Places) -> None:
    tried: list[tuple[str, str, str]] = []

    def trial(settings: Settings) -> str:
        tried.append((settings.config.model, settings.config.api_base, settings.pasted_key))
        assert not places.keys_file.exists() and not places.config_file.exists()
        return "It answered."

    with FakeOpenAI(models=("own",)) as server:
        without_version = server.url.removesuffix("/v1")
        typed = SERVER + CLEAR + without_version + ENTER + "sk-pasted" + ENTER + ENTER
        with keys(typed + ENTER + ENTER) as menus:
            wizard(places, menus, trial).run()
    assert tried == [("openai/own", server.url, "sk-pasted")]
    given = read_config(places.config_file).given
    assert (given["model"], given["api_base"]) == ("openai/own", server.url)
    key = stored_key(places, f"127.0.0.1:{server.port}")
    assert key is not None and key.value == "sk-pasted"
    assert "sk-pasted" not in places.config_file.read_text()


@pytest.mark.parametrize(("answer", "calls"), [("y", 5), (ENTER, 0)])
def test_after_a_good_trial_probes_are_offered_and_enter_alone_makes_none(
    places: Places, answer: str, calls: int
) -> None:
    def try_out(settings: Settings, menus: Menus) -> None:
        offer(settings, places, {}, menus)

    settings = Settings.resolve({}, {}, {}, {})
    with FakeOpenAI(able, models=("own",)) as server:
        typed = SERVER + CLEAR + server.url + ENTER + "sk-pasted" + ENTER + ENTER + answer + ENTER + ENTER
        with keys(typed) as menus:
            Wizard(places, {}, settings, menus, answered(), NOWHERE, try_out).run()
        assert len(server.requests) == calls
        assert all(request.headers["authorization"] == "Bearer sk-pasted" for request in server.requests)
    assert read_config(places.config_file).given["model"] == "openai/own"


def test_ctrl_c_at_any_question_leaves_everything_as_it_was(places: Places) -> None:
    write_config(places.config_file, {"model": "a/b", "persona": "sam"})
    before = places.config_file.read_bytes()
    with FakeOpenAI(models=("own",)) as server:
        steps = [SERVER, CLEAR + server.url + ENTER, "sk-pasted" + ENTER, ENTER, ENTER, ""]
        for number in range(len(steps)):
            with keys("".join(steps[:number]) + CTRL_C) as menus, pytest.raises(KeyboardInterrupt):
                wizard(places, menus, answered()).run()
            assert places.config_file.read_bytes() == before
            assert not places.keys_file.exists()


def test_enter_all_the_way_keeps_what_is_set(places: Places) -> None:
    write_config(places.config_file, {"model": "a/b", "persona": "sam", "human": "example", "window_tokens": 4096})
    before = read_config(places.config_file).given
    with keys(ENTER * 3) as menus:
        wizard(places, menus, answered()).run()
    assert read_config(places.config_file).given == before


def test_another_model_does_not_inherit_address_key_and_window(places: Places) -> None:
    write_config(
        places.config_file,
        {"model": "a/b", "api_base": "http://x/v1", "api_key_env": "WORK", "window_tokens": 9, "limits.steps": 5},
    )
    with keys(DOWN + ENTER + ENTER + ENTER) as menus:
        wizard(places, menus, answered()).run()
    given = read_config(places.config_file).given
    assert given == {"model": "builtin/tiny", "human": "basic", "limits.steps": 5}


def test_a_large_model_that_is_declined_leads_back_to_the_first_question(places: Places) -> None:
    with keys(DOWN + ENTER + "n" + DOWN + ENTER + "y" + ENTER + ENTER) as menus:
        wizard(places, menus, refused).run()  # what is not on the disk yet is not tried
    assert read_config(places.config_file).given["model"] == "builtin/small"


def test_a_model_that_fails_its_trial_is_kept_only_when_the_user_says_so(places: Places) -> None:
    with FakeOpenAI(models=("own",)) as server:
        road = SERVER + CLEAR + server.url + ENTER + ENTER + ENTER
        with keys(road + DOWN + DOWN + ENTER + ENTER + ENTER) as menus:
            wizard(places, menus, refused).run()
        assert read_config(places.config_file).given["model"] == "openai/own"
        with keys(road + ENTER + CTRL_C) as menus, pytest.raises(KeyboardInterrupt):  # choose again, then leave
            wizard(places, menus, refused).run()


def test_an_address_that_does_not_answer_leads_back_to_the_first_question(places: Places) -> None:
    road = SERVER + CLEAR + refused_url() + ENTER + ENTER
    with keys(road + ENTER + ENTER + ENTER) as menus:  # then the built-in model
        wizard(places, menus).run()
    assert read_config(places.config_file).given["model"] == "builtin/tiny"


def test_a_gguf_file_is_named_by_its_whole_path(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    monkeypatch.chdir(tmp_path)
    with keys(UP + ENTER + "no.gguf" + ENTER + UP + ENTER + "m.gguf" + ENTER + ENTER + ENTER) as menus:
        wizard(places, menus).run()
    assert read_config(places.config_file).given["model"] == f"gguf:{tmp_path / 'm.gguf'}"


def test_an_unreadable_config_is_not_overwritten(places: Places) -> None:
    places.config_file.parent.mkdir(parents=True)
    places.config_file.write_text("model = ")
    with keys(ENTER) as menus, pytest.raises(BadInput):
        choose_model(places, {}, menus, NOWHERE)
    assert places.config_file.read_text() == "model = "


# --- a provider, which in a test is a server on loopback ------------------------------------------------------


def provider(server: FakeOpenAI) -> Provider:
    return Provider("acme", "Acme", ("ACME_API_KEY",), f"{server.url}/models")


def test_a_provider_without_a_known_key_asks_for_one_and_then_for_its_models(places: Places) -> None:
    with FakeOpenAI(models=("small", "large")) as server, keys(ENTER + "sk-acme" + ENTER + DOWN + ENTER) as menus:
        choice = wizard(places, menus)._choose(provider(server))
    assert choice == Choice("acme/large", pasted_key="sk-acme")
    assert not places.keys_file.exists()


def test_a_stored_key_is_offered_and_used(places: Places) -> None:
    store_key(places, "acme", "sk-stored")
    with FakeOpenAI(models=("small",)) as server, keys(ENTER + ENTER) as menus:
        assert wizard(places, menus)._choose(provider(server)) == Choice("acme/small")


def test_a_key_of_the_environment_is_used_without_a_question(places: Places) -> None:
    with FakeOpenAI(models=("small",)) as server, keys(ENTER) as menus:
        settings = Settings.resolve({}, {}, {}, {})
        asking = Wizard(places, {"ACME_API_KEY": "sk-env"}, settings, menus, None, NOWHERE)
        assert asking._choose(provider(server)) == Choice("acme/small")


def test_a_name_can_be_typed_that_no_list_holds(places: Places) -> None:
    with FakeOpenAI(models=("small",)) as server, keys(UP + ENTER + ENTER + "other" + ENTER) as menus:
        asking = Wizard(places, {"ACME_API_KEY": "sk-env"}, Settings.resolve({}, {}, {}, {}), menus, None, NOWHERE)
        assert asking._choose(provider(server)).model == "acme/other"


def test_a_long_list_can_be_narrowed_by_typing(places: Places) -> None:
    names = (*(f"model-{number}" for number in range(40)), "needle")
    with FakeOpenAI(models=names) as server, keys("needl" + ENTER) as menus:
        asking = Wizard(places, {"ACME_API_KEY": "sk-env"}, Settings.resolve({}, {}, {}, {}), menus, None, NOWHERE)
        assert asking._choose(provider(server)).model == "acme/needle"
