"""`memos import messages`: old chats become recall memory, once, in order, and never in the queue."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pexpect
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.agent_home import AgentHome, agent_home
from support.command_line import clean_environ, memos

from memos.cli.import_messages import import_messages
from memos.config import Places
from memos.errors import AgentInUse, AgentNotFound, BadInput
from memos.memory.imported_messages import LINE_LIMIT_BYTES, BadLine, ImportedMessage, read_messages, store
from memos.storage.agent_lock import AgentLock


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("MEMOS_HOME", str(tmp_path / "home"))
    return Places.find(os.environ)


@pytest.fixture
def sam(places: Places) -> Iterator[AgentHome]:
    home = agent_home(places.database.parent)
    yield home
    home.database.close()


def line(content: object = "I keep bees.", **more: object) -> dict[str, object]:
    return {"role": "user", "content": content, "created_at": "2024-03-01T14:05:00+01:00", **more}


def written(folder: Path, *lines: object, raw: bytes = b"") -> str:
    path = folder / "chats.jsonl"
    path.write_bytes("".join(json.dumps(each) + "\n" for each in lines).encode() + raw)
    return str(path)


def rows(home: AgentHome) -> list[dict[str, Any]]:
    return [dict(row) for row in home.database.query("SELECT * FROM messages ORDER BY seq")]


def test_a_line_becomes_a_row_that_search_finds_and_the_queue_does_not_show(sam: AgentHome, tmp_path: Path) -> None:
    lines = [line(session="s1", name="Ana"), {**line("And what of honey?"), "role": "assistant"}]
    assert import_messages(written(tmp_path, *lines), agent="SAM", skip_bad=False) == 0
    first, second = rows(sam)
    assert (first["origin"], first["role"], first["speaker"], first["session"]) == (
        "import",
        "user",
        "Ana",
        "import:s1",
    )
    assert first["said"] == first["content"] == "I keep bees."
    assert first["created_at"] == "2024-03-01T13:05:00+00:00" and first["indexed_at"] is None
    assert (second["speaker"], second["session"]) == ("sam", "import:")
    assert sam.recall.queue(0) == []
    assert sam.recall.counts() == (2, 0)
    assert "Ana: I keep bees." in sam.recall.conversation_search("bee")


def test_importing_twice_stores_once_and_says_so(
    sam: AgentHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, line(), line(id=7), line(id="7"), line("other"), line(session="x"), line())
    import_messages(file, agent="sam", skip_bad=False)
    assert capsys.readouterr().out == "Stored 4 messages with sam; there already: 2, skipped: 0 lines.\n"
    import_messages(file, agent="sam", skip_bad=False)
    assert capsys.readouterr().out == "Stored 0 messages with sam; there already: 6, skipped: 0 lines.\n"
    assert sam.recall.counts() == (4, 0)


def test_a_time_without_zone_is_local_and_the_same_message_wherever_it_is_read(sam: AgentHome, tmp_path: Path) -> None:
    file = written(tmp_path, line(created_at="2024-03-01T14:05"))
    for zone in ("Asia/Tokyo", "America/New_York"):
        done = memos(tmp_path / "home", "import", "messages", file, "--agent", "sam", environ={"TZ": zone})
        assert done.returncode == 0, done.stderr
    assert [row["created_at"] for row in rows(sam)] == ["2024-03-01T05:05:00+00:00"]


def test_two_agents_may_have_the_same_message(sam: AgentHome, places: Places, tmp_path: Path) -> None:
    eve = agent_home(places.database.parent, name="eve")
    for agent in ("sam", "eve"):
        import_messages(written(tmp_path, line(id="1")), agent=agent, skip_bad=False)
    assert sam.recall.counts() == eve.recall.counts() == (1, 0)
    eve.database.close()


def test_rows_stand_in_the_order_of_the_file_whatever_the_clock_says(sam: AgentHome, tmp_path: Path) -> None:
    late, early = line("late", created_at="2025-01-01"), line("early", created_at="2020-01-01T00:00:00Z")
    import_messages(written(tmp_path, late, early), agent="sam", skip_bad=False)
    assert [row["content"] for row in rows(sam)] == ["late", "early"]
    assert rows(sam)[0]["created_at"] == datetime(2025, 1, 1).astimezone(UTC).isoformat()


def test_marks_line_ends_and_characters_no_database_takes_are_taken(sam: AgentHome, tmp_path: Path) -> None:
    path = tmp_path / "windows.jsonl"
    text = json.dumps(line("a\x00b \ud800 c")) + "\r\n\r\n" + json.dumps(line("\ud83d\ude00 second", id="\udfff"))
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    import_messages(str(path), agent="sam", skip_bad=False)
    assert [row["content"] for row in rows(sam)] == ["a�b � c", "😀 second"]


FAULTS = {
    b"{": "no JSON",
    b"[1]": "no JSON object",
    b"[" * 100_000: "nested too deep",
    b'{"role": ' + b"1" * 5_000 + b"}": "too many digits",
    b'"\xff"': "byte 2 is not UTF-8",
    '"x"'.encode("utf-16"): "not UTF-8",
    **{
        json.dumps(each).encode(): what
        for each, what in (
            ({"content": "x"}, "role is missing"),
            (line() | {"role": "system"}, 'role is "system"; "user" or "assistant" is meant'),
            (line() | {"role": ["user"]}, 'role is ["user"]'),
            ({"role": "user"}, "content is missing"),
            (line(None), "content is missing"),
            (line(5), "content is 5; text"),
            (line(" \n"), "content is empty"),
            ({"role": "user", "content": "x"}, "created_at is missing"),
            (line(created_at="yesterday"), 'created_at is "yesterday"; a time is meant'),
            (line(created_at=1_700_000_000), "created_at is 1700000000; a time is meant"),
            (line(created_at="0001-01-01T00:00:00+14:00"), "a time is meant"),
            (line(created_at="9999-12-31T23:59:59-14:00"), "a time is meant"),
            (line(created_at="1066-10-14"), "between 1970 and now"),
            (line(created_at="2999-01-01"), "between 1970 and now"),
            (line(name="n" * 65), "name has 65 characters; at most 64"),
            (line(session=True), "session is true; text"),
            (line(id={"a": 1}), 'id is {"a": 1}; text'),
        )
    },
}


@pytest.mark.parametrize("bad", list(FAULTS), ids=list(FAULTS.values()))
def test_a_bad_line_stops_the_import_with_its_number_and_what_to_mend(
    sam: AgentHome, tmp_path: Path, bad: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, line("first"), raw=bad.replace(b"\n", b"") + b"\n" + json.dumps(line("last")).encode())
    with pytest.raises(BadInput) as caught:
        import_messages(file, agent="sam", skip_bad=False)
    assert f"{file}, line 2: " in caught.value.what and FAULTS[bad] in caught.value.what
    assert "Stored 1 message with sam" in caught.value.what and "--skip-bad" in caught.value.next_step
    import_messages(file, agent="sam", skip_bad=True)
    out, err = capsys.readouterr()
    assert out == "Stored 1 message with sam; there already: 1, skipped: 1 line.\n" and "line 2" in err
    assert [row["content"] for row in rows(sam)] == ["first", "last"]


def test_of_many_bad_lines_the_first_are_told(
    sam: AgentHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_messages(written(tmp_path, *[{}] * 500, line()), agent="sam", skip_bad=True)
    out, err = capsys.readouterr()
    assert "skipped: 500 lines" in out and len(err.splitlines()) == 21


def test_a_line_without_end_is_not_read_into_memory() -> None:
    long = b'"' + b"x" * (2 * LINE_LIMIT_BYTES) + b'"\n'
    bad, good = read_messages(io.BytesIO(long + json.dumps(line()).encode()))
    assert isinstance(bad, BadLine) and bad.number == 1 and "longer than 16 MB" in bad.fault
    assert isinstance(good, ImportedMessage)


def test_a_missing_agent_or_file_is_one_sentence(places: Places, tmp_path: Path) -> None:
    file = written(tmp_path, line())
    with pytest.raises(AgentNotFound):
        import_messages(file, agent="sam", skip_bad=False)
    assert not places.database.exists()
    agent_home(places.database.parent).database.close()
    with pytest.raises(AgentNotFound):
        import_messages(file, agent="eve", skip_bad=False)
    for bad in (str(tmp_path), str(tmp_path / "none"), ""):
        with pytest.raises(BadInput, match="cannot be read"):
            import_messages(bad, agent="sam", skip_bad=False)


def test_an_agent_that_is_open_elsewhere_is_left_alone(sam: AgentHome, places: Places, tmp_path: Path) -> None:
    lock = AgentLock(places.locks, sam.agent.id, "sam")
    lock.acquire()
    with pytest.raises(AgentInUse, match="leave it there"):
        import_messages(written(tmp_path, line()), agent="sam", skip_bad=False)
    lock.release()
    import_messages(written(tmp_path, line()), agent="sam", skip_bad=False)
    lock.acquire()  # given back


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates().map(str) | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
LINES = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant"]) | VALUES,
        "content": st.text() | VALUES,
        "created_at": st.datetimes().map(lambda at: at.isoformat()) | VALUES,
        "name": VALUES,
        "session": VALUES,
        "id": VALUES,
    },
)


@given(st.lists(LINES.map(json.dumps).map(str.encode) | VALUES.map(json.dumps).map(str.encode) | st.binary()))
def test_any_line_is_a_message_or_a_fault(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    found = list(read_messages(io.BytesIO(b"\n".join(lines))))
    messages = [item for item in found if isinstance(item, ImportedMessage)]
    assert all(item.fault.isprintable() for item in found if isinstance(item, BadLine))
    if messages:
        home = agent_home(tmp_path_factory.mktemp("any"))
        assert store(home.database, home.agent, messages) == home.recall.counts()[0]
        assert store(home.database, home.agent, messages) == 0
        home.database.close()


# --- size, speed and kill -9 ----------------------------------------------------------------------------------


def chats(folder: Path, count: int) -> str:
    choice = random.Random(1)
    words = [
        "honey",
        "hive",
        "garden",
        "queen",
        "yield",
        "frost",
        "apple",
        "pear",
        "river",
        "boat",
        "lamp",
        "chair",
        "book",
        "train",
        "city",
        "music",
        "rain",
    ]
    path = folder / "many.jsonl"
    with path.open("w") as file:
        for number in range(count):
            content = f"{' '.join(choice.choices(words, k=20))} n{number}"
            file.write(json.dumps(line(content, session=number // 50)) + "\n")
    return str(path)


def test_twenty_thousand_lines_are_a_matter_of_seconds(sam: AgentHome, tmp_path: Path) -> None:
    file = chats(tmp_path, 20_000)
    began = time.monotonic()
    import_messages(file, agent="sam", skip_bad=False)
    print(f"{20_000 / (time.monotonic() - began):,.0f} messages a second")
    assert sam.recall.counts() == (20_000, 0)
    assert "n19999" in sam.recall.conversation_search("n19999")


@pytest.mark.crash
def test_a_killed_import_goes_on_where_it_was(sam: AgentHome, places: Places, tmp_path: Path) -> None:
    file = chats(tmp_path, 20_000)
    command = [sys.executable, "-m", "memos", "import", "messages", file, "--agent", "sam"]
    with subprocess.Popen(command, env=clean_environ(places.data.parent), cwd="/") as process:
        deadline = time.monotonic() + 60
        while sam.recall.counts()[0] < 2_000 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    stored = sam.recall.counts()[0]
    assert 2_000 <= stored < 20_000 and stored % 1_000 == 0
    done = memos(places.data.parent, "import", "messages", file, "--agent", "sam")
    assert (
        done.stdout == f"Stored {20_000 - stored:,} messages with sam; there already: {stored:,}, skipped: 0 lines.\n"
    )
    assert done.returncode == 0 and done.stderr == ""
    numbers = [int(row["content"].rpartition("n")[2]) for row in rows(sam)]
    assert numbers == list(range(20_000)) and sam.recall.counts() == (20_000, 0)


@pytest.mark.terminal
def test_progress_is_drawn_on_a_terminal_and_ctrl_c_says_how_to_go_on(
    sam: AgentHome, places: Places, tmp_path: Path
) -> None:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "memos", "import", "messages", chats(tmp_path, 40_000), "--agent", "sam"],
        env=clean_environ(places.data.parent, TERM="xterm-256color"),
        encoding="utf-8",
        timeout=60,
        dimensions=(24, 200),
        cwd="/",
    )
    child.expect(r"% · \d,000 messages · [\d,]+ a second")
    child.sendintr()
    child.expect(r"Stopped\. Stored [\d,]+ messages with sam; .* The same command goes on\.")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
