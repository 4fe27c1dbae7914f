"""An agent to be read by a person: its core memory, summary, conversation and notes, part by part, in no form yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from memos.functions.table import SPEECH_FUNCTION
from memos.safe_text import safe_line, safe_text
from memos.storage.agent_export import AgentSnapshot

Kind = Literal["user", "agent", "thought", "call", "result", "failed", "event", "note"]


@dataclass(frozen=True, slots=True)
class Heading:
    """Begins a section; `level` is 1 for the whole, 2 for its parts, 3 for what they hold. On one line."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence of memos about what follows."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """Text that is kept as it is: a block, a summary."""

    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was said, thought, done or noted; `who` is on one line, `at` the user's own clock."""

    kind: Kind
    who: str
    at: datetime
    text: str
    images: tuple[str, ...] = ()
    """Hashes of the images it shows."""


Part = Heading | Remark | Text | Entry


def parts(snapshot: AgentSnapshot, *, with_thoughts: bool) -> Iterator[Part]:
    """Yield the parts in the order in which they are read; what was taken back is left out.

    With thoughts come inner monologue, function calls with their results, and what woke the agent. Text is harmless to
    a terminal, and its own in every other way: the form in which it is put must escape it.
    """
    agent = snapshot.agent
    yield Heading(1, safe_line(snapshot.name))
    yield Remark(f"An agent of memos, begun {_local(agent['created_at']):%Y-%m-%d}, on {safe_line(agent['model'])}.")
    if snapshot.since:
        yield Remark(f"Only what was said since {snapshot.since.astimezone():%Y-%m-%d}.")
    if snapshot.redaction:
        yield Remark("Keys, tokens and passwords that were recognised read [key].")
    yield Heading(2, "Core memory")
    for block in snapshot.rows("blocks"):
        yield Heading(3, safe_line(block["label"]))
        yield Text(safe_text(block["value"]) or "(empty)")
    if agent["summary"]:
        yield Heading(2, "Summary of what left the queue")
        yield Text(safe_text(agent["summary"]))
    yield from _conversation(snapshot, "import", "Brought in from elsewhere", with_thoughts=False)
    yield from _conversation(snapshot, "live", "Conversation", with_thoughts=with_thoughts)
    yield from _notes(snapshot)


def _conversation(snapshot: AgentSnapshot, origin: str, title: str, *, with_thoughts: bool) -> Iterator[Part]:
    day = None
    for row in snapshot.rows("messages"):
        if row["origin"] != origin or row["superseded_by"] is not None:
            continue
        for entry in _entries(row, with_thoughts=with_thoughts):
            if day is None:
                yield Heading(2, title)
            if entry.at.date() != day:
                day = entry.at.date()
                yield Heading(3, f"{day:%A}, {day}")
            yield entry


def _entries(row: Mapping[str, Any], *, with_thoughts: bool) -> Iterator[Entry]:
    at, role = _local(row["created_at"]), row["role"]
    kind: Kind = "user" if role == "user" else "agent"
    if with_thoughts and role == "assistant" and row["content"] and not row["payload"].get("spoken"):
        yield Entry("thought", "thought", at, safe_text(row["content"]))
    if row["said"]:
        images = tuple(str(image["hash"]) for image in row["payload"].get("images", ()))
        yield Entry(kind, safe_line(row["speaker"]) or kind, at, safe_text(row["said"]), images)
    if not with_thoughts:
        return
    for call in row["calls"]:
        if call["name"] != SPEECH_FUNCTION:
            yield Entry("call", safe_line(call["name"]), at, safe_text(call["arguments"]))
    if role == "tool" and row["name"] != SPEECH_FUNCTION:
        came_to: Kind = "result" if row["ok"] else "failed"
        yield Entry(came_to, f"{safe_line(row['name'] or '')}: {came_to}", at, safe_text(row["content"]))
    if role == "user" and not row["said"]:
        words = row["content"] or row["payload"].get("reason") or ""
        yield Entry("event", safe_line(row["kind"] or "event"), at, safe_text(str(words)))


def _notes(snapshot: AgentSnapshot) -> Iterator[Part]:
    first = True
    for row in snapshot.rows("passages"):
        if row["superseded_by"] is not None:
            continue
        if first:
            yield Heading(2, "Archival storage")
            first = False
        tags = ", ".join(row["tags"])
        at = _local(row["created_at"])
        yield Entry("note", f"{at:%Y-%m-%d}{f' · {safe_line(tags)}' if tags else ''}", at, safe_text(row["content"]))


def _local(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone()
