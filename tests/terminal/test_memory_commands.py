"""`/memory edit` and `/memory undo`, and `/why`: what the user sees and does of the agent's memory."""

import asyncio
import re
from pathlib import Path

import pytest
from support.desk import Desk
from support.listening import append, call, running, speak

from memos.kernel.kernel import Kernel
from memos.llm.scripted import ScriptedCall, ScriptedProcessor, ScriptedReply
from memos.messages import Block, Event, EventKind
from memos.terminal.command_registry import completions, run_command


def editor(monkeypatch: pytest.MonkeyPatch, folder: Path, line: str) -> None:
    """Let the user's editor run a line of shell on the file `$1`."""
    program = folder / "editor.sh"
    program.write_text(f"#!/bin/sh\n{line}\n")
    program.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(program))


def test_a_block_is_edited_in_the_editor_and_the_change_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(monkeypatch, tmp_path, 'sed -i "s/Sam/Eve/" "$1"')
    desk = Desk(tmp_path)
    printed = desk.run("/memory edit Persona").splitlines()
    assert printed[0].startswith("persona  ") and printed[0].endswith("  9/2000")
    assert printed[1:] == ["  - I am Sam.", "  + I am Eve.", "Edit 1; /memory undo 1 takes it back."]
    assert [(edit.author, edit.after) for edit in desk.home.memory.last_edits(1)] == [("user", "I am Eve.")]
    assert list((tmp_path / "drafts").iterdir()) == []


def test_the_user_may_edit_what_the_agent_may_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(monkeypatch, tmp_path, 'echo "Be kind." > "$1"')
    desk = Desk(tmp_path, blocks=[Block("../rules", "", 100, read_only=True)])
    assert "+ Be kind." in desk.run("/memory edit ../rules")


def test_what_is_saved_unchanged_is_no_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(monkeypatch, tmp_path, "true")
    desk = Desk(tmp_path)
    assert desk.run("/memory edit persona") == "persona is unchanged.\n"
    assert desk.home.memory.last_edits(1) == []


def test_a_text_that_is_too_long_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(monkeypatch, tmp_path, 'printf "%02001d" 0 > "$1"')
    desk = Desk(tmp_path)
    printed = desk.run("/memory edit human")
    assert "human holds 2000 characters, and this has 2001; it is unchanged." in printed
    assert "Next: /memory edit human opens your text again; shorten it by 1" in printed
    editor(monkeypatch, tmp_path, 'cut -c 2- "$1" > "$1.new"; mv "$1.new" "$1"')
    assert "2000/2000" in desk.run("/memory edit human")
    assert desk.home.memory.block("human").value == "0" * 2000


def test_a_block_that_changed_while_it_was_edited_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(monkeypatch, tmp_path, 'echo "Mine." > "$1"')
    desk = Desk(tmp_path)

    async def lend_late(work):  # type: ignore[no-untyped-def]
        desk.home.memory.core_memory_append("human", "Theirs.")
        return await asyncio.to_thread(work)

    desk.context.lend = lend_late
    assert "human was changed meanwhile" in desk.run("/memory edit human")
    assert desk.home.memory.block("human").value == "Theirs."


@pytest.mark.parametrize("line", ["/memory edit", "/memory edit nobody", "/memory undo x", "/memory undo 7", "/why x"])
def test_what_cannot_be_edited_or_taken_back_is_one_sentence(tmp_path: Path, line: str) -> None:
    printed = Desk(tmp_path).run(line)
    assert printed.startswith("· ") and "Next: " in printed and printed.count("\n") == 1


