"""Working context: labelled blocks the LLM always sees and edits itself (towards the LLM: core memory).

Each edit is a transaction with a revision (before, after, author, turn). One that does not fit, or whose old text is
not there, changes nothing and says why. Edits are taken back by further revisions, never by erasing any.
Source: Packer et al. 2023, §2.1.
"""

from __future__ import annotations

import difflib
import sqlite3
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from memos.errors import BadInput, FunctionFailed
from memos.functions.syscalls import Syscalls
from memos.functions.table import function
from memos.messages import Block, MemoryEdited, new_id, utc_now
from memos.safe_text import storable
from memos.storage.database import Database

Author = Literal["agent", "user", "system"]
"""Who made an edit: the agent by a function call, the user at the console, or memos itself."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One edit of a block, number `seq`; `created_at` in UTC. Each from outside a turn has a `turn_id` of its own."""

    label: str
    before: str
    after: str
    author: Author
    turn_id: str
    created_at: datetime
    seq: int = 0


class WorkingContext:
    """The blocks of one agent."""

    def __init__(self, database: Database, agent_id: str, syscalls: Syscalls) -> None:
        self._database = database
        self._agent_id = agent_id
        self._syscalls = syscalls

    def blocks(self) -> tuple[Block, ...]:
        """Return all blocks, in the order in which they were made."""
        rows = self._database.query("SELECT * FROM blocks WHERE agent_id = ? ORDER BY rowid", (self._agent_id,))
        return tuple(_block(row) for row in rows)

    def last_edits(self, count: int) -> list[Revision]:
        """Return the newest `count` edits, newest first."""
        rows = self._database.query(
            "SELECT * FROM revisions WHERE agent_id = ? ORDER BY seq DESC LIMIT ?", (self._agent_id, count)
        )
        return [_revision(row) for row in rows]

    def edit(self, label: str, value: str, author: Author = "user") -> Revision | None:
        """Let a block read `value` from now on, read-only or not; return the revision, or None where it reads so.

        This is for the console, outside any turn: nothing is published.

        Raises: BadInput (no such block, too long).
        """
        text = storable(value).strip()
        with self._database.transaction():
            block = self.block(label)
            if len(text) > block.limit_chars:
                raise BadInput(
                    f"{block.label} holds {block.limit_chars} characters, and this has {len(text)}; it is unchanged.",
                    f"shorten it by {len(text) - block.limit_chars}",
                )
            return self._store(block, text, author, new_id()) if text != block.value else None

    def block(self, label: str) -> Block:
        """Return the block of that label, letter case aside. Raises: BadInput."""
        block = self._named(label)
        if block is None:
            raise BadInput(f'There is no block "{label:.80}".', f"there are: {self._labels()}")
        return block

    def undo(self, seq: int | None = None) -> Revision:
        """Take back one edit, the newest one if no number is given, by a further edit of the user's; return that.

        What later edits did to other lines stays. Raises: BadInput where they changed the same lines, or the block
        would be too long.
        """
        with self._database.transaction():
            edit = self._edit_numbered(seq)
            block = self.block(edit.label)
            value = without_edit(edit.before, edit.after, block.value)
            if value is None:
                raise BadInput(
                    f"Edit {edit.seq} of {edit.label} cannot be taken back: later edits changed the same lines.",
                    f"take those back first (/memory log), or /memory edit {edit.label}",
                )
            made = self.edit(edit.label, value)
            if made is None:
                raise BadInput(
                    f"Edit {edit.seq} of {edit.label} has no effect any more.", "/memory log shows the others"
                )
            return made

    def _edit_numbered(self, seq: int | None) -> Revision:
        rows = self._database.query(
            "SELECT * FROM revisions WHERE agent_id = :agent AND seq = coalesce(:seq, seq) ORDER BY seq DESC LIMIT 1",
            {"agent": self._agent_id, "seq": seq},
        )
        if not rows:
            what = "No block has been edited yet." if seq is None else f"There is no edit {seq}."
            raise BadInput(what, "/memory log shows the edits with their numbers")
        return _revision(rows[0])

    def take_back(self, turn_id: str) -> list[Revision]:
        """Undo the edits of a turn, newest first, and return the revisions that do so, by the user, as one new turn.

        An edit is undone only where the block still reads as that edit left it; `changed_since` names the others.
        """
        with self._database.transaction():
            undoable, _ = self._divided(turn_id)
            now, undoing = {block.label: block for block in self.blocks()}, new_id()
            made: list[Revision] = []
            for edit in undoable:
                block = now[edit.label]
                made.append(self._store(block, edit.before, "user", undoing))
                now[edit.label] = replace(block, value=edit.before)
            return made

    def changed_since(self, turn_id: str) -> list[str]:
        """Return the labels of blocks in which `take_back` leaves an edit of that turn: they read otherwise now."""
        return self._divided(turn_id)[1]

    def _divided(self, turn_id: str) -> tuple[list[Revision], list[str]]:
        """Return the edits of a turn that can be undone, newest first, and the labels where one cannot."""
        rows = self._database.query(
            "SELECT * FROM revisions WHERE agent_id = ? AND turn_id = ? ORDER BY seq DESC", (self._agent_id, turn_id)
        )
        values: dict[str, str] = {block.label: block.value for block in self.blocks()}
        undoable: list[Revision] = []
        changed: dict[str, None] = {}
        for edit in map(_revision, rows):
            if edit.label in changed or values.get(edit.label) != edit.after:
                changed[edit.label] = None  # and what this turn did to it earlier stays too
                continue
            values[edit.label] = edit.before
            undoable.append(edit)
        return undoable, list(changed)

    @function()
    def core_memory_append(self, name: str, content: str) -> str:
        """Add a line to a core memory block.

        Args:
            name: The label of the block.
            content: The line to add.
        """
        block = self._editable(name)
        if not content.strip():
            raise FunctionFailed("There is nothing to add; the block is unchanged.")
        joined = f"{block.value.rstrip()}\n{content.strip()}" if block.value.strip() else content.strip()
        self._write(block, joined)
        return f"Added to {block.label} ({len(joined)} of {block.limit_chars} characters)."

    @function()
    def core_memory_replace(self, name: str, old_content: str, new_content: str) -> str:
        """Replace words in a core memory block, or delete them.

        Args:
            name: The label of the block.
            old_content: The words to replace, exactly.
            new_content: The words instead; empty to delete.
        """
        block = self._editable(name)
        found = block.value.count(old_content) if old_content else 0
        if found == 0:
            raise FunctionFailed(_not_found(block, old_content))
        if found > 1:
            raise FunctionFailed(f"These words stand {found} times in {block.label}; give more of the line.")
        self._write(block, block.value.replace(old_content, new_content).strip())
        return f"Replaced in {block.label}."

    def _editable(self, label: str) -> Block:
        block = self._named(label)
        if block is None:
            raise FunctionFailed(f'There is no block "{label}"; there are: {self._labels()}.')
        if block.read_only:
            raise FunctionFailed(f"The block {block.label} is read-only.")
        return block

    def _named(self, label: str) -> Block | None:
        wanted = label.strip().casefold()
        return next((block for block in self.blocks() if block.label.casefold() == wanted), None)

    def _labels(self) -> str:
        return ", ".join(block.label for block in self.blocks())

    def _write(self, block: Block, value: str) -> None:
        _check_fits(block, value)
        made = self._store(block, value, "agent", self._syscalls.turn_id)
        self._syscalls.publish(MemoryEdited(block.label, block.value, value, block.limit_chars, made.seq))

    def _store(self, block: Block, value: str, author: Author, turn_id: str) -> Revision:
        revision = Revision(block.label, block.value, value, author, turn_id, utc_now())
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE blocks SET value = ? WHERE agent_id = ? AND label = ?", (value, self._agent_id, block.label)
            )
            cursor = connection.execute(
                "INSERT INTO revisions (agent_id, label, before, after, author, turn_id, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    self._agent_id,
                    revision.label,
                    revision.before,
                    revision.after,
                    revision.author,
                    revision.turn_id,
                    revision.created_at.isoformat(),
                ),
            )
        return replace(revision, seq=int(cursor.lastrowid or 0))


