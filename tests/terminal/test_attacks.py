"""No text steers the terminal, through any path on which text reaches it; and nothing ordinary is lost."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.layout.processors import TransformationInput
from support.conversation import CTRL_C, F2, F4, GREETING, idle, ready, squeezed
from support.hostile_home import hostile_desk
from support.screens import Screen, environment, memos_screen, saying, write_script
from terminal.attacks import ATTACKS, HARMFUL, ORDINARY

from memos.cli.app import app
from memos.errors import BadInput
from memos.messages import (
    Block,
    CallFinished,
    CallStarted,
    FunctionCall,
    FunctionResult,
    MemoryEdited,
    MonologueDelta,
    Notice,
    OutputBody,
    Progress,
    Question,
    Reply,
    ReplyStored,
    RetryIn,
    Said,
    SpeechDelta,
    StepStarted,
    Stopped,
    TurnDone,
)
from memos.safe_text import safe_line, safe_text
from memos.terminal.commands import COMMANDS
from memos.terminal.consoles import make_console
from memos.terminal.drawing import block_lines
from memos.terminal.input_line import _CommandCompleter
from memos.terminal.line_display import HarmlessLine
from memos.terminal.marks import DRAWN, WORDS, Marks
from memos.terminal.painter import Painter
from memos.terminal.status_bar import BarFacts, Running, bar_row

OWN_SEQUENCES = re.compile(r"\x1b\[[0-9;]*m")
SCREEN_SEQUENCES = re.compile(rb"\x1b\[[0-9;?]*[ABCDHJKhlmn]")
NAMES = sorted(ATTACKS)


def painted(bodies: list[OutputBody], name: str = "sam", marks: Marks = DRAWN, width: int | None = 60) -> str:
    """Return everything that these outputs put on a terminal, the live tail included."""
    paper, seen = io.StringIO(), ""
    console = make_console(paper, colours=True, width_cells=400)
    painter = Painter(console, name, marks, width_cells=lambda: width, tail_limit_rows=lambda: 8)
    for body in bodies:
        painter.consume(body)
        seen += "\n".join(text for _, text in painter.tail_rows()) + painter.phase_line()
    return paper.getvalue() + seen


def harmful_in(text: str) -> set[str]:
    return set(HARMFUL) & set(OWN_SEQUENCES.sub("", text))


def by_every_output(attack: str) -> list[OutputBody]:
    call = FunctionCall("1", attack, f'{{"x": "{attack}"}}')
    odd = FunctionCall("2", "core_memory_append", attack)
    spoken = FunctionCall("3", "send_message", "{}")
    return [
        StepStarted(1, 30),
        Progress(attack, 0.5, attack),
        MonologueDelta(attack),
        ReplyStored(Reply(attack, calls=(call, odd, spoken))),
        CallStarted(call),
        CallFinished(call, FunctionResult("1", attack, True, attack), 0.1),
        MemoryEdited(attack, attack, attack[::-1], 2000),
        CallFinished(odd, FunctionResult("2", "core_memory_append", False, attack), 0.1),
        *(SpeechDelta(character) for character in attack),
        Said(attack),
        CallFinished(spoken, FunctionResult("3", "send_message", True, "OK"), 0.1),
        RetryIn(1.0, 1, 3, attack),
        Notice(attack),
        Question("1", attack, (attack,)),
        StepStarted(2, 30),
        SpeechDelta(attack),
        Stopped(attack, "error", 1),
        TurnDone(2),
    ]


def test_the_corpus_is_large() -> None:
    assert len(ATTACKS) >= 60


@pytest.mark.parametrize("name", NAMES)
def test_no_output_of_a_kernel_steers_the_terminal(name: str) -> None:
    for marks, width in ((DRAWN, 60), (WORDS, None)):
        text = painted(by_every_output(ATTACKS[name]), name=ATTACKS[name], marks=marks, width=width)
        assert not harmful_in(text)


@pytest.mark.parametrize("name", NAMES)
def test_every_ordinary_character_that_is_streamed_is_seen(name: str) -> None:
    words = f"{ATTACKS[name]} {ORDINARY}"
    speech = [StepStarted(1, 30), *(SpeechDelta(character) for character in words), Said(words), TurnDone(1)]
    paper = io.StringIO()
    console = make_console(paper, colours=False, width_cells=400)
    painter = Painter(console, "sam", DRAWN, width_cells=lambda: 40, tail_limit_rows=lambda: 4)
    for body in speech:
        painter.consume(body)
    assert squeezed(safe_text(words)) in squeezed(paper.getvalue())


@pytest.mark.parametrize("name", NAMES)
def test_blocks_the_bar_the_line_and_errors_are_harmless(name: str) -> None:
    attack = ATTACKS[name]
    console = make_console(io.StringIO(), colours=True, width_cells=200)
    with console.capture() as drawn:
        for line in block_lines(Block(attack, f"{attack}\n{ORDINARY}", 2000, attack), DRAWN):
            console.print(line)
    assert ORDINARY in drawn.get()
    bar = "".join(text for _, text in bar_row(BarFacts(attack, attack, running=Running(attack)), DRAWN, 200))
    piece = TransformationInput(None, None, 0, lambda place: place, [("", attack), ("", ORDINARY)], 80, 24)  # type: ignore[arg-type]
    typed = HarmlessLine().apply_transformation(piece).fragments
    assert [len(fragment[1]) for fragment in typed] == [len(attack), len(ORDINARY)]
    error = safe_line(str(BadInput(f"There is no {attack}.", attack)))
    for text in (drawn.get(), bar, *(fragment[1] for fragment in typed), error):
        assert not harmful_in(text)


def seen(screen: Screen) -> str:
    """Return what the terminal got without its sequences; pyte itself drops what follows a zero-width space."""
    return SCREEN_SEQUENCES.sub(b"", screen.raw).decode(errors="replace")


def harmless_bytes(screen: Screen) -> None:
    """Assert that the terminal got memos' own sequences and no other."""
    rest = SCREEN_SEQUENCES.sub(b"", screen.raw).replace(b"\r", b"").replace(b"\x08", b"").decode()
    assert not set(rest) & set(HARMFUL)


