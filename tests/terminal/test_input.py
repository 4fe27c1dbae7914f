"""The line being typed: history, suggestions, completion, paste, keys. The real program in a pseudo-terminal."""

import re
import stat
import sys
import time
from pathlib import Path

import pytest
from prompt_toolkit.key_binding.defaults import load_key_bindings
from prompt_toolkit.key_binding.key_bindings import _parse_key
from prompt_toolkit.keys import Keys
from support.conversation import (
    ALT_ENTER,
    CTRL_A,
    CTRL_C,
    CTRL_D,
    CTRL_G,
    CTRL_J,
    CTRL_R,
    CTRL_Z,
    END,
    ESC,
    F1,
    F2,
    F3,
    F4,
    F5,
    GREETING,
    PASTE,
    PASTED,
    RIGHT,
    SENTENCES,
    STORY,
    UP,
    bar_of,
    idle,
    ready,
    slow,
)
from support.screens import Screen, environment, memos_screen, saying, write_script

from memos.terminal.key_bindings import key_bindings
from memos.terminal.keys import KEYS
from memos.terminal.type_ahead import lines_of

pytestmark = pytest.mark.terminal


def say(screen: Screen, line: str, answer: str) -> None:
    screen.type(f"{line}\r")
    screen.until(answer)
    screen.until(lambda: idle(screen))


# --- history ---------------------------------------------------------------------------------------------------


def test_what_was_typed_is_found_with_ctrl_r_and_enter_sends_it_only_then(tmp_path: Path) -> None:
    replies = [GREETING, saying("One."), saying("Two."), saying("Three.")]
    with memos_screen(tmp_path, replies) as screen:
        ready(screen)
        say(screen, "the bees are well", "One.")
        say(screen, "the cat is not", "Two.")
        screen.type(CTRL_R + "BEES")
        screen.until(lambda: "the bees are well" in screen.prompt_line)
        screen.type("\r")
        screen.until(lambda: screen.prompt_line == "❯ the bees are well")
        assert "Three." not in screen.text
        screen.type("\r")
        screen.until("Three.")
        screen.until(lambda: idle(screen))
        assert screen.count("❯ the bees are well") == 2


def test_ctrl_c_leaves_the_search_of_what_was_typed_and_not_the_conversation(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, saying("One.")]) as screen:
        ready(screen)
        say(screen, "the bees are well", "One.")
        screen.type(CTRL_R + "bees")
        screen.until(lambda: "the bees are well" in screen.prompt_line)
        screen.type(CTRL_C)
        screen.until(lambda: screen.prompt_line == "❯")
        assert idle(screen)


def test_up_goes_through_the_lines_that_begin_alike_in_this_and_former_conversations(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, saying("One."), saying("Two.")]) as screen:
        ready(screen)
        say(screen, "bees first", "One.")
        say(screen, "cats second", "Two.")
        screen.type(CTRL_D)
        assert screen.exit_code() == 0
    with memos_screen(tmp_path, [GREETING]) as screen:
        ready(screen)
        screen.type("be" + UP)
        screen.until(lambda: screen.prompt_line == "❯ bees first")


def test_a_line_typed_before_is_suggested_and_taken_over_by_right_or_end(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, saying("One."), saying("Two."), saying("Three.")]) as screen:
        ready(screen)
        say(screen, "tell me of the bees", "One.")
        for key, answer in ((RIGHT, "Two."), (END, "Three.")):
            screen.type("tell")
            screen.until(lambda: screen.prompt_line == "❯ tell me of the bees")
            screen.type(key)
            screen.until_quiet()
            screen.type("\r")
            screen.until(answer)
            screen.until(lambda: idle(screen))
        assert screen.count("❯ tell me of the bees") == 3


def test_a_suggestion_that_is_not_taken_over_is_not_sent(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, saying("One."), saying("Two.")]) as screen:
        ready(screen)
        say(screen, "tell me of the bees", "One.")
        screen.type("tell")
        screen.until(lambda: screen.prompt_line == "❯ tell me of the bees")
        screen.type("\r")
        screen.until("Two.")
        assert "❯ tell" in screen.scrollback


def test_without_colours_nothing_is_suggested_for_it_would_look_typed(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, saying("One.")], NO_COLOR="1") as screen:
        ready(screen)
        say(screen, "tell me of the bees", "One.")
        screen.type("tell")
        screen.until_quiet()
        assert screen.prompt_line == "❯ tell"


def test_the_history_is_private_even_where_it_was_not(tmp_path: Path) -> None:
    history = tmp_path / "state" / "history"
    history.parent.mkdir()
    history.write_text("")
    history.chmod(0o644)
    with memos_screen(tmp_path, [GREETING, saying("One.")]) as screen:
        ready(screen)
        say(screen, "a secret", "One.")
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "a secret" in history.read_text()


