"""What stood in a prompt is told from what is stored, each thing with the message it came from."""

from pathlib import Path

import pytest
from support.agent_home import AgentHome, agent_home
from support.listening import Listener, append, call, play, speak

from memos.llm.scripted import ScriptedProcessor, ScriptedReply
from memos.memory.prompt_records import Grounds, PromptRecords
from memos.messages import Block


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    return agent_home(tmp_path, [Block("persona", "I am Sam.\nI listen.", 500), Block("human", "", 500)])


def talk(home: AgentHome, script: list[ScriptedReply], *said: str) -> None:
    async def scene(listener: Listener) -> None:
        for words in said:
            await listener.say(words)

    play(home.kernel(ScriptedProcessor(script)), scene)


def grounds(home: AgentHome) -> Grounds:
    found = PromptRecords(home.database, home.agent.id).last()[1]
    assert found is not None
    return found


def test_a_block_line_names_the_edit_that_wrote_it_and_the_message_of_that_turn(home: AgentHome) -> None:
    talk(home, [append("Name: Ana", heartbeat=True), speak("Hello Ana.")], "I am Ana.")
    lines = {line.text: line for line in grounds(home).lines}
    assert list(lines) == ["I am Sam.", "I listen.", "Name: Ana"]
    assert (lines["I listen."].author, lines["I listen."].source) == ("", None)
    written = lines["Name: Ana"]
    assert (written.label, written.author, written.revision) == ("human", "agent", 1)
    assert written.source and (written.source.speaker, written.source.text) == ("user", "I am Ana.")


def test_lines_read_as_they_did_in_the_prompt_whatever_was_edited_since(home: AgentHome) -> None:
    talk(home, [append("Name: Ana", heartbeat=True), speak("Hello.")], "I am Ana.")
    home.memory.edit("human", "Name: Eve\nLikes tea.")
    home.memory.edit("persona", "I am Eve.")
    assert [line.text for line in grounds(home).lines] == ["I am Sam.", "I listen.", "Name: Ana"]


def test_each_line_has_its_own_writer_through_many_edits(home: AgentHome) -> None:
    home.memory.edit("human", "\n".join(f"Fact {number}." for number in range(3)))
    for number in range(70):  # more than are read at once
        home.memory.edit("human", f"Fact 0.\nFact 1, said {number} times.\nFact 2.")
    talk(home, [speak("Yes.")], "So?")
    writers = [line.revision for line in grounds(home).lines if line.label == "human"]
    assert writers == [1, 71, 1]


def test_what_a_search_showed_is_told_by_message_and_passage(home: AgentHome) -> None:
    talk(home, [speak("A fine dog.")], "My dog is Rex.")
    home.agents.begin_queue(home.agent, home.recall.queue(0)[-1].seq + 1, "They spoke of a dog.", "scripted")
    home.archival.archival_memory_insert("Rex was born in Lima.")
    search = call("conversation_search", {"query": "dog", "request_heartbeat": True})
    dig = call("archival_memory_search", {"query": "Lima", "request_heartbeat": True})
    talk(home, [ScriptedReply(calls=search.calls + dig.calls), speak("Rex.")], "What is my dog called?")
    seen = grounds(home)
    assert seen.reply.text == "Rex."
    recalled, archived = seen.findings
    assert recalled.call.name == "conversation_search"
    assert ("user", "My dog is Rex.") in [(message.speaker, message.text) for message in recalled.messages]
    assert [passage.text for passage in archived.passages] == ["Rex was born in Lima."]
    assert [message.text for message in seen.queue] == ["What is my dog called?"]
    assert seen.summary and (seen.summary.text, seen.summary.author) == ("They spoke of a dog.", "scripted")


def test_a_failed_call_and_one_that_found_nothing_name_no_rows(home: AgentHome) -> None:
    nothing = call("conversation_search", {"query": "zebra", "request_heartbeat": True})
    wrong = call("conversation_search", {"query": "x", "page": -1})
    talk(home, [nothing, wrong, speak("No.")], "Zebras?")
    (finding,) = grounds(home).findings
    assert finding.kept and not finding.messages


def test_it_is_known_after_a_restart_and_only_once_a_reply(home: AgentHome, tmp_path: Path) -> None:
    talk(home, [speak("One."), speak("Two.")], "First.", "Second.")
    home.database.close()
    again = agent_home(tmp_path)
    assert [message.text for message in grounds(again).queue] == ["First.", "One.", "Second."]
    assert again.database.query("SELECT count(*) FROM prompts")[0][0] == 2


def test_a_reply_of_an_older_memos_has_no_grounds(home: AgentHome) -> None:
    talk(home, [speak("One.")], "First.")
    home.database.query("DELETE FROM prompts")
    reply, seen = PromptRecords(home.database, home.agent.id).last()
    assert reply and reply.text == "One." and seen is None


def test_a_processor_that_does_not_read_the_queue_saw_the_turn_alone(home: AgentHome) -> None:
    class Forgetful(ScriptedProcessor):
        reads_queue = False

    async def scene(listener: Listener) -> None:
        await listener.say("First.")
        await listener.say("Second.")

    play(home.kernel(Forgetful([speak("One."), speak("Two.")])), scene)
    assert [message.text for message in grounds(home).queue] == ["Second."]
