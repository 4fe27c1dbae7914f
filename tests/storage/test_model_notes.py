"""What was learned of models is kept by model, endpoint and topic, and written only when asked to."""

from __future__ import annotations

from pathlib import Path

from memos.llm.capability_card import CapabilityCard, FormatName, card_of
from memos.storage.database import Database
from memos.storage.model_notes import ModelNotes


def test_a_scale_is_found_again_by_model_and_endpoint(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "memos.db")
    scales = ModelNotes(database)
    scales.note("m", "http://one", "bytes", "A")
    scales.note("m", "http://one", "cl100k_base", "B")
    scales.note("m", "http://two", "bytes", "C")
    assert scales.load("m", "http://one") == {"bytes": "A", "cl100k_base": "B"}
    scales.store()
    database.close()
    database = Database.open(tmp_path / "memos.db")
    assert ModelNotes(database).load("m", "http://one") == {"bytes": "A", "cl100k_base": "B"}
    assert ModelNotes(database).load("m", "http://two") == {"bytes": "C"}
    assert ModelNotes(database).load("other", "http://one") == {}
    database.close()


def test_a_card_is_found_again_beside_the_scales(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "memos.db")
    notes = ModelNotes(database)
    card = CapabilityCard(images=True, seen_at="2026-11-24T10:00:00+00:00").after(FormatName.NATIVE, "obeyed")
    notes.note_card("m", "http://one", card.as_json())
    notes.note("m", "http://one", "bytes", "A")
    notes.note("m", "http://one", "card", "B")
    assert card_of(notes, "m", "http://one") == card
    notes.store()
    database.close()
    database = Database.open(tmp_path / "memos.db")
    again = ModelNotes(database)
    assert card_of(again, "m", "http://one") == card
    assert again.load("m", "http://one") == {"bytes": "A", "card": "B"}
    assert card_of(again, "m", "http://two") == CapabilityCard()
    database.close()


def test_nothing_is_written_before_store_and_nothing_where_nothing_was_noted(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "memos.db")
    notes = ModelNotes(database)
    notes.note("m", "", "bytes", "A")
    assert not database.query("SELECT * FROM model_notes")
    notes.note("m", "", "bytes", "B")
    notes.store()
    rows = database.query("SELECT * FROM model_notes")
    assert [row["note"] for row in rows] == ["B"]
    database.close()
    notes.store()  # needs no database
