"""What a person sees, scene by scene, at three widths: golden screens of whole conversations.

A conversation is a list of scenes in one pseudo-terminal; what a scene adds to the scrollback is held against
`golden/NAME_COLUMNS.txt`. One that is not there yet is written, and fails: look at it, mend what is ugly, commit it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from support.conversation import CTRL_C, ESC, GOLDEN, GREETING, bar_of, squeezed
from support.fake_openai import Answer, FakeOpenAI, say
from support.screens import Screen, environment, saying, write_script

pytestmark = pytest.mark.terminal

WIDTHS = (60, 80, 120)
UNSEEN = ""
"""The name of what is no scene of its own."""
VARYING = (
    (re.compile(r"20\d\d-\d\d-\d\d"), "2026-11-24"),
    (re.compile(r"(?<=[ ^])\d\d:\d\d\b", re.MULTILINE), "09:05"),
    (re.compile(r"(?<= )(\d+ ms|\d+\.\d s)$", re.MULTILINE), "N ms"),
    (re.compile(r"[█░]{8} \d+%"), "████░░░░ NN%"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:NNNNN"),
)


@dataclass(frozen=True)
class Scene:
    """What is typed, and what is waited for; `play` does both where that is not all.

    `whole_bar`: the line being typed and the bar below it belong to the scene. Without `numbers`: they depend on the
    prompts that memos ships, so their digits are not held against the golden screen. `ends`: what follows this row may
    change with every new command.
    """

    name: str
    typed: str = ""
    until: str = ""
    play: Callable[[Screen], None] | None = None
    whole_bar: bool = False
    numbers: bool = True
    ends: str = ""


def at_rest(screen: Screen) -> bool:
    """Whether the bar says that nothing goes on."""
    return " · idle" in bar_of(screen) and "waiting" not in bar_of(screen)


def settle(screen: Screen) -> None:
    screen.until(lambda: at_rest(screen))
    screen.until_quiet(0.2)


def call(function: str, **arguments: Any) -> dict[str, Any]:
    return {"name": function, "arguments": {**arguments, "request_heartbeat": True}}


@contextmanager
def conversation(home: Path, columns: int, model: str, *arguments: str) -> Iterator[Screen]:
    personas = home / "data" / "personas"
    personas.mkdir(parents=True)
    (personas / "sam.md").write_text("---\nname: Sam\ndescription: short\n---\nI am Sam, who keeps [things] in mind.\n")
    words = ["-m", "memos", "run", "--model", model, "--set", "memory.embedding=none", *arguments]
    screen = Screen([sys.executable, *words], columns=columns, rows=40, env=environment(home), folder=home)
    try:
        yield screen
    finally:
        screen.close()


def normalised(rows: Sequence[str]) -> str:
    text = "\n".join(rows).strip("\n")
    for pattern, instead in VARYING:
        text = pattern.sub(instead, text)
    return text + "\n"


def new_rows(screen: Screen, seen: int) -> tuple[list[str], int]:
    """Return the rows since `seen` above the prompt, and how many rows there are above it now."""
    rows = screen.scrollback
    end = max(number for number, row in enumerate(rows) if row.startswith("❯"))
    return rows[seen:end], end


def played(screen: Screen, scenes: Sequence[Scene]) -> dict[str, str]:
    """Play the scenes and return what each added."""
    shown, seen = {}, 0
    for scene in scenes:
        if scene.typed:
            screen.type(f"{scene.typed}\r")
        if scene.until:
            wanted = squeezed(scene.until)
            screen.until(lambda: wanted in squeezed("".join(screen.scrollback[seen:])))  # noqa: B023 (called at once)
        if scene.play:
            scene.play(screen)
        settle(screen)
        rows, seen = new_rows(screen, seen)
        rows = rows[rows.index("● sam") :] if "● sam" in rows and not scene.typed else rows
        if scene.whole_bar:
            rows += [row for row in screen.scrollback[seen:] if row]
        text = normalised(rows[: rows.index(scene.ends)] if scene.ends else rows)
        if scene.name != UNSEEN:
            shown[scene.name] = text if scene.numbers else re.sub(r"[IFBSQM.R]{8,}", "=BAR=", re.sub(r"\d", "N", text))
    return shown


def compare(shown: Mapping[str, str], columns: int) -> None:
    """Hold each scene against its golden screen."""
    wrong = []
    for name, text in shown.items():
        assert all(cell_len(row) <= columns for row in text.splitlines()), f"{name} is too wide:\n{text}"
        golden = GOLDEN / f"{name}_{columns}.txt"
        if not golden.exists():
            golden.write_text(text, encoding="utf-8")
            wrong.append(f"{golden.name} is new: look at it, and commit it")
        elif text != golden.read_text(encoding="utf-8"):
            wrong.append(f"{golden.name} has changed; now it is:\n{text}")
    assert not wrong, "\n".join(wrong)


# --- a conversation in which all goes well ---------------------------------------------------------------------

MARKDOWN = """# Bees in *winter*

