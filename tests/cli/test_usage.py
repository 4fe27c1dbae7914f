"""`memos usage`: for a person a table with its sum, for a program JSON with null where nobody knows."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.command_line import memos
from support.fake_openai import Answer, FakeOpenAI
from support.screens import saying, write_script

from memos.cli.usage import usage
from memos.config import Places
from memos.errors import AgentNotFound, BadInput
from memos.messages import TokenUsage
from memos.storage.agents import Agents
from memos.storage.database import Database
from memos.storage.usage_ledger import ModelCall, UsageLedger


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("MEMOS_HOME", str(tmp_path))
    return Places.find({"MEMOS_HOME": str(tmp_path)})


@pytest.fixture
def database(places: Places) -> Iterator[Database]:
    database = Database.open(places.database)
    for name, agent in (("ana", "ana"), ("bo", "[red]bo\x1b[2J")):
        agents = Agents(database)
        with database.transaction() as connection:
            made = agents.create(name, model="m", persona_name="p", human_name="h", blocks=[])
            connection.execute("UPDATE agents SET name = ? WHERE id = ?", (agent, made.id))
        ledger = UsageLedger(database)
        for day in (23, 24):
            at = datetime(2026, 11, day, 12, tzinfo=UTC)
            ledger.record(made.id, "t", ModelCall("a/b", "chat", TokenUsage(1_000, 200, 600), 0.01, at))
        ledger.record(made.id, "t", ModelCall("c/d", "chat", created_at=at))
    yield database
    database.close()


def as_json(capsys: pytest.CaptureFixture[str], agent: str | None = None, since: str | None = None) -> Any:
    assert usage(agent, since=since, as_json=True) == 0
    return json.loads(capsys.readouterr().out)


def test_json_has_a_row_per_day_agent_model_and_purpose(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    rows = as_json(capsys, "ANA")
    assert rows[0] == {
        "day": "2026-11-24",
        "agent": "ana",
        "model": "a/b",
        "purpose": "chat",
        "calls": 1,
        "prompt_tokens": 1000,
        "reply_tokens": 200,
        "cached_tokens": 600,
        "unreported": 0,
        "cost_usd": 0.01,
        "unpriced": 0,
    }
    unknown = {"prompt_tokens": None, "reply_tokens": None, "cached_tokens": None, "cost_usd": None}
    assert rows[1] == {**rows[0], "model": "c/d", **unknown, "unreported": 1, "unpriced": 1}
    assert [row["day"] for row in rows] == ["2026-11-24", "2026-11-24", "2026-11-23"]
    assert all(list(row) == list(rows[0]) for row in rows)


def test_all_agents_or_days_from_one_on(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(as_json(capsys)) == 6
    assert len(as_json(capsys, since="2026-11-24")) == 4
    assert as_json(capsys, since="2030-01-01") == []


def test_a_person_gets_a_table_with_its_sum_and_no_control_characters(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    usage(None, since="2026-11-24", as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["day", "agent", "model", "for", "calls", "tokens", "in", "cached", "out", "USD"]
    assert lines[1].split() == ["2026-11-24", "[red]bo␛[2J", "a/b", "chat", "1", "1,000", "600", "200", "0.0100"]
    assert lines[2].split()[-4:] == ["unknown"] * 4
    assert "\x1b" not in "".join(lines)
    assert " ".join(lines[-1].split()) == "all 4 2,000 + unknown 1,200 400 + unknown 0.0200 + unknown"


def test_looking_creates_nothing(places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert as_json(capsys) == []
    usage(None, since=None, as_json=False)
    out, err = capsys.readouterr()
    assert out == "" and "No model has been called yet." in err
    with pytest.raises(AgentNotFound):
        usage("ana", since=None, as_json=False)
    assert list(tmp_path.iterdir()) == []


def test_an_agent_that_is_not_there_is_one_sentence(database: Database) -> None:
    with pytest.raises(AgentNotFound):
        usage("nobody", since=None, as_json=True)


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01", "", "24.11.2026"])
def test_a_day_that_is_none_is_refused_with_an_example(places: Places, since: str) -> None:
    with pytest.raises(BadInput, match="--since 2026-11-24"):
        usage(None, since=since, as_json=False)


def test_the_program_counts_what_a_server_reports_and_stays_silent_about_its_price(tmp_path: Path) -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 64}}
    told = {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200, **details}
    with FakeOpenAI(script=lambda _: Answer(text="Plain.", usage=told)) as server:
        options = ("-m", "openai/gpt-4o", "--api-base", server.url, "--set", "memory.embedding=none")
        assert memos(tmp_path, "run", "-p", "x", *options).returncode == 0
    done = memos(tmp_path, "usage", "--json")
    (row,) = json.loads(done.stdout)
    assert (row["model"], row["purpose"], row["calls"]) == ("openai/gpt-4o", "chat", 1)
    assert (row["prompt_tokens"], row["reply_tokens"], row["cached_tokens"]) == (100, 100, 64)
    assert (row["cost_usd"], row["unpriced"]) == (None, 1)
    assert memos(tmp_path, "usage", "--since", "soon").returncode == 2


def test_a_chain_that_a_limit_stopped_goes_on_by_a_command(tmp_path: Path) -> None:
    step = {"calls": [{"name": "core_memory_append", "arguments": {"name": "human", "request_heartbeat": True}}]}
    steps = [json.loads(json.dumps(step)) for _ in range(3)]
    for number, one in enumerate(steps):
        one["calls"][0]["arguments"]["content"] = f"line {number}"
    script = write_script(tmp_path / "script.json", [*steps, saying("Done at last.")])
    options = ("-m", script, "--set", "limits.steps=3", "--set", "memory.embedding=none")
    done = memos(tmp_path, "run", *options, typed="Count.\n/continue\n/continue\n/usage\n")
    stopped, went_on = done.stdout.index("/continue goes on"), done.stdout.index("Done at last.")
    assert stopped < went_on < done.stdout.index("Nothing was stopped")
    assert "In all: 4 calls;" in done.stdout and "USD: 0." in done.stdout
