"""One message, one answer: the reply alone on one stream, everything else on the other."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.agent_home import agent_home
from support.listening import append, call, speak

from memos.kernel.processor_line import ProcessorLine
from memos.llm.scripted import ScriptedProcessor, ScriptedReply
from memos.messages import Prompt, Reply, ReplyPart
from memos.terminal.one_shot import run_once
from memos.terminal.session import Session


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Hanging(ScriptedProcessor):
    """Never answers."""

    async def infer(self, prompt: Prompt) -> AsyncIterator[ReplyPart]:
        await asyncio.sleep(60)
        yield Reply()


class Outcome:
    def __init__(
        self,
        folder: Path,
        replies: list[ScriptedReply],
        *,
        tty: bool = False,
        progress: bool = False,
        text: str = "Hello",
    ) -> None:
        self.out, self.err = Terminal() if tty else io.StringIO(), io.StringIO()
        self.code = asyncio.run(self._run(folder, replies, progress, text))

    async def _run(self, folder: Path, replies: list[ScriptedReply], progress: bool, text: str) -> int:
        home = agent_home(folder)
        kernel = home.kernel(ScriptedProcessor(replies))
        task = asyncio.create_task(kernel.run())
        if not replies:
            asyncio.get_running_loop().call_later(0.2, task.cancel)
            kernel.machine.processors = ProcessorLine(Hanging([]))
        try:
            operator = home.operator(kernel)
            session = Session(kernel, home.agent, home.memory, operator, None, home.ledger, home.finder, None)  # type: ignore[arg-type]
            async with asyncio.timeout(20):
                return await run_once(session, text, self.out, self.err, progress)
        finally:
            task.cancel()
            await asyncio.wait([task])


def test_the_reply_alone_is_on_stdout(tmp_path: Path) -> None:
    outcome = Outcome(tmp_path, [append("Name: Ana"), speak("Hello Ana.", monologue="A name.")])
    assert (outcome.code, outcome.out.getvalue(), outcome.err.getvalue()) == (0, "Hello Ana.\n", "")


def test_words_without_a_call_are_the_reply(tmp_path: Path) -> None:
    outcome = Outcome(tmp_path, [ScriptedReply(monologue="Hm.", text="Just words.")])
    assert (outcome.code, outcome.out.getvalue()) == (0, "Just words.\n")


def test_a_command_is_obeyed_and_a_path_is_not_taken_for_one(tmp_path: Path) -> None:
    shown = json.loads(Outcome(tmp_path, [speak("?")], text="/context --json").out.getvalue())
    assert sum(shown["tokens"].values()) == shown["prompt_tokens"] and shown["window_tokens"] == 8192
    for text in ("/usr/bin is full", "/context\nand more", "//context"):
        assert Outcome(tmp_path, [speak("I see.")], text=text).out.getvalue() == "I see.\n"


def test_progress_goes_to_stderr(tmp_path: Path) -> None:
    outcome = Outcome(tmp_path, [append("Name: Ana"), speak("Hello Ana.")], progress=True)
    assert outcome.out.getvalue() == "Hello Ana.\n"
    assert outcome.err.getvalue().splitlines() == [
        "step 1 of 30",
        "core memory: human 9/2000",
        "core_memory_append: OK",
        "step 2 of 30",
        "send_message: OK",
    ]


def test_a_refusal_is_told_on_stderr_and_by_the_exit_code(tmp_path: Path) -> None:
    outcome = Outcome(tmp_path, [ScriptedReply(error="refused")])
    assert outcome.code == 4
    assert outcome.out.getvalue() == ""
    assert "The script says: refused." in outcome.err.getvalue()


def test_a_limit_ends_with_its_exit_code(tmp_path: Path) -> None:
    search = call("conversation_search", {"query": "bees", "request_heartbeat": True})
    assert Outcome(tmp_path, [search] * 5).code == 8


@pytest.mark.parametrize(("tty", "expected"), [(True, "a␛[2Jb\n"), (False, "a\x1b[2Jb\n")])
def test_a_terminal_gets_harmless_words_and_a_file_the_words_as_they_are(
    tmp_path: Path, tty: bool, expected: str
) -> None:
    assert Outcome(tmp_path, [speak("a\x1b[2Jb")], tty=tty).out.getvalue() == expected


def test_a_kernel_that_ends_is_no_success(tmp_path: Path) -> None:
    outcome = Outcome(tmp_path, [])
    assert outcome.code == 1
    assert "has stopped working" in outcome.err.getvalue()


def test_a_lone_surrogate_does_not_break_the_output(tmp_path: Path) -> None:
    outcome = Outcome(tmp_path, [ScriptedReply(text="half \ud83d of it")])
    outcome.out.getvalue().encode("utf-8")
    assert outcome.out.getvalue().startswith("half ")