A cluster keeps **warm** by trembling; see `hive.temperature()` and [the notes](https://example.org/notes).

| Month | Honey (kg) | Care |
|-------|-----------:|------|
| May   | 12 | supers on |
| July  | 31 | 収穫 harvest 🍯 |

1. Feed them before the frost comes, with two parts of sugar to one of water, and close the entrance by half.
2. Leave them alone.
   - 日本語の長い文は単語の間に空白がないので、どこで折り返すかが問題になります。本当に長い文です。
   - [abc] and [/foo] stay.

```python
def weigh(hive: Hive) -> float:
    return sum(frame.weight for frame in hive.frames if frame.is_full and not frame.is_brood)
```

> A quoted line, and a URL: https://example.org/a/very/long/path/that/does/not/fit/into/sixty/columns?at=all
"""

WELL: list[dict[str, Any]] = [
    GREETING,
    {
        "monologue": "Worth keeping: the bees, and where they stand.",
        "calls": [call("core_memory_append", name="human", content="Keeps bees in the garden.")],
    },
    saying("Bees! I will remember that you keep them, and ask you about [honey] when the summer is over."),
    {
        "calls": [
            call(
                "core_memory_replace",
                name="human",
                old_content="Keeps bees in the garden.",
                new_content="Keeps bees on the roof.",
            )
        ]
    },
    saying("On the roof, then."),
    {"calls": [call("conversation_search", query="bees")]},
    saying("You spoke of them a moment ago."),
    {"calls": [call("archival_memory_insert", content="The red hive gave 31 kg of chestnut honey in July.")]},
    {"calls": [call("archival_memory_search", query="chestnut honey")]},
    saying("31 kg it was."),
    {"calls": [call("archival_memory_search", page="two")]},
    {"monologue": "That was wrong.", "calls": [call("no_such_function", x=1)]},
    saying("I could not look that up."),
    saying(MARKDOWN),
]

WELL_SCENES = (
    Scene("greeting", until="I am Sam.", whole_bar=True),  # without the header, which names a folder of the test
    Scene("core_edit", "I keep bees.", "over."),
    Scene("correction", "On the roof, not in the garden.", "On the roof, then."),
    Scene("search_call", "When did I speak of bees?", "a moment ago."),
    Scene("archival", "How much honey?", "31 kg it was."),
    Scene("failed_call", "Look it up.", "I could not look that up."),
    Scene("markdown", "Tell me all.", "A quoted line"),
    Scene("memory", "/memory", "Last edits"),
    Scene("memory_log", "/memory log", "takes one back"),
    Scene("context", "/context", "The next flush", numbers=False),
    Scene("why", "/why", "The queue:"),
    Scene("usage", "/usage", "In all:"),
    Scene("search", "/search honey", "Archival storage:"),
    Scene("model", "/model", "switches."),
    Scene("params", "/params", "limits.turn_usd"),
    Scene("agents", "/agents", "copies this one."),
    Scene("keys", "/keys", "F5"),
    Scene("help", "/help", "Everything is kept as it happens.", ends="More:"),
    Scene("wrong_command", "/memroy", "Did you mean"),
    Scene("undo", "/undo", "Taken back"),
    Scene("memory_undo", "/memory undo 1", "Next"),
)


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_conversation_in_which_all_goes_well(tmp_path: Path, columns: int) -> None:
    write_script(tmp_path / "script.json", WELL)
    with conversation(tmp_path, columns, "scripted:script.json") as screen:
        compare(played(screen, WELL_SCENES), columns)


# --- one that is disturbed -------------------------------------------------------------------------------------

FIRST, SECOND = "The beginning of a long story. ", "The end of it, which nobody waits for. "
LONG = {"text": FIRST.ljust(40) + SECOND.ljust(40), "chunk_chars": 40, "delay_s": 1.0}


def stopped_by(key: str) -> Callable[[Screen], None]:
    def play(screen: Screen) -> None:
        before = screen.count("■ Stopped.")
        screen.type(key)
        screen.until(lambda: screen.count("■ Stopped.") > before)

    return play


def queue_two(screen: Screen) -> None:
    screen.type("A second message, sent too early.\r/memory human\r")
    screen.until("Both are answered.")


def half_typed(screen: Screen) -> None:
    screen.type("what I was about to say")
    screen.until("By the way: tea.")


def clear_line(screen: Screen) -> None:
    screen.until(lambda: screen.prompt_line.startswith("❯ what"))
    screen.type(CTRL_C)
    screen.until(lambda: screen.prompt_line == "❯")


DISTURBED: list[dict[str, Any]] = [
    GREETING,
    LONG,
    LONG,
    {"text": "These words break off somewhere, and nobody knows the rest.", "finish": "cut"},
    saying("A first answer.", delay_s=0.5, chunk_chars=100),
    saying("Both are answered."),
    saying("By the way: tea.", delay_s=0.8, chunk_chars=100),
    {"text": "Facts:\n- The user likes stories, and tea.\nOpen threads:\n- The long one.", "purpose": "summarise"},
    {"monologue": "I keep all of it.", "calls": [call("archival_memory_insert", content="The long story. " * 500)]},
    {"calls": [call("archival_memory_insert", content="The rest of it. " * 500)]},
    saying("It is all kept."),
    saying("And what matters is saved."),
    {"calls": [call("archival_memory_insert", content="What followed. " * 500)]},
    saying("That too."),
    {"text": "Facts:\n- Stories are kept.\nOpen threads:\n- What follows.", "purpose": "summarise"},
]
DISTURBED_SCENES = (
    Scene(UNSEEN, until="I am Sam."),
    Scene("ctrl_c", "A story, please.", "The beginning", stopped_by(CTRL_C)),
    Scene("esc", "Once more.", "The beginning", stopped_by(ESC)),
    Scene("cut_stream", "And now?", "These words"),
    Scene("queued", "A first message.", play=queue_two),
    Scene("late_message", "/heartbeat", play=half_typed, whole_bar=True),
    Scene(UNSEEN, play=clear_line),
    Scene("summarize", "/summarize", "Where to look"),
    Scene("memory_pressure", "Keep the long story.", "And what matters is saved."),
    Scene("page_out", "And what followed?", "That too.", numbers=False),
)


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_conversation_that_is_disturbed(tmp_path: Path, columns: int) -> None:
    write_script(tmp_path / "script.json", DISTURBED)
    with conversation(tmp_path, columns, "scripted:script.json") as screen:
        shown = played(screen, DISTURBED_SCENES)
    compare(shown, columns)


# --- one with a server that fails ------------------------------------------------------------------------------

FAILING = (
    say("Good evening. I am Sam."),
    Answer("Once.", fault="429", retry_after="1"),
    say("Here I am again."),
    Answer("Twice.", fault="401"),
    Answer("Never.", fault="stall_headers"),
    Answer("A few words, then the wire is dead, and nobody knows why.", fault="cut_text"),
    say("All is well."),
)


def counted_down(screen: Screen) -> None:
    screen.until(lambda: any(row.startswith("· asking again in ") for row in screen.lines))


FAILING_SCENES = (
    Scene(UNSEEN, until="I am Sam."),
    Scene("retry", "Are you there?", "Here I am again."),
    Scene("refused", "And now?", "Your message is kept"),
    Scene("hung", "Hello?", play=lambda screen: (screen.read(0.5), stopped_by(CTRL_C)(screen))[1]),
    Scene("wire_cut", "Hello again?", "what came is kept"),
    Scene("well_again", "And now?", "All is well."),
)


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_conversation_with_a_server_that_fails(tmp_path: Path, columns: int) -> None:
    with (
        FakeOpenAI(script=lambda request: FAILING[min(request.number, len(FAILING)) - 1]) as server,
        conversation(tmp_path, columns, "openai/fake", "--api-base", server.url, "--set", "road=httpx") as screen,
    ):
        shown = played(screen, FAILING_SCENES)
    compare(shown, columns)


# --- a timed message ------------------------------------------------------------------------------------------

QUICK_CLOCK = """
import sys
import memos.cli.boot as boot
machine = boot.Machine
boot.Machine = lambda *given, idle_heartbeat_s, **more: machine(*given, idle_heartbeat_s=idle_heartbeat_s / 60, **more)
from memos.cli import main
sys.exit(main())
"""
"""memos with minutes of a second each: a test should not wait for a real one."""


def half_a_line(screen: Screen) -> None:
    screen.until(lambda: at_rest(screen))
    screen.type("what I was about to say")
    screen.until("Shall we look at the bees?")


TIMED_SCENES = (Scene(UNSEEN, until="I am Sam."), Scene("timer", play=half_a_line, whole_bar=True))


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_timed_message_appears_above_a_half_typed_line(tmp_path: Path, columns: int) -> None:
    timed = saying("You have been quiet for a while. Shall we look at the bees?")
    pause = {"calls": [{"name": "pause_heartbeats", "arguments": {"minutes": 60}}, *timed["calls"]]}
    write_script(tmp_path / "script.json", [GREETING, pause])
    words = ["run", "--model", "scripted:script.json", "--set", "memory.embedding=none", "--set", "heartbeat_minutes=2"]
    command = [sys.executable, "-c", QUICK_CLOCK, *words]
    screen = Screen(command, columns=columns, rows=24, env=environment(tmp_path), folder=tmp_path)
    try:
        compare(played(screen, TIMED_SCENES), columns)
        assert screen.prompt_line == "❯ what I was about to say"
    finally:
        screen.close()


ALL_SCENES = [
    scene.name
    for scenes in (WELL_SCENES, DISTURBED_SCENES, FAILING_SCENES, TIMED_SCENES)
    for scene in scenes
    if scene.name != UNSEEN
]