# --- completion ------------------------------------------------------------------------------------------------


def test_labels_models_and_files_of_models_are_completed(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "mine.gguf").touch()
    with memos_screen(tmp_path, [GREETING], columns=200) as screen:
        ready(screen)
        screen.type("/memory per\t")
        screen.until(lambda: screen.prompt_line == "❯ /memory persona")
        screen.type(CTRL_C + f"/model gguf:{tmp_path}/wei\t")
        screen.until(lambda: screen.prompt_line.endswith("/weights/"))
        screen.type("m\t")
        screen.until(lambda: screen.prompt_line.endswith("/weights/mine.gguf"))


def test_a_message_is_never_completed(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING]) as screen:
        ready(screen)
        screen.type("see /mem\t")
        screen.until_quiet()
        assert screen.prompt_line == "❯ see /mem"


# --- lines and pastes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_paste_of_many_lines_is_one_message(tmp_path: Path, columns: int) -> None:
    pasted = "\r".join(f"line {number} of [what] was pasted" for number in range(40))
    with memos_screen(tmp_path, [GREETING, saying("Long.")], columns=columns) as screen:
        ready(screen)
        screen.type(f"{PASTE}{pasted}{PASTED}")
        screen.until("line 39")
        assert "Long." not in screen.text
        screen.type("\r")
        screen.until("Long.")
        screen.until(lambda: idle(screen))
        for number in range(40):
            assert screen.count(f"line {number} of [what] was pasted") == 1


def test_new_lines_by_alt_enter_and_ctrl_j_while_a_reply_runs_stop_nothing(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, slow(STORY, 0.02), saying("Two lines.")]) as screen:
        ready(screen)
        screen.type("A story, please.\r")
        screen.until("Sentence 1 of")
        screen.type(f"one{ALT_ENTER}two{CTRL_J}three\r")
        screen.until("Two lines.")
        screen.until(lambda: idle(screen))
        assert screen.count(SENTENCES[-1]) == 1 and "Stopped" not in screen.text
        start = screen.scrollback.index("❯ one")
        assert screen.scrollback[start : start + 3] == ["❯ one", "  two", "  three"]


def test_arrow_keys_while_a_reply_runs_move_and_do_not_stop(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, slow(STORY, 0.02)]) as screen:
        ready(screen)
        screen.type("A story, please.\r")
        screen.until("Sentence 1 of")
        screen.type("cat")
        for _ in range(3):
            screen.type("\x1b[D")
            screen.read(0.1)
        screen.type("the ")
        screen.until(SENTENCES[-1])
        screen.until(lambda: idle(screen))
        assert screen.prompt_line == "❯ the cat" and "Stopped" not in screen.text


@pytest.mark.parametrize(
    ("typed", "lines", "rest"),
    [
        ("one\rtwo", ["one"], "two"),
        ("one\r\ntwo\r", ["one", "two"], ""),
        ("\x1b[200~a\rb\x1b[201~ c\rd", ["a\nb c"], "d"),
        ("x\x1b[200~a\r\nb", [], "xa\nb"),
        ("\x1b[A\x1bOPhi\x7f\x03", [], "hi"),
    ],
)
def test_what_was_typed_ahead_is_read_like_keys_and_a_paste_stays_one_message(
    typed: str, lines: list[str], rest: str
) -> None:
    assert lines_of(typed) == (lines, rest)


@pytest.mark.parametrize("after_s", [0.0, 0.3, 0.6, 0.9, 1.2])
def test_an_enter_before_the_prompt_is_ready_is_not_lost(tmp_path: Path, after_s: float) -> None:
    with memos_screen(tmp_path, [GREETING, saying("I heard you.")]) as screen:
        screen.read(after_s)
        screen.type("early bird\r")
        screen.until("I heard you.")
        screen.until(lambda: idle(screen))
        assert screen.count("❯ early bird") == 1


def test_bangs_and_double_slashes_are_words(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, saying("One."), saying("Two."), saying("Three.")]) as screen:
        ready(screen)
        say(screen, "!ls -l", "One.")
        say(screen, "//etc", "Two.")
        say(screen, "/ is the root", "Three.")
        assert [row for row in screen.scrollback if row.startswith("❯ ")] == ["❯ !ls -l", "❯ /etc", "❯ / is the root"]


# --- the editor, suspending, keys that are commands ------------------------------------------------------------


