"""`memos help database` is true: its tables and columns are the schema's, and each of its queries runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agent_home import AgentHome
from support.lived import lived

from memos.help import text_of

TEXT = text_of("database")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
QUERIES = [line for line in COMMANDS if line.startswith("sqlite-utils ")]


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentHome]:
    home = lived(tmp_path_factory.mktemp("lived"))
    yield home
    home.database.close()


def documented() -> dict[str, list[str]]:
    tables = TEXT.partition("<!-- tables: begin -->")[2].partition("<!-- tables: end -->")[0]
    found = {}
    for part in re.split(r"^### ", tables, flags=re.MULTILINE)[1:]:
        rows = re.findall(r"^\| ([a-z_]+) \| \S.* \|$", part, re.MULTILINE)
        assert rows.pop(0) == "column"
        found[part.partition(":")[0]] = rows
    return found


def test_every_table_and_column_of_the_schema_is_told_and_no_other(sam: AgentHome) -> None:
    names = [row[0] for row in sam.database.query("SELECT name FROM sqlite_master WHERE type = 'table'")]
    ours = [name for name in names if not name.startswith(("sqlite_", "_", "messages_fts", "passages_fts"))]
    schema = {name: [row["name"] for row in sam.database.query(f"PRAGMA table_info({name})")] for name in ours}
    assert documented() == schema
    assert {name for name in names if name.endswith("_fts")} == {"messages_fts", "passages_fts"}


def test_columns_that_hold_json_say_so(sam: AgentHome) -> None:
    for table, name, meaning in (
        (part.partition(":")[0], *row)
        for part in re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:]
        for row in re.findall(r"^\| ([a-z_]+) \| (.*) \|$", part, re.MULTILINE)
        if row[1].endswith("JSON")
    ):
        valid = sam.database.query(f"SELECT count(*) FROM {table} WHERE {name} IS NOT NULL AND NOT json_valid({name})")
        assert valid[0][0] == 0, (table, name, meaning)


@pytest.mark.parametrize("line", QUERIES)
def test_each_query_runs_as_it_is_written_and_finds_something(sam: AgentHome, line: str) -> None:
    today = sam.database.query("SELECT substr(max(created_at), 1, 10) FROM messages")[0][0]
    words = shlex.split(line.replace("2026-11-24", today).partition(" > ")[0])[1:]
    run = subprocess.run(
        [sys.executable, "-m", "sqlite_utils", *words],
        capture_output=True,
        timeout=30,
        check=False,
        cwd=Path(sam.database.path).parent,
    )
    assert run.returncode == 0, run.stderr
    assert len(run.stdout) > 20
