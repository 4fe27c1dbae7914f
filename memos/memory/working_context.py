"""Working context: labelled blocks the LLM always sees and edits itself (towards the LLM: core memory).

Each edit is a transaction with a revision (before, after, author, turn). One that does not fit, or whose old text is
not there, changes nothing and says why.
Source: Packer et al. 2023, §2.1.
"""

from __future__ import annotations

import difflib
import sqlite3
from dataclasses import dataclass
from datetime import datetime

from memos.errors import FunctionFailed
from memos.functions.syscalls import Syscalls
from memos.functions.table import function
from memos.messages import Block, MemoryEdited, utc_now
from memos.storage.database import Database

AUTHOR = "agent"
"""Who edits by calling a function; a revision names its author."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One edit of a block; `created_at` in UTC."""

    label: str
    before: str
    after: str
    author: str
    created_at: datetime


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
        return [
            Revision(r["label"], r["before"], r["after"], r["author"], datetime.fromisoformat(r["created_at"]))
            for r in rows
        ]

    @function()
    def core_memory_append(self, name: str, content: str) -> str:
        """Add a line at the end of a core memory block.

        Args:
            name: The label of the block, such as human or persona.
            content: The line to add; any language.
        """
        block = self._editable(name)
        if not content.strip():
            raise FunctionFailed("There is nothing to add; the block is unchanged.")
        joined = f"{block.value.rstrip()}\n{content.strip()}" if block.value.strip() else content.strip()
        self._write(block, joined)
        return f"Added to {block.label} ({len(joined)} of {block.limit_chars} characters)."

    @function()
    def core_memory_replace(self, name: str, old_content: str, new_content: str) -> str:
        """Replace a piece of a core memory block by other words, or delete it.

        Args:
            name: The label of the block, such as human or persona.
            old_content: The words to replace, exactly as they stand in the block.
            new_content: The words to put there; empty to delete.
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
        block = self._find(label)
        if block.read_only:
            raise FunctionFailed(f"The block {block.label} is read-only.")
        return block

    def _find(self, label: str) -> Block:
        blocks = self.blocks()
        for block in blocks:
            if block.label.casefold() == label.strip().casefold():
                return block
        raise FunctionFailed(f'There is no block "{label}"; there are: {", ".join(b.label for b in blocks)}.')

    def _write(self, block: Block, value: str) -> None:
        _check_fits(block, value)
        self._store(block, value)
        self._syscalls.publish(MemoryEdited(block.label, block.value, value, block.limit_chars))

    def _store(self, block: Block, value: str) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE blocks SET value = ? WHERE agent_id = ? AND label = ?", (value, self._agent_id, block.label)
            )
            connection.execute(
                "INSERT INTO revisions (agent_id, label, before, after, author, turn_id, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    self._agent_id,
                    block.label,
                    block.value,
                    value,
                    AUTHOR,
                    self._syscalls.turn_id,
                    utc_now().isoformat(),
                ),
            )


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