@pytest.mark.terminal
@pytest.mark.timeout(180)
@pytest.mark.parametrize("part", range(4))
def test_on_a_real_terminal_by_stream_replay_memory_search_bar_menu_and_errors(tmp_path: Path, part: int) -> None:
    attacks = [ATTACKS[name] for name in NAMES[part::4]]
    everything = " ".join(attacks)
    label = safe_line(everything)[:20].replace("/", "")
    edit = {"name": "core_memory_append", "arguments": {"name": "human", "content": everything}}
    archive = {"name": "archival_memory_insert", "arguments": {"content": f"hive {everything}"}}
    for call in (edit, archive):
        call["arguments"]["request_heartbeat"] = True  # type: ignore[index]
    replies = [
        GREETING,
        {"monologue": everything, "calls": [edit, archive, {"name": label, "arguments": everything}]},
        saying(f"{everything} {ORDINARY}", chunk_chars=7),
    ]
    with memos_screen(tmp_path, replies, columns=120, rows=50) as screen:
        ready(screen)
        screen.type("Go\r")
        screen.until(lambda: squeezed(ORDINARY) in squeezed(seen(screen)) and idle(screen))
        screen.type(F2)
        screen.until("Recall storage")
        screen.type(f"/search {ORDINARY}\r")
        screen.until("Archival storage: ")
        screen.type("/model \x1b[200~" + everything.replace("\x1b", "") + "\x1b[201~")
        screen.until_quiet()
        screen.type(CTRL_C)
        screen.until(lambda: screen.prompt_line == "❯")
        screen.type("hive abc stays whole")
        screen.until_quiet()
        screen.type(F4)
        screen.until_quiet()
        harmless_bytes(screen)
        screen.type(CTRL_C + CTRL_C)
        assert screen.exit_code() == 130
    with memos_screen(tmp_path, [GREETING], columns=120, rows=50) as screen:
        ready(screen)
        harmless_bytes(screen)
    for words in (["show", "sam"], ["search", "hive"], ["list"], ["show", everything.replace("\x00", "")[:200]]):
        told = Screen([sys.executable, "-m", "memos", *words], columns=120, rows=50, env=environment(tmp_path))
        told.exit_code()
        harmless_bytes(told)


def test_a_pipe_gets_words_as_they_are_and_a_terminal_never(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "memos", "list", "personas"], env=environment(tmp_path), capture_output=True, check=True
    )
    assert b"\x1b" not in done.stdout


# --- every command of the chat, and every command of the command line ------------------------------------------

