"""A key goes to whom it was given to, and is shown to nobody."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos.config import Places, Settings, find_key, store_key
from memos.config.keys import Key, key_name, stored_key
from memos.errors import BadInput

KEY = "sk-0123456789abcdefghij"
OPENAI = ("OPENAI_API_KEY",)


def settings(**flags: object) -> Settings:
    return Settings.resolve({"model": "openai/x", **flags}, {}, {}, {})


def found(places: Places, environ: dict[str, str], **flags: object) -> Key | None:
    return find_key(settings(**flags), places, environ, provider="openai", variables=OPENAI)


def test_the_environment_comes_before_what_is_stored(places: Places) -> None:
    store_key(places, "openai", "stored-key")
    assert found(places, {"OPENAI_API_KEY": KEY}) == Key(KEY, "environment OPENAI_API_KEY")
    assert found(places, {}) == Key("stored-key", str(places.keys_file))


def test_the_named_variable_comes_before_the_usual_one(places: Places) -> None:
    key = found(places, {"OPENAI_API_KEY": KEY, "WORK": "work-key"}, api_key_env="WORK")
    assert key is not None and (key.value, key.origin) == ("work-key", "environment WORK")


def test_a_named_variable_that_is_not_set_is_one_sentence(places: Places) -> None:
    with pytest.raises(BadInput, match="WORK"):
        found(places, {"OPENAI_API_KEY": KEY}, api_key_env="WORK")


def test_a_providers_key_is_not_sent_to_another_server(places: Places) -> None:
    store_key(places, "openai", "stored-key")
    assert found(places, {"OPENAI_API_KEY": KEY}, api_base="http://127.0.0.1:1234/v1") is None


def test_a_servers_own_key_is_found_by_its_address(places: Places) -> None:
    store_key(places, key_name("openai", "http://Box.lan:8080/v1"), "box-key")
    key = found(places, {"OPENAI_API_KEY": KEY}, api_base="http://box.lan:8080/other")
    assert key is not None and key.value == "box-key"
    assert found(places, {}, api_base="http://box.lan:8081/v1") is None


def test_a_key_file_is_for_its_owner_alone_and_closed_again_if_opened(places: Places) -> None:
    store_key(places, "openai", KEY)
    assert stat.S_IMODE(places.keys_file.stat().st_mode) == 0o600
    places.keys_file.chmod(0o644)
    assert stored_key(places, "openai") is not None
    assert stat.S_IMODE(places.keys_file.stat().st_mode) == 0o600


def test_a_second_key_leaves_the_first_alone(places: Places) -> None:
    store_key(places, "openai", "one")
    store_key(places, "box.lan:8080", "two")
    store_key(places, "openai", "three")
    values = [stored_key(places, name) for name in ("openai", "box.lan:8080")]
    assert [key.value for key in values if key] == ["three", "two"]


@pytest.mark.parametrize("value", ["", "  ", "two words", "line\nbreak", "esc\x1b[0m", "del\x7f"])
def test_what_cannot_be_a_key_is_refused(places: Places, value: str) -> None:
    with pytest.raises(BadInput):
        store_key(places, "openai", value)
    assert not places.keys_file.exists()


def test_a_broken_key_file_is_named_without_quoting_it(places: Places) -> None:
    places.keys_file.parent.mkdir(parents=True)
    places.keys_file.write_text(f"openai = {KEY}\n")
    with pytest.raises(BadInput) as caught:
        stored_key(places, "openai")
    assert KEY not in str(caught.value)


def test_no_way_of_printing_a_key_shows_it() -> None:
    key = Key(KEY, "pasted")
    for text in (repr(key), str(key), f"{key}", key.masked, repr([key])):
        assert KEY not in text and KEY[:8] not in text
    assert Key("short", "pasted").masked == "…"


@given(value=st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60))
def test_a_key_that_was_stored_is_found_as_it_was(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    places = Places.find({"MEMOS_HOME": str(tmp_path_factory.mktemp("home"))})
    try:
        store_key(places, "openai", value)
    except BadInput:
        return
    key = stored_key(places, "openai")
    assert key is not None and key.value == value.strip()