def without_edit(before: str, after: str, now: str) -> str | None:
    """Return `now` without what the edit from `before` to `after` did, line by line; None where that overlaps with
    what was done since.
    """
    if now == after:
        return before
    old, base, new = before.split("\n"), after.split("\n"), now.split("\n")
    undoing = [(start, end, old[a:b]) for _, start, end, a, b in _changes(base, old)]
    later = [(start, end, new[a:b]) for _, start, end, a, b in _changes(base, new)]
    if any(_overlap(one, other) for one in undoing for other in later):
        return None
    lines = list(base)
    for start, end, put in sorted([*undoing, *later], key=lambda change: change[:2], reverse=True):
        lines[start:end] = put
    return "\n".join(lines)


def _changes(one: list[str], other: list[str]) -> list[tuple[str, int, int, int, int]]:
    matcher = difflib.SequenceMatcher(a=one, b=other, autojunk=False)
    return [change for change in matcher.get_opcodes() if change[0] != "equal"]


def _overlap(one: tuple[int, int, list[str]], other: tuple[int, int, list[str]]) -> bool:
    """Whether two changes of the same lines do, or insert at the same place."""
    (start, end, _), (begin, stop, _) = one, other
    if start == end and begin == stop:
        return start == begin
    return start < stop and begin < end


def _check_fits(block: Block, value: str) -> None:
    if len(value) > block.limit_chars:
        raise FunctionFailed(
            f"{block.label} would hold {len(value)} characters, {len(value) - block.limit_chars} more than its limit"
            f" of {block.limit_chars}; it is unchanged. Shorten or remove something there first,"
            " or keep this with archival_memory_insert."
        )


def _not_found(block: Block, old_content: str) -> str:
    lines = [line for line in block.value.splitlines() if line.strip()]
    nearest = difflib.get_close_matches(old_content, lines, n=1, cutoff=0.0)
    hint = f' The nearest line is: "{nearest[0]}"' if nearest else " The block is empty."
    return f"These words do not stand in {block.label}; it is unchanged.{hint}"


def _block(row: sqlite3.Row) -> Block:
    return Block(row["label"], row["value"], row["limit_chars"], row["description"], bool(row["read_only"]))


def _revision(row: sqlite3.Row) -> Revision:
    moment = datetime.fromisoformat(row["created_at"])
    return Revision(row["label"], row["before"], row["after"], row["author"], row["turn_id"], moment, row["seq"])
