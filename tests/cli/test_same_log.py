"""Log and screen cannot tell the clerk's decided steps from a large model's native calls: the rows are of one kind."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.command_line import memos

from memos.config import Places
from memos.llm.weights import builtin_weights

TELL, ASK, ASK_WHAT_NOBODY_TOLD = "My name is Ana and I keep bees.", "What is my name?", "What is my blood group?"
LINES = (TELL, ASK, ASK_WHAT_NOBODY_TOLD)


def step(function: str, match: str = "", **arguments: object) -> dict[str, object]:
    """Return one scripted reply that calls one function, as a model with native calls would write it."""
    return {"monologue": "So be it.", "calls": [{"name": function, "arguments": arguments}], "match": match}


POLICY = (
    step("core_memory_append", TELL, name="human", content="Ana keeps bees.", request_heartbeat=True),
    step("send_message", "human", message="Noted."),
    step("send_message", ASK, message="Ana."),
    step("conversation_search", ASK_WHAT_NOBODY_TOLD, query="blood group", request_heartbeat=True),
    step("send_message", message="I have nothing on that."),
)
"""File what is told, and say so; answer from core memory; look before saying that there is nothing."""


def rows_of(home: Path) -> list[sqlite3.Row]:
    connection = sqlite3.connect(Places.find({"MEMOS_HOME": str(home)}).database)
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute("SELECT * FROM messages ORDER BY seq").fetchall()
    finally:
        connection.close()


def kinds(rows: Sequence[sqlite3.Row]) -> list[tuple[object, ...]]:
    """Return of each row what it is, and nothing of what it says: role, event, function, outcome, state, calls."""
    return [
        (
            row["role"],
            row["kind"],
            row["name"],
            row["ok"],
            row["state"],
            row["origin"],
            row["provenance"],
            row["speaker"],
            [call["name"] for call in json.loads(row["calls"])],
            [bool(json.loads(call["arguments"]).get("request_heartbeat")) for call in json.loads(row["calls"])],
        )
        for row in rows
    ]


def talk(home: Path, model: str, cache: Path) -> list[tuple[object, ...]]:
    done = memos(
        home,
        *("run", "-m", model, "--persona", "clerk", "--set", "terminal.greet=false"),
        typed="\n".join(LINES) + "\n",
        environ={"MEMOS_CACHE": str(cache)},
        timeout_s=100,
    )
    assert done.returncode == 0, done.stderr
    return kinds(rows_of(home))


@pytest.mark.builtin_model
@pytest.mark.timeout(240)
def test_a_scripted_model_with_native_calls_leaves_the_same_kinds_of_rows_as_the_clerk(
    tmp_path: Path, builtin_cache: Path
) -> None:
    builtin_weights(builtin_cache, lambda _: None)
    script = tmp_path / "script.json"
    script.write_text(json.dumps(POLICY), encoding="utf-8")
    by_clerk = talk(tmp_path / "clerk", "builtin/tiny", builtin_cache)
    by_script = talk(tmp_path / "scripted", f"scripted:{script}", builtin_cache)
    assert by_clerk == by_script
    functions = [name for row in by_clerk for name in row[8]]
    assert {"core_memory_append", "conversation_search", "send_message"} <= set(functions)
    assert [row[1] for row in by_clerk if row[0] == "user"].count("user_message") == len(LINES)
