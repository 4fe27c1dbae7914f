"""`memos personas` and `memos humans`: made, changed and shown; what cannot be used is told, and never lost."""

import json
import sys
from pathlib import Path

import pexpect
import pytest
from support.agent_home import agent_home
from support.command_line import clean_environ, memos

from memos.config import Places, load_human, load_persona

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the small editors are shell scripts")

GOOD = "---\nname: Gardener\ndescription: keeps a garden\nfunctions: [core_memory_*]\n---\nI am a gardener.\n"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places.find({"MEMOS_HOME": str(tmp_path)})


def at_a_terminal(home: Path, editor: str, *words: str) -> pexpect.spawn:
    """Run `memos WORDS` on a terminal where the editor runs a line of shell on the file `$1`."""
    program = home / "editor.sh"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\n{editor}\n")
    program.chmod(0o700)
    environ = clean_environ(home, TERM="xterm", VISUAL=str(program), EDITOR="/nowhere")
    return pexpect.spawn(
        sys.executable,
        ["-m", "memos", *words],
        env=environ,
        encoding="utf-8",
        timeout=30,
        dimensions=(24, 200),
        cwd="/",
    )


def ended(child: pexpect.spawn) -> int:
    child.expect(pexpect.EOF)
    child.close()
    return int(child.exitstatus)


@pytest.mark.parametrize(("kind", "flag"), [("personas", "--persona"), ("humans", "--human")])
def test_a_file_or_a_pipe_becomes_one_and_says_how_to_begin_with_it(
    tmp_path: Path, places: Places, kind: str, flag: str
) -> None:
    source = tmp_path / "text.md"
    source.write_text(GOOD)
    done = memos(tmp_path, kind, "new", "my gardener", "--from", str(source))
    assert done.returncode == 0 and f'memos run --new {flag} "my gardener"' in done.stderr
    assert "Agents that there are keep the blocks they have" in done.stderr
    piped = memos(tmp_path, kind, "new", "piped", typed="Only text.")
    assert piped.returncode == 0
    load = load_persona if kind == "personas" else load_human
    made = load(places, "my gardener")
    assert (made.title, made.text, made.own) == ("Gardener", "I am a gardener.", True)
    assert load(places, "piped").text == "Only text." and made.path.stat().st_mode & 0o077 == 0
    again = memos(tmp_path, kind, "new", "piped", typed="More.")
    assert again.returncode == 2 and f"Next: memos {kind} edit piped" in again.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("---\nmodle: x\n---\nI am.", "line 2: modle is not a key memos knows. Next: model may be meant"),
        (
            "---\nfunctions: [core_memry_append]\n---\nI am.",
            "functions names .core_memry_append., and there is no such",
        ),
        ("---\nparams: {temperature: hot}\n---\nI am.", "params.temperature must be a number"),
        ("---\nblocks: [{label: persona}]\n---\nI am.", "line 2: "),
        ("I am. " * 2000, "the persona has 11999 characters, and its block takes"),
        ("x" * 70_000, "is larger than 64 KiB"),
        ("  \n", "There is no text for the persona"),
    ],
)
def test_what_no_agent_could_be_made_with_is_refused_and_told(
    tmp_path: Path, places: Places, text: str, said: str
) -> None:
    import re

    done = memos(tmp_path, "personas", "new", "odd", typed=text)
    assert done.returncode == 2 and re.search(said, done.stderr.replace("\n  Next", " Next")), done.stderr
    assert not (places.portraits("personas") / "odd.md").exists()


@pytest.mark.parametrize("name", ["../up", "a/b", "", "sam", "x" * 65])
def test_a_name_that_is_a_path_or_taken_makes_no_file(tmp_path: Path, places: Places, name: str) -> None:
    done = memos(tmp_path, "personas", "new", name, typed="I am.")
    assert done.returncode == 2 and "Next: " in done.stderr
    assert not places.portraits("personas").exists()


@pytest.mark.terminal
def test_new_opens_a_template_that_can_be_used_once_it_is_changed(tmp_path: Path, places: Places) -> None:
    child = at_a_terminal(
        tmp_path,
        f'cp "$1" {tmp_path}/seen; sed -i "s/^I am.*/I am Bee./; s/^# params/params/" "$1"',
        *["personas", "new", "bee"],
    )
    assert ended(child) == 0, child.before
    made = load_persona(places, "bee")
    assert made.text == "I am Bee." and made.front.params == {"temperature": 0.7}
    seen = (tmp_path / "seen").read_text()
    assert "# model: anthropic/MODEL" in seen and "name: bee" in seen and "# blocks:" in seen
    child = at_a_terminal(tmp_path, "true", *["humans", "new", "eve"])
    assert ended(child) == 130 and "Nothing was changed." in child.before
    assert not places.portraits("humans").exists()