EVERYTHING = " ".join([*(ATTACKS[name] for name in NAMES if name != "NUL"), ORDINARY])
PARTS = [" ".join([ORDINARY, *(ATTACKS[name] for name in NAMES[part::8]), ORDINARY]) for part in range(8)]
"""Short enough for lines that are cut."""
MORE_LINES = {
    "memory": ["/memory log", "/memory persona", "/memory nobody", "/memory undo 1", "/memory edit persona"],
    "help": ["/help memory"],
    "why": ["/why all"],
    "context": ["/context --json"],
    "search": ["/search bees"],
    "recall": ["/recall bees"],
    "archival": ["/archival bees"],
    "dump": ["/dump 20"],
    "dumpraw": ["/dumpraw 20"],
    "params": ["/params nonsense"],
    "pop": ["/pop 1"],
    "rethink": ["/rethink " + ORDINARY],
    "switch": ["/switch eve"],
}
LATER = ("pop", "rethink", "rewrite", "undo", "retry", "summarize", "clear", "fork", "new", "rename", "switch", "exit")
"""Those that take away what the others show."""
SHOWS_ALL = ("search", "recall", "archival", "memory", "why", "dump", "agents", "model", "config", "log")


@pytest.mark.parametrize("part", range(8))
def test_no_command_of_the_chat_steers_the_terminal_with_what_any_store_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setenv("VISUAL", "true")
    attack = PARTS[part]
    desk = hostile_desk(tmp_path, attack)
    assert not MORE_LINES.keys() - COMMANDS.keys() and set(LATER) <= COMMANDS.keys()
    order = [*sorted(set(COMMANDS) - set(LATER)), *(name for name in LATER if name in COMMANDS)]
    for name in order:
        printed = ""
        for line in (f"/{name}", f"/{name} {attack}", *MORE_LINES.get(name, ())):
            desk.paper.seek(0)
            desk.paper.truncate()
            printed += desk.run(line)
        assert not harmful_in(printed), name
        if name in SHOWS_ALL:
            assert squeezed(ORDINARY) in squeezed(printed), name


def test_menus_of_completion_and_suggestions_show_pictures_of_what_they_hold(tmp_path: Path) -> None:
    desk = hostile_desk(tmp_path, EVERYTHING)
    completer = _CommandCompleter(desk.session)
    for line in ["/", *(f"/{name} " for name in COMMANDS)]:
        for found in completer.get_completions(Document(line), CompleteEvent()):
            assert not harmful_in(found.display_text + found.display_meta_text)


CLI_LINES: dict[str, list[list[str]]] = {
    "run": [["run", "sam", "-p", "Hello"], ["run", EVERYTHING, "-p", "x"]],
    "configure": [["configure", "--show"], ["configure", "--non-interactive", "--set", f"api_base={EVERYTHING}"]],
    "list": [["list", what] for what in ("agents", "personas", "humans", "models", EVERYTHING)] + [["list", "--json"]],
    "show": [["show", "SAM"], ["show", "SAM", "--json"], ["show", EVERYTHING]],
    "usage": [["usage"], ["usage", EVERYTHING], ["usage", "--since", EVERYTHING]],
    "search": [["search", "bees"], ["search", "bees", "--json"], ["search", EVERYTHING], ["search", "x", "--in", "y"]],
    "import messages": [["import", "messages", "{home}/lines.jsonl", "--agent", "eve"]],
    "import agent": [["import", "agent", EVERYTHING], ["import", "agent", "{home}/lines.jsonl"]],
    "export": [["export", EVERYTHING], ["export", "SAM", "--nonsense"]],
    "forget": [["forget", EVERYTHING], ["forget"]],
    "rename": [["rename", EVERYTHING, "x"], ["rename", "SAM", EVERYTHING]],
    "copy": [["copy", EVERYTHING, "x"], ["copy", "SAM", EVERYTHING]],
    "delete": [["delete", EVERYTHING], ["delete", "SAM"]],
    "restore": [["restore", EVERYTHING], ["restore", "SAM", "--as", EVERYTHING]],
    **{
        f"{kind} {what}": [[kind, what, *name] for name in names]
        for kind in ("personas", "humans")
        for what, names in {
            "list": [[]],
            "show": [["hostile"], [EVERYTHING]],
            "new": [[EVERYTHING, "--from", "{home}/lines.jsonl"]],
            "edit": [[EVERYTHING, "--from", EVERYTHING]],
        }.items()
    },
    "reindex": [["reindex", "--set", "memory.embedding=none"]],
    "doctor": [["doctor", "--offline"], ["doctor", "--offline", "--json", "-m", f"openai/{EVERYTHING}"]],
    "models get": [["models", "get", EVERYTHING]],
    "models remove": [["models", "remove", EVERYTHING]],
    "bench agent": [["bench", "agent", "--people", EVERYTHING]],
    "bench nested-kv": [["bench", "nested-kv", "-m", EVERYTHING, "--levels", EVERYTHING]],
    "bench retrieval": [["bench", "retrieval", "--messages", EVERYTHING, "--queries", EVERYTHING]],
    "bench locomo2jsonl": [["bench", "locomo2jsonl", EVERYTHING, "--messages", "m", "--queries", "q"]],
    "help": [["help"], ["help", "backends"], ["help", EVERYTHING]],
}
RUN_THEM = """
import json, sys
from memos.cli import main
for words in json.load(open(sys.argv[1])):
    print("=====", len(words), flush=True)
    main(words)
"""


