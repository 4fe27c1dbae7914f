"""Archival storage: passages the agent keeps for itself, without bound, found by search.

Source: Packer et al. 2023, §2.2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from sqlite3 import Row

from memos.errors import FunctionFailed
from memos.functions.syscalls import Syscalls
from memos.functions.table import function
from memos.memory.dates import between
from memos.memory.pages import PAGE_SIZE, Line, checked_page, page_text
from memos.memory.query_terms import search_terms, spaced
from memos.memory.scope import Scope
from memos.memory.search import Search, index_text
from memos.messages import Notice, Provenance, new_id, utc_now
from memos.storage.database import Database

TAG_LIMIT = 8
TAG_LIMIT_CHARS = 40
_NO_TAG = re.compile(r"[\s\[\]#,;\"\x00-\x1f]+")
_TERMS_COMPARED = 12
_SHOWN_CHARS = 80


class ArchivalStorage:
    """The passages of one agent."""

    def __init__(self, database: Database, agent_id: str, search: Search, syscalls: Syscalls) -> None:
        self._database = database
        self._agent_id = agent_id
        self._search = search
        self._syscalls = syscalls

    @function()
    def archival_memory_insert(self, content: str, tags: list[str] | None = None, replaces: str = "") -> str:
        """Keep a passage in archival memory.

        Args:
            content: The passage, understandable on its own.
            tags: Single words to find it by.
            replaces: Words of the passage that this corrects.
        """
        text, named = content.strip(), checked_tags(tags)
        if not text:
            raise FunctionFailed("The passage is empty; nothing was stored.")
        corrected = self._holding(replaces) if replaces.strip() else None
        if same := find_same(self._database, self._agent_id, text):
            return self._there_already(same, named, corrected)
        turn_id = self._syscalls.turn_id
        (new,) = insert_passages(self._database, self._agent_id, [text], Provenance.AGENT, turn_id=turn_id, tags=named)
        if corrected is None:
            return "Stored in archival memory."
        self._supersede(corrected, new)
        return f"Stored in archival memory, in place of that of {_local(corrected)}: {_beginning(corrected)}"

    @function()
    def archival_memory_search(
        self, query: str, page: int = 0, tags: list[str] | None = None, start: str = "", end: str = ""
    ) -> str:
        """Search the passages in archival memory.

        Args:
            query: Words, a name or a question; empty: all.
            page: From 0.
            tags: Only with any of these.
            start: Since when.
            end: Until when.
        """
        scope = Scope(span=between(start, end), tags=checked_tags(tags))
        offset = checked_page(page) * PAGE_SIZE
        found = self._search.find(self._agent_id, query, limit=PAGE_SIZE, offset=offset, scope=scope)
        if found.degraded:
            self._syscalls.publish(Notice(found.degraded))
        return page_text(self._lines([hit.seq for hit in found.hits]), found.total, page, query)

    def remember(self, text: str) -> bool:
        """Keep a passage in the user's own words; return whether it was not there already. A transaction."""
        if find_same(self._database, self._agent_id, text):
            return False
        insert_passages(self._database, self._agent_id, [text], Provenance.USER)
        return True

    def _there_already(self, same: Row, tags: Sequence[str], corrected: Row | None) -> str:
        """Store nothing twice: add the tags that are new, and let the passage that was to be corrected go."""
        told = f"It is in archival memory already, since {_local(same)}; nothing was stored twice."
        if new := [tag for tag in tags if tag not in json.loads(same["tags"])]:
            with self._database.transaction() as connection:
                both = json.dumps([*json.loads(same["tags"]), *new][:TAG_LIMIT], ensure_ascii=False)
                connection.execute("UPDATE passages SET tags = ? WHERE seq = ?", (both, same["seq"]))
            told += " It has the new tags."
        if corrected is not None and corrected["seq"] != same["seq"]:
            self._supersede(corrected, same["id"])
            told += f" That of {_local(corrected)} is replaced by it: {_beginning(corrected)}"
        return told

    def _holding(self, words: str) -> Row:
        """Return the one live passage that holds `words`. Raises: FunctionFailed for none or several."""
        wanted = normalised(words)
        found = [
            row for row in with_words(self._database, self._agent_id, words) if wanted in normalised(row["content"])
        ]
        exact = [row for row in found if wanted == normalised(row["content"])]
        match exact or found:
            case [one]:
                return one
            case []:
                raise FunctionFailed(
                    "No passage has the words of `replaces` in that order; search, and copy some of them."
                )
            case several:
                listed = "; ".join(_beginning(row) for row in several[:3])
                raise FunctionFailed(
                    f"{len(several)} passages have the words of `replaces`: {listed}. Give more of them."
                )

    def _supersede(self, row: Row, by: str) -> None:
        with self._database.transaction() as connection:
            connection.execute("UPDATE passages SET superseded_by = ? WHERE seq = ?", (by, row["seq"]))

    def take_back(self, turn_id: str, by: str) -> int:
        """Let the passages that a turn stored no longer count; return how many. `by` names what took them back.

        What they corrected counts again.
        """
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE passages SET superseded_by = NULL WHERE agent_id = ? AND superseded_by IN"
                " (SELECT id FROM passages WHERE agent_id = ? AND turn_id = ? AND superseded_by IS NULL)",
                (self._agent_id, self._agent_id, turn_id),
            )
            cursor = connection.execute(
                "UPDATE passages SET superseded_by = ? WHERE agent_id = ? AND turn_id = ? AND superseded_by IS NULL",
                (by, self._agent_id, turn_id),
            )
            return cursor.rowcount

    def _lines(self, seqs: Sequence[int]) -> list[Line]:
        rows = self._database.query(
            "SELECT seq, content, tags, created_at FROM passages WHERE seq IN (SELECT value FROM json_each(?))",
            (json.dumps(list(seqs)),),
        )
        lines = {
            row["seq"]: Line(
                datetime.fromisoformat(row["created_at"]), row["content"], tags=tuple(json.loads(row["tags"]))
            )
            for row in rows
        }
        self._syscalls.found("archival", [seq for seq in seqs if seq in lines])
        return [lines[seq] for seq in seqs if seq in lines]


