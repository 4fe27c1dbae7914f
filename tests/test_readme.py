"""The README is true: CI runs its two commands, its commands and flags exist, its exit codes are the tree's."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

import typer

from memos import errors
from memos.cli.app import app
from memos.terminal.commands import COMMANDS, completions

CHECKOUT = Path(__file__).parents[1]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


def fenced_commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def test_the_two_commands_are_the_first_two_and_ci_runs_them_to_the_letter() -> None:
    first, second = fenced_commands()[:2]
    assert first == "pip install . && memos run"
    assert second == "pip install -e '.[dev]' && python -m pytest"
    ci = (CHECKOUT / ".ci" / "run").read_text(encoding="utf-8")
    assert f"'{first}'" in ci
    assert f'"{second}"' in ci


def test_size_and_time_are_said_before_the_commands() -> None:
    before = README[: README.index("pip install")]
    assert "about 1 GB" in before
    assert "about a minute" in before
    assert "3.11" in before


def rows_of_commands() -> dict[str, set[str]]:
    """Return the flags that the README's table names, by command ("" is `memos` alone)."""
    rows: dict[str, set[str]] = {}
    for usage, flags in re.findall(r"^\| `memos ?([^`]*)` \|[^|]*\|([^|]*)\|$", README, re.MULTILINE):
        name = usage.split()[0] if usage else ""
        rows.setdefault(name, set()).update(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", f"{usage} {flags}"))
    return rows


def test_the_table_of_commands_is_the_command_line() -> None:
    command_line = typer.main.get_command(app)
    assert isinstance(command_line, typer.core.TyperGroup)
    rows = rows_of_commands()
    assert set(rows) - {""} == set(command_line.commands)
    for name, command in command_line.commands.items():
        inner = command.commands.values() if isinstance(command, typer.core.TyperGroup) else ()
        options = [option for each in (command, *inner) for option in each.params]
        offered = {flag for option in options for flag in (*option.opts, *option.secondary_opts)}
        assert rows[name] <= offered, f"memos {name} has no {rows[name] - offered}"
        named = [set(option.opts) | set(option.secondary_opts) for option in options if option.opts[0][0] == "-"]
        assert all(names & rows[name] for names in named), f"memos {name}: a flag is missing in the README"


def test_every_slash_command_stands_in_the_table_of_the_chat_and_no_other() -> None:
    table = README[README.index("| in the chat |") :].split("\n\n")[0]
    usages = [usage for row in table.splitlines()[2:] for usage in re.findall(r"`(/[^`]*)`", row.split(" | ")[0])]
    assert {usage.split()[0].removeprefix("/") for usage in usages} == set(COMMANDS)


def test_what_help_says_is_what_is_completed() -> None:
    names = {f"/{name}" for name in COMMANDS}
    assert {text for text, _ in completions("/", None)} == names  # type: ignore[arg-type]
    assert {usage.split()[0] for usage in (entry.usage for entry in COMMANDS.values())} == names


def test_the_exit_codes_are_those_of_the_tree_of_errors() -> None:
    in_readme = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    tree = [member for _, member in inspect.getmembers(errors, inspect.isclass)]
    in_code = {error.exit_code for error in tree if issubclass(error, errors.MemosError)}
    assert in_readme == in_code | {0}
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", README, re.MULTILINE))
    assert {int(code): meaning for code, meaning in rows.items()} == {
        code: meaning for code, (_, meaning) in errors.EXIT_CODES.items() if code < 128
    }
    assert "| 129, 130, 143 |" in README and {code for code in errors.EXIT_CODES if code > 128} == {129, 130, 143}


def test_every_persona_of_the_changelog_is_shipped() -> None:
    changelog = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    (named,) = re.findall(r"^- Personas: (.*)\.$", changelog, re.MULTILINE)
    assert set(named.split(", ")) == {path.stem for path in (CHECKOUT / "personas").glob("*.md")}


def test_it_is_short_and_its_links_lead_somewhere() -> None:
    assert len(README.splitlines()) <= 250
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        assert (CHECKOUT / target).exists(), target


def test_nobody_is_told_to_install_the_packages_of_others() -> None:
    name = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    assert f"pip install {name}" in README
    assert not re.search(r"pip install memos(?!-)|uvx memos", README)
