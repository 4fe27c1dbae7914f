"""A deleted agent lies in the trash, whole, and comes back whole; an erased one is in no file."""

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from support.agent_home import AgentHome, agent_home
from support.lived_agent import lived

from memos.errors import AgentNotFound, BadInput, StorageProblem
from memos.memory.message_rows import event_message
from memos.messages import Event, EventKind, Image, TokenUsage, utc_now
from memos.storage.agents import KEPT_IN_TRASH
from memos.storage.attachments import Attachments
from memos.storage.database import Database
from memos.storage.purge import Purged, purge
from memos.storage.trash import Trash
from memos.storage.usage_ledger import ModelCall

TABLES = ("messages", "passages", "blocks", "revisions", "summaries", "prompts", "overrides", "inbox", "counts")


def rows_of(home: AgentHome) -> dict[str, list[tuple[object, ...]]]:
    return {
        table: [
            tuple(row) for row in home.database.query(f"SELECT * FROM {table} WHERE agent_id = ?", (home.agent.id,))
        ]
        for table in TABLES
    }


def test_what_is_deleted_and_restored_is_the_same_to_the_last_row(tmp_path: Path) -> None:
    home = lived(tmp_path)
    before, agent = rows_of(home), home.agents.reload(home.agent)
    trash = Trash(home.database)
    entry = trash.put(home.agent)
    assert (entry.name, entry.messages, entry.passages) == ("sam", 4, 1)
    assert entry.kept_until - entry.deleted_at == timedelta(days=30)
    assert home.agents.all() == [] and home.agents.find("sam") is None and rows_of(home) == before
    assert trash.restore(entry) == agent
    assert rows_of(home) == before and trash.entries() == []