def insert_passages(
    database: Database,
    agent_id: str,
    texts: Sequence[str],
    provenance: Provenance,
    *,
    turn_id: str = "",
    tags: Sequence[str] = (),
) -> list[str]:
    """Store passages in one transaction, in order, all with `tags`, and return their ids. Blocking.

    `turn_id` is empty where no turn put them there.
    """
    now = utc_now()
    ids = [new_id() for _ in texts]
    listed = json.dumps(list(tags), ensure_ascii=False)
    with database.transaction() as connection:
        connection.executemany(
            "INSERT INTO passages (id, agent_id, turn_id, content, search_text, provenance, created_at, tags)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(row_id, agent_id, turn_id, text, index_text(now.astimezone(), "", text)),
                    *(provenance, now.isoformat(), listed),
                )
                for row_id, text in zip(ids, texts, strict=True)
            ],
        )
    return ids


def find_same(database: Database, agent_id: str, text: str) -> Row | None:
    """Return the live passage that says the same as `text`, whatever its case, spaces and last point; or None."""
    wanted = normalised(text)
    return next((row for row in with_words(database, agent_id, text) if normalised(row["content"]) == wanted), None)


def with_words(database: Database, agent_id: str, text: str) -> list[Row]:
    """Return the live passages that have the first terms of `text`, all of them; in the order they were stored."""
    terms = [spaced(term) for term in search_terms(text)[:_TERMS_COMPARED]]
    if not terms:
        return database.query(
            "SELECT * FROM passages WHERE agent_id = ? AND superseded_by IS NULL AND content = ?",
            (agent_id, text.strip()),
        )
    return database.query(
        "SELECT r.* FROM passages_fts CROSS JOIN passages r ON r.seq = passages_fts.rowid"
        " WHERE passages_fts MATCH ? AND r.agent_id = ? AND r.superseded_by IS NULL ORDER BY r.seq",
        (" AND ".join(terms), agent_id),
    )


def normalised(text: str) -> str:
    """Return `text` as two passages are compared: without case, runs of spaces, and points at its end."""
    return " ".join(text.casefold().split()).rstrip(" .!;,")


def checked_tags(tags: Sequence[str] | None) -> tuple[str, ...]:
    """Return tags as they are stored: in lower case, one word each, each once. Raises: FunctionFailed."""
    words = ("-".join(_NO_TAG.sub(" ", tag.lower()).split()) for tag in tags or ())
    kept = tuple(dict.fromkeys(word for word in words if word))
    if len(kept) > TAG_LIMIT or any(len(tag) > TAG_LIMIT_CHARS for tag in kept):
        raise FunctionFailed(f"tags are at most {TAG_LIMIT} words of at most {TAG_LIMIT_CHARS} characters each.")
    return kept


def _local(row: Row) -> str:
    return f"{datetime.fromisoformat(row['created_at']).astimezone():%Y-%m-%d %H:%M}"


def _beginning(row: Row) -> str:
    return f'"{_line_of(row["content"])}"'


def _line_of(text: str) -> str:
    """Return the beginning of a passage, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARS else f"{line[:_SHOWN_CHARS]}…"
