"""Whatever a model, a server, the wire or a signal does: standard output is events, and the last says how it ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.agent_home import agent_home
from support.command_line import clean_environ
from support.event_lines import check_lines, types_of
from support.fake_faults import FAULTS
from support.fake_openai import Answer, FakeOpenAI, Script, echo, refused_url, say
from support.fault_cases import CASES, MIDDLE_S, WORDS, faulty, limits_in, over_httpx, patience_with
from support.one_shot import Said

from memos.terminal.event_lines import EventLines

TIMEOUT_S = 60
ONE_SHOT = {"MEMOS_MEMORY_EMBEDDING": "none"}


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


def say_to(folder: Path, server: FakeOpenAI, name: str, stream: bool, strike: signal.Signals | None = None) -> Said:
    """Say one thing to a faulty server, with events as the output; `strike` comes in the middle of the reply."""
    server.script = faulty(name, strike is not None)
    server.requests.clear()
    said = Said()

    async def play() -> None:
        home, loop = agent_home(folder), asyncio.get_running_loop()
        processor = over_httpx(server.url, stream, patience_with(name))

        def look() -> None:
            if server.requests and strike:
                loop.call_later(MIDDLE_S, os.kill, os.getpid(), strike)
            elif strike:
                loop.call_later(0.005, look)

        try:
            await said.say(
                home,
                home.kernel(processor, limits_in(name)),
                "Tell me of quinces.",
                report=EventLines,
                meanwhile=lambda task: look(),
            )
        finally:
            await processor.aclose()

    asyncio.run(play())
    return said


@pytest.mark.parametrize(("name", "stream"), CASES, ids=[f"{n}-{'stream' if s else 'plain'}" for n, s in CASES])
def test_in_every_fault_mode_the_events_parse_and_the_last_one_says_how_it_ended(
    tmp_path: Path, server: FakeOpenAI, name: str, stream: bool
) -> None:
    said = say_to(tmp_path, server, name, stream)
    lines = check_lines(said.words, said.code)
    assert types_of(lines)[0] == "init" and types_of(lines)[-2] == "turn_done"
    if FAULTS[name].kind == "quirk":
        assert said.code == 0 and WORDS in lines[-1]["text"]
    if FAULTS[name].kind in ("silence", "garbage"):
        assert said.code == 5
    assert said.code in (0, 4, 5, 8), "whatever a server does is no bug of ours"


BROKEN_INTO = ("500", "stall_first", "stall_middle", "cut_text", "endless_text", "reasoning_content", "split_utf8")


@pytest.mark.parametrize("name", BROKEN_INTO)
@pytest.mark.parametrize(("strike", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_of_a_fault_is_an_error_too(
    tmp_path: Path, server: FakeOpenAI, name: str, strike: signal.Signals, code: int
) -> None:
    before = signal.signal(strike, lambda number, frame: None)  # one that comes after the end harms nobody
    try:
        said = say_to(tmp_path, server, name, True, strike)
    finally:
        signal.signal(strike, before)
    lines = check_lines(said.words, said.code)
    assert said.code in (code, *([4, 5] if name in ("500", "cut_text") else [0] if name == "split_utf8" else [])), lines


# --- The real program: a pipe on every side, and no terminal at all ---------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The events, each held against the schema."""
        return check_lines(self.out, self.code)


