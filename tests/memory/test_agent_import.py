"""An agent goes out as JSON lines and comes back: nothing is lost, and what is no export writes nothing."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.agent_home import AgentHome, agent_home
from support.listening import Listener, call, play, speak
from support.lived import SAID_BY_HOSTILE_PEOPLE, lived, tables
from support.search_home import search_home

from memos.errors import BadInput
from memos.llm.scripted import ScriptedProcessor
from memos.memory.agent_import import ImportedAgent, check_file, import_agent
from memos.memory.prompt_records import PromptRecords
from memos.redaction import Redaction
from memos.storage.agent_export import JsonLines, agent_snapshot, canonical
from memos.storage.agent_tables import TABLES, content
from memos.storage.database import Database
from memos.storage.fork import fork_agent

Line = dict[str, Any]


def exported(home: AgentHome, name: str = "sam", *, redact: bool = False, since: datetime | None = None) -> bytes:
    redaction = Redaction(environ={}) if redact else None
    with agent_snapshot(home.database.path, name, since=since, redaction=redaction) as snapshot:
        return b"".join(JsonLines(snapshot))


def imported(database: Database, data: bytes, name: str = "sam") -> ImportedAgent:
    source = io.BytesIO(data)
    return import_agent(database, source, "x.jsonl", check_file(database, source, "x.jsonl"), name)


def lines_of(data: bytes) -> list[Line]:
    return [json.loads(line) for line in data.splitlines()]


def forked_content(data: bytes) -> list[Line]:
    """Return what a fork has as well: all but when the agent was begun, and what its model calls used."""
    rows = [(line["table"], content(line["table"], line)) for line in lines_of(data)[1:-1]]
    begun = rows[0][1].pop("created_at")
    assert begun
    return [row for table, row in rows if table != "model_calls"]


def end(data: bytes) -> Line:
    footer: Line = lines_of(data)[-1]["end"]
    return footer


def sealed(lines: list[Line]) -> bytes:
    """Return lines as a file whose checksums fit, as somebody with ill intent would make it."""
    counts: dict[str, int] = {}
    whole, inner = hashlib.sha256(), hashlib.sha256()
    data = b""
    for line in lines[:-1]:
        raw = json.dumps(line).encode() + b"\n"
        whole.update(raw)
        data += raw
        if "table" in line:
            counts[line["table"]] = counts.get(line["table"], 0) + 1
            inner.update(canonical(line["table"], {key: line[key] for key in line if key != "table"}))
    footer = {"counts": counts, "redacted": {}, "content_sha256": inner.hexdigest(), "sha256": whole.hexdigest()}
    return data + json.dumps({"end": footer}).encode() + b"\n"


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentHome]:
    home = lived(tmp_path_factory.mktemp("lived"))
    yield home
    home.database.close()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "other" / "memos.db")
    yield database
    database.close()


def test_every_table_of_an_agent_has_rows_in_this_test(sam: AgentHome) -> None:
    counts = end(exported(sam))["counts"]
    assert set(counts) == set(TABLES)
    states = {row["superseded_by"] is None for row in tables(sam)["messages"]}
    assert states == {True, False}


def test_in_an_empty_database_it_is_the_same_to_the_byte(sam: AgentHome, empty: Database, tmp_path: Path) -> None:
    data = exported(sam)
    imported(empty, data)
    again = agent_home(tmp_path / "other")
    assert lines_of(exported(again))[1:-1] == lines_of(data)[1:-1]
    assert end(exported(again))["content_sha256"] == end(data)["content_sha256"]
    before, after = tables(sam), tables(again)
    for row in (*before["messages"], *before["passages"]):
        row["indexed_at"] = None
    assert after["attachments"] == before["attachments"]
    assert [row["id"] for row in after["messages"]] == [row["id"] for row in before["messages"]]
    assert [row["superseded_by"] for row in after["messages"]] == [row["superseded_by"] for row in before["messages"]]
    assert sam.recall.counts() == again.recall.counts()


def test_beside_itself_it_has_ids_of_its_own_and_the_same_content(sam: AgentHome, tmp_path: Path) -> None:
    home = lived(tmp_path)
    data = exported(home)
    imported(home.database, data, "eve")
    again = exported(home, "eve")
    assert end(again)["content_sha256"] == end(data)["content_sha256"]
    for one, other in zip(lines_of(data)[1:-1], lines_of(again)[1:-1], strict=True):
        assert content(one["table"], one) == content(other["table"], other)
    for table in ("messages", "passages"):
        total, distinct = home.database.query(f"SELECT count(id), count(DISTINCT id) FROM {table}")[0]
        assert total == distinct == 2 * end(data)["counts"][table]


def test_what_comes_back_goes_on_as_the_agent_would_have(sam: AgentHome, tmp_path: Path) -> None:
    home = lived(tmp_path)
    imported(home.database, exported(home), "eve")
    eve = agent_home(tmp_path, name="eve")
    assert eve.memory.blocks() == home.memory.blocks()
    assert eve.agents.reload(eve.agent).summary == home.agents.reload(home.agent).summary == "A dog was named."
    mine, hers = (each.recall.queue(each.agents.reload(each.agent).queue_start) for each in (home, eve))
    assert [(m.role, m.content, m.calls, m.attachments) for m in hers] == [
        (m.role, m.content, m.calls, m.attachments) for m in mine
    ]
    grounds = PromptRecords(home.database, eve.agent.id).last()[1]
    before = PromptRecords(home.database, home.agent.id).last()[1]
    assert grounds and before and [m.text for m in grounds.queue] == [m.text for m in before.queue]
    own = {row[0] for row in home.database.query("SELECT seq FROM messages WHERE agent_id = ?", (eve.agent.id,))}
    assert {m.seq for f in grounds.findings for m in f.messages} | {m.seq for m in grounds.queue} <= own
    assert [p.text for f in grounds.findings for p in f.passages] == [
        p.text for f in before.findings for p in f.passages
    ]
    assert "spaniel" in eve.archival.archival_memory_search("spaniel")
    assert "Rex is a dog" not in eve.archival.archival_memory_search("Rex is a dog")
    assert "I kept bees" in eve.recall.conversation_search("bees")


def test_the_event_that_waited_is_answered_and_a_turn_can_be_taken_back(tmp_path: Path, empty: Database) -> None:
    imported(empty, exported(lived(tmp_path)))
    again = agent_home(tmp_path / "other")

    async def scene(listener: Listener) -> None:
        await listener.say("And now?")
        taken = await again.operator(listener.kernel).undo()
        assert taken.words == "And now?"

    processor = ScriptedProcessor([speak("One."), speak("Two."), speak("Three.")])
    play(again.kernel(processor), scene)
    said = [row["said"] for row in again.database.query("SELECT said FROM messages WHERE said <> '' ORDER BY seq")]
    assert "Typed while you worked." in said
    assert again.database.query("SELECT count(*) FROM inbox")[0][0] == 0


def test_a_fork_of_an_agent_from_whom_nothing_was_taken_back_has_the_same_content(tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    script = [speak("One."), call("archival_memory_insert", {"content": "A note.", "tags": ["x"]}), speak("Two.")]

    async def scene(listener: Listener) -> None:
        await listener.say("First.")
        await listener.say("Second.")

    play(home.kernel(ScriptedProcessor(script)), scene)
    fork_agent(home.database, home.agent, "eve")
    assert forked_content(exported(home, "eve")) == forked_content(exported(home))


def test_vectors_are_made_again_from_the_outbox(tmp_path: Path) -> None:
    data = exported(lived(tmp_path / "a"))
    found = search_home(tmp_path / "b")
    imported(found.database, data)
    waiting = found.database.query("SELECT count(*) FROM messages WHERE search_text <> '' AND indexed_at IS NULL")[0][0]
    assert waiting > 10 and found.index_all() > waiting
    assert not found.database.query("SELECT seq FROM messages WHERE search_text <> '' AND indexed_at IS NULL")
    found.database.close()


def test_the_export_of_an_older_memos_comes_back_for_ever(empty: Database, tmp_path: Path) -> None:
    data = (Path(__file__).parent / "golden" / "agent-1.jsonl").read_bytes()
    done = imported(empty, data)
    assert done.counts == end(data)["counts"]
    again = agent_home(tmp_path / "other")
    assert len(again.recall.queue(again.agents.reload(again.agent).queue_start)) > 6
    assert end(exported(again))["counts"] == done.counts


def test_a_chat_that_goes_on_meanwhile_is_neither_stopped_nor_seen(tmp_path: Path) -> None:
    home = lived(tmp_path)
    before = exported(home)
    with agent_snapshot(home.database.path, "sam") as snapshot:
        lines = iter(JsonLines(snapshot))
        first = next(lines)
        home.archival.archival_memory_insert("Stored while it was exported.")
        data = first + b"".join(lines)
    assert lines_of(data)[1:-1] == lines_of(before)[1:-1]
    assert b"Stored while" in exported(home)


def test_since_a_day_only_whole_turns_come_and_the_agent_opens(tmp_path: Path, empty: Database) -> None:
    home = lived(tmp_path)
    turns = home.database.query(
        "SELECT created_at FROM messages WHERE id = turn_id AND origin = 'live' AND superseded_by IS NULL ORDER BY seq"
    )
    since = datetime.fromisoformat(turns[-2][0])
    data = exported(home, since=since)
    assert lines_of(data)[0]["since"] == since.isoformat()
    assert 0 < end(data)["counts"]["messages"] < end(exported(home))["counts"]["messages"]
    first = next(line for line in lines_of(data) if line.get("table") == "messages")
    assert first["role"] == "user" and first["turn_id"] == "@1"
    imported(empty, data)
    assert end(exported(agent_home(tmp_path / "other")))["content_sha256"] == end(data)["content_sha256"]


SECRETS = ("sk-ant-api03-abcDEF_1234567", "ghp_0123456789abcdefABCDEF", "AKIAABCDEFGHIJKLMNOP")


def test_secrets_stay_behind_and_all_else_comes_back(tmp_path: Path, empty: Database) -> None:
    home = lived(tmp_path)
    home.memory.core_memory_append("human", f"Key: {SECRETS[0]}")
    home.archival.archival_memory_insert(f"Tokens {SECRETS[1]} and {SECRETS[2]}.")
    whole, safe = exported(home), exported(home, redact=True)
    for secret in SECRETS:
        assert secret.encode() in whole and secret.encode() not in safe
    assert lines_of(safe)[0]["redacted"] is True and lines_of(whole)[0]["redacted"] is False
    assert end(safe)["redacted"]["API key"] >= 3
    text = whole.decode()
    for secret in SECRETS:
        text = text.replace(secret, "[key]")
    assert lines_of(text.encode())[1:-1] == lines_of(safe)[1:-1]
    imported(empty, safe)
    assert end(exported(agent_home(tmp_path / "other"), redact=True))["content_sha256"] == end(safe)["content_sha256"]


def test_no_line_can_steer_a_terminal(sam: AgentHome) -> None:
    data = exported(sam)
    assert "東京" in data.decode()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028]", data.decode())
    said = [line.get("said") for line in lines_of(data)]
    assert all(text in said for text in SAID_BY_HOSTILE_PEOPLE)


# --- what is no export ---------------------------------------------------------------------------------------------


def refused(database: Database, data: bytes) -> BadInput:
    before = database.query("SELECT count(*) FROM agents")[0][0]
    with pytest.raises(BadInput) as caught:
        imported(database, data)
    assert caught.value.next_step
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    for table in TABLES:
        assert database.query(f"SELECT count(*) FROM {table}")[0][0] == (before if table == "agents" else 0)
    return caught.value


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: b"", "no export of an agent"),
        (lambda data: b"\x00\xff" * 50, "no export of an agent"),
        (lambda data: b'{"role": "user", "content": "x"}\n', "no export of an agent"),
        (lambda data: data[: len(data) // 2], "cut off"),
        (lambda data: data[:-1], "cut off"),
        (lambda data: b"".join(data.splitlines(True)[:-1]), "cut off"),
        (lambda data: b"".join(data.splitlines(True)[:3] + data.splitlines(True)[4:]), "checksum does not fit"),
        (lambda data: data.replace(b"spaniel", b"poodle."), "checksum does not fit"),
        (lambda data: data + b"{}\n", "more after its end"),
        (lambda data: data.replace(b'"memos_export":1', b'"memos_export":2'), "newer memos"),
        (lambda data: data.replace(b'"schema_version":', b'"schema_version":9'), "newer memos"),
        (lambda data: data.replace(b'{"table":"messages"', b"[" * 100_000, 1), "no JSON"),
        (lambda data: data.replace(b'{"table":"messages"', b'{"x":NaN,"table":"messages"', 1), "no JSON"),
        (lambda data: data.replace(b'{"table":"messages"', b'{"table":"model_notes"', 1), "no table"),
        (lambda data: data.replace(b'{"table":"messages"', b'\xff{"table":"messages"', 1), "UTF-8"),
    ],
)
def test_a_bad_file_gets_a_sentence_and_writes_nothing(
    sam: AgentHome, empty: Database, spoil: Callable[[bytes], bytes], said: str
) -> None:
    assert said in str(refused(empty, spoil(exported(sam))))


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        ("messages", {"kind": "nonsense"}),
        ("messages", {"role": "system"}),
        ("messages", {"calls": [{"id": 1}]}),
        ("messages", {"calls": [{"id": "1", "name": "x", "arguments": {}}]}),
        ("messages", {"payload": []}),
        ("messages", {"payload": {"utc_offset_min": "x"}}),
        ("messages", {"payload": {"images": [{"hash": "x", "name": "n", "width": 1, "height": 1}]}}),
        ("messages", {"payload": {"found": {"recall": [10_000]}}}),
        ("messages", {"created_at": "yesterday"}),
        ("messages", {"created_at": "2026-01-01T00:00:00"}),
        ("messages", {"turn_id": "@99999"}),
        ("messages", {"turn_id": "@-1"}),
        ("messages", {"seq": 3}),
        ("messages", {"content": 5}),
        ("messages", {"content": "\ud800"}),
        ("messages", {"ok": 2**70}),
        ("messages", {"agent_id": "other"}),
        ("messages", {"indexed_at": "2026-01-01T00:00:00+00:00"}),
        ("messages", {"x; DROP TABLE messages": 1}),
        ("agents", {"queue_start": -1}),
        ("agents", {"queue_start": 10_000}),
        ("agents", {"settings": "x"}),
        ("agents", {"model": None}),
        ("overrides", {"content": "{}"}),
        ("overrides", {"message_seq": 0}),
        ("prompts", {"reply_seq": 10_000}),
        ("passages", {"tags": [1]}),
        ("attachments", {"bytes": base64.b64encode(b"other").decode()}),
        ("attachments", {"media_type": "text/html"}),
        ("attachments", {"bytes": "?"}),
        ("inbox", {"kind": "nonsense"}),
        ("model_calls", {"purpose": "nonsense"}),
        ("blocks", {"value": None}),
    ],
)
def test_ill_intent_behind_a_right_checksum_writes_nothing(
    sam: AgentHome, empty: Database, table: str, changes: Line
) -> None:
    lines = lines_of(exported(sam))
    next(line for line in lines if line.get("table") == table).update(changes)
    refused(empty, sealed(lines))


def test_a_row_cannot_refer_to_another_agent(tmp_path: Path) -> None:
    home = lived(tmp_path)
    before = tables(home)
    lines = lines_of(exported(home))
    next(line for line in lines if line.get("table") == "overrides")["message_seq"] = -1
    with pytest.raises(BadInput):
        imported(home.database, sealed(lines), "eve")
    assert tables(home) == before


def test_a_name_that_is_taken_writes_nothing_and_says_what_to_add(tmp_path: Path) -> None:
    home = lived(tmp_path)
    before = tables(home)
    with pytest.raises(BadInput, match='already an agent named "sam"') as caught:
        imported(home.database, exported(home), "SAM")
    assert "--as NAME" in caught.value.next_step
    assert tables(home) == before


def test_a_line_without_end_is_not_read_to_its_end(sam: AgentHome, empty: Database, monkeypatch: Any) -> None:
    monkeypatch.setattr("memos.memory.agent_import.LINE_LIMIT_BYTES", 100_000)
    first = exported(sam).splitlines(True)[0]
    assert "longer than" in str(refused(empty, first + b'{"x":"' + b"a" * 200_000))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_no_changed_byte_comes_through(sam: AgentHome, empty: Database, place: int, byte: int) -> None:
    data = bytearray(exported(sam))
    place %= len(data)
    if data[place] == byte:
        return
    data[place] = byte
    try:
        check_file(empty, io.BytesIO(bytes(data)), "x")
    except BadInput:
        return
    ended = bytes(data).rindex(b'{"end"')
    assert place >= ended  # of the footer only how many secrets were redacted is not needed


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=60), max_size=6))
def test_whatever_is_stored_comes_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("any")
    home = agent_home(folder)
    with home.database.transaction() as connection:
        for number, text in enumerate(texts):
            connection.execute(
                "INSERT INTO messages (id, agent_id, turn_id, role, content, payload, calls, state, origin, provenance,"
                " speaker, said, search_text, created_at) VALUES (?, ?, ?, 'assistant', ?, ?, ?, 'complete', 'live',"
                " 'agent', ?, ?, ?, '2026-01-01T00:00:00+00:00')",
                (
                    *(f"{number:032x}", home.agent.id, f"{number // 2:032x}", text, json.dumps({text: [text, 1.5]})),
                    json.dumps([{"id": text, "name": text, "arguments": text}]),
                    *(text, text, text),
                ),
            )
    data = exported(home)
    imported(home.database, data, "eve")
    assert end(exported(home, "eve"))["content_sha256"] == end(data)["content_sha256"]
    home.database.close()
