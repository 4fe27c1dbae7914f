"""What was learned of models, kept between sessions (table `model_notes`): how they count, and what they can do."""

from __future__ import annotations

from collections.abc import Mapping

from memos.messages import utc_now
from memos.storage.database import Database

_SCALE = "scale:"
_CARD = "card"


class ModelNotes:
    """Notes by model, endpoint and topic, as text that only their reader understands: a scale a tokenizer, a card."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted: dict[tuple[str, str, str], str] = {}

    def load(self, model: str, endpoint: str) -> Mapping[str, str]:
        """Return the scales of a model at an endpoint, by tokenizer."""
        notes = self._notes(model, endpoint).items()
        return {topic.removeprefix(_SCALE): note for topic, note in notes if topic.startswith(_SCALE)}

    def note(self, model: str, endpoint: str, tokenizer: str, scale: str) -> None:
        """Remember a scale until `store`; touches no disk."""
        self._noted[model, endpoint, _SCALE + tokenizer] = scale

    def load_card(self, model: str, endpoint: str) -> str:
        """Return the capability card of a model at an endpoint; empty where there is none."""
        return self._notes(model, endpoint).get(_CARD, "")

    def note_card(self, model: str, endpoint: str, card: str) -> None:
        """Remember a capability card until `store`; touches no disk."""
        self._noted[model, endpoint, _CARD] = card

    def cards(self) -> Mapping[tuple[str, str], str]:
        """Return every stored capability card by model and endpoint."""
        rows = self._database.query("SELECT model, endpoint, note FROM model_notes WHERE topic = ?", (_CARD,))
        return {(row["model"], row["endpoint"]): row["note"] for row in rows}

    def store(self) -> None:
        """Write what was noted since the last time; without a fsync where there is nothing. Raises: StorageProblem."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        now = utc_now().isoformat()
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO model_notes (model, endpoint, topic, note, updated_at) VALUES (?, ?, ?, ?, ?)",
                [(*key, note, now) for key, note in noted.items()],
            )

    def _notes(self, model: str, endpoint: str) -> Mapping[str, str]:
        rows = self._database.query(
            "SELECT topic, note FROM model_notes WHERE model = ? AND endpoint = ?", (model, endpoint)
        )
        noted = {key[2]: note for key, note in self._noted.copy().items() if key[:2] == (model, endpoint)}
        return {row["topic"]: row["note"] for row in rows} | noted
