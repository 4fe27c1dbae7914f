"""What stood in the prompt of each reply: kept by ids when the reply is stored, told with its sources afterwards.

No text is copied: messages and passages stay as they are, and blocks are read back through their revisions.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from sqlite3 import Row

from memos.memory.message_rows import message_of
from memos.messages import FunctionCall, Message
from memos.storage.database import Database

FOUND = "found"
"""Where the payload of a function's result names the rows that it showed, by tier."""
SEARCHES = ("conversation_search", "conversation_search_date", "archival_memory_search")
_REVISIONS_A_PAGE = 64


@dataclass(frozen=True, slots=True)
class Source:
    """A message: its number, its time (UTC), who spoke or what event it was, and what was said ('' in an event)."""

    seq: int
    at: datetime
    speaker: str
    text: str


@dataclass(frozen=True, slots=True)
class BlockLine:
    """A line of a block, the edit that wrote it, and the message that began the turn of that edit.

    `author` is '' where the line stood in the block from the start; then it has no edit.
    """

    label: str
    text: str
    author: str = ""
    at: datetime | None = None
    revision: int = 0
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage that a search showed, and the message that began the turn in which it was stored."""

    seq: int
    at: datetime
    text: str
    source: Source | None


@dataclass(frozen=True, slots=True)
class Finding:
    """A search whose result stood in the prompt. `kept`: whether it is known which rows it showed."""

    call: FunctionCall
    messages: tuple[Source, ...] = ()
    passages: tuple[FoundPassage, ...] = ()
    kept: bool = True


@dataclass(frozen=True, slots=True)
class SummarySeen:
    """The recursive summary as it stood in the prompt; it speaks of the messages up to `last_seq`."""

    text: str
    author: str
    at: datetime
    last_seq: int


@dataclass(frozen=True, slots=True)
class Grounds:
    """All that a reply could rest on. `queue` has what was said; `queue_rows` counts packets and results as well."""

    reply: Source
    lines: tuple[BlockLine, ...]
    findings: tuple[Finding, ...]
    summary: SummarySeen | None
    queue: tuple[Source, ...]
    queue_rows: int


class PromptRecords:
    """The records of one agent's prompts. Blocking: `last` belongs in a worker thread."""

    def __init__(self, database: Database, agent_id: str) -> None:
        self._database = database
        self._agent_id = agent_id

    def keep(self, reply_seq: int, seen: tuple[int, int]) -> None:
        """Note what stands in the prompt of a reply that is being stored: `seen` are the ends of the queue.

        No block can be edited between a prompt and its reply, so the newest edit is that of the prompt.
        """
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO prompts (reply_seq, agent_id, first_seq, last_seq, revision_seq, summary_seq)"
                " VALUES (:reply, :agent, :first, :last,"
                " (SELECT coalesce(max(seq), 0) FROM revisions WHERE agent_id = :agent),"
                " (SELECT coalesce(max(seq), 0) FROM summaries WHERE agent_id = :agent))",
                {"reply": reply_seq, "agent": self._agent_id, "first": seen[0], "last": seen[1]},
            )

    def copy(self, new_seqs: Mapping[int, int]) -> None:
        """Let the copies of messages have the records of these, by old `seq`."""
        with self._database.transaction() as connection:
            for row in self._database.query(
                "SELECT * FROM prompts WHERE reply_seq IN (SELECT value FROM json_each(?))",
                (json.dumps(list(new_seqs)),),
            ):
                connection.execute(
                    "INSERT INTO prompts (reply_seq, agent_id, first_seq, last_seq, revision_seq, summary_seq)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        *(new_seqs[row["reply_seq"]], self._agent_id, row["first_seq"]),
                        *(new_seqs.get(row["last_seq"], row["last_seq"]), row["revision_seq"], row["summary_seq"]),
                    ),
                )

    def last(self) -> tuple[Source | None, Grounds | None]:
        """Return the newest reply that said something, and its grounds; None where there are none, or none kept."""
        rows = self._database.query(
            "SELECT m.*, p.* FROM messages m LEFT JOIN prompts p ON p.reply_seq = m.seq"
            " WHERE m.agent_id = ? AND m.role = 'assistant' AND m.said <> '' AND m.origin = 'live'"
            " AND m.superseded_by IS NULL ORDER BY m.seq DESC LIMIT 1",
            (self._agent_id,),
        )
        if not rows:
            return None, None
        reply = _source(rows[0])
        return reply, None if rows[0]["reply_seq"] is None else self._grounds(reply, rows[0])

    def _grounds(self, reply: Source, record: Row) -> Grounds:
        rows = self._database.query(
            "SELECT * FROM messages WHERE agent_id = ? AND seq BETWEEN ? AND ? AND origin = 'live'"
            " AND superseded_by IS NULL ORDER BY seq",
            (self._agent_id, record["first_seq"], record["last_seq"]),
        )
        return Grounds(
            reply,
            tuple(self._block_lines(record["revision_seq"])),
            tuple(self._findings([message_of(row) for row in rows])),
            self._summary(record["summary_seq"]),
            tuple(_source(row) for row in rows if row["said"]),
            len(rows),
        )

    # --- blocks --------------------------------------------------------------------------------------------

    def _block_lines(self, revision_seq: int) -> Iterator[BlockLine]:
        """Yield the lines of all blocks as they read after that revision, each with the edit that wrote it."""
        labels = self._database.query(
            "SELECT label, value FROM blocks WHERE agent_id = ? ORDER BY rowid", (self._agent_id,)
        )
        for block in labels:
            later = self._database.query(
                "SELECT before FROM revisions WHERE agent_id = ? AND label = ? AND seq > ? ORDER BY seq LIMIT 1",
                (self._agent_id, block["label"], revision_seq),
            )
            value = later[0]["before"] if later else block["value"]
            writers = self._writers(block["label"], value.split("\n"), revision_seq)
            for number, text in enumerate(value.split("\n")):
                if text.strip():
                    yield self._line(block["label"], text, writers.get(number))

    def _line(self, label: str, text: str, edit: Row | None) -> BlockLine:
        if edit is None:
            return BlockLine(label, text)
        at = datetime.fromisoformat(edit["created_at"])
        return BlockLine(label, text, edit["author"], at, edit["seq"], self._beginning_of(edit["turn_id"]))

    def _writers(self, label: str, lines: Sequence[str], revision_seq: int) -> dict[int, Row]:
        """Return the revision that wrote each line, by its number; lines that stood there from the start have none.

        It walks back from the newest edit, and no further than there are lines whose writer is not known.
        """
        place = {number: number for number in range(len(lines))}  # of a line in the text before the edits walked over
        writers: dict[int, Row] = {}
        for edit in self._revisions(label, revision_seq):
            if not place:
                break
            before = edit["before"].split("\n") if edit["before"] else []
            moved = _moved(before, edit["after"].split("\n"))
            writers |= {number: edit for number, at in place.items() if at not in moved}
            place = {number: moved[at] for number, at in place.items() if at in moved}
        return writers

    def _revisions(self, label: str, newest: int) -> Iterator[Row]:
        while rows := self._database.query(
            "SELECT * FROM revisions WHERE agent_id = ? AND label = ? AND seq <= ? ORDER BY seq DESC LIMIT ?",
            (self._agent_id, label, newest, _REVISIONS_A_PAGE),
        ):
            yield from rows
            newest = rows[-1]["seq"] - 1

    # --- what was found ------------------------------------------------------------------------------------

    def _findings(self, queue: Sequence[Message]) -> Iterator[Finding]:
        calls = {call.id: call for message in queue for call in message.calls}
        for result in queue:
            if result.role != "tool" or result.name not in SEARCHES or not result.ok:
                continue
            call = calls.get(result.call_id or "", FunctionCall("", result.name or "", "{}"))
            if FOUND not in result.payload:
                yield Finding(call, kept=result.content.startswith("No results"))
                continue
            found: Mapping[str, Sequence[int]] = result.payload[FOUND]
            yield Finding(call, self._messages(found.get("recall", ())), self._passages(found.get("archival", ())))

    def _messages(self, seqs: Sequence[int]) -> tuple[Source, ...]:
        return tuple(_source(row) for row in self._rows("messages", seqs))

    def _passages(self, seqs: Sequence[int]) -> tuple[FoundPassage, ...]:
        return tuple(
            FoundPassage(
                row["seq"],
                datetime.fromisoformat(row["created_at"]),
                row["content"],
                self._beginning_of(row["turn_id"]),
            )
            for row in self._rows("passages", seqs)
        )

    def _rows(self, table: str, seqs: Sequence[int]) -> list[Row]:
        """Return rows in the order of `seqs`; those that were erased since are missing."""
        rows = self._database.query(
            f"SELECT * FROM {table} WHERE seq IN (SELECT value FROM json_each(?)) AND agent_id = ?",  # noqa: S608
            (json.dumps(list(seqs)), self._agent_id),
        )
        by_seq = {row["seq"]: row for row in rows}
        return [by_seq[seq] for seq in dict.fromkeys(seqs) if seq in by_seq]

    def _beginning_of(self, turn_id: str) -> Source | None:
        """Return the message that began a turn: it has the turn's id."""
        rows = self._database.query("SELECT * FROM messages WHERE id = ?", (turn_id,))
        return _source(rows[0]) if rows else None

    def _summary(self, seq: int) -> SummarySeen | None:
        rows = self._database.query("SELECT * FROM summaries WHERE seq = ? AND text <> ''", (seq,))
        if not rows:
            return None
        row = rows[0]
        return SummarySeen(row["text"], row["author"], datetime.fromisoformat(row["created_at"]), row["last_seq"])


def _moved(before: Sequence[str], after: Sequence[str]) -> dict[int, int]:
    """Return where the lines of `after` that an edit left alone stood before it."""
    blocks = difflib.SequenceMatcher(a=before, b=after, autojunk=False).get_matching_blocks()
    return {block.b + offset: block.a + offset for block in blocks for offset in range(block.size)}


def _source(row: Row) -> Source:
    speaker = row["speaker"] or row["kind"] or row["role"]
    return Source(row["seq"], datetime.fromisoformat(row["created_at"]), speaker, row["said"])
