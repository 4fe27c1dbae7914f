"""What a model at an endpoint really does, measured, not claimed: its capability card.

A card is filled in from the replies of real turns, or by probes the user asked for (`memos doctor`, `memos
configure`). What nobody has seen is None. No list of models is believed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from memos.messages import Finish, Reply

if TYPE_CHECKING:
    from memos.llm.reply_decoder import Seen


class FormatName(StrEnum):
    """The ways to have a model call functions."""

    NATIVE = "native"
    """The chat API's own tools."""
    JSON_SCHEMA = "json_schema"
    """One JSON object, held to a schema by the endpoint."""
    GRAMMAR = "grammar"
    """One JSON object, held to a grammar of ours (GBNF) by the endpoint."""
    JSON_PROMPT = "json_prompt"
    """One JSON object, asked for in the prompt and found in the answer."""
    PLAIN = "plain"
    """No calls at all: what the model writes is what it says."""


LADDER = (FormatName.NATIVE, FormatName.JSON_SCHEMA, FormatName.JSON_PROMPT, FormatName.PLAIN)
"""The order in which formats are tried; `grammar` is taken where a probe found it obeyed, or the user says so."""

FAILURES_ALLOWED = 2
"""After so many failures in a row the next format is taken."""

_KOBOLDCPP_CONSTANT = (100, 100)
_LONG_ARGUMENTS_CHARS = 40
"""Arguments longer than this would come in several pieces if they streamed."""

Reasoning = Literal["none", "field", "tags"]
Monologue = Literal["content", "argument"]
HowUsed = Literal["obeyed", "failed", "refused"]


@dataclass(frozen=True, slots=True)
class FormatRecord:
    """How a format has gone: calls that came as they should, failures since the last of them, a plain refusal."""

    obeyed: int = 0
    failures: int = 0
    refused: bool = False

    @property
    def usable(self) -> bool:
        """Whether it may be used for the next reply."""
        return not self.refused and self.failures < FAILURES_ALLOWED

    def after(self, how: HowUsed) -> FormatRecord:
        """Return the record after one more use."""
        if how == "refused":
            return replace(self, refused=True)
        if how == "obeyed":
            return FormatRecord(self.obeyed + 1)
        return replace(self, failures=self.failures + 1)


@dataclass(frozen=True, slots=True)
class CapabilityCard:
    """What has been seen of one model at one endpoint. `monologue` is where its thoughts come beside its calls:
    in the content, or as the argument `inner_thoughts` where it gives no content. `seen_at` is UTC, ISO 8601."""

    formats: Mapping[FormatName, FormatRecord] = field(default_factory=dict)
    parallel_calls: bool | None = None
    streams_arguments: bool | None = None
    honest_usage: bool | None = None
    window_tokens: int | None = None
    window_asked: bool = False
    """Whether the server was asked for its window; many do not say."""
    reasoning: Reasoning | None = None
    monologue: Monologue | None = None
    silent_calls: int = 0
    """Replies in a row with calls and not a word beside them."""
    images: bool | None = None
    probed: bool = False
    seen_at: str = ""

    def record(self, name: FormatName) -> FormatRecord:
        """Return how a format has gone so far."""
        return self.formats.get(name, FormatRecord())

    def best(self, first: FormatName | None = None) -> FormatName:
        """Return the format for the next reply: `first` before all others, where nothing speaks against it."""
        if first and self.record(first).usable:
            return first
        if self.record(FormatName.GRAMMAR).obeyed and not self.record(FormatName.NATIVE).usable:
            return FormatName.GRAMMAR
        return next((name for name in LADDER if self.record(name).usable), FormatName.PLAIN)

    def after(self, name: FormatName, how: HowUsed) -> Self:
        """Return the card after a reply in the format `name`."""
        return replace(self, formats={**self.formats, name: self.record(name).after(how)})

    def as_json(self) -> str:
        """Return the card as text to be kept."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the card that `as_json` wrote; fields of another version of memos are left out."""
        try:
            given = json.loads(text)
            formats = {FormatName(name): FormatRecord(**record) for name, record in given.pop("formats", {}).items()}
            known = {item.name for item in fields(cls)}
            return cls(formats=formats, **{key: value for key, value in given.items() if key in known})
        except (TypeError, ValueError, AttributeError):
            return cls()


class KeptCards(Protocol):
    """Where cards outlive the process."""

    def load_card(self, model: str, endpoint: str) -> str:
        """Return what was kept of a model at an endpoint; empty where nothing was."""
        ...

    def note_card(self, model: str, endpoint: str, card: str) -> None:
        """Take a card, to be stored later; quick."""
        ...


def card_of(kept: KeptCards | None, model: str, endpoint: str) -> CapabilityCard:
    """Return the card of a model at an endpoint, a blank one where nothing is known."""
    text = kept.load_card(model, endpoint) if kept else ""
    return CapabilityCard.from_json(text) if text else CapabilityCard()


