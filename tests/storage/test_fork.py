"""A copy of an agent remembers the same, and neither changes the other."""

from pathlib import Path

import pytest
from support.agent_home import AgentHome, agent_home
from support.lived_agent import lived

from memos.errors import BadInput
from memos.memory.prompt_records import PromptRecords
from memos.storage.fork import Fork, fork_agent


def forked(home: AgentHome, folder: Path) -> tuple[Fork, AgentHome]:
    fork = fork_agent(home.database, home.agents.reload(home.agent), "copy")
    return fork, agent_home(folder, name="copy")


def test_all_that_is_remembered_is_copied_with_ids_of_its_own(tmp_path: Path) -> None:
    home = lived(tmp_path)
    fork, copy = forked(home, tmp_path)
    old, new = home.agents.reload(home.agent), fork.agent
    assert (new.summary, new.settings, new.model) == (old.summary, old.settings, old.model)
    before, after = home.recall.queue(old.queue_start), copy.recall.queue(new.queue_start)
    assert [(row.role, row.content, row.calls) for row in after] == [
        (row.role, row.content, row.calls) for row in before
    ]
    assert copy.memory.blocks() == home.memory.blocks()
    assert copy.recall.counts() == home.recall.counts() == (4, 1)
    assert "Rex is a dog." in copy.archival.archival_memory_search("Rex")
    assert "My dog is Rex." in copy.recall.conversation_search("dog")
    for table, key in (("messages", "id"), ("messages", "seq"), ("passages", "id"), ("revisions", "seq")):
        total, distinct = home.database.query(f"SELECT count({key}), count(DISTINCT {key}) FROM {table}")[0]
        assert total == distinct
    assert fork.messages == home.database.query("SELECT count(*) FROM messages WHERE agent_id = ?", (new.id,))[0][0]
    assert (fork.passages, fork.edits) == (1, 1)


def test_the_grounds_of_its_last_reply_point_into_the_copy(tmp_path: Path) -> None:
    home = lived(tmp_path)
    _, copy = forked(home, tmp_path)
    before = PromptRecords(home.database, home.agent.id).last()[1]
    after = PromptRecords(home.database, copy.agent.id).last()[1]
    assert before and after
    assert [m.text for m in after.queue] == [m.text for m in before.queue] == ["What is my dog called?"]
    assert [m.text for f in after.findings for m in f.messages] == [m.text for f in before.findings for m in f.messages]
    assert [p.text for f in after.findings for p in f.passages] == ["Rex is a dog."]
    own = {row["seq"] for row in home.database.query("SELECT seq FROM messages WHERE agent_id = ?", (copy.agent.id,))}
    assert {m.seq for f in after.findings for m in f.messages} <= own
    written = next(line for line in after.lines if line.text == "Dog: Rex")
    assert written.source and written.source.seq in own and written.source.text == "My dog is Rex."
    assert after.summary == before.summary or (after.summary and after.summary.text == "A dog was named.")


def test_what_one_of_them_does_the_other_does_not_see(tmp_path: Path) -> None:
    home = lived(tmp_path)
    _, copy = forked(home, tmp_path)
    copy.memory.edit("human", "Dog: Max")
    assert "Rex" in home.memory.block("human").value
    assert len(home.memory.last_edits(9)) == 1 and len(copy.memory.last_edits(9)) == 2
    copy.memory.undo(copy.memory.last_edits(1)[0].seq)
    assert copy.memory.block("human").value == "Dog: Rex"


def test_a_copy_of_an_agent_that_never_spoke_is_one(tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    fork, copy = forked(home, tmp_path)
    assert (fork.messages, fork.passages, fork.edits) == (0, 0, 0)
    assert copy.recall.queue(fork.agent.queue_start) == []


def test_a_name_that_is_taken_copies_nothing(tmp_path: Path) -> None:
    home = lived(tmp_path)
    with pytest.raises(BadInput, match='already an agent named "sam"'):
        fork_agent(home.database, home.agent, "SAM")
    assert len(home.agents.all()) == 1


def test_a_copy_can_be_copied(tmp_path: Path) -> None:
    home = lived(tmp_path)
    fork, _ = forked(home, tmp_path)
    again = fork_agent(home.database, fork.agent, "again")
    assert (again.messages, again.passages, again.edits) == (fork.messages, fork.passages, fork.edits)
