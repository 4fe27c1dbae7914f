"""`memos models`: a built-in model is fetched after a yes, and what it takes of the disk can be freed."""

from __future__ import annotations

import hashlib
import mmap
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pexpect
import pytest
from support.command_line import clean_environ
from support.fake_hub import MODEL, PAYLOAD, FakeHub

from memos.cli import main
from memos.cli.configure import configure
from memos.cli.list import agent_rows, model_rows
from memos.cli.models import agree_first
from memos.cli.trial import try_model
from memos.config import Places, Settings, read_config
from memos.errors import BadInput, MemosError
from memos.llm.hub_weights import partial_path
from memos.llm.slot_files import SlotFiles
from memos.llm.weights import BUILTIN, builtin_weights, weights_path

SMALL = "builtin/small"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """The hub, with a small file in the place of the pinned one."""
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(BUILTIN, SMALL, MODEL)
    with FakeHub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        yield running


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("MEMOS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEMOS_CACHE", str(tmp_path / "cache"))
    return Places.find({"MEMOS_HOME": str(tmp_path / "home"), "MEMOS_CACHE": str(tmp_path / "cache")})


def memos(*words: str) -> int:
    return main(list(words))


def weights(places: Places) -> Path:
    return weights_path(places.cache, MODEL)


def list_agents(home: Path) -> list[dict[str, object]]:
    return agent_rows(Places.find({"MEMOS_HOME": str(home)}))


def row(places: Places) -> dict[str, object]:
    (found,) = [row for row in model_rows(places, {}) if row["model"] == SMALL]
    return found


# --- get ------------------------------------------------------------------------------------------------------


