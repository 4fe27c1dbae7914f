"""Which folder holds what."""

from pathlib import Path

import pytest

from memos.config import Places, shipped_folder


def test_memos_home_holds_config_data_and_state_but_not_the_weights(tmp_path: Path) -> None:
    places = Places.find({"MEMOS_HOME": str(tmp_path)})
    inside = [places.config_file, places.keys_file, places.database, places.vectors, places.locks, places.logs]
    assert all(tmp_path in path.parents for path in inside)
    assert tmp_path not in places.cache.parents
    assert Places.find({"MEMOS_HOME": str(tmp_path), "MEMOS_CACHE": "/weights"}).cache == Path("/weights")


def test_a_relative_home_is_taken_from_here_once_and_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Places.find({"MEMOS_HOME": "here"}).data == tmp_path / "here" / "data"


def test_a_tilde_is_the_home_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert Places.find({"MEMOS_HOME": "~/m"}).state == tmp_path / "m" / "state"


def test_without_memos_home_the_systems_places_are_used(tmp_path: Path) -> None:
    places = Places.find({})
    assert places.config_file.name == "config.toml"
    assert "memos" in places.data.parts[-1] or "memos" in str(places.data)


def test_asking_for_places_makes_none(tmp_path: Path) -> None:
    Places.find({"MEMOS_HOME": str(tmp_path / "x"), "MEMOS_CACHE": str(tmp_path / "y")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["personas", "humans"])
def test_what_ships_is_found(kind: str) -> None:
    assert list(shipped_folder(kind).glob("*.md"))  # type: ignore[arg-type]
