"""Weights from the hub: gone on with after any end, checked, and no word to anybody else. A real hub on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_hub import FILE, MODEL, PAYLOAD, REPOSITORY, REVISION, FakeHub

from memos.errors import MemosError, ProcessorUnreachable, StorageProblem
from memos.llm.hub_weights import HubModel, hub_address, partial_path
from memos.llm.weights import SMALL, builtin_weights, is_present, weights_path
from memos.messages import Progress

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with FakeHub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memos.llm.hub_weights._PAUSE_S", 0.0)


def fetch(cache: Path, model: HubModel = MODEL) -> list[Progress]:
    seen: list[Progress] = []
    assert builtin_weights(cache, seen.append, model) == weights_path(cache, model)
    return seen


def fetching_process(cache: Path, **environ: str) -> subprocess.Popen[str]:
    """Begin to fetch in a process of its own."""
    code = (
        "import sys, pathlib; from support.fake_hub import MODEL; from memos.llm.weights import builtin_weights\n"
        "builtin_weights(pathlib.Path(sys.argv[1]), lambda _: None, MODEL)"
    )
    path = f"{CHECKOUT}{os.pathsep}{CHECKOUT / 'tests'}"
    return subprocess.Popen(
        [sys.executable, "-c", code, str(cache)],
        env={**os.environ, "PYTHONPATH": path, **environ},
        stderr=subprocess.PIPE,
        text=True,
    )


def partial(cache: Path) -> Path:
    return partial_path(weights_path(cache, MODEL), MODEL)


def leave_a_part(cache: Path, content: bytes) -> None:
    partial(cache).parent.mkdir(parents=True)
    partial(cache).write_bytes(content)


# --- the whole way --------------------------------------------------------------------------------------------


def test_the_file_is_fetched_checked_and_its_owners_alone(hub: FakeHub, cache: Path) -> None:
    seen = fetch(cache)
    path = weights_path(cache, MODEL)
    assert path.read_bytes() == PAYLOAD
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not partial(cache).exists()
    assert seen[0] == Progress("fetching the model", 0.0, "0 of 3 MB")
    assert seen[-1] == Progress("checking the model")
    assert any("MB a second" in part.detail and "left" in part.detail for part in seen)


def test_nothing_but_that_file_is_asked_for_and_nobody_is_told_who_asks(
    hub: FakeHub, cache: Path, tmp_path: Path
) -> None:
    """In a process of its own: a token that another program left in its file is not sent, and no list is fetched."""
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text("hf_left_by_another")
    assert fetching_process(cache, HF_HOME=str(tmp_path / "hf")).wait(60) == 0
    page = f"/{REPOSITORY}/resolve/{REVISION}/{FILE}"
    assert [(asked.method, asked.path) for asked in hub.asked] == [
        ("HEAD", page), ("GET", page), ("GET", f"/store/{FILE}"),
    ]  # fmt: skip
    assert {asked.token for asked in hub.asked} == {""}
    assert all(asked.agent.startswith("memos/") and ";" not in asked.agent for asked in hub.asked)


def test_a_token_of_the_environment_goes_to_the_hub_and_not_to_its_store(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    fetch(cache)
    assert [asked.token for asked in hub.asked] == ["Bearer hf_mine", "Bearer hf_mine", ""]


def test_a_proxy_of_the_environment_is_gone_through(cache: Path, tmp_path: Path) -> None:
    """The hub's name resolves nowhere: only the proxy, which the fake hub plays, can have answered."""
    with FakeHub() as proxy:
        process = fetching_process(
            cache, HF_ENDPOINT="http://hub.invalid", http_proxy=proxy.address, no_proxy="localhost"
        )
        _, errors = process.communicate(timeout=60)
    assert "hub.invalid answered 404" in errors  # the fake knows no absolute addresses
    assert [asked.host for asked in proxy.asked] == ["hub.invalid"]


def test_weights_that_are_there_are_not_asked_for_again(hub: FakeHub, cache: Path) -> None:
    fetch(cache)
    asked = len(hub.asked)
    assert fetch(cache) == []
    assert is_present(cache, MODEL) and len(hub.asked) == asked


def test_many_at_once_fetch_once(hub: FakeHub, cache: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fetch(cache), range(4)))
    assert len(hub.downloads()) == 1


# --- going on -------------------------------------------------------------------------------------------------


def test_a_download_that_was_killed_goes_on_where_it_was(hub: FakeHub, cache: Path) -> None:
    hub.chunk_pause_s = 0.05
    process = fetching_process(cache)
    ends = time.monotonic() + 60
    while time.monotonic() < ends and not (partial(cache).exists() and partial(cache).stat().st_size > 600_000):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    there = partial(cache).stat().st_size
    assert 600_000 < there < len(PAYLOAD)
    hub.chunk_pause_s = 0.0
    fetch(cache)
    assert hub.downloads()[-1].first_byte == there
    assert weights_path(cache, MODEL).read_bytes() == PAYLOAD


@pytest.mark.usefixtures("no_pause")
def test_a_line_that_breaks_is_taken_up_again(hub: FakeHub, cache: Path) -> None:
    hub.cuts_at = [1_000_000, 700_000]
    fetch(cache)
    assert [asked.first_byte for asked in hub.downloads()] == [0, 1_000_000, 1_700_000]
    assert weights_path(cache, MODEL).read_bytes() == PAYLOAD


