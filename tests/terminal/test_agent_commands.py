"""The commands on agents, on the queue as it is stored, and on memos itself."""

import json
from pathlib import Path

import pytest
from support.desk import Desk

from memos.memory.message_rows import event_message
from memos.messages import Event, EventKind
from memos.storage.agent_lock import AgentLock
from memos.terminal.command_registry import FORMER_WORDS, completions, find_command


def test_agents_are_listed_with_what_they_keep_and_who_has_them_open(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    other = desk.home.agents.create("eve [x]", model="a/b", persona_name="p", human_name="h", blocks=[])
    desk.home.archival.archival_memory_insert("A passage.")
    lock = AgentLock(desk.places.locks, other.id, other.name)
    lock.acquire()
    printed = desk.run("/agents")
    lock.release()
    assert "  sam  you talk to it\n    scripted, " in printed and "0 messages, 1 passage\n" in printed
    assert "  eve [x]  open elsewhere: process " in printed and "\n    a/b, " in printed
    assert "open elsewhere" not in Desk(tmp_path).run("/agents")


def test_switch_leaves_for_an_agent_that_can_be_opened(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.home.agents.create("Eve", model="scripted:x", persona_name="p", human_name="h", blocks=[])
    assert [text for text, _ in completions("/switch ", desk.session)] == ["Eve"]
    assert desk.run("/switch eve") == ""
    assert (desk.left, desk.session.next_agent) == ([0], "Eve")


def test_switch_to_nobody_to_oneself_or_to_one_that_is_open_elsewhere_stays(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    other = desk.home.agents.create("eve", model="scripted:x", persona_name="p", human_name="h", blocks=[])
    lock = AgentLock(desk.places.locks, other.id, other.name)
    lock.acquire()
    assert 'There is no agent named "bob"' in desk.run("/switch bob")
    assert '"sam" is the one you talk to.' in desk.run("/switch sam")
    assert '"eve" is open in another terminal' in desk.run("/switch eve")
    assert "one of: eve" in desk.run("/switch")
    lock.release()
    assert (desk.left, desk.session.next_agent) == ([], "")


def test_new_begins_an_agent_and_goes_to_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.run("/new bob")
    assert (desk.left, desk.session.next_agent) == ([0], "bob")
    made = desk.home.agents.get("bob")
    assert (made.model, made.settings["memory.embedding"]) == ("scripted:x", "none")
    assert 'There is already an agent named "bob"' in desk.run("/new BOB")


def test_fork_copies_and_stays_and_says_what_it_cost(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.home.recall.append(event_message(Event(EventKind.USER_MESSAGE, "Hello."), desk.home.agent.id, "turn"))
    printed = desk.run("/fork")
    assert printed.startswith('"sam-2" remembers the same: 1 row of recall storage, 0 passages, 0 edits copied (')
    assert printed.endswith(" MB). /switch sam-2\n") and not desk.left
    assert 'already an agent named "sam-2"' in desk.run("/fork SAM-2")


def test_rename_holds_at_once_and_what_was_said_keeps_its_speaker(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.run("/rename  Eve  Adams") == "The agent is called Eve Adams now.\n"
    assert desk.session.agent.name == "Eve Adams" == desk.home.recall.agent_name
    desk.home.agents.create("bob", model="m", persona_name="p", human_name="h", blocks=[])
    assert 'There is already an agent named "bob"' in desk.run("/rename Bob")
    assert "does not begin with a hyphen" in desk.run("/rename -x")
    assert desk.run("/rename eve adams").endswith("The agent is called eve adams now.\n")  # letter case is its own


@pytest.mark.parametrize("line", ["/rename x", "/rethink x", "/rewrite x", "/editor"])
def test_a_session_that_only_reads_changes_nothing(tmp_path: Path, line: str) -> None:
    assert "This session only reads." in Desk(tmp_path, read_only=True).run(line)


@pytest.mark.parametrize("line", ["/rename", "/rethink", "/rewrite", "/dump x", "/dump", "/log x", "/config zzz"])
def test_what_cannot_be_done_is_one_sentence(tmp_path: Path, line: str) -> None:
    printed = Desk(tmp_path).run(line)
    assert printed.startswith("· ") and "Next: " in printed and printed.count("\n") == 1


def test_dump_prints_the_queue_and_dumpraw_each_row_as_json(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for number in range(3):
        event = Event(EventKind.USER_MESSAGE, f"Words {number}. [red] \x1b[2J")
        desk.home.recall.append(event_message(event, desk.home.agent.id, "turn"))
    printed = desk.run("/dump 2")
    assert "  user_message\n  Words 2. [red] ␛[2J\n" in printed and "Words 0" not in printed
    (row,) = [json.loads(line) for line in Desk(tmp_path).run("/dumpraw 1").splitlines()]
    assert (row["seq"], row["content"]) == (3, "Words 2. [red] \x1b[2J")


def test_save_says_that_all_is_saved() -> None:
    assert find_command("savechat").name == "save"


def test_the_log_the_settings_and_the_version_are_shown(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.run("/log").endswith("memos.log: nothing was written yet.\n")
    (tmp_path / "memos.log").write_text("".join(f"line {number} \x1b[2J\n" for number in range(30)))
    assert "line 9 " not in desk.run("/log") and "line 10 ␛[2J\n" in desk.run("/log")
    assert desk.run("/config MODEL").endswith("\nmodel  scripted  (agent)\n")
    assert "SQLite" in desk.run("/version")


def test_a_long_message_is_written_in_the_editor_and_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "editor.sh"
    program.write_text('#!/bin/sh\nprintf "One.\\n\\nTwo.\\n" >> "$1"\n')
    program.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(program))
    desk = Desk(tmp_path)
    assert desk.run("/editor") == "" and desk.sent == ["One.\n\nTwo."]
    program.write_text('#!/bin/sh\n: > "$1"\n')
    assert desk.run("/editor") == "Nothing was saved, so nothing is sent.\n" and len(desk.sent) == 1


MEMGPT = (
    *("exit", "save", "savechat", "dump", "dumpraw", "memory", "pop", "retry", "rethink", "rewrite", "heartbeat"),
    *("memorywarning", "summarize", "systemswap", "model", "add_function", "remove_function", "wipe", "load"),
)


@pytest.mark.parametrize("name", MEMGPT)
def test_each_command_of_memgpt_does_something_or_says_what_to_do_instead(tmp_path: Path, name: str) -> None:
    if name not in FORMER_WORDS:
        assert find_command(name).name in (name, "save")
        return
    printed = Desk(tmp_path).run(f"/{name} x")
    assert printed.startswith(f"· {FORMER_WORDS[name][0]} Next: ") and printed.count("\n") == 1