def test_without_a_terminal_there_is_no_editor(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.context.lend = None
    assert "There is no terminal here for an editor." in desk.run("/memory edit human")
    assert "There is no terminal here for an editor." in desk.run("/editor")


@pytest.mark.parametrize("line", ["/memory edit human", "/memory undo"])
def test_a_session_that_only_reads_edits_nothing(tmp_path: Path, line: str) -> None:
    assert "This session only reads." in Desk(tmp_path, read_only=True).run(line)


def test_one_edit_is_taken_back_by_its_number(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.home.memory.core_memory_append("human", "Name: Ana")
    desk.home.memory.core_memory_append("human", "Likes tea.")
    assert "  1  " in desk.run("/memory log") and desk.run("/memory log").endswith("/memory undo ID takes one back.\n")
    assert desk.run("/memory undo 1").endswith("  - Name: Ana\nEdit 3; /memory undo 3 takes it back.\n")
    assert desk.home.memory.block("human").value == "Likes tea."
    desk.home.memory.edit("human", "Likes coffee.")
    assert "Edit 2 of human cannot be taken back" in desk.run("/memory undo #2")


def test_words_of_the_command_and_labels_are_completed(tmp_path: Path) -> None:
    session = Desk(tmp_path).session
    assert [text for text, _ in completions("/memory ", session)] == [
        *("log", "undo", "persona", "human", "edit persona", "edit human"),
    ]
    assert [text for text, _ in completions("/memory edit h", session)] == ["edit human"]


# --- /why ----------------------------------------------------------------------------------------------------


def lived(desk: Desk, *lines: str, width_cells: int = 200) -> str:
    """Let the agent be told, file, archive, find and answer; return what `lines` print then."""
    archive = ScriptedCall("archival_memory_insert", {"content": "Rex was born in Lima."})
    dig = ScriptedCall("archival_memory_search", {"query": "Rex", "request_heartbeat": True})
    search = ScriptedCall("conversation_search", {"query": "dog", "request_heartbeat": True})
    script = [
        append("Dog: Rex [red] \x1b[2J"),
        ScriptedReply(calls=(archive, *speak("Noted.").calls)),
        ScriptedReply(calls=(search, dig)),
        call("conversation_search", {"query": "zebra", "request_heartbeat": True}),
        speak("Your dog is Rex."),
    ]
    kernel: Kernel = desk.home.kernel(ScriptedProcessor(script))
    desk.session.kernel, desk.session.operator = kernel, desk.home.operator(kernel)
    desk.context.console.width = width_cells

    async def play() -> None:
        async with running(kernel) as listener:
            await listener.say("My dog is Rex.")
            manager = kernel.machine.queue_manager
            await manager.evict(len(manager.queue), "A dog was named.", "scripted")
            await listener.say("What is my dog called?")
            for line in lines:
                await run_command(desk.context, line)

    asyncio.run(play())
    return desk.paper.getvalue()


def test_why_shows_lines_finds_passages_summary_and_queue_with_their_sources(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    shown = [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "DAY", row) for row in lived(desk, "/why").splitlines()]
    assert shown == [
        "Message 16, DAY: Your dog is Rex.",
        "Its prompt held:",
        "Core memory: 2 lines",
        "  persona: I am Sam.",
        "    there from the start",
        "  human: Dog: Rex [red] ␛[2J",
        '    agent, DAY, edit 1; message 1, user: "My dog is Rex."',
        'conversation_search("dog"): 2 messages',
        "  message 1, DAY, user: My dog is Rex.",
        "  message 5, DAY, sam: Noted.",
        'archival_memory_search("Rex"): 1 passage',
        "  passage 1, DAY: Rex was born in Lima.",
        '    message 1, user: "My dog is Rex."',
        'conversation_search("zebra"): nothing found',
        "The summary of what left the queue, up to message 7",
        "  A dog was named.",
        "    scripted, DAY",
        "The queue: 1 message, and 7 events and results",
        "  message 8, DAY, user: What is my dog called?",
    ]


@pytest.mark.parametrize("width_cells", [60, 80, 120])
def test_why_keeps_within_the_screen(tmp_path: Path, width_cells: int) -> None:
    desk = Desk(tmp_path)
    desk.context.wrap = True
    printed = lived(desk, "/why", width_cells=width_cells)
    assert all(len(row) <= width_cells for row in printed.splitlines())


def test_why_speaks_of_the_last_reply_that_still_counts(tmp_path: Path) -> None:
    assert "Message 5, " in lived(Desk(tmp_path), "/undo", "/why")


def test_why_shows_the_end_of_a_long_queue_or_all_of_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    kernel = desk.home.kernel(ScriptedProcessor([speak(f"Reply {number}.") for number in range(5)]))
    desk.session.kernel, desk.session.operator = kernel, desk.home.operator(kernel)

    async def play() -> None:
        async with running(kernel) as listener:
            for number in range(5):
                await listener.say(f"Message {number}.")
            await run_command(desk.context, "/why")
            cut = desk.paper.getvalue()
            await run_command(desk.context, "/why all")
            whole = desk.paper.getvalue().removeprefix(cut)
            assert "… 3 before these; /why all shows them" in cut and "user: Message 1." not in cut
            assert "user: Message 1." in whole and "before these" not in whole

    asyncio.run(play())


def test_why_says_honestly_that_nothing_was_said_or_kept(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert "The agent has not said anything yet." in desk.run("/why")
    lived(desk)
    desk.home.database.query("DELETE FROM prompts")
    assert "was not kept: an older memos wrote it" in desk.run("/why")


def test_a_turn_that_runs_keeps_its_memory(tmp_path: Path) -> None:
    async def at_work(desk: Desk) -> None:
        desk.home.memory.core_memory_append("human", "Name: Ana")
        await desk.session.kernel.look()
        desk.session.kernel.post(Event(EventKind.USER_MESSAGE, "x"))
        await run_command(desk.context, "/memory undo")

    desk = Desk(tmp_path)
    asyncio.run(at_work(desk))
    assert "A turn is running." in desk.paper.getvalue()