@pytest.mark.usefixtures("no_pause")
def test_a_line_that_stays_dead_is_told_and_what_came_is_kept(hub: FakeHub, cache: Path) -> None:
    hub.cuts_at = [500_000] + [0] * 10
    with pytest.raises(ProcessorUnreachable, match="could not be fetched") as caught:
        fetch(cache)
    assert "goes on where it was" in caught.value.next_step
    assert partial(cache).stat().st_size == 500_000
    assert len(hub.downloads()) == 5


def test_a_server_without_ranges_is_read_from_the_beginning(hub: FakeHub, cache: Path) -> None:
    leave_a_part(cache, PAYLOAD[:1_000_000])
    hub.knows_ranges = False
    fetch(cache)
    assert weights_path(cache, MODEL).read_bytes() == PAYLOAD


def test_a_part_that_is_whole_is_only_checked(hub: FakeHub, cache: Path) -> None:
    leave_a_part(cache, PAYLOAD)
    fetch(cache)
    assert hub.asked == []


def test_whoever_watches_can_end_it(hub: FakeHub, cache: Path) -> None:
    """The processor's report raises once it is closed: the thread ends, and what came is kept."""

    def closed(progress: Progress) -> None:
        if progress.fraction:
            raise ProcessorUnreachable("The embedded model has been closed.", "run memos again")

    hub.chunk_pause_s = 0.05
    with pytest.raises(ProcessorUnreachable, match="closed"):
        builtin_weights(cache, closed, MODEL)
    assert 0 < partial(cache).stat().st_size < len(PAYLOAD)


def test_who_waits_for_another_process_can_be_ended_too(hub: FakeHub, cache: Path) -> None:
    hub.chunk_pause_s = 0.05

    def closed(progress: Progress) -> None:
        assert progress.phase.startswith("waiting for another memos")
        raise ProcessorUnreachable("The embedded model has been closed.", "run memos again")

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(fetch, cache)
        while not partial(cache).exists():
            time.sleep(0.01)
        with pytest.raises(ProcessorUnreachable, match="closed"):
            builtin_weights(cache, closed, MODEL)
        first.result()


# --- what is refused ------------------------------------------------------------------------------------------


def wrong(hub: FakeHub, **changes: object) -> None:
    for name, value in changes.items():
        setattr(hub, name, value)


@pytest.mark.parametrize(
    ("changes", "downloads"),
    [
        ({"etag": "f" * 64}, 0),  # said before a gigabyte comes
        ({"payload": PAYLOAD + b"!"}, 0),
        ({"payload": PAYLOAD[:-1] + b"!"}, 1),  # the hub says one thing and its store sends another
        ({"payload": PAYLOAD[:-1] + b"!", "etag": "of-a-mirror"}, 1),
    ],
)
def test_another_file_than_expected_is_refused_and_removed(
    hub: FakeHub, cache: Path, changes: dict[str, object], downloads: int
) -> None:
    wrong(hub, **changes)
    with pytest.raises(ProcessorUnreachable, match="another file") as caught:
        fetch(cache)
    assert caught.value.next_step
    assert len(hub.downloads()) == downloads
    assert not partial(cache).exists() and not weights_path(cache, MODEL).exists()


def test_a_broken_part_of_an_earlier_run_is_refused_and_removed(hub: FakeHub, cache: Path) -> None:
    leave_a_part(cache, b"?" * 1000)
    with pytest.raises(ProcessorUnreachable, match="another file"):
        fetch(cache)
    fetch(cache)
    assert weights_path(cache, MODEL).read_bytes() == PAYLOAD


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize(("status", "times"), [(404, 1), (401, 1), (403, 1), (503, 5), (429, 5)])
def test_a_hub_that_refuses_is_told_by_its_status(hub: FakeHub, cache: Path, status: int, times: int) -> None:
    hub.status = status
    with pytest.raises(ProcessorUnreachable, match=f"127.0.0.1 answered {status}") as caught:
        fetch(cache)
    assert "\n" not in str(caught.value)
    assert len(hub.asked) == times


@pytest.mark.usefixtures("no_pause")
def test_a_hub_that_is_not_there_is_told_without_its_password(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.server.shutdown()
    hub.server.server_close()
    monkeypatch.setenv("HF_ENDPOINT", hub.address.replace("//", "//ana:secret@"))
    with pytest.raises(ProcessorUnreachable, match="could not be fetched") as caught:
        fetch(cache)
    assert "secret" not in str(caught.value)


def test_a_disk_without_room_is_told_before_anything_comes(
    hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = replace(MODEL, size_bytes=shutil.disk_usage(cache.parent).free + 1)
    with pytest.raises(StorageProblem, match="are free"):
        fetch(cache, huge)
    assert hub.asked == []


def test_offline_mode_of_the_hub_is_kept(hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MemosError, match="offline mode"):
        fetch(cache)
    assert hub.asked == []


# --- the model that is pinned ---------------------------------------------------------------------------------


def test_the_small_model_is_pinned_by_commit_size_and_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert len(SMALL.revision) == 40 and len(SMALL.sha256) == 64
    assert SMALL.size_bytes == 1_117_320_736
    assert SMALL.source == "huggingface.co, Qwen/Qwen2.5-1.5B-Instruct-GGUF"
    assert hub_address() == "https://huggingface.co"
