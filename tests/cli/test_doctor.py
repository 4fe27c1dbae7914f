"""`memos doctor`: each part that is not well is a line with a next step, and the exit code is that of the first."""

from __future__ import annotations

import json
import sqlite3
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from support.able_model import able
from support.command_line import clean_environ, memos
from support.fake_anthropic import fake_anthropic
from support.fake_embeddings import FakeEmbeddings
from support.fake_openai import FakeOpenAI, refused_url
from support.fake_openai_like import FakeKobold
from support.search_home import search_home

from memos.cli.checks import computer
from memos.cli.doctor import Wanted, doctor
from memos.cli.list import list_things
from memos.config import Places, write_config
from memos.errors import BadInput
from memos.llm.capability_card import CapabilityCard, FormatName
from memos.llm.quiet_litellm import REFUSED_VERSIONS
from memos.memory.index import builtin_embedder
from memos.memory.indexer import BATCH_ROWS
from memos.storage.agent_lock import AgentLock
from memos.storage.agents import Agents
from memos.storage.database import SCHEMA_VERSION, Database
from memos.storage.model_notes import ModelNotes
from memos.storage.vectors import VectorTable

CHECKS = ["memos", "sqlite", "litellm", "folders", "disk", "store", "settings"]
OF_THE_MODEL = ["model", "key", "endpoint", "window", "card"]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    environ = {"MEMOS_HOME": str(tmp_path / "home"), "MEMOS_CACHE": str(tmp_path / "cache")}
    for name, value in {**environ, "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}.items():
        monkeypatch.setenv(name, value)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    return Places.find(environ)


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(models=("one", "two")) as server:
        yield server


Report = dict[str, Any]


class Visit:
    """What `memos doctor --json` said, by check."""

    def __init__(self, capsys: pytest.CaptureFixture[str], **wanted: Any) -> None:
        self.code = doctor(Wanted(**{"flags": {}, "as_json": True, **wanted}))
        self.report: Report = json.loads(capsys.readouterr().out)
        self.findings = {finding["check"]: finding for finding in self.report["findings"]}

    def __getitem__(self, check: str) -> dict[str, Any]:
        return dict(self.findings[check])

    def not_well(self) -> list[str]:
        return [check for check, finding in self.findings.items() if finding["status"] != "ok"]


def with_database(places: Places) -> Database:
    database = Database.open(places.database)
    Agents(database).create("ana", model="openai/one", persona_name="sam", human_name="basic", blocks=[])
    return database


def test_a_fresh_home_is_well_and_nothing_is_created_by_looking(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    visit = Visit(capsys)
    assert visit.code == 0 and visit.not_well() == ["model"]
    assert visit["model"]["next_step"] == "memos configure"
    assert not places.data.exists() and not places.state.exists() and not places.config_file.parent.exists()


def test_the_shape_of_the_report_is_stable(
    places: Places, server: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(places.config_file, {"model": "openai/one", "api_base": server.url, "window_tokens": 8192})
    with_database(places).close()
    visit = Visit(capsys)
    assert visit.code == 0 and visit.not_well() == []
    assert set(visit.report) == {"version", "exit_code", "findings", "model", "card"}
    assert list(visit.findings) == [*CHECKS, *OF_THE_MODEL, "embedder", "vectors", "agents"]
    assert {tuple(finding) for finding in visit.report["findings"]} == {
        ("check", "status", "text", "next_step", "exit_code")
    }
    assert visit.report["model"] == "openai/one" and visit.report["card"] is None
    assert server.requests == [], "no call costs anything unless it was asked for"


def test_for_a_person_each_check_is_a_line_with_its_next_step(tmp_path: Path) -> None:
    done = memos(tmp_path / "home", "doctor", "-m", "openai/gpt-4.1", "--offline")
    lines = done.stdout.splitlines()
    assert done.returncode == 3 and done.stderr == ""
    at = next(number for number, line in enumerate(lines) if line.startswith("fail  key"))
    assert lines[at].endswith("OPENAI_API_KEY is not set.")
    assert lines[at + 1].strip() == "Next: export OPENAI_API_KEY=…, or memos configure"
    assert any(line.startswith("ok    sqlite") for line in lines)


# --- The computer ---------------------------------------------------------------------------------------------


def test_what_others_can_read_is_named_and_closed_by_fix(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    with_database(places).close()
    write_config(places.config_file, {"limits.steps": 9})
    places.database.chmod(0o644)
    places.data.chmod(0o755)
    visit = Visit(capsys)
    assert visit["folders"]["status"] == "warn" and visit["folders"]["next_step"] == "memos doctor --fix"
    assert str(places.data) in visit["folders"]["text"] and "1 more" in visit["folders"]["text"]
    assert stat.S_IMODE(places.database.stat().st_mode) == 0o644, "looking changes nothing"
    assert Visit(capsys, fix=True)["folders"]["status"] == "ok"
    assert stat.S_IMODE(places.database.stat().st_mode) == 0o600
    assert stat.S_IMODE(places.data.stat().st_mode) == 0o700
    assert "folders" not in Visit(capsys).not_well()


def test_a_full_disk_fails_and_a_nearly_full_one_warns(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage("/")
    for free, status in ((50_000_000, "fail"), (500_000_000, "warn"), (5_000_000_000, "ok")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        (finding,) = computer.disk(places)
        assert finding.status == status and bool(finding.next_step) == (status != "ok")


def test_a_litellm_that_steals_keys_is_refused(
    places: Places, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.metadata

    monkeypatch.setattr(importlib.metadata, "version", lambda _: next(iter(REFUSED_VERSIONS)))
    visit = Visit(capsys)
    assert visit.code == 3 and "steals keys" in visit["litellm"]["text"]


# --- Settings and model ---------------------------------------------------------------------------------------


def test_a_setting_that_means_nothing_is_a_warning(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    places.config_file.parent.mkdir(parents=True, mode=0o700)
    places.config_file.touch(0o600)
    places.config_file.write_text("modle = 'x'\n")
    visit = Visit(capsys)
    assert visit.code == 0 and '"model" may be meant' in visit["settings"]["text"]


def test_a_config_that_cannot_be_read_ends_what_depends_on_it(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    places.config_file.parent.mkdir(parents=True, mode=0o700)
    places.config_file.touch(0o600)
    places.config_file.write_text("model = \n")
    visit = Visit(capsys)
    assert visit.code == 2 and visit["settings"]["status"] == "fail"
    assert list(visit.findings) == CHECKS


def test_the_model_is_that_of_the_agent_used_last(
    places: Places, server: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    database = Database.open(places.database)
    settings = {"model": "openai/two", "api_base": server.url}
    Agents(database).create(
        "eve", model="openai/two", persona_name="sam", human_name="basic", blocks=[], settings=settings
    )
    database.close()
    visit = Visit(capsys)
    assert visit.report["model"] == "openai/two" and visit["endpoint"]["status"] == "ok"


def test_a_key_is_masked_and_its_origin_named(
    places: Places, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdefghij")
    visit = Visit(capsys, flags={"model": "openai/gpt-4.1"}, offline=True)
    assert visit["key"]["text"] == "…hij from environment OPENAI_API_KEY"
    assert "0123456789" not in json.dumps(visit.report)


def test_a_dead_endpoint_fails_with_its_code_and_offline_does_not_ask_it(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(places.config_file, {"model": "openai/one", "api_base": refused_url()})
    visit = Visit(capsys)
    assert visit.code == 5 and visit["endpoint"]["status"] == "fail" and visit["endpoint"]["next_step"]
    visit = Visit(capsys, offline=True)
    assert visit.code == 0 and "not asked" in visit["endpoint"]["text"]


def test_a_model_that_the_endpoint_does_not_list_is_a_warning(
    places: Places, server: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    visit = Visit(capsys, flags={"model": "openai/three", "api_base": server.url})
    assert visit["endpoint"]["status"] == "warn" and "lists 2 models" in visit["endpoint"]["text"]
    assert visit["endpoint"]["next_step"].startswith("memos list models")


def test_koboldcpp_answers_to_any_name(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeKobold() as kobold:
        visit = Visit(capsys, flags={"model": "koboldcpp/any", "api_base": kobold.root})
    assert visit["endpoint"]["status"] == "ok" and "has koboldcpp/mistral-7b" in visit["endpoint"]["text"]
    assert "8,192" in visit["window"]["text"]


def test_an_address_of_the_environment_is_the_endpoint(
    places: Places, server: FakeOpenAI, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdefghij")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    visit = Visit(capsys, flags={"model": "openai/two"})
    assert visit["endpoint"]["text"] == f"{server.url} answers, and lists openai/two"


def test_an_endpoint_without_a_list_fails_unless_its_model_is_known_to_answer(
    places: Places, server: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = server.url.replace("/v1", "/nowhere/api")
    flags = {"model": "openai/one", "api_base": elsewhere}
    assert Visit(capsys, flags=flags).code in (0, 4)
    database = with_database(places)
    notes = ModelNotes(database)
    notes.note_card("openai/one", elsewhere, CapabilityCard().after(FormatName.NATIVE, "obeyed").as_json())
    notes.store()
    database.close()
    assert Visit(capsys, flags=flags).code == 0


def test_an_unknown_window_is_a_warning(places: Places, server: FakeOpenAI, capsys: pytest.CaptureFixture[str]) -> None:
    visit = Visit(capsys, flags={"model": "openai/one", "api_base": server.url})
    assert visit["window"]["status"] == "warn" and "window_tokens" in visit["window"]["next_step"]


def test_a_window_set_larger_than_the_models_is_a_warning(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    visit = Visit(capsys, flags={"model": "openai/gpt-4.1", "window_tokens": 9_000_000}, offline=True)
    assert visit["window"]["status"] == "warn" and "9,000,000" in visit["window"]["text"]


def test_a_card_that_names_no_format_is_a_warning_and_is_in_the_report(
    places: Places, server: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    card = CapabilityCard(seen_at="2026-11-24T10:00:00+00:00")
    for name in (FormatName.NATIVE, FormatName.JSON_SCHEMA, FormatName.JSON_PROMPT):
        card = card.after(name, "refused")
    database = with_database(places)
    notes = ModelNotes(database)
    notes.note_card("openai/one", server.url, card.as_json())
    notes.store()
    database.close()
    visit = Visit(capsys, flags={"model": "openai/one", "api_base": server.url})
    assert visit["card"]["status"] == "warn" and "real turns" in visit["card"]["text"]
    assert visit.report["card"]["formats"]["native"]["refused"] is True


def test_a_gguf_file_that_is_gone_is_a_failure(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    visit = Visit(capsys, flags={"model": f"gguf:{places.cache / 'gone.gguf'}"})
    assert visit.code == 2 and "There is no file" in visit["model"]["text"]


# --- What is kept ---------------------------------------------------------------------------------------------


def test_a_sound_store_is_counted(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    home = search_home(places.data)
    for number in range(3):
        home.say(f"message {number}")
    home.keep("a passage")
    home.database.close()
    text = Visit(capsys)["store"]["text"]
    assert text.startswith(f"sound (schema {SCHEMA_VERSION}") and "3 messages, 1 passages" in text


def test_a_damaged_store_fails_and_the_rest_is_looked_at(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    places.data.mkdir(parents=True, mode=0o700)
    places.database.touch(0o600)
    places.database.write_bytes(b"not a database " * 100)
    visit = Visit(capsys)
    assert visit.code == 9 and visit["store"]["next_step"]
    assert visit["embedder"]["status"] == "ok"


def test_a_store_with_a_torn_page_is_found_though_it_opens(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    home = search_home(places.data)
    for number in range(200):
        home.say(f"message {number} " + "word " * 40)
    home.database.close()
    with sqlite3.connect(places.database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'blocks'").fetchone()
    connection.close()
    data = bytearray(places.database.read_bytes())
    at = (root[0] - 1) * 4096
    data[at : at + 4096] = b"\xff" * 4096
    places.database.write_bytes(data)
    visit = Visit(capsys)
    assert visit.code == 9 and "damaged" in visit["store"]["text"]


def test_rows_that_wait_for_vectors_are_named_with_the_command(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    home = search_home(places.data)
    for number in range(BATCH_ROWS):
        home.say(f"message {number}")
    home.database.close()
    visit = Visit(capsys)
    assert visit["vectors"]["status"] == "warn" and visit["vectors"]["next_step"] == "memos reindex"
    assert "128 rows wait" in visit["vectors"]["text"]


def test_vectors_that_cannot_be_read_are_named_with_the_command(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    with_database(places).close()
    places.vectors.mkdir(mode=0o700)
    folder = places.vectors / f"{VectorTable(places.vectors, 'recall', builtin_embedder().name, 384).name}.lance"
    folder.mkdir()
    (folder / "x").write_text("no table")
    visit = Visit(capsys)
    assert visit["vectors"]["status"] == "warn" and "memos reindex --all" in visit["vectors"]["next_step"]


def test_a_remote_embedder_is_asked_by_a_probe_alone(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    with_database(places).close()
    with FakeEmbeddings() as embeddings:
        write_config(
            places.config_file,
            {"memory.embedding": "openai/fake-embedding", "memory.embedding_api_base": embeddings.url},
        )
        assert "not asked" in Visit(capsys)["embedder"]["text"] and embeddings.texts == []
        assert "vectors of 64 numbers" in Visit(capsys, probe=True, yes=True)["embedder"]["text"]
        assert len(embeddings.texts) == 1


def test_a_remote_embedder_without_its_key_fails_once(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    with_database(places).close()
    write_config(places.config_file, {"memory.embedding": "openai/text-embedding-3-small"})
    visit = Visit(capsys)
    assert visit.code == 3 and visit["embedder"]["status"] == "fail" and "vectors" not in visit.findings


def test_an_agent_that_is_open_elsewhere_is_named_with_its_process(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    database = with_database(places)
    agent = Agents(database).get("ana")
    database.close()
    lock = AgentLock(places.locks, agent.id, agent.name)
    lock.acquire()
    try:
        assert "ana (process " in Visit(capsys)["agents"]["text"]
    finally:
        lock.release()
    assert Visit(capsys)["agents"]["text"] == "none is open"


# --- Probes ---------------------------------------------------------------------------------------------------


def test_a_probe_fills_the_card_that_list_shows(
    places: Places, server: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script = able
    write_config(places.config_file, {"model": "openai/one", "api_base": server.url, "window_tokens": 8192})
    visit = Visit(capsys, probe=True, yes=True)
    assert visit.code == 0 and visit["probe"]["text"].startswith("5 calls made")
    assert visit.report["card"]["probed"] is True and "from a probe" in visit["card"]["text"]
    assert "calls, native: obeyed" in visit["card"]["text"]
    requests = len(server.requests)
    assert list_things("models", as_json=True) == 0
    listed = {row["model"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed["openai/one"]["calls"] == "native" and listed["openai/one"]["card"] == visit.report["card"]
    assert len(server.requests) == requests == 5, "looking costs nothing"


def test_a_probe_in_a_script_needs_its_yes_and_names_the_cost(
    places: Places, server: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    visit = Visit(capsys, flags={"model": "openai/one", "api_base": server.url}, probe=True)
    assert visit.code == 2 and "5 small calls, about " in visit["probe"]["text"]
    assert visit["probe"]["next_step"] == "memos doctor --probe --yes" and server.requests == []


def test_a_probe_of_a_dead_endpoint_is_a_finding(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    flags = {"model": "openai/one", "api_base": refused_url()}
    visit = Visit(capsys, flags=flags, probe=True, yes=True)
    assert visit.code == 5 and visit["probe"]["status"] == "fail" and visit["agents"]["status"] == "ok"


def test_a_provider_that_litellm_reaches_is_probed_too(
    places: Places, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-0123456789abcdef")
    with fake_anthropic() as server:
        visit = Visit(capsys, flags={"model": "anthropic/claude-x", "api_base": server.url}, probe=True, yes=True)
        sent = server.bodies
    assert len(sent) == 5 and "tools" in sent[0] and '"image"' in json.dumps(sent[-1]["messages"])
    assert visit["probe"]["status"] == "ok" and visit.report["card"]["images"] is False


@pytest.mark.terminal
@pytest.mark.parametrize("answer", ["y", ""])
def test_at_a_terminal_the_probe_is_asked_for_with_its_cost(tmp_path: Path, server: FakeOpenAI, answer: str) -> None:
    server.script = able
    words = ("doctor", "-m", "openai/one", "--api-base", server.url)
    environ = clean_environ(tmp_path / "home", TERM="xterm-256color")
    child = pexpect.spawn(sys.executable, ["-m", "memos", *words], env=environ, encoding="utf-8", timeout=30, cwd="/")
    child.expect_exact("small calls, about ")
    assert server.requests == []
    child.sendline(answer)
    child.expect(pexpect.EOF)
    assert len(server.requests) == (5 if answer else 0)
    assert "obeyed" in child.before if answer else "not made" in child.before


def test_probe_and_offline_contradict_each_other(places: Places) -> None:
    with pytest.raises(BadInput):
        doctor(Wanted({}, probe=True, offline=True))
