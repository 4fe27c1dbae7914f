"""What the checks look at, once settings and database have been read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from memos.cli.endpoint_key import endpoint_key
from memos.config import Key, Places, Settings
from memos.llm.capability_card import CapabilityCard, card_of
from memos.llm.catalogue import local_address
from memos.storage.database import Database
from memos.storage.model_notes import ModelNotes


@dataclass(frozen=True, slots=True)
class Subject:
    """The settings that hold, and the database where there is a sound one. `offline`: nobody is asked."""

    places: Places
    environ: Mapping[str, str]
    settings: Settings
    database: Database | None
    offline: bool
    probe: bool

    @property
    def model(self) -> str:
        """The model string; empty where none is chosen."""
        return self.settings.config.model

    def key(self) -> Key | None:
        """Return the key the model's endpoint would get. Raises: BadInput."""
        return endpoint_key(self.settings, self.places, self.environ)

    def card(self) -> CapabilityCard:
        """Return what is known of the model at its endpoint. Raises: StorageProblem, DataDamaged."""
        notes = ModelNotes(self.database) if self.database else None
        return card_of(notes, self.model, self.settings.config.api_base or local_address(self.model))
