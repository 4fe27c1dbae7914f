"""Image files in what is typed: mentions, dropped paths, completion."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pictures import picture

from memos.terminal.mentions import (
    Typed,
    as_mention,
    begun_mention,
    mentions_images,
    path_completions,
    read_mentions,
    split_path,
    with_dropped_path,
)


@pytest.mark.parametrize(
    ("text", "words", "paths"),
    [
        ("What is @cat.png?", "What is cat.png?", ("cat.png",)),
        ("@/home/ana/cat.png", "", ("/home/ana/cat.png",)),
        ("  @a.png\n@b.JPG ", "", ("a.png", "b.JPG")),
        ("compare @a.png and @../b.webp, please", "compare a.png and b.webp, please", ("a.png", "../b.webp")),
        ("(see @~/x.gif)", "(see x.gif)", ("~/x.gif",)),
        ('look: @"my cat.png" here', "look: my cat.png here", ("my cat.png",)),
        ("look: @'my cat.png' here", "look: my cat.png here", ("my cat.png",)),
        (r"look: @my\ cat.png here", "look: my cat.png here", ("my cat.png",)),
        ("@a.png and @a.png again", "a.png and a.png again", ("a.png",)),
        ("is it @shot.heic", "is it shot.heic", ("shot.heic",)),
    ],
)
def test_a_mention_becomes_the_files_name_and_an_image(text: str, words: str, paths: tuple[str, ...]) -> None:
    assert read_mentions(text) == Typed(words, paths)
    assert mentions_images(text)


@pytest.mark.parametrize(
    "text",
    [
        "Hello @ana!",
        "mail me@site.png",
        "@",
        "@ cat.png",
        "use @dataclass",
        "@notes.txt",
        "cat.png",
        "a@b @c",
        "@.png",
    ],
)
def test_other_words_are_left_alone(text: str) -> None:
    assert read_mentions(text) == Typed(text, ())
    assert not mentions_images(text)


def test_a_doubled_sign_says_the_words_themselves() -> None:
    assert read_mentions("write @@cat.png, not @@dog.jpg") == Typed("write @cat.png, not @dog.jpg", ())
    assert mentions_images("write @@cat.png")


@given(st.text())
def test_no_text_breaks_the_reading(text: str) -> None:
    typed = read_mentions(text)
    assert typed.paths or typed.words == text or "@@" in text
    with_dropped_path(text)
    list(path_completions(text))
    begun_mention(text)
    split_path(text)


@given(
    st.text(st.characters(blacklist_characters="\n\x00/@", blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1)
)
def test_every_name_can_be_mentioned(name: str) -> None:
    path = f"/tmp/{name}.png"
    assert read_mentions(f"see {as_mention(path)}").paths == (path,)


def test_a_dropped_file_becomes_a_mention_however_the_terminal_writes_it(tmp_path: Path) -> None:
    path = picture(tmp_path / "my cat.png")
    escaped = str(path).replace(" ", "\\ ")
    mention = f"@{escaped}"
    for typed in (str(path), f"'{path}'", f'"{path}"', escaped, f"{escaped} ", path.as_uri(), f"{path}\n"):
        assert with_dropped_path(typed) == mention
        assert read_mentions(with_dropped_path(typed)) == Typed("", (str(path),))


def test_what_is_no_image_file_alone_stays_as_it_was_pasted(tmp_path: Path) -> None:
    picture(tmp_path / "cat.png")
    (tmp_path / "notes.txt").write_text("x")
    for typed in (
        f"{tmp_path}/missing.png",
        f"{tmp_path}/notes.txt",
        f"look at {tmp_path}/cat.png",
        f"{tmp_path}/cat.png\n{tmp_path}/cat.png",
        "/help",
        "cat.png",
        "https://example.org/cat.png",
        f"file://elsewhere{tmp_path}/cat.png",
        "~" * 300 + ".png",
        "",
    ):
        assert with_dropped_path(typed) == typed


def test_a_command_takes_a_path_and_the_words_behind_it(tmp_path: Path) -> None:
    path = picture(tmp_path / "my cat.png")
    assert split_path(str(path)) == (str(path), "")
    assert split_path('"my cat.png" who is it?') == ("my cat.png", "who is it?")
    assert split_path(r"my\ cat.png  who is it?") == ("my cat.png", "who is it?")
    assert split_path("cat.png") == ("cat.png", "")


def test_folders_and_images_complete_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cat.png", "car park.jpg", ".hidden.png"):
        picture(tmp_path / name)
    (tmp_path / "cards").mkdir()
    (tmp_path / "cat.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert list(path_completions("ca")) == ["car\\ park.jpg", "cards/", "cat.png"]
    assert list(path_completions(f"{tmp_path}/cat")) == [f"{tmp_path}/cat.png"]
    assert list(path_completions("car\\ ")) == ["car\\ park.jpg"]
    assert list(path_completions(".h")) == [".hidden.png"]
    assert list(path_completions("missing/")) == [] == list(path_completions("cat.txt/x"))


@pytest.mark.parametrize(
    ("line", "typed"),
    [("look @ca", "ca"), ("@", ""), (r"@my\ ca", r"my\ ca"), ("look @cat.png now", None), ("me@ca", None), ("", None)],
)
def test_a_mention_under_the_cursor_is_known(line: str, typed: str | None) -> None:
    assert begun_mention(line) == typed
