"""Images in the terminal: one line for each, paths completed, and nothing typed is lost where one cannot be shown."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from support.agent_home import agent_home
from support.listening import speak
from support.one_shot import say
from support.pictures import noise, picture
from support.screens import Screen, environment, memos_screen, saying

from memos.errors import BadInput
from memos.llm.scripted import ScriptedProcessor
from memos.memory.image_files import read_image
from memos.messages import Image
from memos.storage.database import Database
from memos.terminal.images import MOST_IMAGES, image_line, showing
from memos.terminal.one_shot import OneMessage

GREETING = saying("Good evening. I am Sam.")
CTRL_D, CTRL_U, UP, TAB = "\x04", "\x15", "\x1b[A", "\t"


def pasted(text: str) -> str:
    return f"\x1b[200~{text}\x1b[201~"


def ready(screen: Screen, words: str = "Good evening. I am Sam.") -> None:
    screen.until(words)
    screen.until(lambda: idle(screen))


def idle(screen: Screen) -> bool:
    phases = [row for row in screen.lines if row.startswith("· ") and row.endswith(" s")]
    return screen.prompt_line.startswith("❯") and not phases


def shown(home: Path) -> list[tuple[str, int]]:
    """Return the user's messages as they are stored: their words, and how many images they show."""
    (path,) = home.rglob("memos.db")
    database = Database.open(path)
    rows = database.query(
        "SELECT content, json_array_length(attachments) AS images FROM messages"
        " WHERE kind = 'user_message' ORDER BY seq"
    )
    database.close()
    return [(row["content"], row["images"]) for row in rows]


def test_a_line_on_an_image_says_what_it_is_and_costs(tmp_path: Path) -> None:
    image = replace(read_image(picture(tmp_path / "wide.png", 4_000, 2_000)), data=b"x" * 12_345)
    told = "image wide.png: 1568x784 PNG, 12 kB, about 1,640 tokens, scaled down from 4000x2000"
    assert image_line(image) == told
    assert "\x1b" not in image_line(Image("h", "image/png", 1, 1, "a\x1b[2J.png", b""))


def test_too_many_images_are_refused_in_one_sentence(tmp_path: Path) -> None:
    kernel = agent_home(tmp_path).kernel(ScriptedProcessor([]))
    with pytest.raises(BadInput, match="at most 8 images"):
        asyncio.run(showing(kernel, "Look.", ["x.png"] * (MOST_IMAGES + 1)))


@pytest.mark.terminal
def test_a_mention_shows_the_image_and_says_so_in_one_line(tmp_path: Path) -> None:
    path = picture(tmp_path / "cat.png", 800, 600)
    with memos_screen(tmp_path, [GREETING, saying("A cat."), saying("Yes.")]) as screen:
        ready(screen)
        screen.type(f"Who is @{path} please?\r")
        ready(screen, "A cat.")
        assert screen.count("image cat.png: 800x600 PNG") == 1
        screen.type(f"/image {path} sure?\r")
        ready(screen, "Yes.")
        assert screen.count("image cat.png: 800x600 PNG") == 2
        screen.type(UP)
        screen.until(lambda: screen.prompt_line.endswith("sure?"))
        screen.type(UP)
        screen.until(lambda: screen.prompt_line.endswith("please?"))
        screen.type(CTRL_U + CTRL_D)
        assert screen.exit_code() == 0
    assert shown(tmp_path) == [("Who is cat.png please?", 1), ("sure?", 1)]


@pytest.mark.terminal
def test_a_dropped_file_becomes_a_mention_that_can_be_seen_before_it_is_sent(tmp_path: Path) -> None:
    path = picture(tmp_path / "a cat.png")
    with memos_screen(tmp_path, [GREETING, saying("A cat."), saying("Again.")], columns=160) as screen:
        ready(screen)
        screen.type(pasted(f"'{path}'"))
        screen.until(lambda: screen.prompt_line == f"❯ @{tmp_path}/a\\ cat.png")
        screen.type(" who?\r")
        ready(screen, "A cat.")
        screen.type(f"{tmp_path}/a\\ cat.png\r")  # as a terminal types it that marks no paste
        ready(screen, "Again.")
        screen.type(pasted("just words\nin two lines"))
        screen.until("in two lines")
    assert shown(tmp_path) == [("a cat.png who?", 1), ("", 1)]


