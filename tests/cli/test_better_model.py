"""Where the clerk answers, a better model that is at hand is told once, and nothing is contacted for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from memos.cli.better_model import at_hand, told_once
from memos.config import Places


def places(folder: Path) -> Places:
    return Places.find({"MEMOS_HOME": str(folder / "home"), "MEMOS_CACHE": str(folder / "cache")})


@pytest.fixture
def ollama(tmp_path: Path) -> str:
    program = tmp_path / "bin" / "ollama"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return str(program.parent)


def test_a_key_comes_before_a_server_and_a_server_before_a_download(tmp_path: Path, ollama: str) -> None:
    def said(environ: Mapping[str, str]) -> str:
        return at_hand(places(tmp_path), environ)

    assert (
        said({"PATH": ollama, "GROQ_API_KEY": "x"}) == "GROQ_API_KEY is set, so Groq is within reach: memos configure"
    )
    assert said({"PATH": ollama}).startswith("Ollama is installed here")
    assert said({"PATH": str(tmp_path)}) == "builtin/small talks better (1.1 GB): memos models get builtin/small"


def test_the_same_is_told_once_and_something_new_anew(tmp_path: Path) -> None:
    here = places(tmp_path)
    assert told_once(here, {"PATH": ""}) and not told_once(here, {"PATH": ""})
    assert "OPENAI_API_KEY" in told_once(here, {"PATH": "", "OPENAI_API_KEY": "x"})
    assert (here.state / "told_better_model").stat().st_mode & 0o777 == 0o600


def test_a_state_folder_that_cannot_be_written_is_no_reason_not_to_tell(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    assert told_once(places(tmp_path), {"PATH": ""})
