"""The conversation through pipes: lines in, a plain transcript out."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.screens import environment, saying, write_script

pytestmark = pytest.mark.terminal


def piped(home: Path, replies: list[dict[str, object]], typed: bytes, **env: str) -> subprocess.CompletedProcess[bytes]:
    model = write_script(home / "script.json", replies)
    command = [sys.executable, "-m", "memos", "run", "--model", model, "--set", "memory.embedding=none"]
    return subprocess.run(
        command, input=typed, capture_output=True, env=environment(home, **env), timeout=60, check=False
    )


def test_lines_are_answered_in_order_and_the_end_of_input_leaves(tmp_path: Path) -> None:
    replies = [saying("First [abc] answer."), saying("Second\nanswer.", monologue="Hm.")]
    done = piped(tmp_path, replies, "One\n\n/model\nTwo ü".encode())
    assert done.returncode == 0, done.stderr
    transcript = done.stdout.decode().splitlines()
    assert transcript[3:] == [
        "> One",
        "sam: First [abc] answer.",
        "",
        "> /model",
        f"scripted:{tmp_path}/script.json answers. Its window is 8,192 tokens.",
        "/model NAME switches.",
        "",
        "> Two ü",
        "[thought] Hm.",
        "sam: Second",
        "answer.",
        "Saved. Resume: memos run sam",
    ]
    assert done.stderr == b""


def test_a_pipe_gets_no_escape_codes_even_when_colours_are_asked_for(tmp_path: Path) -> None:
    done = piped(tmp_path, [saying("An answer with \x1b[2J in it.")], b"One\n", FORCE_COLOR="1")
    assert b"\x1b" not in done.stdout
    assert "An answer with ␛[2J in it." in done.stdout.decode()


def test_a_pipe_that_takes_only_ascii_still_gets_the_answer(tmp_path: Path) -> None:
    done = piped(tmp_path, [saying("Grüße — 本")], b"One\n", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LANG="C")
    assert done.returncode == 0
    assert b"sam: Gr??e ? ?\n" in done.stdout


def test_windows_line_ends_are_no_part_of_a_message(tmp_path: Path) -> None:
    done = piped(tmp_path, [saying("Yes.")], b"One\r\n")
    assert b"\n> One\n" in done.stdout