@pytest.mark.terminal
def test_every_line_of_the_template_is_right_without_its_hash_sign(tmp_path: Path, places: Places) -> None:
    every = r'sed -i "s/^# \([a-z_]*:\)/\1/; s/^#   -/   -/; s/^I am.*/I am Bee./" "$1"'
    assert ended(at_a_terminal(tmp_path, every, *["personas", "new", "bee"])) == 0
    front = load_persona(places, "bee").front
    assert front.model and front.fallback_models and front.functions and front.read_only and front.block_chars == 1500
    assert [block.label for block in front.blocks] == ["beds"] and front.turn_limits == {"limits.steps": 12}


@pytest.mark.terminal
def test_a_text_that_cannot_be_used_is_opened_again_and_kept_if_not(tmp_path: Path, places: Places) -> None:
    again = 'grep -q "mine so far" "$1" && echo opened-again >> /dev/tty'
    wrong = again + '; printf -- "---\\nmodle: x\\n---\\nmine so far" > "$1"'
    child = at_a_terminal(tmp_path, wrong, *["personas", "new", "bee"])
    child.expect("It cannot be used. .*line 2: modle is not a key memos knows")
    child.expect("Open it again")
    child.sendline("")
    child.expect("opened-again")
    child.expect("Open it again")
    child.sendline("n")
    child.expect("Your text is kept. Next: memos personas new bee")
    assert ended(child) == 130 and not places.portraits("personas").exists()
    child = at_a_terminal(tmp_path, 'sed -i "s/modle: x/model: a\\/b/" "$1"', *["personas", "new", "bee"])
    child.expect("What you wrote last could not be used, and is opened again")
    assert ended(child) == 0
    assert load_persona(places, "bee").front.model == "a/b" and load_persona(places, "bee").text == "mine so far"
    assert not any(places.drafts.iterdir())


@pytest.mark.terminal
def test_a_shipped_one_is_copied_first_and_agents_keep_what_they_have(tmp_path: Path, places: Places) -> None:
    home = agent_home(places.data)
    before = home.memory.blocks()
    shipped = load_persona(places, "sam").path.read_text()
    child = at_a_terminal(tmp_path, 'echo "I like bees." >> "$1"', *["personas", "edit", "sam"])
    child.expect('"sam" comes with memos: what you change is a copy of your own')
    child.expect("Made: .*sam.md")
    child.expect("Agents that there are keep the blocks they have")
    assert ended(child) == 0
    sam = load_persona(places, "sam")
    assert sam.own and sam.text.endswith("I like bees.") and home.memory.blocks() == before
    assert (Path(__file__).parents[2] / "personas" / "sam.md").read_text() == shipped
    child = at_a_terminal(tmp_path, 'echo "And honey." >> "$1"', *["personas", "edit", "sam"])
    child.expect("Changed: ")
    assert ended(child) == 0 and load_persona(places, "sam").text.endswith("And honey.")


def test_show_prints_the_file_and_what_is_wrong_with_it(tmp_path: Path, places: Places) -> None:
    shown = memos(tmp_path, "personas", "show", "sam")
    assert "(comes with memos)" in shown.stdout and "I am Sam" in shown.stdout
    folder = places.portraits("personas")
    folder.mkdir(parents=True)
    (folder / "odd.md").write_text("---\nmodle: x\n---\n\x1b[31mI am.")
    told = memos(tmp_path, "personas", "show", "odd")
    assert told.returncode == 0 and "modle is not a key" in told.stderr and "\x1b" not in told.stdout
    row = json.loads(memos(tmp_path, "personas", "show", "odd", "--json").stdout)
    assert row["own"] and "\x1b[31mI am." in row["text"] and "modle" in row["problem"]
    assert memos(tmp_path, "personas", "show", "nobody").returncode == 2
    assert [r["name"] for r in json.loads(memos(tmp_path, "humans", "list", "--json").stdout)] == ["basic", "example"]
    assert memos(tmp_path, "humans").stdout == memos(tmp_path, "list", "humans").stdout
