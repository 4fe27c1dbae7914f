"""The user's editor: a private file, gone afterwards; here the editor is a small program."""

import os
import stat
import sys
from pathlib import Path

import pytest

from memos.errors import BadInput
from memos.terminal.editor import edited, editor_command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the small editors are shell scripts")


def editor(folder: Path, script: str) -> dict[str, str]:
    """Return an environment whose editor runs a line of shell on the file `$1`."""
    program = folder / "editor.sh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    return {"VISUAL": f"'{program}' ", "EDITOR": "/nowhere"}


def test_what_was_saved_comes_back_and_no_file_stays(tmp_path: Path) -> None:
    environ = editor(tmp_path, 'cp "$1" "$1~"; printf "Zweite Zeile: ü\\n\\n" >> "$1"')
    drafts = tmp_path / "state" / "drafts"
    assert edited("First line.", "human.md", drafts, environ) == "First line.\nZweite Zeile: ü"
    assert list(drafts.iterdir()) == []
    assert stat.S_IMODE(drafts.stat().st_mode) == 0o700


def test_the_file_is_private_and_named_as_wanted(tmp_path: Path) -> None:
    environ = editor(
        tmp_path, f'stat -c "%a %n" "$1" > {tmp_path}/seen; stat -c %a "$(dirname "$1")" >> {tmp_path}/seen'
    )
    before = os.umask(0)
    try:
        edited("", "human.md", tmp_path / "drafts", environ)
    finally:
        os.umask(before)
    file, folder = (tmp_path / "seen").read_text().splitlines()
    assert file.startswith("600 ") and file.endswith("/human.md") and folder == "700"


@pytest.mark.parametrize(
    ("script", "said"),
    [("exit 3", "ended with code 3; nothing is changed"), (r'printf "\377" > "$1"', "did not save UTF-8 text")],
)
def test_an_editor_that_fails_changes_nothing_and_is_told(tmp_path: Path, script: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        edited("x", "human.md", tmp_path / "drafts", editor(tmp_path, script))
    assert list((tmp_path / "drafts").iterdir()) == []


def test_an_editor_that_is_not_there_is_told_with_a_next_step(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"/nowhere cannot be used.*Next: set VISUAL or EDITOR"):
        edited("x", "human.md", tmp_path / "drafts", {"EDITOR": "/nowhere"})


def test_visual_comes_before_editor_and_may_have_arguments() -> None:
    assert editor_command({"VISUAL": "code --wait", "EDITOR": "vi"}) == ["code", "--wait"]
    assert editor_command({"VISUAL": " ", "EDITOR": "vi"}) == ["vi"]
    with pytest.raises(BadInput, match="cannot be read"):
        editor_command({"EDITOR": "vi 'x"})
