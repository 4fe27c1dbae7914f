"""The whole loop in a pseudo-terminal: with the real built-in model, and with a real HTTP server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.fake_openai import FakeOpenAI, chain, say
from support.screens import Screen, environment

from memos.llm.weights import builtin_weights

pytestmark = [pytest.mark.terminal, pytest.mark.usefixtures("usual_ports")]
PATIENCE_S = 90.0


@contextmanager
def memos(home: Path, *words: str, **env: str) -> Iterator[Screen]:
    """Run `memos WORDS` on a screen of 80 by 24."""
    screen = Screen([sys.executable, "-m", "memos", *words], env=environment(home, **env))
    try:
        yield screen
    finally:
        screen.close()


@pytest.mark.builtin_model
@pytest.mark.timeout(300)
def test_a_newcomer_without_a_key_talks_to_the_clerk_who_knows_them_tomorrow(
    tmp_path: Path, builtin_cache: Path
) -> None:
    builtin_weights(builtin_cache, lambda _: None)
    with memos(tmp_path, MEMOS_CACHE=str(builtin_cache)) as screen:
        screen.until("Which model should the agent think with?", PATIENCE_S)
        screen.type("\r")
        screen.until("● clerk", PATIENCE_S)
        screen.type("My name is Ana and I keep bees.\r")
        screen.until("core_memory_append", PATIENCE_S)
        screen.until("Filed", PATIENCE_S)
        screen.type("\x04")
        assert screen.exit_code() == 0
        assert "builtin/tiny" in screen.text and "Resume: memos run clerk" in screen.text
    with memos(tmp_path, MEMOS_CACHE=str(builtin_cache)) as screen:
        screen.until("● clerk", PATIENCE_S)
        screen.type("What is my name?\r")
        screen.until("You told me on", PATIENCE_S)
        assert '"My name is Ana"' in " ".join(screen.text.split())


def test_a_chain_of_twenty_heartbeats_streams_and_ends(tmp_path: Path) -> None:
    with (
        FakeOpenAI(script=chain(20)) as server,
        memos(tmp_path, "run", "-m", "openai/fake", "--api-base", server.url) as screen,
    ):
        screen.until("Hello.", PATIENCE_S)
        screen.type("Go\r")
        screen.until("Done after 20 steps.", PATIENCE_S)
        assert "step 21/30" in screen.text and server.violations == []


def test_words_are_on_the_screen_while_they_still_stream(tmp_path: Path) -> None:
    slow = say("First words, then a long silence, then the end of it. THE END", delay_s=0.25)
    with (
        FakeOpenAI(
            script=lambda request: slow if request.packets()[-1]["type"] == "user_message" else say("Hello.")
        ) as server,
        memos(tmp_path, "run", "-m", "openai/fake", "--api-base", server.url) as screen,
    ):
        screen.until("Hello.", PATIENCE_S)
        screen.type("Go\r")
        screen.until("First words", PATIENCE_S)
        assert "THE END" not in screen.text
        screen.until("THE END", PATIENCE_S)
