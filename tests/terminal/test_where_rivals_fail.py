"""What each rival was seen to fail at, on the screen and through pipes, over real HTTP (reference: peers §4)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_openai import Answer, Call, FakeOpenAI, Request, echo
from support.screens import Screen, environment

pytestmark = pytest.mark.terminal
PATIENCE_S = 60.0
WORDS = "So be it."
FAULTS = {
    "Brackets.": "brackets",
    "Heartbeat.": "heartbeat_string",
    "Two.": "two_send_message",
    "Empty.": "empty_reply",
}
BRACKETS = f"[laughs] ECHO[aaf4c61d] [/bold] [link=x] {WORDS}"


def script(request: Request) -> Answer:
    """Fail as the newest message says."""
    said = [packet for packet in request.packets() if packet["type"] == "user_message"]
    if not said or said[-1]["message"] not in FAULTS:
        return echo(request)
    return Answer(
        "I answer.", (Call("send_message", {"message": WORDS}),), fault=FAULTS[said[-1]["message"]], chunk_chars=5
    )


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(script) as fake:
        yield fake
        assert fake.violations == []


def command(server: FakeOpenAI) -> list[str]:
    options = ["-m", "openai/fake", "--api-base", server.url, "--set", "memory.embedding=none"]
    return [sys.executable, "-m", "memos", "run", *options]


def test_all_of_it_is_said_through_pipes(tmp_path: Path, server: FakeOpenAI) -> None:
    typed = ["!rm -rf of [all] fears", *FAULTS, "And now?"]
    done = subprocess.run(
        command(server),
        input="\n".join(typed).encode(),
        capture_output=True,
        env=environment(tmp_path),
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    answers = {question: _after(lines, f"> {question}") for question in typed}
    assert answers[typed[0]][-1] == f"sam: You said: {typed[0]}"
    assert answers["Brackets."][-1] == f"sam: {BRACKETS}"
    assert answers["Heartbeat."][-1] == f"sam: {WORDS}" and "Ana keeps bees." in "".join(answers["Heartbeat."])
    assert answers["Two."][-2:] == ["sam: And one thing more.", f"sam: {WORDS}"]
    assert "empty reply" in answers["Empty."][-1]
    assert answers["And now?"][0] == "[thought] I answer." and "sam: You said: And now?" in answers["And now?"]


def _after(lines: list[str], question: str) -> list[str]:
    """Return the lines between a question and the next empty one."""
    rest = lines[lines.index(question) + 1 :]
    return rest[: rest.index("")] if "" in rest else rest


def test_all_of_it_is_on_the_screen_once(tmp_path: Path, server: FakeOpenAI) -> None:
    screen = Screen(command(server), env=environment(tmp_path))
    try:
        screen.until("Hello.", PATIENCE_S)
        for typed, shown in (
            ("!rm -rf of [all] fears", "You said: !rm -rf of [all] fears"),
            ("Brackets.", BRACKETS),
            ("Heartbeat.", "core_memory_append"),
            ("Two.", "And one thing more."),
            ("Empty.", "empty reply"),
            ("And now?", "You said: And now?"),
        ):
            screen.type(f"{typed}\r")
            screen.until(shown, PATIENCE_S)
        assert [screen.count(words) for words in ("ECHO[aaf4c61d]", "And one thing more.", "empty reply")] == [1, 1, 1]
        assert screen.count(WORDS) == 3, "with the brackets, after the heartbeat, as the second of two"
        screen.type("\x04")
        assert screen.exit_code() == 0
    finally:
        screen.close()