def test_size_memory_licence_and_source_are_said_before_it_is_fetched(
    hub: FakeHub, places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    assert memos("models", "get", SMALL, "--yes") == 0
    told = capsys.readouterr().err
    costs, fetching = told.index("3 MB from 127.0.0.1, Someone/Small-GGUF"), told.index("fetching the model")
    assert costs < told.index("1.6 GB of memory") < fetching
    assert "Apache-2.0" in told[:fetching]
    assert weights(places).read_bytes() == PAYLOAD
    assert memos("models", "get", SMALL) == 0  # nothing to ask about
    assert "there already" in capsys.readouterr().err


def test_where_nobody_can_be_asked_a_yes_is_needed(
    hub: FakeHub, places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    assert memos("models", "get", SMALL) == 2
    assert f"memos models get {SMALL} --yes" in capsys.readouterr().err
    assert hub.asked == []


@pytest.mark.parametrize("name", ["builtin/huge", "openai/gpt", "gguf:/x.gguf"])
def test_what_memos_does_not_have_is_refused_by_name(
    places: Places, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert memos("models", "get", name, "--yes") == 2
    assert f"cannot fetch {name}" in capsys.readouterr().err


@pytest.mark.terminal
def test_at_a_terminal_a_no_fetches_nothing(tmp_path: Path) -> None:
    child = pexpect.spawn(
        sys.executable, ["-m", "memos", "models", "get", SMALL],
        env=clean_environ(tmp_path / "home", MEMOS_CACHE=str(tmp_path / "cache"), HF_ENDPOINT="http://127.0.0.1:9"),
        encoding="utf-8", timeout=30, cwd="/",
    )  # fmt: skip
    child.expect_exact("1,117 MB from 127.0.0.1")
    child.expect_exact("Fetch it? [y/N]")
    child.sendline("n")
    child.expect_exact("Nothing was fetched.")
    child.expect(pexpect.EOF)
    assert not (tmp_path / "cache" / "models").exists()


# --- who names it elsewhere -----------------------------------------------------------------------------------


def test_a_setting_is_consent_and_the_model_is_there_before_the_trial(
    hub: FakeHub, places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fake file is no model: the trial fails, and it fails after the download, not by its time limit."""
    with pytest.raises(MemosError, match=r"small\.gguf"):
        configure([f"model={SMALL}"], non_interactive=True, show=False, test=True)
    told = capsys.readouterr().err
    assert told.index("3 MB from") < told.index("fetching the model") < told.index("Trying")
    assert weights(places).exists() and not places.config_file.exists()


def test_a_setting_without_a_trial_fetches_nothing_yet(hub: FakeHub, places: Places) -> None:
    assert configure([f"model={SMALL}"], non_interactive=True, show=False, test=False) == 0
    assert read_config(places.config_file).given == {"model": SMALL}
    assert hub.asked == []


def test_a_run_says_what_it_will_fetch(hub: FakeHub, places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    agree_first(places, SMALL, named_here=False)
    assert "is fetched once: 3 MB" in capsys.readouterr().err
    builtin_weights(places.cache, lambda _: None, MODEL)
    for model in (SMALL, "openai/gpt"):
        agree_first(places, model, named_here=True)
    assert capsys.readouterr().err == ""
    agree_first(places, "builtin/tiny", named_here=True)
    told = capsys.readouterr().err
    assert "93 MB from your package index, 19 s at 5 MB a second" in told and str(places.cache) in told


@pytest.mark.terminal
def test_a_run_that_names_it_asks_first_and_a_no_leaves_nothing_behind(tmp_path: Path) -> None:
    child = pexpect.spawn(
        sys.executable, ["-m", "memos", "run", "--model", SMALL],
        env=clean_environ(tmp_path / "home", MEMOS_CACHE=str(tmp_path / "cache"), HF_ENDPOINT="http://127.0.0.1:9"),
        encoding="utf-8", timeout=30, cwd="/",
    )  # fmt: skip
    child.expect(r"1\.6\s+GB\s+of\s+memory")
    child.expect_exact("Fetch it? [y/N]")
    child.sendline("")
    child.expect_exact("builtin/small was not fetched.")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 3
    assert list_agents(tmp_path / "home") == []


@pytest.mark.builtin_model
def test_the_model_is_fetched_when_it_is_first_asked_and_then_answers(
    hub: FakeHub, places: Places, builtin_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the tiny model's weights in the place of the small one's: 98 MB come from the hub, and they speak."""
    hub.payload = builtin_weights(builtin_cache, lambda _: None).read_bytes()
    hub.etag = hashlib.sha256(hub.payload).hexdigest()
    monkeypatch.setitem(BUILTIN, SMALL, replace(MODEL, size_bytes=len(hub.payload), sha256=hub.etag))
    settings = Settings.resolve({"model": SMALL}, {}, {}, {})
    told = try_model(settings, places, {})
    assert "builtin/small answered" in told and "calls functions" in told
    assert len(hub.downloads()) == 1
    assert try_model(settings, places, {})
    assert len(hub.downloads()) == 1


# --- list and remove ------------------------------------------------------------------------------------------


def test_the_list_says_what_is_on_the_disk_and_in_part(hub: FakeHub, places: Places) -> None:
    assert (row(places)["on_disk"], row(places)["bytes_on_disk"]) == (False, 0)
    partial = partial_path(weights(places), MODEL)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(PAYLOAD[:1000])
    assert (row(places)["on_disk"], row(places)["bytes_on_disk"]) == (False, 1000)
    builtin_weights(places.cache, lambda _: None, MODEL)
    assert (row(places)["on_disk"], row(places)["bytes_on_disk"]) == (True, len(PAYLOAD))


def test_removing_frees_weights_and_parts_and_says_how_much(
    hub: FakeHub, places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    builtin_weights(places.cache, lambda _: None, MODEL)
    partial_path(weights(places), MODEL).write_bytes(b"x")
    (places.cache / "prefixes").mkdir()
    read_once = SlotFiles(places.cache / "prefixes", weights(places), Path("no-door"), "", engine="1")
    kept = places.cache / "prefixes" / f"{read_once._stem(0, 'Examples')}-0.slot"
    for path in (kept, kept.with_name("other-0.slot")):
        path.write_bytes(b"x")
    assert memos("models", "remove", SMALL) == 2  # nobody to ask
    assert memos("models", "remove", SMALL, "--yes") == 0
    assert "3 MB are free again" in capsys.readouterr().err
    assert [path.name for path in weights(places).parent.iterdir() if path.suffix != ".lock"] == []
    assert [path.name for path in kept.parent.iterdir()] == ["other-0.slot"]
    assert memos("models", "remove", SMALL, "--yes") == 2
    assert "Nothing of builtin/small is on this disk" in capsys.readouterr().err


def test_a_model_that_a_process_has_in_its_memory_stays(
    hub: FakeHub, places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    builtin_weights(places.cache, lambda _: None, MODEL)
    with weights(places).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        assert memos("models", "remove", SMALL, "--yes") == 2
    assert "in use by process" in capsys.readouterr().err
    assert weights(places).exists()


def test_a_model_that_is_being_fetched_stays(hub: FakeHub, places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    hub.chunk_pause_s = 0.05
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(builtin_weights, places.cache, lambda _: None, MODEL)
        while not partial_path(weights(places), MODEL).exists():
            time.sleep(0.01)
        assert memos("models", "remove", SMALL, "--yes") == 2
        assert "being fetched by another memos" in capsys.readouterr().err
        fetching.result()


def test_a_gguf_file_is_removed_from_the_cache_folder_alone(places: Places, tmp_path: Path) -> None:
    own, cached = tmp_path / "own.gguf", places.cache / "more.gguf"
    cached.parent.mkdir(parents=True)
    for path in (own, cached):
        path.write_bytes(b"GGUF")
    assert memos("models", "remove", f"gguf:{own}", "--yes") == 2
    assert memos("models", "remove", f"gguf:{cached}", "--yes") == 0
    assert own.exists() and not cached.exists()


def test_a_model_elsewhere_is_not_on_this_disk(places: Places) -> None:
    from memos.cli.models import remove

    with pytest.raises(BadInput, match="no model that lies on this disk"):
        remove("openai/gpt", yes=True)
