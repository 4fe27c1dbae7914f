"""What was learned of models is kept by model, endpoint and tokenizer, and written only when asked to."""

from __future__ import annotations

from pathlib import Path

from memos.storage.database import Database
from memos.storage.token_scales import TokenScales


def test_a_scale_is_found_again_by_model_and_endpoint(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "memos.db")
    scales = TokenScales(database)
    scales.note("m", "http://one", "bytes", "A")
    scales.note("m", "http://one", "cl100k_base", "B")
    scales.note("m", "http://two", "bytes", "C")
    assert scales.load("m", "http://one") == {"bytes": "A", "cl100k_base": "B"}
    scales.store()
    database.close()
    database = Database.open(tmp_path / "memos.db")
    assert TokenScales(database).load("m", "http://one") == {"bytes": "A", "cl100k_base": "B"}
    assert TokenScales(database).load("m", "http://two") == {"bytes": "C"}
    assert TokenScales(database).load("other", "http://one") == {}
    database.close()


def test_nothing_is_written_before_store_and_nothing_where_nothing_was_noted(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "memos.db")
    scales = TokenScales(database)
    scales.note("m", "", "bytes", "A")
    assert not database.query("SELECT * FROM token_scales")
    scales.note("m", "", "bytes", "B")
    scales.store()
    rows = database.query("SELECT * FROM token_scales")
    assert [row["scale"] for row in rows] == ["B"]
    database.close()
    scales.store()  # needs no database
