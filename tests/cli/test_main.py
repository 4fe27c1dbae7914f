"""The edge of the program: exit codes, one sentence per problem, and nothing heavy where nothing heavy is needed."""

import json
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from support.command_line import ROOT, clean_environ, memos

import memos as package
from memos.config import Places, store_key
from memos.messages import Block
from memos.storage.agents import Agents
from memos.storage.database import Database

os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"  # never the key store of whoever runs this


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def with_agent(home: Path, name: str = "Ana's clerk") -> Path:
    path = Places.find({"MEMOS_HOME": str(home)}).database
    database = Database.open(path)
    blocks = [Block("persona", "I am.", 2000), Block("human", "Ana", 2000)]
    Agents(database).create(name, model="builtin/tiny", persona_name="clerk", human_name="basic", blocks=blocks)
    database.close()
    return path


def python(home: Path, code: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", code]
    return subprocess.run(words, capture_output=True, text=True, env=clean_environ(home), check=False)


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_told_without_importing_typer(home: Path, flag: str) -> None:
    code = f"import sys; from memos.cli import main; assert main([{flag!r}]) == 0; assert 'typer' not in sys.modules"
    done = python(home, code)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"memos {package.__version__}\n", "")


HEAVY = (
    "litellm",
    "lancedb",
    "openai",
    "xllamacpp",
    "onnxruntime",
    "numpy",
    "pyarrow",
    "prompt_toolkit",
    "httpx",
    "rich",
)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["run", "--help"],
        ["list"],
        ["list", "personas", "--json"],
        ["show", "ana"],
        ["bench", "agent", "--help"],
    ],
)
def test_help_and_list_import_nothing_heavy(home: Path, words: list[str]) -> None:
    with_agent(home, "ana")
    code = (
        f"import sys; from memos.cli import main; code = main({words!r});"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]; assert code == 0 and not heavy, (code, heavy)"
    )
    done = python(home, code)
    assert done.returncode == 0, done.stderr


def test_help_names_every_command_and_nothing_is_hidden(home: Path) -> None:
    done = memos(home, "--help")
    assert done.returncode == 0
    for name in ("run", "configure", "list", "show", "bench"):
        assert re.search(rf"^  {name} ", done.stdout, re.MULTILINE)
        assert memos(home, name, "--help").returncode == 0


