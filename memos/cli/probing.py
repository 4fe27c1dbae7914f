"""Probes of the model that is chosen: what they would cost, and their making; only ever after the user said yes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from memos.cli.boot import is_remote, processor_for
from memos.cli.endpoint_key import endpoint_key
from memos.config import Places, Settings
from memos.errors import BadInput, MemosError
from memos.llm.capability_card import CapabilityCard, rows
from memos.llm.catalogue import local_address, redirection
from memos.llm.probe import Plan, Tell, plan
from memos.llm.remote_processor import RemoteProcessor
from memos.llm.server_window import takes_grammar
from memos.storage.database import Database
from memos.storage.model_notes import ModelNotes
from memos.terminal.menus import Menus


@dataclass(frozen=True, slots=True)
class Probing:
    """The probes of one model, not made yet."""

    settings: Settings
    places: Places
    environ: Mapping[str, str]
    plan: Plan

    @classmethod
    def of(cls, settings: Settings, places: Places, environ: Mapping[str, str]) -> Probing:
        """Return what can be tried out; a server of the user's own is asked which kind it is. Raises: BadInput."""
        config = settings.config
        address = config.api_base or local_address(config.model)
        own_server = bool(address or redirection(config.model))
        key = endpoint_key(settings, places, environ)
        grammar = bool(address) and asyncio.run(takes_grammar(address, key.value if key else None))
        return cls(settings, places, environ, plan(config.model, own_server=own_server, takes_grammar=grammar))

    @property
    def cost(self) -> str:
        """What they would cost, for a person who is about to decide."""
        usd = self.plan.cost_usd
        money = "" if usd is None else ", less than $0.01" if usd < 0.01 else f", about ${usd:.2f}"
        return f"{len(self.plan.probes)} small calls, about {round(self.plan.tokens, -2):,} tokens{money}"

    def run(self, tell: Tell) -> CapabilityCard:
        """Make the calls, and keep the card they give. Raises: BadInput, NotConfigured, ProcessorError."""
        database = Database.open(self.places.database)
        try:
            notes = ModelNotes(database)
            card = asyncio.run(self._made(notes, tell))
            notes.store()
            return card
        finally:
            database.close()

    async def _made(self, notes: ModelNotes, tell: Tell) -> CapabilityCard:
        processor = processor_for(self.settings, self.places, self.environ, notes)
        try:
            if not isinstance(processor, RemoteProcessor):
                raise BadInput(
                    f"{processor.model} runs inside memos: there is nothing to try out.",
                    "memos bench agent measures it",
                )
            return await processor.probe(self.plan.probes, tell)
        finally:
            await processor.aclose()


def offer(settings: Settings, places: Places, environ: Mapping[str, str], menus: Menus) -> None:
    """Let the user decide on probes of a remote model, and tell what comes of them; a failure of theirs is told too."""
    if not is_remote(settings.config.model):
        return
    try:
        probing = Probing.of(settings, places, environ)
        if not menus.confirm(f"Try out what this model can do ({probing.cost})?", preset=False):
            return
        for name, words in rows(probing.run(progress)):
            menus.tell(f"{name}: {words}")
    except MemosError as error:
        menus.tell(f"✗ {error}")


def progress(done: int, count: int, name: str) -> None:
    """Show on stderr how far the probes are: one line that is drawn anew on a terminal, else nothing."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{done + 1} of {count}: {name} …" if name else "\r\x1b[K")
        sys.stderr.flush()