def start(home: Path, *words: str, **environ: str) -> subprocess.Popen[str]:
    """Begin `memos WORDS` in a session of its own, without any controlling terminal."""
    return subprocess.Popen(
        [sys.executable, "-m", "memos", *words],
        env=clean_environ(home, **ONE_SHOT, **environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        cwd="/",
        start_new_session=True,
    )


def run(home: Path, *words: str, piped: str = "", **environ: str) -> Ended:
    process = start(home, *words, **environ)
    out, err = process.communicate(piped, timeout=TIMEOUT_S)
    assert "Traceback" not in err
    return Ended(process.returncode, out, err)


def at(server: FakeOpenAI) -> Sequence[str]:
    return ("-m", "openai/fake-model", "--api-base", server.url, "--set", "window_tokens=32768")


@pytest.mark.parametrize(
    ("name", "code"), [("401", 4), ("cut_text", 5), ("non_json", 5), ("endless_identical", 8), ("split_utf8", 0)]
)
def test_a_process_without_any_terminal_tells_a_fault_in_events(
    tmp_path: Path, server: FakeOpenAI, name: str, code: int
) -> None:
    server.script = faulty(name, cancel=False)
    ended = run(tmp_path, "run", *at(server), "--output", "jsonl", piped="Tell me of quinces.")
    assert ended.code == code and ended.lines[0]["type"] == "init"
    assert code == 0 or ended.lines[-1]["message"] in ended.err


def test_piped_text_alone_is_the_message_and_the_reply_alone_comes_out(tmp_path: Path, server: FakeOpenAI) -> None:
    server.script = echo
    run(tmp_path, "configure", "--non-interactive", "--set", "model=openai/x", "--set", f"api_base={server.url}")
    ended = run(tmp_path, piped="Two\nlines.\n")
    assert (ended.code, ended.out, ended.err) == (0, "You said: Two\nlines.\n", "")
    server.script = lambda request: Answer(fault="401")
    ended = run(tmp_path, piped="x")
    assert (ended.code, ended.out) == (4, "") and "Next:" in ended.err


def test_with_nothing_configured_and_no_terminal_the_built_in_model_answers(
    tmp_path: Path, builtin_cache: Path
) -> None:
    cache = {"MEMOS_CACHE": str(builtin_cache)}
    ended = run(tmp_path, piped="My name is Ana.", **cache)
    assert ended.code == 0 and ended.out.strip()
    assert "No model is configured: builtin/tiny answers" in ended.err
    ended = run(tmp_path, "run", "-p", "What is my name?", "--json", "-q", **cache)
    assert (ended.code, ended.err) == (0, "") and "Ana" in ended.lines[-1]["text"]


@pytest.mark.parametrize(
    ("words", "environ", "code"),
    [
        (["-m", "openai/x"], {}, 3),
        (["--set", "nonsense"], {}, 2),
        (["--set", "limits.step=3"], {}, 2),
        (["--persona", "nobody", "-m", "builtin/tiny"], {}, 2),
        (["--image", "/nowhere.png", "-m", "scripted:/nowhere.json"], {}, 2),
        (["-f", "/nowhere.txt"], {}, 2),
        (["-f", sys.executable], {}, 2),
        (["nobody"], {}, 6),
        (["-m", "openai/x", "--api-base", refused_url()], {}, 5),
        ([], {"MEMOS_MODEL": "no-such-provider/x"}, 2),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else None,
)
@pytest.mark.parametrize("output", ["json", "jsonl"])
def test_what_goes_wrong_before_anything_is_asked_is_an_error_event(
    tmp_path: Path, words: list[str], environ: dict[str, str], code: int, output: str
) -> None:
    ended = run(tmp_path, "run", "-p", "x", *words, "--output", output, **environ)
    assert ended.code == code and ended.lines[-1]["message"] in ended.err and "Next:" in ended.err
    assert output == "jsonl" or len(ended.lines) == 1


def test_a_damaged_database_and_one_that_cannot_be_written_are_error_events(tmp_path: Path) -> None:
    database = tmp_path / "data" / "memos.db"
    database.parent.mkdir()
    database.write_bytes(b"this is no database at all, and never was one " * 100)
    assert run(tmp_path, "run", "-p", "x", "--json").code == 9
    ended = run(tmp_path, "run", "-p", "x", "--output", "jsonl")
    assert ended.code == 9 and ended.lines[-1]["code"] == "data_damaged"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "data").write_text("where a folder should be")
    ended = run(tmp_path / "other", "run", "-p", "x", "--json")
    assert ended.code == 10 and ended.lines[-1]["code"] == "storage_problem"


def test_a_command_line_that_cannot_be_read_leaves_standard_output_clean(tmp_path: Path) -> None:
    for words in (["--output", "xml"], ["--no-such-flag"], ["--timeout", "0"], ["--timeout", "soon"]):
        ended = run(tmp_path, "run", "-p", "x", *words)
        assert (ended.code, ended.out) == (2, "") and "Next: memos run --help" in ended.err


def slow(words: str) -> Script:
    return lambda request: say(words, delay_s=0.05)


def stored(home: Path) -> list[tuple[str, str, str]]:
    """Return what is in recall memory: the role, the content and the state of each row."""
    with sqlite3.connect(f"file:{home}/data/memos.db?mode=ro", uri=True) as connection:
        return connection.execute("SELECT role, content || payload, state FROM messages ORDER BY seq").fetchall()


@pytest.mark.parametrize("output", ["text", "jsonl"])
@pytest.mark.parametrize(("strike", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_keeps_what_was_streamed_and_the_next_run_goes_on(
    tmp_path: Path, server: FakeOpenAI, strike: str, code: int, output: str
) -> None:
    server.script = slow("Precious words. " * 100)
    process = start(tmp_path, "run", "-p", "Kept words.", *at(server), "--output", output)
    assert process.stdin and process.stdout and process.stderr
    process.stdin.close()
    begun = ""
    if output == "jsonl":
        while '"type": "message"' not in begun:
            begun += process.stdout.readline()
    else:
        while "Precious" not in str(_peek(tmp_path)):
            time.sleep(0.02)
    process.send_signal(getattr(signal, strike))
    out, err = process.stdout.read(), process.stderr.read()
    assert process.wait(timeout=TIMEOUT_S) == code and "Traceback" not in err
    if output == "jsonl":
        last = check_lines(begun + out, code)[-1]
        assert last["text"] and "Precious words. ".startswith(last["text"][:16])
    else:
        assert out == ""
    rows = stored(tmp_path)
    assert [(role, state) for role, content, state in rows] == [("user", "complete"), ("assistant", "incomplete")]
    assert "Kept words." in rows[0][1] and '"speech"' in rows[1][1]
    server.script = echo
    assert run(tmp_path, "run", *at(server), "-q", piped="Next.").out == "You said: Next.\n"
    assert server.violations == []


def _peek(home: Path) -> list[tuple[str, str, str]]:
    try:
        return stored(home)
    except sqlite3.Error:
        return []  # it is not there yet


def test_a_signal_before_the_agent_is_open_is_an_error_event(tmp_path: Path) -> None:
    process = start(tmp_path, "run", "-p", "x", "--output", "jsonl")  # which waits for the end of its input
    assert process.stderr
    assert "Waiting for standard input." in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert check_lines(out, process.returncode)[-1]["exit_code"] == 130


def test_a_time_out_is_five_and_an_error_event(tmp_path: Path, server: FakeOpenAI) -> None:
    server.script = lambda request: Answer("Slowly.", fault="stall_middle")
    ended = run(tmp_path, "run", "-p", "x", *at(server), "--output", "jsonl", "--timeout", "1")
    assert ended.code == 5 and "within 1 seconds" in ended.lines[-1]["message"]


@pytest.mark.parametrize("output", ["text", "jsonl"])
def test_a_reader_that_goes_away_ends_it_without_a_word(tmp_path: Path, server: FakeOpenAI, output: str) -> None:
    server.script = slow("One word after the other. ")
    process = start(tmp_path, "run", "-p", "x", *at(server), "--output", output)
    assert process.stdin and process.stdout and process.stderr
    process.stdin.close()
    if output == "jsonl":
        assert json.loads(process.stdout.readline())["type"] == "init"
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=TIMEOUT_S) == 0 and errors == ""
    assert "user" in {role for role, _, _ in stored(tmp_path)}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_behind_standard_output_is_ten(tmp_path: Path, server: FakeOpenAI) -> None:
    server.script = echo
    for output in ("text", "json", "jsonl"):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "memos", "run", "-p", "x", *at(server), "--output", output],
                env=clean_environ(tmp_path, **ONE_SHOT),
                stdin=subprocess.DEVNULL,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        assert done.returncode == 10 and "could not be written" in done.stderr and "Traceback" not in done.stderr


def test_streams_that_are_closed_are_no_bug(tmp_path: Path, server: FakeOpenAI) -> None:
    server.script = echo
    command = f"{sys.executable} -m memos run -p x {' '.join(at(server))}"
    for closed, expected in (("<&-", "You said: x\n"), (">&-", ""), ("<&- >&- 2>&-", "")):
        done = subprocess.run(
            ["sh", "-c", f"{command} {closed}"],
            env=clean_environ(tmp_path, **ONE_SHOT),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


def test_events_are_flushed_as_they_happen(tmp_path: Path, server: FakeOpenAI) -> None:
    server.script = slow("Slowly, word by word, " * 20)
    process = start(tmp_path, "run", "-p", "x", *at(server), "--output", "jsonl")
    assert process.stdin and process.stdout
    process.stdin.close()
    pieces = 0
    while pieces < 3:
        line = json.loads(process.stdout.readline())
        pieces += line["type"] == "message" and line["delta"]
    assert process.poll() is None, "the pieces came while the reply still streamed"
    process.kill()
    process.wait()


def test_what_is_said_is_the_prompt_then_the_files_then_the_pipe(tmp_path: Path, server: FakeOpenAI) -> None:
    server.script = echo
    (tmp_path / "one.txt").write_bytes(b"\xef\xbb\xbfEins\r\nZwei\r\n")
    (tmp_path / "two.txt").write_bytes("Drei ü".encode("utf-16"))
    files = ("-f", str(tmp_path / "one.txt"), "-f", str(tmp_path / "two.txt"))
    ended = run(tmp_path, "run", *at(server), "-p", "Explain.", *files, piped="Piped.\n")
    assert ended.out == "You said: Explain.\n\none.txt:\nEins\nZwei\n\ntwo.txt:\nDrei ü\n\nPiped.\n"


def test_a_file_that_cannot_be_said_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "picture.txt").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "large.txt").write_text("x" * 1_000_001)
    (tmp_path / "latin.txt").write_bytes(b"Gr\xfc\xdfe")
    (tmp_path / "zero.txt").write_bytes(b"a\x00b")
    for name, hint in (
        ("picture.txt", "--image"),
        ("large.txt", "1,000,000 bytes"),
        ("latin.txt", "iconv"),
        ("zero.txt", "no text"),
        ("none.txt", "No such file"),
        ("", "Is a directory"),
    ):
        ended = run(tmp_path, "run", "-m", "scripted:/nowhere", "-f", str(tmp_path / name))
        assert (ended.code, ended.out) == (2, "") and hint in ended.err and ended.err.count("\n") == 2
    ended = run(tmp_path, piped="x" * 1_000_001)
    assert ended.code == 2 and "Standard input has more than" in ended.err
    assert run(tmp_path).code == 2