def test_ctrl_g_opens_the_line_in_an_editor_and_a_late_message_waits_for_its_end(tmp_path: Path) -> None:
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import sys, time, pathlib\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "print('EDITING', oct(path.stat().st_mode & 0o777), flush=True)\n"
        "time.sleep(1.5)\n"
        "print('EDITED', flush=True)\n"
        "path.write_text(path.read_text().strip() + ' and more\\n')\n"
    )
    replies = [GREETING, saying("A late word.", delay_s=0.8, chunk_chars=100), saying("Edited well.")]
    with memos_screen(tmp_path, replies, EDITOR=f"{sys.executable} {editor}") as screen:
        ready(screen)
        screen.type("first\r")
        screen.type("some words" + CTRL_G)
        screen.until("EDITING 0o600")
        screen.until("EDITED")
        screen.until("A late word.")
        assert screen.raw.index(b"EDITED") < screen.raw.index(b"A late word.")
        screen.until(lambda: screen.prompt_line == "❯ some words and more")
        screen.type("\r")
        screen.until("Edited well.")


def test_ctrl_z_suspends_and_the_line_is_there_again_afterwards(tmp_path: Path) -> None:
    model = write_script(tmp_path / "script.json", [GREETING, saying("Back.")])
    memos = [sys.executable, "-m", "memos", "run", "--model", model, "--set", "memory.embedding=none"]
    shell = ["bash", "-c", 'set -m; "$@"; echo SUSPENDED; sleep 1; fg', "bash"]
    screen = Screen([*shell, *memos], env=environment(tmp_path))
    try:
        ready(screen)
        screen.type("half a")
        screen.until(lambda: screen.prompt_line == "❯ half a")
        screen.type(CTRL_Z)
        screen.until("SUSPENDED")
        screen.until(lambda: screen.prompt_line == "❯ half a")
        screen.type(" line\r")
        screen.until("Back.")
        assert "❯ half a line" in screen.scrollback
    finally:
        screen.close()


def test_function_keys_are_commands_and_leave_the_line_alone(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING], rows=60) as screen:
        ready(screen)
        screen.type("half a line")
        for key, words in ((F1, "/help [COMMAND]"), (F2, "Recall storage:"), (F3, "Counted by")):
            screen.type(key)
            screen.until(words)
        screen.until(lambda: screen.prompt_line == "❯ half a line")


# --- vi --------------------------------------------------------------------------------------------------------


def test_vi_keys_edit_the_line(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, saying("Edited.")], "--set", "terminal.vi=true") as screen:
        ready(screen)
        screen.type("the the cat")
        screen.until(lambda: screen.prompt_line == "❯ the the cat")
        screen.type(ESC)
        screen.read(0.3)
        screen.type("0dw")
        screen.until(lambda: screen.prompt_line == "❯ the cat")
        screen.type("d")
        screen.read(0.5)  # longer than Esc is waited for
        screen.type("d")
        screen.until(lambda: screen.prompt_line == "❯")
        screen.type("ihello\r")
        screen.until("Edited.")


def test_in_vi_esc_leaves_the_insert_mode_first_and_then_stops_a_reply(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, slow(STORY)], "--set", "terminal.vi=true") as screen:
        ready(screen)
        screen.type("A story, please.\r")
        screen.until("Sentence 1 of")
        screen.type(ESC)
        screen.read(0.3)
        assert "Stopped" not in screen.text
        screen.type(ESC)
        screen.until("■ Stopped.")


# --- recall as you type ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_bar_counts_what_is_remembered_and_keys_show_and_quote_it(tmp_path: Path, columns: int) -> None:
    replies = [GREETING, saying("Noted, honey."), saying("Noted, tea."), saying("Yes.")]
    with memos_screen(tmp_path, replies, columns=columns) as screen:
        ready(screen)
        say(screen, "I sell chestnut honey", "Noted, honey.")
        say(screen, "My sister drinks tea", "Noted, tea.")
        screen.type("chestnut honey?")
        screen.until(lambda: "1 remembered: F4 shows, F5 quotes" in bar_of(screen))
        screen.type(F4)
        screen.until('Remembered about "chestnut honey?":')
        assert screen.count("user: I sell chestnut honey") == 1
        screen.until(lambda: screen.prompt_line == "❯ chestnut honey?")
        screen.type(F5)
        screen.until(lambda: '"I sell chestnut honey" (user, 20' in screen.text)
        screen.type("\r")
        screen.until("Yes.")
        screen.until(lambda: idle(screen))
        assert "remembered" not in bar_of(screen)


