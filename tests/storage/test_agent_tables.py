"""Every table and column of the schema is exported, or it is said why not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.lived import lived

from memos.storage.agent_export import agent_snapshot
from memos.storage.agent_tables import NOT_EXPORTED, TABLES
from memos.storage.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "memos.db")
    yield database
    database.close()


def table_names(database: Database) -> set[str]:
    names = {row[0] for row in database.query("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {name for name in names if not name.startswith(("messages_fts_", "passages_fts_"))}


def columns(database: Database, table: str) -> set[str]:
    return {row["name"] for row in database.query(f"PRAGMA table_info({table})")}


def test_every_table_is_exported_or_it_is_said_why_not(database: Database) -> None:
    assert table_names(database) == {*TABLES, *NOT_EXPORTED}
    assert not {*TABLES} & {*NOT_EXPORTED}


def test_every_column_is_exported_but_whose_agent_it_is_and_what_is_derived(tmp_path: Path) -> None:
    home = lived(tmp_path)
    with agent_snapshot(home.database.path, "sam") as snapshot:
        for table in TABLES.values():
            exported = set(next(snapshot.rows(table.name)))
            assert exported == columns(home.database, table.name) - {"agent_id"} - table.left_out


def test_what_is_said_of_columns_is_true_of_the_schema(database: Database) -> None:
    for table in TABLES.values():
        there = columns(database, table.name)
        assert {*table.references, *table.json, *table.left_out, *table.own} <= there
        assert table.numbered == ("seq" in there)
        for reference in table.references.values():
            assert TABLES[reference.table].numbered
    for row in database.query("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql LIKE '%agent_id%'"):
        assert row["name"] in TABLES or row["name"] == "counts"


def test_a_column_that_names_a_row_is_known_as_a_reference(database: Database) -> None:
    """By its name: a `seq` or id of another row that is not listed would mean nothing in another database."""
    for table in TABLES.values():
        named = {
            name
            for name in columns(database, table.name)
            if name.endswith(("_seq", "turn_id", "_by", "_start", "flushed_at")) and name != "agent_id"
        }
        assert named == set(table.references), table.name


def test_a_new_column_travels_by_itself(tmp_path: Path) -> None:
    home = lived(tmp_path)
    with home.database.transaction() as connection:
        connection.execute("ALTER TABLE messages ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'")
    with agent_snapshot(home.database.path, "sam") as snapshot:
        assert next(snapshot.rows("messages"))["mood"] == "calm"
