"""What the model has read of our prompts outlives the process; what the user said does not get there."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import pytest

from memos.llm.engine import Engine
from memos.llm.weights import builtin_weights

pytestmark = pytest.mark.builtin_model

SHOTS = "rose => flower\niron => metal\n" * 4


@pytest.fixture(scope="module")
def weights(builtin_cache: Path) -> Path:
    return builtin_weights(builtin_cache, lambda _: None)


def loaded(weights: Path, folder: Path) -> Engine:
    return Engine(weights, threads=1, window_tokens=256, slots=2, prefix_folder=folder)


def test_a_prefix_read_once_costs_the_next_process_nothing(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "prefixes"
    first = loaded(weights, folder)
    assert not first.restore_prefix(SHOTS, 1)
    first.read_prefix(SHOTS, 1)
    alone = first.next_token(f"{SHOTS}gold =>", [" flower", " metal"], slot=1)
    first.close()
    second = loaded(weights, folder)
    assert second.restore_prefix(SHOTS, 1)
    done = second.complete(f"{SHOTS}oak =>", max_tokens=1, slot=1)
    assert done.usage.prompt_tokens is not None and done.usage.cached_tokens is not None
    assert done.usage.prompt_tokens - done.usage.cached_tokens < 8
    again = second.next_token(f"{SHOTS}gold =>", [" flower", " metal"], slot=1)
    assert again == pytest.approx(alone, abs=0.05)
    second.close()


def test_other_words_or_another_slot_are_read_anew_and_replace_the_old_file(weights: Path, tmp_path: Path) -> None:
    engine = loaded(weights, tmp_path)
    engine.read_prefix(SHOTS, 0)
    assert not engine.restore_prefix(SHOTS + "tin => metal\n", 0)
    assert not engine.restore_prefix(SHOTS, 1)
    engine.read_prefix(SHOTS + "tin => metal\n", 0)
    assert len(list(tmp_path.iterdir())) == 1
    engine.close()


def test_the_files_are_the_owners_alone_and_a_damaged_one_is_passed_over(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "prefixes"
    engine = loaded(weights, folder)
    engine.read_prefix(SHOTS, 0)
    engine.close()
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    file.write_bytes(file.read_bytes()[:5000])
    engine = loaded(weights, folder)
    assert not engine.restore_prefix(SHOTS, 0)
    assert engine.complete(f"{SHOTS}oak =>", max_tokens=1).text
    engine.close()


def test_after_the_door_is_closed_nothing_is_kept_and_no_folder_is_left(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doors = tmp_path / "doors"
    doors.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(doors))
    folder = tmp_path / "prefixes"
    engine = loaded(weights, folder)
    assert len(list(doors.iterdir())) == 1
    engine.close_door()
    assert not list(doors.iterdir())
    engine.read_prefix(SHOTS, 0)
    assert not list(folder.iterdir())
    assert engine.complete(f"{SHOTS}oak =>", max_tokens=1).text
    engine.close()