def test_who_looks_for_a_deleted_agent_is_told_of_the_trash(tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    Trash(home.database).put(home.agent)
    with pytest.raises(AgentNotFound, match='"sam" was deleted, and lies in the trash until 2') as told:
        home.agents.get("SAM")
    assert told.value.next_step == "memos restore sam"
    with pytest.raises(AgentNotFound, match="lies in the trash"):
        home.agents.reload(home.agent)
    with pytest.raises(AgentNotFound, match="There is no agent"):
        home.agents.get(f"-{home.agent.id}")


def test_its_name_is_free_and_a_restored_one_takes_another(tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    trash = Trash(home.database)
    entry = trash.put(home.agent)
    second = agent_home(tmp_path)
    assert second.agent.id != home.agent.id
    with pytest.raises(BadInput, match='There is an agent named "sam" by now') as told:
        trash.restore(entry)
    assert told.value.next_step == "memos restore sam --as NAME"
    assert trash.restore(entry, "sam the first").id == home.agent.id
    assert {agent.name for agent in home.agents.all()} == {"sam", "sam the first"}


def test_two_of_one_name_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    first = agent_home(tmp_path)
    trash = Trash(first.database)
    trash.put(first.agent)
    second = agent_home(tmp_path)
    trash.put(second.agent)
    with pytest.raises(BadInput, match='2 agents that were named "Sam"') as told:
        trash.find("Sam")
    assert first.agent.id[:8] in told.value.next_step and second.agent.id[:8] in told.value.next_step
    assert trash.find(first.agent.id[:8]).id == first.agent.id
    with pytest.raises(AgentNotFound, match="lies in the trash"):
        trash.find("eve")


def test_it_is_due_after_thirty_days_and_not_before(tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    trash = Trash(home.database)
    trash.put(home.agent)
    moment = utc_now() - KEPT_IN_TRASH
    for when, due in ((moment + timedelta(minutes=1), 0), (moment, 1)):
        with home.database.transaction() as connection:
            connection.execute("UPDATE agents SET deleted_at = ?", (when.isoformat(),))
        assert len(trash.due()) == due


def picture(name: str) -> Image:
    return Image(f"hash-{name}", "image/png", 2, 2, f"{name}.png", f"pixels of {name}".encode())


def shows(home: AgentHome, *images: Image) -> None:
    """Let the newest message of an agent show images."""
    Attachments(home.database).keep(images)
    hashes = "[" + ",".join(f'"{image.hash}"' for image in images) + "]"
    named = '{"images": [' + ",".join(f'{{"hash": "{image.hash}"}}' for image in images) + "]}"
    with home.database.transaction() as connection:
        connection.execute(
            "UPDATE messages SET attachments = ?, payload = ?"
            " WHERE seq = (SELECT max(seq) FROM messages WHERE agent_id = ? AND role = 'user')",
            (hashes, named, home.agent.id),
        )


def purged(home: AgentHome, folder: Path) -> Purged:
    return purge(home.database, home.agent.id, folder / "lance", folder / "history")


def test_erasing_takes_every_row_and_image_of_one_agent_and_leaves_those_of_another(tmp_path: Path) -> None:
    home = lived(tmp_path)
    other = agent_home(tmp_path, name="eve")
    other.archival.archival_memory_insert("Eve keeps bees.")
    other.recall.append(event_message(Event(EventKind.USER_MESSAGE, "Hello."), other.agent.id, "turn"))
    shows(home, picture("own"), picture("shared"))
    shows(other, picture("shared"))
    home.ledger.record(home.agent.id, "turn", ModelCall("a/b", "chat", TokenUsage(10, 5), 0.25))
    kept = rows_of(other)
    erased = purged(home, tmp_path)
    assert (erased.messages, erased.passages, erased.images) == (4, 1, 1)
    assert str(erased) == "4 messages, 1 passages, 1 images, their words and vectors"
    assert not any(rows_of(home).values()) and rows_of(other) == kept
    assert set(Attachments(home.database).load(["hash-own", "hash-shared"])) == {"hash-shared"}
    assert [(t.agent, t.spent.cost_usd) for t in home.ledger.totals() if t.model == "a/b"] == [("(erased)", 0.25)]
    assert home.ledger.spent().cost_usd == 0.25
    with pytest.raises(AgentNotFound, match="erased already"):
        purged(home, tmp_path)


def test_spending_of_a_deleted_agent_stays_named(tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    home.ledger.record(home.agent.id, "turn", ModelCall("a/b", "chat", TokenUsage(10, 5), 0.25))
    Trash(home.database).put(home.agent)
    assert [total.agent for total in home.ledger.totals()] == ["sam (in the trash)"]


def test_no_byte_of_what_was_erased_is_left_in_the_files(tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    for number in range(300):
        home.archival.archival_memory_insert(f"The zanzibarcode is {number}.")
    home.archival.archival_memory_insert("Replaced zanzibarcode", replaces="The zanzibarcode is 7.")
    home.memory.edit("human", "zanzibarcode")
    home.memory.edit("human", "nothing")
    with home.database.transaction() as connection:  # a page that was freed long before
        connection.execute("UPDATE agents SET summary = ?", ("zanzibarcode " * 5000,))
        connection.execute("UPDATE agents SET summary = ''")
    purged(home, tmp_path)
    for path in tmp_path.glob("memos.db*"):
        assert b"zanzibarcode" not in path.read_bytes(), path
    home.database.close()
    assert Database.open(tmp_path / "memos.db").query("PRAGMA integrity_check")[0][0] == "ok"


def test_what_was_typed_to_it_leaves_the_history_and_other_lines_stay(tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    for text in ("My locker is 4711.", "Two\nlines."):
        home.recall.append(event_message(Event(EventKind.USER_MESSAGE, text), home.agent.id, "turn"))
    entries = ["# 1\n+My locker is 4711.\n", "# 2\n+To another.\n", "# 3\n+Two\n+lines.\n", "# 4\n+/memory\n"]
    history = tmp_path / "history"
    history.write_text("\n" + "\n".join(entries))
    assert purged(home, tmp_path).typed == 2
    text = history.read_text()
    assert "4711" not in text and "Two" not in text and "+To another.\n" in text and "+/memory\n" in text


def test_an_erasure_that_is_broken_off_is_due_at_the_next_start_and_cannot_be_restored(tmp_path: Path) -> None:
    home = lived(tmp_path)
    reader = sqlite3.connect(tmp_path / "memos.db")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM agents").fetchall()
    home.database.query("PRAGMA busy_timeout = 50")
    with pytest.raises(StorageProblem):  # another process reads the old pages
        purged(home, tmp_path)
    (entry,) = Trash(home.database).due()
    assert entry.name == "sam" and entry.messages == 0
    with pytest.raises(BadInput, match="half erased"):
        Trash(home.database).restore(entry)
    reader.rollback()
    purged(home, tmp_path)
    assert Trash(home.database).entries() == []
    assert b"Rex" not in (tmp_path / "memos.db").read_bytes() + (tmp_path / "memos.db-wal").read_bytes()