def test_every_command_of_the_command_line_is_tried() -> None:
    root = typer.main.get_command(app)
    assert isinstance(root, typer.core.TyperGroup)
    names = set()
    for name, each in root.commands.items():
        inner = each.commands if isinstance(each, typer.core.TyperGroup) else {}
        names |= {f"{name} {below}" for below in inner} or {name}
    assert names == CLI_LINES.keys()


@pytest.mark.terminal
@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_command_of_the_command_line_steers_the_terminal_with_what_any_store_holds(
    tmp_path: Path, no_color: str
) -> None:
    (tmp_path / "data").mkdir()
    desk = hostile_desk(tmp_path / "data", EVERYTHING)
    model = write_script(tmp_path / "script.json", [saying(EVERYTHING, monologue=EVERYTHING)] * 3)
    with desk.home.database.transaction() as connection:
        connection.execute("UPDATE agents SET name = 'SAM' WHERE id = ?", (desk.home.agent.id,))
    desk.home.database.close()
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text(f"model = {json.dumps(model)}\n[memory]\nembedding = 'none'\n")
    (tmp_path / "lines.jsonl").write_text(json.dumps({"role": EVERYTHING, "content": EVERYTHING}) + "\n")
    lines = [
        [word.format(home=tmp_path) if "{home}" in word else word for word in words] for words in _cli_lines(model)
    ]
    (tmp_path / "words.json").write_text(json.dumps(lines))
    more = {"NO_COLOR": no_color} if no_color else {}
    command = [sys.executable, "-c", RUN_THEM, str(tmp_path / "words.json")]
    told = Screen(command, columns=100, rows=50, env=environment(tmp_path, **more), typed_ahead="n\r" * 4)
    assert told.exit_code() == 0
    harmless_bytes(told)
    assert b"A bug in memos" not in told.raw
    assert squeezed(told.raw.decode(errors="replace")).count(squeezed(ORDINARY)) >= len(lines) // 2
    if no_color:
        assert not re.search(rb"\x1b\[[0-9;]*m", told.raw)
    else:
        assert re.search(rb"\x1b\[[0-9;]*m", told.raw)


def _cli_lines(model: str) -> list[list[str]]:
    lines = [words for each in CLI_LINES.values() for words in each]
    return [["run", "eve", *words[2:], "-m", model] if words[:2] == ["run", "sam"] else words for words in lines]


@pytest.mark.terminal
def test_questions_of_the_wizard_are_harmless_and_uncoloured_where_no_colour_is_wanted(tmp_path: Path) -> None:
    program = (
        "import sys; from memos.terminal.menus import Menus, Option; w = open(sys.argv[1], newline='').read()\n"
        "m = Menus(); m.tell(w); m.select(w, [Option(w, 1), Option('b', 2)]); m.text(w, w); m.secret(w); m.confirm(w)\n"
        "print('THE END')"
    )
    (tmp_path / "words").write_text(EVERYTHING, newline="")
    command = [sys.executable, "-c", program, str(tmp_path / "words")]
    for colours, more in ((True, {}), (False, {"NO_COLOR": "1"})):
        screen = Screen(command, columns=100, rows=50, env=environment(tmp_path, **more))
        screen.type("\r\r\r\r")
        screen.until("THE END")
        assert squeezed(ORDINARY) in squeezed(seen(screen))
        harmless_bytes(screen)
        assert bool(re.search(rb"\x1b\[[0-9;]*m", screen.raw)) == colours
