"""One message, one answer: the reply alone on one stream, everything else on the other."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from support.agent_home import agent_home
from support.listening import append, call, speak
from support.one_shot import Said, say

from memos.errors import BadInput
from memos.llm.scripted import ScriptedProcessor, ScriptedReply
from memos.messages import Event, EventKind, MessageState, Prompt, Question, Reply, ReplyPart, SpeechDelta
from memos.terminal.one_shot import OneMessage


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


class Hanging(ScriptedProcessor):
    """Says the beginning of something, and no more."""

    def __init__(self, begun: Callable[[], object] = lambda: None) -> None:
        super().__init__([])
        self._begun = begun

    async def infer(self, prompt: Prompt) -> AsyncIterator[ReplyPart]:
        yield SpeechDelta("Precious beginning")
        self._begun()
        await asyncio.sleep(60)
        yield Reply()


def scripted(*replies: ScriptedReply) -> ScriptedProcessor:
    return ScriptedProcessor(list(replies))


def test_the_reply_alone_is_on_stdout(tmp_path: Path) -> None:
    said = say(tmp_path, scripted(append("Name: Ana"), speak("Hello Ana.", monologue="A name.")))
    assert (said.code, said.words, said.told) == (0, "Hello Ana.\n", "")


def test_words_without_a_call_are_the_reply(tmp_path: Path) -> None:
    said = say(tmp_path, scripted(ScriptedReply(monologue="Hm.", text="Just words.")))
    assert (said.code, said.words) == (0, "Just words.\n")


def test_a_command_is_obeyed_and_a_path_is_not_taken_for_one(tmp_path: Path) -> None:
    shown = json.loads(say(tmp_path, scripted(speak("?")), "/context --json").words)
    assert sum(shown["tokens"].values()) == shown["prompt_tokens"] and shown["window_tokens"] == 8192
    for text in ("/usr/bin is full", "/context\nand more", "//context"):
        assert say(tmp_path, scripted(speak("I see.")), text).words == "I see.\n"


def test_what_a_pipe_or_a_file_says_is_never_a_command(tmp_path: Path) -> None:
    processor = scripted(speak("I see."))
    assert say(tmp_path, processor, OneMessage("/clear", typed=False)).words == "I see.\n"
    assert processor.prompts[0].queue[-1].content == "/clear"


def test_progress_goes_to_stderr(tmp_path: Path) -> None:
    said = say(tmp_path, scripted(append("Name: Ana"), speak("Hello Ana.")), progress=True)
    assert said.words == "Hello Ana.\n"
    assert said.told.splitlines() == [
        "step 1 of 30",
        "core memory: human 9/2000",
        "core_memory_append: OK",
        "step 2 of 30",
        "send_message: OK",
    ]


def test_a_refusal_is_told_on_stderr_and_by_the_exit_code(tmp_path: Path) -> None:
    said = say(tmp_path, scripted(ScriptedReply(error="refused")))
    assert (said.code, said.words) == (4, "")
    assert "The script says: refused." in said.told


def test_quiet_tells_only_why_it_failed(tmp_path: Path) -> None:
    refused = say(tmp_path, scripted(ScriptedReply(error="refused")), quiet=True, progress=True)
    assert refused.told.count("\n") == 1 and "refused" in refused.told
    assert say(tmp_path, scripted(append("Name: Ana"), speak("Hello.")), quiet=True, progress=True).told == ""


def test_a_limit_ends_with_its_exit_code(tmp_path: Path) -> None:
    search = call("conversation_search", {"query": "bees", "request_heartbeat": True})
    assert say(tmp_path, scripted(*[search] * 5)).code == 8


@pytest.mark.parametrize(("tty", "expected"), [(True, "a␛[2Jb\n"), (False, "a\x1b[2Jb\n")])
def test_a_terminal_gets_harmless_words_and_a_file_the_words_as_they_are(
    tmp_path: Path, tty: bool, expected: str
) -> None:
    out = Terminal() if tty else io.StringIO()
    assert say(tmp_path, scripted(speak("a\x1b[2Jb")), out=out).words == expected


def test_a_kernel_that_ends_is_no_success(tmp_path: Path) -> None:
    def end_soon(task: asyncio.Task[None]) -> None:
        asyncio.get_running_loop().call_later(0.2, task.cancel)

    said = say(tmp_path, Hanging(), meanwhile=end_soon)
    assert said.code == 1
    assert "has stopped working" in said.told


def test_a_lone_surrogate_does_not_break_the_output(tmp_path: Path) -> None:
    said = say(tmp_path, scripted(ScriptedReply(text="half \ud83d of it")))
    said.words.encode("utf-8")
    assert said.words.startswith("half ")


def test_where_nothing_is_written_a_message_is_refused_and_a_command_obeyed(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="only reads"):
        say(tmp_path, scripted(), read_only=True)
    assert "Sam" in say(tmp_path, scripted(), "/memory persona", read_only=True).words


def kept(folder: Path) -> list[tuple[str, MessageState]]:
    """Return what the agent said, whole or not, and how far its writing came."""
    home = agent_home(folder)
    replies = [row for row in home.recall.queue(0) if row.role == "assistant"]
    return [(str(row.payload.get("speech", row.content)), row.state) for row in replies]


def goes_on(folder: Path) -> bool:
    return say(folder, scripted(speak("On we go."))).words == "On we go.\n"


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_stops_the_turn_and_what_was_shown_is_kept(tmp_path: Path, name: str, code: int) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)

    def strike() -> None:
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), number)

    said = say(tmp_path, Hanging(strike))
    assert (said.code, said.words) == (code, "")
    assert said.told.count("\n") == 1 and "kept" in said.told
    assert kept(tmp_path) == [("Precious beginning", MessageState.INCOMPLETE)]
    assert signal.getsignal(number) is before
    assert goes_on(tmp_path)


def test_an_ignored_hangup_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        said = say(tmp_path, scripted(speak("Here.")), meanwhile=lambda task: os.kill(os.getpid(), signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (said.code, said.words) == (0, "Here.\n")


def test_after_its_time_a_turn_is_stopped_with_the_code_of_a_time_out(tmp_path: Path) -> None:
    said = say(tmp_path, Hanging(), timeout_s=0.2)
    assert (said.code, said.words) == (5, "")
    assert "no whole reply within 0.2 seconds" in said.told and "Next:" in said.told
    assert kept(tmp_path) == [("Precious beginning", MessageState.INCOMPLETE)]
    assert goes_on(tmp_path)


def test_where_nobody_reads_any_more_the_turn_ends_and_is_kept(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError):
        say(tmp_path, scripted(speak("Into the void.")), out=Broken())
    assert kept(tmp_path)[0][1] is MessageState.COMPLETE
    assert goes_on(tmp_path)


def test_an_earlier_message_that_waited_is_answered_and_its_answer_is_no_reply(tmp_path: Path) -> None:
    async def leave_one_waiting() -> None:
        kernel = agent_home(tmp_path).kernel(scripted())
        await kernel.machine.queue_manager.open()
        await kernel.machine.queue_manager.defer(Event(EventKind.USER_MESSAGE, "Earlier."))

    asyncio.run(leave_one_waiting())
    said = say(tmp_path, scripted(speak("To the earlier one."), speak("To this one.")))
    assert (said.code, said.words) == (0, "To this one.\n")
    assert "To an earlier message it said: To the earlier one." in said.told


def test_a_question_is_answered_no(tmp_path: Path) -> None:
    processor, said = scripted(speak("Asked."), speak("Then not.")), Said()

    async def play() -> None:
        home = agent_home(tmp_path)
        kernel = home.kernel(processor)

        def ask(task: asyncio.Task[None]) -> None:
            kernel._board.publish("a turn", Question("q1", "May I?", ("yes", "no")))

        asked = asyncio.get_running_loop().call_soon
        await said.say(home, kernel, meanwhile=lambda task: asked(ask, task))

    asyncio.run(play())
    answer = next(row for row in processor.prompts[-1].queue if row.kind is EventKind.ANSWER)
    assert answer.content == "no" and answer.payload["question"] == "q1"
    assert "May I? Nobody is here to be asked: no." in said.told