BAD_INPUT = {
    "an unknown command": (["lst"], 2, "list"),
    "an unknown flag": (["run", "--bogus"], 2, "--bogus"),
    "an unknown thing to list": (["list", "bogus"], 2, "agents"),
    "an agent that is not there": (["show", "nobody"], 6, "nobody"),
    "an agent that is not there to talk to": (["run", "nobody", "-p", "hi"], 6, "nobody"),
    "an unknown setting": (["configure", "--set", "limits.stpes=3"], 2, "limits.steps"),
    "a wrong value": (["run", "-p", "hi", "--set", "limits.steps=x"], 2, "whole number"),
    "nothing to set": (["configure", "--non-interactive"], 2, "nothing to set"),
    "questions without a terminal": (["configure"], 2, "terminal"),
    "a bench of nothing": (["bench"], 2, "command"),
    "a bench of nobody": (["bench", "agent", "--people", "0"], 2, "--people"),
    "a bench of a file that is not there": (["bench", "agent", "-m", "scripted:/no/such.json"], 2, "such.json"),
    "a persona that is not there": (["run", "--new", "-p", "hi", "--persona", "clrk"], 2, "clerk"),
    "a model file that is not there": (["run", "-p", "hi", "--model", "scripted:/no/such.json"], 2, "such.json"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_sentence_a_next_step_and_an_exit_code(home: Path, case: str) -> None:
    words, code, mentioned = BAD_INPUT[case]
    done = memos(home, *words)
    problem = [line for line in done.stderr.splitlines() if line.startswith("✗ ")]
    assert (done.returncode, done.stdout, len(problem)) == (code, "", 1), done
    assert mentioned in done.stderr
    assert done.stderr.splitlines()[-1].startswith("  Next: ")
    assert "Traceback" not in done.stderr and "\x1b" not in done.stderr


def test_an_unreadable_config_is_named_with_its_line(home: Path) -> None:
    config = Places.find({"MEMOS_HOME": str(home)}).config_file
    config.parent.mkdir(parents=True)
    config.write_text("model = 'x'\n[limits\n")
    for words in (["run", "-p", "hi"], ["configure", "--show"]):
        done = memos(home, *words)
        assert done.returncode == 2 and "line 2" in done.stderr and "Next:" in done.stderr


def test_a_missing_key_is_told_by_the_name_of_its_variable(home: Path) -> None:
    done = memos(home, "run", "-p", "hi", "--model", "openai/some-model")
    assert done.returncode == 3 and "OPENAI_API_KEY" in done.stderr and "Traceback" not in done.stderr


def test_names_in_errors_cannot_steer_the_terminal(home: Path) -> None:
    done = memos(home, "show", "evil\x1b[2J\x9b31m\u202e name")
    assert done.returncode == 6
    assert not {"\x1b", "\x9b", "\u202e"} & set(done.stderr)


# --- bugs -----------------------------------------------------------------------------------------------------


def broken_agent(home: Path) -> None:
    """What only a bug could write: settings that are not JSON."""
    connection = sqlite3.connect(with_agent(home, "ana"))
    connection.execute("UPDATE agents SET settings = 'not json'")
    connection.commit()
    connection.close()


def test_a_bug_is_one_sentence_and_its_traceback_is_in_a_log(home: Path) -> None:
    broken_agent(home)
    store_key(Places.find({"MEMOS_HOME": str(home)}), "acme", "raw_decode")
    done = memos(home, "show", "ana", environ={"MY_API_KEY": "show", "OTHER_TOKEN": "JSONDecodeError"})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "A bug in memos" in done.stderr
    (log,) = Places.find({"MEMOS_HOME": str(home)}).logs.iterdir()
    assert str(log) in done.stderr
    text = log.read_text()
    assert "Traceback" in text and package.__version__ in text
    assert "JSONDecodeError" not in text and "<OTHER_TOKEN>" in text  # whatever a secret is, it is not logged
    assert "raw_decode" not in text and "<key>" in text
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


@pytest.mark.parametrize(("words", "environ"), [(["--debug"], {}), ([], {"MEMOS_DEBUG": "1"})])
def test_with_debug_the_traceback_is_shown_and_not_logged(
    home: Path, words: list[str], environ: dict[str, str]
) -> None:
    broken_agent(home)
    done = memos(home, *words, "show", "ana", environ=environ)
    assert done.returncode == 1 and "Traceback" in done.stderr
    assert not Places.find({"MEMOS_HOME": str(home)}).logs.exists()


# --- signals and pipes ----------------------------------------------------------------------------------------


def in_a_terminal(home: Path, *words: str) -> pexpect.spawn:
    environ = clean_environ(home, TERM="xterm-256color", PROMPT_TOOLKIT_NO_CPR="1")
    child = pexpect.spawn(sys.executable, ["-m", "memos", *words], env=environ, encoding="utf-8", timeout=30, cwd="/")
    return child


def left(child: pexpect.spawn) -> int | None:
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus


@pytest.mark.terminal
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_questions_with_its_code_and_changes_nothing(
    home: Path, number: signal.Signals, code: int
) -> None:
    child = in_a_terminal(home, "configure")
    child.expect("Which model")
    child.expect("GGUF")
    child.kill(number)
    assert left(child) == code
    assert not home.exists()


@pytest.mark.terminal
def test_ctrl_c_in_the_questions_changes_nothing(home: Path) -> None:
    child = in_a_terminal(home, "configure")
    child.expect("GGUF")
    child.send("\x03")
    child.expect_exact("Nothing was changed.")
    assert left(child) == 130
    assert not home.exists()


@pytest.mark.terminal
def test_a_problem_is_red_on_a_terminal_unless_no_color_is_wished(home: Path) -> None:
    child = in_a_terminal(home, "show", "nobody")
    child.expect_exact("\x1b[31m✗\x1b[0m There is no agent")
    assert left(child) == 6
    done = memos(home, "show", "nobody", environ={"NO_COLOR": "1"})
    assert done.stderr.startswith("✗ There is no agent")


def test_a_reader_that_goes_away_is_no_error(home: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "memos", "configure", "--show"],
        env=clean_environ(home),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_memos_writes_is_for_the_user_alone(home: Path) -> None:
    memos(home, "configure", "--set", "limits.steps=9", "--no-test")
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [home, *home.rglob("*")]}
    assert modes and all(mode & 0o077 == 0 for mode in modes.values()), modes


def test_the_shell_can_ask_what_follows(home: Path) -> None:
    done = memos(home, environ={"_MEMOS_COMPLETE": "complete_bash", "COMP_WORDS": "memos co", "COMP_CWORD": "1"})
    assert "configure" in done.stdout and done.returncode == 0


def test_the_entry_point_of_the_package_is_main() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"memos": "memos.cli:main"}


def test_json_is_valid_whatever_the_names(home: Path) -> None:
    with_agent(home, 'a"b [red]\u00e9 \\')
    done = memos(home, "list", "--json")
    assert [row["name"] for row in json.loads(done.stdout)] == ['a"b [red]\u00e9 \\']


@pytest.mark.terminal
def test_the_first_start_asks_once_and_leaving_the_menu_is_one_sentence(home: Path) -> None:
    child = in_a_terminal(home, "run")
    child.expect("Which model should the agent think with")
    child.expect_exact("builtin/tiny")
    child.send("\x03")
    child.expect_exact("No model was chosen.")
    assert left(child) == 3
    assert not Places.find({"MEMOS_HOME": str(home)}).config_file.exists()