def learnt(card: CapabilityCard, name: FormatName, seen: Seen, reply: Reply, *, streamed: bool) -> CapabilityCard:
    """Return the card after a reply to a prompt that offered functions in the format `name`."""
    record = card.record(name)
    how = _how_used(record, name, seen, reply)
    if how is not None and not (how == "obeyed" and record.obeyed and not record.failures and not record.refused):
        card = card.after(name, how)  # the count of obeyed calls is of no use beyond one: no write at every turn
    calls = max(seen.native_calls, seen.text_calls)
    return replace(
        card,
        parallel_calls=True if calls > 1 else card.parallel_calls,
        streams_arguments=_streams(card, seen) if streamed else card.streams_arguments,
        honest_usage=_honest(reply) if reply.finish is Finish.STOP else card.honest_usage,
        reasoning=seen.reasoning if seen.reasoning != "none" else card.reasoning or "none",
        **_monologue(card, seen),
    )


def _how_used(record: FormatRecord, name: FormatName, seen: Seen, reply: Reply) -> HowUsed | None:
    """Return how the reply used its format; None where it says nothing of it."""
    if reply.finish is not Finish.STOP or name is FormatName.PLAIN:
        return None
    if name is not FormatName.NATIVE:
        if seen.text_calls and not seen.broken:
            return "obeyed"
        return "failed" if seen.broken or reply.text.strip() else None
    if seen.broken or (seen.text_calls and not seen.native_calls):
        return "failed"
    if seen.native_calls:
        return "obeyed"
    # Plain text is an answer too, of a model that has been seen to call.
    return "failed" if reply.text.strip() and not record.obeyed else None


def _streams(card: CapabilityCard, seen: Seen) -> bool | None:
    if seen.argument_pieces > 1:
        return True
    return False if seen.argument_chars > _LONG_ARGUMENTS_CHARS else card.streams_arguments


def _honest(reply: Reply) -> bool:
    usage = reply.usage
    return bool(usage.prompt_tokens) and (usage.prompt_tokens, usage.reply_tokens) != _KOBOLDCPP_CONSTANT


def _monologue(card: CapabilityCard, seen: Seen) -> dict[str, Any]:
    """Return where the thoughts come, once that has been seen; asked for as an argument after two silent calls."""
    if not seen.native_calls or card.monologue == "argument":
        return {}
    if seen.words:
        return {"monologue": "content", "silent_calls": 0}
    if card.monologue == "content" or seen.reasoning != "none":
        return {}
    silent = card.silent_calls + 1
    return {"silent_calls": silent, "monologue": "argument" if silent >= FAILURES_ALLOWED else None}


def told_change(before: CapabilityCard, after: CapabilityCard, model: str, first: FormatName | None = None) -> str:
    """Return one sentence where the best format is another one now; empty where it is not. `first` as for `best`."""
    old, new = before.best(first), after.best(first)
    if old is new:
        return ""
    why = "refuses" if after.record(old).refused else f"did not keep to, {FAILURES_ALLOWED} times,"
    return f"{model} {why} {_WORDS[old]}; from now on it gets {_WORDS[new]}. memos doctor --probe tries all again."


_WORDS = {
    FormatName.NATIVE: "functions as the API has them",
    FormatName.JSON_SCHEMA: "functions as JSON under a schema",
    FormatName.GRAMMAR: "functions as JSON under a grammar",
    FormatName.JSON_PROMPT: "functions as JSON asked for in words",
    FormatName.PLAIN: "no functions: it can talk, but not save or search by itself",
}


def rows(card: CapabilityCard) -> list[tuple[str, str]]:
    """Return the card as names and words for a person, what is unknown included."""
    return [
        *((f"calls, {name.value}", _said_of(card.record(name))) for name in FormatName if name in card.formats),
        ("several calls in a reply", _word(card.parallel_calls)),
        ("arguments stream", _word(card.streams_arguments)),
        ("usage can be believed", _word(card.honest_usage)),
        ("window", f"{card.window_tokens:,} tokens" if card.window_tokens else "not said"),
        (
            "reasoning",
            {"field": "in a field of its own", "tags": "in tags", "none": "none seen"}.get(str(card.reasoning), "?"),
        ),
        (
            "inner monologue",
            {"content": "beside the calls", "argument": "as an argument"}.get(str(card.monologue), "?"),
        ),
        ("images", _word(card.images)),
    ]


def origin(card: CapabilityCard) -> str:
    """Return where a card comes from and when it last changed, by the clock of this computer."""
    source = "from a probe" if card.probed else "from real turns"
    try:
        when = datetime.fromisoformat(card.seen_at).astimezone()
    except ValueError:
        return source
    return f"{source}, last changed {when:%Y-%m-%d %H:%M}"


def _said_of(record: FormatRecord) -> str:
    if record.refused:
        return "refused by the endpoint"
    if not record.usable:
        return "not obeyed"
    return "obeyed" if record.obeyed and not record.failures else "tried"


def _word(value: Any) -> str:
    return {True: "yes", False: "no"}.get(value, "?")
