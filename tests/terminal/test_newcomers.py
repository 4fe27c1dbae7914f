"""The first minutes on a machine where servers of models listen, and on one where a key is pasted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.fake_ollama import FakeOllama
from support.fake_openai import FakeOpenAI
from support.fake_openai_like import FakeKobold
from support.minds import GREETED
from support.screens import Screen, environment

from memos.llm.catalogue import LOCAL_SERVERS
from memos.llm.discovery import find_local_servers

pytestmark = [pytest.mark.terminal, pytest.mark.usefixtures("usual_ports")]
PATIENCE_S = 60.0
PORTS = {kind.title: kind.port for kind in LOCAL_SERVERS}


class OllamaAtHome(FakeOllama):
    """Ollama where it usually listens."""

    listens_at = PORTS["Ollama"]


class KoboldAtHome(FakeKobold):
    """koboldcpp where it usually listens."""

    listens_at = PORTS["koboldcpp"]


@contextmanager
def memos(home: Path, *words: str, **env: str) -> Iterator[Screen]:
    screen = Screen([sys.executable, "-m", "memos", *words], env=environment(home, **env))
    try:
        yield screen
    finally:
        screen.close()


def test_two_servers_at_their_usual_ports_are_found() -> None:
    with OllamaAtHome(), KoboldAtHome():
        titles = [server.title for server in find_local_servers()]
    assert titles.index("Ollama") < titles.index("koboldcpp")


def test_with_two_servers_there_one_key_brings_the_first_reply(tmp_path: Path) -> None:
    with OllamaAtHome() as ollama, KoboldAtHome(), memos(tmp_path, "run") as screen:
        screen.until("koboldcpp on this computer", PATIENCE_S)
        assert "Ollama on this computer" in screen.text
        screen.type("\r")
        screen.until(GREETED, PATIENCE_S)
    assert ollama.violations == []
    assert "ollama" in (tmp_path / "config" / "config.toml").read_text(encoding="utf-8")


def test_a_key_that_nobody_exported_is_pasted_and_kept_out_of_the_settings(tmp_path: Path) -> None:
    with FakeOpenAI() as server, memos(tmp_path, "run") as screen:
        screen.until("Another model: paste a key, name a server or a file", PATIENCE_S)
        screen.type("\x1b[A\r")  # the last line
        screen.until("A server of your own, by its address", PATIENCE_S)
        screen.type("\x1b[A\x1b[A\r")
        screen.until("Address:", PATIENCE_S)
        screen.type("\x15" + server.url + "\r")
        screen.until("Its key", PATIENCE_S)
        screen.type("sk-pasted-4711-abcdef\r")
        screen.until("fake-model", PATIENCE_S)
        screen.type("\r")
        screen.until_quiet()
        for _ in range(4):  # the questions that remain have good answers already
            screen.type("\r")
            screen.until_quiet()
        screen.until("Hello.", PATIENCE_S)
    assert server.requests[-1].headers["authorization"] == "Bearer sk-pasted-4711-abcdef"
    assert "4711" not in (tmp_path / "config" / "config.toml").read_text(encoding="utf-8")
    assert "4711" not in screen.text