def test_the_quoting_key_goes_on_to_the_next_memory(tmp_path: Path) -> None:
    replies = [GREETING, saying("One."), saying("Two.")]
    with memos_screen(tmp_path, replies, columns=120) as screen:
        ready(screen)
        say(screen, "The red hive is loud", "One.")
        say(screen, "The blue hive is calm", "Two.")
        screen.type("hive")
        screen.until(lambda: "2 remembered" in bar_of(screen))
        screen.type(F5)
        screen.until(lambda: '❯ hive "The' in screen.prompt_line)
        first = screen.prompt_line
        screen.type(F5)
        screen.until(lambda: '❯ hive "The' in screen.prompt_line and screen.prompt_line != first)
        screen.type(F5)
        screen.until(lambda: screen.prompt_line == first)


def test_nothing_is_looked_up_while_typing_where_that_is_switched_off(tmp_path: Path) -> None:
    replies = [GREETING, saying("One.")]
    with memos_screen(tmp_path, replies, "--set", "terminal.recall_as_you_type=false") as screen:
        ready(screen)
        say(screen, "The red hive is loud", "One.")
        screen.type("hive is loud now")
        screen.until_quiet(0.6)
        assert "remembered" not in bar_of(screen)
        screen.type(F4)
        screen.until("Nothing is remembered about the line you type.")


# --- stopping --------------------------------------------------------------------------------------------------


def test_esc_stops_a_reply_quickly_and_keeps_what_was_shown(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, slow(STORY), saying("Here I am.")]) as screen:
        ready(screen)
        screen.type("A story, please.\r")
        screen.until("Sentence 2 of")
        began = time.monotonic()
        screen.type(ESC)
        screen.until("■ Stopped.")
        assert time.monotonic() - began < 1.0  # the benchmark measures it
        screen.until(lambda: idle(screen))
        assert SENTENCES[0] in screen.text and "Sentence 12" not in screen.text
        say(screen, "Are you there?", "Here I am.")


def test_esc_stops_nothing_when_nothing_runs_and_never_leaves(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, saying("Yes.")]) as screen:
        ready(screen)
        screen.type("half a line")
        for _ in range(3):
            screen.type(ESC)
            screen.read(0.2)
        assert screen.prompt_line == "❯ half a line"
        screen.type("\x1bb\r")  # Alt-B, then Enter
        screen.until("Yes.")


def test_a_line_typed_during_a_stopped_reply_survives(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING, slow(STORY)]) as screen:
        ready(screen)
        screen.type("A story, please.\r")
        screen.until("Sentence 1 of")
        screen.type("what I was about to say")
        screen.read(0.2)
        screen.type(ESC)
        screen.until("■ Stopped.")
        screen.until(lambda: idle(screen))
        assert screen.prompt_line == "❯ what I was about to say"


def test_ctrl_a_and_typing_put_words_in_front(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING]) as screen:
        ready(screen)
        screen.type("world" + CTRL_A + "hello ")
        screen.until(lambda: screen.prompt_line == "❯ hello world")


def test_the_help_of_the_keys_names_every_key(tmp_path: Path) -> None:
    with memos_screen(tmp_path, [GREETING], rows=40) as screen:
        ready(screen)
        screen.type("/keys\r")
        for key in KEYS:
            screen.until(f"{key.names}  ")
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", readme[readme.index("| key |") :].split("\n\n")[0], re.MULTILINE)
    assert rows[1:] == [(key.names, key.what) for key in KEYS]


class Nobody:
    """Whom keys may ask for anything."""

    def __getattr__(self, name: str) -> object:
        return True


BY_PROMPT_TOOLKIT = {"up", "down", "c-r", "right", "c-l", "c-z"}
"""Keys of the table that need no binding of ours."""
NO_KEYS = {(Keys.BracketedPaste,), (Keys.SIGINT,)}


def test_the_table_of_the_keys_is_what_is_bound_and_each_is_written_as_it_is_pressed() -> None:
    bound = {binding.keys for binding in key_bindings(Nobody()).bindings} - NO_KEYS  # type: ignore[arg-type]
    given = {binding.keys for binding in load_key_bindings().bindings}
    named = {tuple(map(_parse_key, keys)) for key in KEYS for keys in key.bindings}
    theirs = {(_parse_key(name),) for name in BY_PROMPT_TOOLKIT}
    assert named == bound | theirs and theirs <= given and not theirs & bound
    for key in KEYS:
        written = [name.strip() for name in key.names.split(",")]
        assert written == [" ".join(_as_written(keys)) for keys in key.bindings]


def _as_written(keys: tuple[str, ...]) -> list[str]:
    """Return the presses of a binding as people write them: Alt is sent as Esc and a key."""
    pressed = [key.replace("c-", "Ctrl-").replace("escape", "Esc") for key in keys]
    pressed = [key[:-1] + key[-1].upper() if key.startswith("Ctrl-") else key.capitalize() for key in pressed]
    return [f"Alt-{pressed[1]}"] if len(pressed) == 2 and pressed[0] == "Esc" != pressed[1] else pressed
