"""What was learned of how models count tokens, kept between sessions (table `token_scales`)."""

from __future__ import annotations

from collections.abc import Mapping

from memos.messages import utc_now
from memos.storage.database import Database


class TokenScales:
    """Scales by model, endpoint and tokenizer, as text that only their reader understands."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted: dict[tuple[str, str, str], str] = {}

    def load(self, model: str, endpoint: str) -> Mapping[str, str]:
        """Return what is known of a model at an endpoint, by tokenizer."""
        rows = self._database.query(
            "SELECT tokenizer, scale FROM token_scales WHERE model = ? AND endpoint = ?", (model, endpoint)
        )
        noted = {key[2]: scale for key, scale in self._noted.copy().items() if key[:2] == (model, endpoint)}
        return {row["tokenizer"]: row["scale"] for row in rows} | noted

    def note(self, model: str, endpoint: str, tokenizer: str, scale: str) -> None:
        """Remember a scale until `store`; touches no disk."""
        self._noted[model, endpoint, tokenizer] = scale

    def store(self) -> None:
        """Write what was noted since the last time; without a fsync where there is nothing. Raises: StorageProblem."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        now = utc_now().isoformat()
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO token_scales (model, endpoint, tokenizer, scale, updated_at)"
                " VALUES (?, ?, ?, ?, ?)",
                [(*key, scale, now) for key, scale in noted.items()],
            )
