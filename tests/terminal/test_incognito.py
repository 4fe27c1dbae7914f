"""Incognito nothing is written: not by a conversation, not by one that is killed, not by a bug."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.agent_home import AgentHome, agent_home
from support.fake_openai import Answer, Call, FakeOpenAI, Request
from support.lived_agent import lived
from support.screens import Screen, environment, saying, write_script

from memos.config import Places
from memos.storage.agent_lock import AgentLock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")

Traces = dict[str, tuple[int, str]]


class Scene:
    """A home with an agent, a folder for temporary files, and a scripted model; what a command leaves there."""

    def __init__(self, folder: Path) -> None:
        self.home, self.temporary = folder / "home", folder / "temporary"
        self.home.mkdir()
        self.temporary.mkdir()
        self.places = Places.find({"MEMOS_HOME": str(self.home)})
        replies = [
            saying("A secret is safe with me."),
            {
                "calls": [
                    {"name": "core_memory_append", "arguments": {"label": "human", "content": "A secret: zanzibar"}},
                    {"name": "send_message", "arguments": {"message": "Noted, for now."}},
                ]
            },
            saying("Good bye."),
        ]
        self.model = write_script(folder / "script.json", replies)

    @property
    def env(self) -> dict[str, str]:
        return environment(self.home, TMPDIR=str(self.temporary), VISUAL="true")

    def command(self, *words: str) -> list[str]:
        options = ["--incognito", "--model", self.model, "--set", "memory.embedding=none"]
        options += ["--set", "terminal.greet=false"]
        return [sys.executable, "-m", "memos", "run", *options, *words]

    def run(self, *words: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
        stdin = None if typed is not None else subprocess.DEVNULL
        return subprocess.run(
            self.command(*words),
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd="/",
            input=typed,
            stdin=stdin,
        )

    def traces(self) -> Traces:
        """Return the home, and what is below it and in the temporary folder: times of change, hashes of bytes."""
        found: Traces = {}
        for path in (self.home, *self.home.rglob("*"), *self.temporary.rglob("*")):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found[str(path)] = (status.st_mtime_ns, hashlib.sha256(content).hexdigest())
        return found

    @contextmanager
    def untouched(self) -> Iterator[None]:
        before = self.traces()
        yield
        assert self.traces() == before

    @contextmanager
    def screen(self, *words: str) -> Iterator[Screen]:
        screen = Screen(self.command(*words), env=self.env)
        try:
            yield screen
        finally:
            screen.close()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def with_an_agent(scene: Scene) -> AgentHome:
    return lived(scene.places.data)


@pytest.mark.terminal
def test_the_prompt_says_it_all_the_time_and_no_file_changes(scene: Scene) -> None:
    with_an_agent(scene).database.close()
    with scene.untouched(), scene.screen() as screen:
        screen.until("incognito ❯")
        assert "Incognito: nothing of this conversation is written or remembered" in screen.text.replace("\n", " ")
        screen.type("Keep this.\r")
        screen.until("A secret is safe with me.")
        screen.until("incognito ❯ Keep this.")
        screen.type("My secret is zanzibar.\r")
        screen.until("Noted, for now.")
        screen.until(lambda: screen.prompt_line.startswith("incognito ❯"))
        for line, said in (
            ("/memory", "A secret: zanzibar"),
            ("/search zanzibar", "My secret is zanzibar."),
            ("/search dog", "My dog is Rex."),
            ("/save", "Nothing is saved: this conversation is incognito."),
            ("/log", "Incognito no log is written."),
            ("/rename eve", "Nothing that is done incognito is kept."),
            ("/fork", "memos copy AGENT NAME"),
            ("/memory edit human", "An editor needs a file"),
            ("/agents", "you talk to it"),
        ):
            screen.type(f"{line}\r")
            screen.until(said)
        screen.type("/exit\r")
        assert screen.exit_code() == 0
        assert "Nothing of this conversation was kept." in screen.text
        assert "Saved" not in screen.text


@pytest.mark.terminal
def test_another_agent_is_talked_to_incognito_too_also_a_new_one(scene: Scene) -> None:
    with_an_agent(scene).database.close()
    eve = agent_home(scene.places.data, name="eve")
    eve.agents.keep_settings(eve.agent, {"model": scene.model})
    eve.database.close()
    with scene.untouched(), scene.screen("sam") as screen:
        screen.until("incognito ❯")
        screen.type("/switch eve\r")
        screen.until("On to eve, still incognito.")
        screen.until(lambda: screen.count("Incognito: nothing of this conversation") == 2)
        screen.until(lambda: screen.prompt_line.startswith("incognito ❯"))
        screen.type("/new bob\r")
        screen.until("On to bob, still incognito.")
        screen.until(lambda: screen.count("Incognito: nothing of this conversation") == 3)
        screen.until(lambda: screen.prompt_line.startswith("incognito ❯"))
        screen.type("Hello\r")
        screen.until("A secret is safe with me.")
        screen.type("\x04")
        assert screen.exit_code() == 0


@pytest.mark.terminal
@pytest.mark.crash
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_one_that_is_killed_leaves_nothing_either(scene: Scene, number: int) -> None:
    with_an_agent(scene).database.close()
    with scene.untouched(), scene.screen() as screen:
        screen.until("incognito ❯")
        screen.type("My secret is zanzibar.\r")
        screen.until("A secret is safe with me.")
        screen.kill(number)
        screen.exit_code()


def test_one_message_is_answered_and_forgotten(scene: Scene) -> None:
    home = with_an_agent(scene)
    home.database.close()
    with scene.untouched():
        done = scene.run("-p", "My secret is zanzibar.")
        assert (done.returncode, done.stdout) == (0, "A secret is safe with me.\n")


def test_a_pipe_is_told_in_every_line_that_asks(scene: Scene) -> None:
    with_an_agent(scene).database.close()
    with scene.untouched():
        done = scene.run(typed="One.\nTwo.\n")
    assert done.returncode == 0 and "Noted, for now." in done.stdout + done.stderr


def test_with_no_agent_and_no_folder_a_newcomer_answers(scene: Scene) -> None:
    scene.home.rmdir()
    done = scene.run("-p", "Hello")
    assert (done.returncode, done.stdout) == (0, "A secret is safe with me.\n")
    assert not scene.home.exists() and not any(scene.temporary.iterdir())


def test_while_the_agent_is_open_elsewhere_it_can_be_asked(scene: Scene) -> None:
    home = with_an_agent(scene)
    lock = AgentLock(scene.places.locks, home.agent.id, home.agent.name)
    lock.acquire()
    with scene.untouched():
        assert scene.run("sam", "-p", "Hello").returncode == 0
    lock.release()


@pytest.mark.parametrize(("flag", "said"), [("--read-only", "only looks"), ("--take-over", "has it open")])
def test_flags_that_mean_something_else_are_refused(scene: Scene, flag: str, said: str) -> None:
    with scene.untouched():
        done = scene.run(flag, "-p", "Hello")
        assert done.returncode == 2 and said in done.stderr and "Next: leave" in done.stderr


def test_the_model_knows_what_is_remembered_and_that_nothing_will_be(scene: Scene) -> None:
    with_an_agent(scene).database.close()
    seen: list[Request] = []

    def answer(request: Request) -> Answer:
        seen.append(request)
        return Answer("", (Call("send_message", {"message": "Yes."}),))

    with FakeOpenAI(answer) as server:
        scene.model = "openai/fake"
        with scene.untouched():
            done = scene.run("--api-base", server.url, "-p", "Do you know my dog?")
    assert done.returncode == 0 and done.stdout == "Yes.\n", done.stderr
    asked = json.dumps(seen[-1].body)
    assert "Dog: Rex" in asked and "This conversation is incognito: nothing of it is kept" in asked


def test_a_bug_writes_no_file_about_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from memos import cli

    agent_home(scene.places.data).database.close()
    for name, value in scene.env.items():
        monkeypatch.setenv(name, value)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("zanzibar")

    monkeypatch.setattr("memos.cli.run.find_agent", broken)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    with scene.untouched():
        assert cli.main(["run", "--incognito", "-p", "zanzibar"]) == 1
    assert cli.main(["run", "-p", "x"]) == 1
    assert list(scene.places.logs.glob("bug-*.log"))


@pytest.mark.builtin_model
def test_meaning_is_searched_in_the_vectors_there_are_and_none_is_written(scene: Scene, builtin_cache: Path) -> None:
    home = with_an_agent(scene)
    for number in range(3):
        home.archival.archival_memory_insert(f"The bees swarmed on day {number}.")
    home.database.close()
    env = {**scene.env, "MEMOS_CACHE": str(builtin_cache)}

    def memos(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "memos", *words], env=env, capture_output=True, text=True, timeout=120, check=False
        )

    assert memos("reindex").returncode == 0
    model = write_script(
        scene.home.parent / "search.json",
        [
            {
                "calls": [
                    {"name": "archival_memory_search", "arguments": {"query": "insects", "request_heartbeat": True}}
                ]
            },
            saying("Found."),
        ],
    )
    with scene.untouched():
        found = memos("run", "--incognito", "--model", model, "-p", "/search insects")
        done = memos("run", "--incognito", "--model", model, "-p", "What of insects?")
    assert "bees swarmed" in found.stdout and done.stdout == "Found.\n", (found, done)
    assert os.path.isdir(scene.places.vectors)  # noqa: PTH112
