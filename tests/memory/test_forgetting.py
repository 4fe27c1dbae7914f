"""`/forget`: by whatever path a secret came into memory, no byte of it is left, and nothing else is lost."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import suppress
from pathlib import Path

import lancedb
import pytest
from support.agent_home import AgentHome, agent_home
from support.planted import (
    PATHS,
    SECRET,
    Stage,
    cells_with,
    files_with,
    forgetting_in,
    play,
    stems_in_full_text,
    vector_bytes,
)
from support.search_home import WordCounts

from memos.errors import BadInput, StorageProblem
from memos.functions.process_functions import ProcessFunctions
from memos.functions.table import FunctionTable
from memos.llm.chat_messages import check_pairing
from memos.memory import erasure
from memos.memory.erasure import COLUMNS, NOTES, Erasure, text_columns
from memos.memory.forgetting import Certificate, Forgetting
from memos.memory.index import Index
from memos.messages import Event, EventKind
from memos.storage.database import Database
from memos.storage.home_files import HomeFiles
from memos.storage.intention import intention_file
from memos.storage.unwanted_words import UnwantedWords


async def forget(stage: Stage, everyone: bool = False) -> Certificate:
    """Forget the secret while the agent is at work."""
    assert files_with(stage.root), "nothing was planted"
    assert (await stage.operator.preview_forgetting(UnwantedWords(SECRET))).traces
    if not everyone:
        return await stage.operator.forget(UnwantedWords(SECRET), [])
    ids = [agent.id for agent in stage.home.agents.all()]
    forgetting = forgetting_in(stage.root, stage.home, stage.index)
    return await stage.kernel.machine.queue_manager.erase(
        lambda: forgetting.erase(UnwantedWords(SECRET), ids, ["everyone"])
    )


@pytest.mark.parametrize("name", PATHS)
def test_no_byte_of_a_secret_is_left_and_nothing_else_is_lost(tmp_path: Path, name: str) -> None:
    root = tmp_path / "home"

    async def after(stage: Stage) -> None:
        certificate = await forget(stage, everyone=name == "forked")
        assert certificate.hits == 0, certificate.lines()
        assert files_with(root) == []
        await stage.say("And now?")
        stage.index_all()
        check_the_rest(stage)

    processor = play(root, [PATHS[name]], after)
    # The prompt after it is valid (the processor refuses others), and the model sees none of it.
    assert "heliotrope" not in repr(processor.prompts[-1])
    database = root / "data" / "memos.db"
    assert (files_with(root), cells_with(database), stems_in_full_text(database)) == ([], [], [])
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        for table in ("messages", "passages"):
            connection.execute(f"INSERT INTO {table}_fts({table}_fts) VALUES ('integrity-check')")


def check_the_rest(stage: Stage) -> None:
    """What else was said, kept and filed is there, and found; of vectors only those of rows that are there."""
    home = stage.home
    for tier, word in (("recall", "bees"), ("archival", "Rex")):
        assert stage.index.search(tier).find(home.agent.id, word, limit=5).hits, tier  # type: ignore[arg-type]
    assert home.memory.block("human").value.splitlines()[0] == "Name: Ana"
    assert "Rex is a dog." in home.archival.archival_memory_search("dog")
    heard = home.database.query(
        "SELECT said FROM messages WHERE said <> '' AND superseded_by IS NULL AND agent_id = ?", (home.agent.id,)
    )
    assert {"I keep bees on the roof.", "Bees, noted.", "And now?", "I go on."} <= {row["said"] for row in heard}
    assert home.recall.counts()[0] == len(heard)
    live = {row["id"] for table in ("messages", "passages") for row in home.database.query(f"SELECT id FROM {table}")}
    for path in (stage.root / "data" / "lance").glob("*.lance"):
        table = lancedb.connect(path.parent).open_table(path.stem)
        assert set(table.to_arrow()["id"].to_pylist()) <= live
        assert len(table) == stage.index.legs[path.name.partition("-")[0]].table.count()  # type: ignore[index]


def test_a_vector_of_what_was_said_is_gone_with_every_older_version(tmp_path: Path) -> None:
    async def after(stage: Stage) -> None:
        texts = [
            row["search_text"]
            for row in stage.home.database.query(
                "SELECT search_text FROM messages WHERE search_text LIKE '%heliotrope%'"
            )
        ]
        wanted = vector_bytes(texts)

        def on_disk() -> int:
            files = [path.read_bytes() for path in (tmp_path / "data" / "lance").rglob("*.lance") if path.is_file()]
            return sum(any(vector in data for data in files) for vector in wanted)

        assert on_disk() == len(wanted) == 21
        certificate = await forget(stage)
        assert certificate.vectors.vectors == 21 and on_disk() == 0
        for path in (tmp_path / "data" / "lance").glob("*.lance"):
            assert len(lancedb.connect(path.parent).open_table(path.stem).list_versions()) == 1

    play(tmp_path, [PATHS["vectors, before and after 128 rows"]], after)


def test_a_table_of_vectors_that_cannot_be_read_is_made_again(tmp_path: Path) -> None:
    async def after(stage: Stage) -> None:
        for path in (tmp_path / "data" / "lance").rglob("*.manifest"):
            path.write_bytes(b"broken")
        assert (await forget(stage)).vectors.remade == 2
        stage.index = Index.of(tmp_path / "data" / "lance", stage.home.database, WordCounts())  # the next process
        stage.index_all()
        assert stage.index.search("recall").find(stage.home.agent.id, "bees", limit=5).degraded is None
        assert stage.index.legs["recall"].table.count() == 3  # type: ignore[index]
        stage.index.close()

    play(tmp_path, [PATHS["typed"]], after)


# --- what is covered -----------------------------------------------------------------------------------------


def test_every_column_of_text_is_erased_told_or_known_to_be_memos_own(tmp_path: Path) -> None:
    """Whoever adds a column of text says in `COLUMNS` what becomes of it; the next test sees whether that is true."""
    home = agent_home(tmp_path)
    with home.database.transaction() as connection:
        schema = {
            table: {c for c in columns if not c.endswith("_at") and c != "paused_until"}
            for table, columns in text_columns(connection).items()
            if not table.startswith("_")
        }
    stated = {table: {c for columns in kinds.values() for c in columns.split()} for table, kinds in COLUMNS.items()}
    assert schema == stated


def filled(home: AgentHome) -> None:
    """Put a row into every table, and the secret into every column that is said to be erased."""
    given = {"agent_id": home.agent.id, "origin": "import", "role": "user", "state": "complete", "kind": "user_message"}
    json_columns = {
        "payload": '{"x": %s}',
        "calls": '[{"id": "1", "name": "f", "arguments": %s}]',
        "tags": "[%s]",
        "reasoning": '{"x": %s}',
        "attachments": "[%s]",
        "note": "[%s]",
    }
    with home.database.transaction() as connection:
        for table, kinds in COLUMNS.items():
            secret = {*kinds.get("words", "").split(), *kinds.get("derived", "").split()}
            if not secret or table in ("agents", "blocks"):
                continue
            values = {}
            for column in connection.execute(f"PRAGMA table_info({table})").fetchall():
                name = column["name"]
                if name in secret:
                    text = json_columns.get(name, "%s") % (json.dumps(SECRET) if name in json_columns else SECRET)
                    values[name] = f"import:{SECRET}" if name == "session" else text
                elif name in given:
                    values[name] = given[name]
                elif name.endswith("_at"):
                    values[name] = "2026-11-24T10:00:00+00:00"
                elif name == "message_seq":
                    values[name] = 1
                elif name not in ("seq", "superseded_by"):
                    values[name] = b"" if column["type"] == "BLOB" else 0 if column["type"] == "INTEGER" else "x"
            if table == "overrides":
                values["content"] = json.dumps({"content": SECRET, "arguments": []})
            names = ", ".join(values)
            connection.execute(
                f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(values))})", tuple(values.values())
            )
        connection.execute("UPDATE agents SET summary = ?", (SECRET,))
        connection.execute("UPDATE blocks SET value = ?, description = ?", (SECRET, SECRET))


def test_what_is_said_to_be_erased_is_whatever_column_it_stands_in(tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    filled(home)
    before = set(cells_with(tmp_path / "memos.db"))
    assert before >= {
        f"{table}.{column}" for table, kinds in COLUMNS.items() for column in kinds.get("words", "").split()
    }
    found = Erasure(home.database, UnwantedWords(SECRET))
    found.erase([home.agent.id])
    assert found.left() == [] and found.traces([home.agent.id]) == []
    assert cells_with(tmp_path / "memos.db") == []


def test_names_of_functions_and_arguments_are_nobodys_words(tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    table = FunctionTable([ProcessFunctions(home.syscalls), home.memory, home.recall, home.archival])
    arguments = {name for schema in table.schemas for name in schema.parameters["properties"]}
    assert {*table.names(), *arguments} <= erasure._OURS


def test_no_model_can_call_it(tmp_path: Path) -> None:
    home = agent_home(tmp_path)
    table = FunctionTable([ProcessFunctions(home.syscalls), home.memory, home.recall, home.archival])
    assert not [name for name in table.names() if "forget" in name or "erase" in name]


# --- what stays ----------------------------------------------------------------------------------------------


def test_what_is_spared_stays_and_is_told(tmp_path: Path) -> None:
    async def after(stage: Stage) -> None:
        traces = (await stage.operator.preview_forgetting(UnwantedWords(SECRET))).traces
        passage = next(n for n, trace in enumerate(traces, start=1) if trace.what.startswith("passage"))
        certificate = await stage.operator.forget(UnwantedWords(SECRET), [passage])
        assert {left.column for left in certificate.left} == {"passages.content", "passages.search_text"}
        assert cells_with(tmp_path / "data" / "memos.db")
        with pytest.raises(BadInput, match="There is no number 7"):
            await stage.operator.forget(UnwantedWords(SECRET), [7])

    play(tmp_path, [PATHS["archive"]], after)


def test_another_agent_that_holds_the_words_is_told_and_left(tmp_path: Path) -> None:
    async def after(stage: Stage) -> None:
        certificate = await forget(stage)
        assert {left.agent for left in certificate.left} == {"copy"}
        assert any("messages.content of copy" in line for line in certificate.lines())
        assert "data/memos.db" in " ".join(certificate.searched.hits)

    play(tmp_path, [PATHS["forked"]], after)


def test_names_and_settings_are_told_and_left(tmp_path: Path) -> None:
    home = agent_home(tmp_path, name="heliotrope")
    assert Erasure(home.database, UnwantedWords("heliotrope")).named([home.agent.id]) == ["agents.name: heliotrope"]


def test_of_a_summary_and_a_block_only_what_holds_the_words_goes(tmp_path: Path) -> None:
    async def after(stage: Stage) -> None:
        await forget(stage)
        assert stage.kernel.machine.queue_manager.summary == "Facts:\n- Bees on the roof."
        texts = [row["text"] for row in stage.home.database.query("SELECT text FROM summaries ORDER BY seq")]
        assert texts == ["Facts:\n- Bees on the roof. Rex is a dog.\nDates:", "Facts:\n- Bees on the roof."]

    play(tmp_path, [PATHS["summary"]], after)


def test_edits_of_a_block_can_still_be_taken_back(tmp_path: Path) -> None:
    async def after(stage: Stage) -> None:
        await forget(stage)
        edits = [(edit.before, edit.after) for edit in stage.home.memory.last_edits(9)]
        assert edits == [
            ("Name: Ana\nLikes tea.", "Name: Ana"),
            ("Name: Ana", "Name: Ana\nLikes tea."),
            ("", "Name: Ana"),
        ]
        await stage.operator.undo_edit(None)
        assert stage.home.memory.block("human").value == "Name: Ana\nLikes tea."

    play(tmp_path, [PATHS["block of the user, undone"]], after)


def test_a_turn_that_runs_keeps_its_memory(tmp_path: Path) -> None:
    async def after(stage: Stage) -> None:
        stage.kernel.post(Event(EventKind.USER_MESSAGE, "And now?"))
        with pytest.raises(BadInput, match="A turn is running"):
            await stage.operator.forget(UnwantedWords(SECRET), [])

    play(tmp_path, [PATHS["typed"]], after)


def test_an_erasure_that_could_not_end_is_told_and_completed_later(tmp_path: Path) -> None:
    async def after(stage: Stage) -> None:
        reader = sqlite3.connect(tmp_path / "data" / "memos.db", isolation_level=None)
        stage.home.database.query("PRAGMA busy_timeout = 100")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchone()
        with pytest.raises(StorageProblem):
            await forget(stage)
        assert "heliotrope" not in repr(stage.kernel.machine.queue_manager.queue)
        assert intention_file(tmp_path / "data" / "memos.db").exists()
        reader.close()
        assert (await stage.operator.preview_forgetting(UnwantedWords(SECRET))).broken_off
        assert (await stage.operator.forget(UnwantedWords(SECRET), [])).hits == 0
        assert not intention_file(tmp_path / "data" / "memos.db").exists()
        assert files_with(tmp_path) == []

    play(tmp_path, [PATHS["typed"]], after)


def test_the_certificate_says_what_was_done_and_never_the_words(tmp_path: Path) -> None:
    async def after(stage: Stage) -> None:
        certificate = await forget(stage)
        lines = certificate.lines()
        assert re.match(r"Certificate of erasure, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, for sam$", lines[0])
        assert UnwantedWords(SECRET).fingerprint(certificate.salt) == certificate.fingerprint
        assert any("0 hits remain" in line for line in lines) and any("SSDs" in line for line in lines)
        told = repr((lines, certificate.as_json()))
        assert "heliotrope" not in told.lower()

    play(tmp_path, [PATHS["typed"], PATHS["files"]], after)


def test_files_lose_the_lines_and_no_others(tmp_path: Path) -> None:
    async def after(stage: Stage) -> None:
        certificate = await forget(stage)
        assert len(certificate.files) == 6
        assert (tmp_path / "state/history").read_text() == "\n# 2026-11-24 10:00:00\n+I keep bees\n"
        assert (tmp_path / "state/logs/memos.log").read_text() == "INFO fine\nINFO still\n"
        assert (tmp_path / "data/humans/me.md").read_text() == "---\nname: Me\n---\nI keep bees.\n"
        assert not (tmp_path / "state/drafts/tmp1/human.md").exists()
        assert not (tmp_path / "data/memos.before-schema-5.db").exists()

    play(tmp_path, [PATHS["files"]], after)


def test_a_file_that_is_not_memos_own_is_told_and_left(tmp_path: Path) -> None:
    async def after(stage: Stage) -> None:
        stage.write("data/export.md", f"He said {SECRET}.")
        certificate = await forget(stage)
        assert certificate.searched.hits == {str(tmp_path / "data" / "export.md"): 1}

    play(tmp_path, [PATHS["typed"]], after)


@pytest.mark.parametrize("query", ["", " ", "x", " \n"])
def test_nothing_to_forget_is_one_sentence(query: str) -> None:
    with pytest.raises(BadInput):
        UnwantedWords(query)


class Undone(Exception):
    """Raised to have a transaction rolled back."""


def test_whatever_word_is_forgotten_the_prompt_stays_valid_and_nothing_holds_it_any_more(tmp_path: Path) -> None:
    ways = ["typed", "replied without a call", "thought", "block", "archive, corrected", "arguments with escapes"]
    play(tmp_path, [PATHS[way] for way in ("summary", "result of a search", *ways, "image", "reworded and dropped")])
    home = agent_home(tmp_path / "data")
    queries = {"er", "user wants", "magenta heliotrope", "[E", "send_message", "content"}
    for table, column in (
        ("messages", "content"),
        ("messages", "calls"),
        ("revisions", "after"),
        ("summaries", "text"),
    ):
        for row in home.database.query(f"SELECT {column} FROM {table}"):
            queries |= set(re.findall(r"[^\W_]{2,}", row[0]))
    assert len(queries) > 60
    for query in sorted(queries):
        with suppress(Undone), home.database.transaction():
            found = Erasure(home.database, UnwantedWords(query))
            found.erase([home.agent.id])
            assert found.traces([home.agent.id]) == [], query
            start = home.agents.reload(home.agent).queue_start
            home.recall.settle(start)
            queue = home.recall.queue(start)
            assert queue[0].role == "user", query
            check_pairing(queue)
            rewritten = [call for row in queue for call in row.calls if any(note in call.arguments for note in NOTES)]
            assert all(isinstance(json.loads(call.arguments), dict) for call in rewritten), query
            raise Undone


def test_a_copy_in_memory_alone_erases_nothing_on_disk(tmp_path: Path) -> None:
    play(tmp_path, [PATHS["typed"]])
    home = agent_home(tmp_path / "data")
    before = files_with(tmp_path)
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    copy.row_factory = sqlite3.Row
    home.database._connection.backup(copy)
    held = Forgetting(
        Database(home.database.path, copy),
        HomeFiles([tmp_path], home.database.path, tmp_path / "history", tmp_path / "logs", tmp_path / "drafts"),
        tmp_path / "data" / "lance",
    )
    with pytest.raises(BadInput, match="Nothing of this conversation is kept"):
        held.erase(UnwantedWords(SECRET), [home.agent.id], ["sam"])
    assert files_with(tmp_path) == before