@pytest.mark.terminal
def test_what_cannot_be_shown_is_one_sentence_and_the_line_comes_back(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("words")
    with memos_screen(tmp_path, [GREETING, saying("Never.")], columns=160) as screen:
        ready(screen)
        for line, why in (
            (f"Who is @{tmp_path}/missing.png here?", "There is no file"),
            (f"/image {tmp_path}/notes.png who?", "is no PNG, JPEG, GIF or WebP image."),
        ):
            screen.type(f"{line}\r")
            screen.until(why)
            screen.until(lambda line=line: screen.prompt_line == f"❯ {line}")  # type: ignore[misc]
            screen.type(CTRL_U)
            screen.until(lambda: screen.prompt_line == "❯")
        assert "Never." not in screen.text
        screen.type(CTRL_D)
        assert screen.exit_code() == 0
    assert shown(tmp_path) == []


@pytest.mark.terminal
def test_tab_completes_the_path_of_an_image(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture(folder / "kitten.png")
    with memos_screen(tmp_path, [GREETING], columns=160) as screen:
        ready(screen)
        for line in ("look at @", "/image "):
            screen.type(f"{line}{folder}/ki")
            screen.until("kitten.png")
            screen.type(TAB)
            screen.until(lambda line=line: screen.prompt_line == f"❯ {line}{folder}/kitten.png")  # type: ignore[misc]
            screen.type(CTRL_U)
            screen.until(lambda: screen.prompt_line == "❯")


@pytest.mark.terminal
def test_a_message_that_waits_keeps_its_image_and_its_place(tmp_path: Path) -> None:
    path = noise(tmp_path / "cat.png", 900, 700)
    slow = saying("First. " * 12, delay_s=0.05, chunk_chars=4)
    with memos_screen(tmp_path, [GREETING, slow, saying("Second."), saying("Third.")]) as screen:
        ready(screen)
        screen.type("one\r")
        screen.until("First.")
        screen.type(f"two @{path}\rthree\r")
        ready(screen, "Third.")
        rows = [row for row in screen.scrollback if row.startswith(("❯ two", "· image", "Second", "❯ three", "Third"))]
        assert [row[:5] for row in rows] == ["❯ two", "· ima", "Secon", "❯ thr", "Third"]
    assert shown(tmp_path) == [("one", 0), ("two cat.png", 1), ("three", 0)]


@pytest.mark.terminal
def test_a_dumb_terminal_shows_images_and_a_pipe_reads_no_file_for_what_it_says(tmp_path: Path) -> None:
    path = picture(tmp_path / "cat.png")
    with memos_screen(tmp_path, [GREETING, saying("A cat.")], TERM="dumb") as screen:
        screen.until("Good evening. I am Sam.")
        screen.until(lambda: screen.prompt_line == ">")
        screen.type(f"Who is @{tmp_path}/missing.png?\r")
        screen.until("There is no file")
        screen.type(f"Who is @{path}?\r")
        screen.until("image cat.png: 40x30 PNG")
        screen.until("A cat.")
        screen.until(lambda: screen.prompt_line == ">")
        screen.type("/exit\r")
        assert screen.exit_code() == 0
    import subprocess
    import sys

    command = [sys.executable, "-m", "memos", "run", "--set", "memory.embedding=none", "--model"]
    done = subprocess.run(
        [*command, f"scripted:{tmp_path}/script.json"],
        input=f"Who is @{path}?\n".encode(),
        capture_output=True,
        env=environment(tmp_path),
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert shown(tmp_path) == [("Who is cat.png?", 1), (f"Who is @{path}?", 0)]


def test_one_message_shows_images_by_their_flag_alone(tmp_path: Path) -> None:
    one, two = picture(tmp_path / "one.png"), picture(tmp_path / "two.jpg")
    processor = ScriptedProcessor([speak("I see."), speak("No.")])
    shown = OneMessage("Who?", [str(one), str(two)])
    said = [say(tmp_path, processor, shown, progress=True), say(tmp_path, processor, f"@{one}")]
    assert [each.code for each in said] == [0, 0]
    first, second = processor.prompts
    assert len(first.queue[-1].attachments) == 2
    assert (second.queue[-1].attachments, second.queue[-1].content) == ((), f"@{one}")
    assert [each.words for each in said] == ["I see.\n", "No.\n"]
    assert "image one.png" in said[0].told and "image two.jpg" in said[0].told
