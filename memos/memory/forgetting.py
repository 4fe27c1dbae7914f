"""Forgetting for good: a preview of all that holds the words, the erasure, and a certificate of what was done.

An intention is noted in a file first and taken away last. Each step may be done twice, and none needs the one before:
an erasure that was broken off, by kill -9 too, is completed by asking for the same words again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memos.errors import BadInput
from memos.memory.erasure import Erased, Erasure, Left, Trace
from memos.messages import utc_now
from memos.storage.database import Database
from memos.storage.home_files import FileTrace, HomeFiles, Searched, clean_files, search_files, traces_in_files
from memos.storage.intention import broken_off, intention_file, note_intention
from memos.storage.kept_vectors import VectorsGone, drop_vectors_of_gone_rows, nobody_indexes
from memos.storage.unwanted_words import UnwantedWords

NOT_PROMISED = (
    "Copies outside these folders: backups, exports, what was piped elsewhere, your shell's history, the screen.",
    "What a model's or embedder's provider was sent: that is theirs to delete.",
    "What a disk keeps of deleted blocks (SSDs, snapshots of the file system, swap) until it is written over.",
    "What says the same in other words, or holds only a piece of these: it was not looked for.",
)


@dataclass(frozen=True, slots=True)
class Preview:
    """What an erasure would touch, and the names and settings that hold the words too and stay as they are.

    `broken_off` is when an erasure began (UTC) that never came to its end; None where there is none.
    """

    traces: Sequence[Trace]
    named: Sequence[str]
    broken_off: datetime | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was erased, what was searched afterwards, and what still stands there. Never the words themselves."""

    at: datetime
    salt: str
    fingerprint: str
    agents: Sequence[str]
    erased: Erased
    vectors: VectorsGone
    files: Sequence[FileTrace]
    searched: Searched
    left: Sequence[Left]
    roots: Sequence[Path]
    spared: Collection[str] = ()
    """The keys of what was kept because the user said so."""

    @property
    def hits(self) -> int:
        """How many rows and files still hold the words."""
        return sum(left.rows for left in self.left) + len(self.searched.hits)

    def as_json(self) -> dict[str, Any]:
        """Return the certificate for programs."""
        return {
            "at": self.at.isoformat(),
            "query": {"sha256": self.fingerprint, "salt": self.salt},
            "agents": list(self.agents),
            "deleted": dict(+self.erased.deleted),
            "rewritten": dict(+self.erased.rewritten),
            "vectors": {"taken_out": self.vectors.vectors, "tables": self.vectors.tables},
            "files": [{"path": str(file.path), "places": file.places, "fate": file.fate} for file in self.files],
            "searched": {
                "folders": [str(root) for root in self.roots],
                "files": self.searched.files,
                "bytes": self.searched.bytes,
            },
            "hits": self.hits,
            "left": [
                *({"column": left.column, "agent": left.agent, "rows": left.rows} for left in self.left),
                *({"file": path, "places": places} for path, places in self.searched.hits.items()),
            ],
            "not_promised": list(NOT_PROMISED),
        }

    def lines(self) -> list[str]:
        """Return the certificate for a person."""
        vectors = f"{self.vectors.vectors:,} vectors with all older versions of their tables"
        files = [f"{file.path} {file.fate} ({file.places})" for file in self.files]
        lines = [
            f"Certificate of erasure, {self.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, for {', '.join(self.agents)}",
            f"  The words: sha256 {self.fingerprint} with salt {self.salt} before them;"
            " who guesses them can check the guess.",
            f"  Deleted: {_counts(self.erased.deleted)}; {vectors}.",
            f"  Rewritten: {_counts(self.erased.rewritten)}.",
            *(f"  File: {file}." for file in files),
            "  The database was written anew, with its full-text index; its log is empty.",
            f"  Searched: {self.searched.files:,} files ({self.searched.bytes:,} bytes) below"
            f" {', '.join(map(str, self.roots))}, and every text of the database: {self.hits} hits remain.",
        ]
        for left in self.left:
            of = f" of {left.agent}" if left.agent else ""
            lines.append(f"    {left.column}{of}: {left.rows} rows still hold them.")
        lines += [f"    {path}: {places} places still hold them." for path, places in self.searched.hits.items()]
        return [*lines, "  It cannot promise:", *(f"    {line}" for line in NOT_PROMISED)]


class Forgetting:
    """Erases words from all of memos' folders. Blocking; `let_go` lets go of what this process holds in memory."""

    def __init__(
        self, database: Database, home: HomeFiles, vectors: Path, let_go: Callable[[], None] = lambda: None
    ) -> None:
        self._database = database
        self._home = home
        self._vectors = vectors
        self._let_go = let_go
        self._mark = intention_file(database.path)

    def preview(self, words: UnwantedWords, agent_ids: Sequence[str]) -> Preview:
        """Return all that an erasure of these agents' memory would touch."""
        self._check_kept()
        erasure = Erasure(self._database, words)
        in_files = [
            Trace(
                _key(trace),
                f"{trace.what}: {trace.path}",
                f"{trace.places} place{'s' if trace.places > 1 else ''}",
                trace.fate,
            )
            for trace in traces_in_files(self._home, words)
        ]
        return Preview([*erasure.traces(agent_ids), *in_files], erasure.named(agent_ids), broken_off(self._mark))

    def erase(
        self, words: UnwantedWords, agent_ids: Sequence[str], agents: Sequence[str], spared: Collection[str] = ()
    ) -> Certificate:
        """Erase all that `preview` gives but what has a key in `spared`, and return what was done for these `agents`.

        Raises: StorageProblem; the same words again complete it.
        """
        self._check_kept()
        at, salt = utc_now(), secrets.token_hex(8)
        note_intention(self._mark, at)
        erasure = Erasure(self._database, words)
        with nobody_indexes(self._vectors):
            erased = erasure.erase(agent_ids, spared)
            vectors = drop_vectors_of_gone_rows(self._vectors, self._database)
        kept = frozenset(Path(key.removeprefix("file:")) for key in spared if key.startswith("file:"))
        files = clean_files(self._home, words, kept)
        self._let_go()
        self._database.write_anew()
        certificate = Certificate(
            at,
            salt,
            words.fingerprint(salt),
            agents,
            erased,
            vectors,
            files,
            search_files(self._home, words),
            erasure.left(),
            self._home.roots,
            frozenset(spared),
        )
        self._mark.unlink(missing_ok=True)
        return certificate

    def _check_kept(self) -> None:
        """Refuse a database that is in memory alone: the files beside it are those of another. Raises: BadInput."""
        if not self._database.query("PRAGMA database_list")[0]["file"]:
            raise BadInput("Nothing of this conversation is kept on disk.", "erase in an ordinary one, or memos forget")


def _key(trace: FileTrace) -> str:
    return f"file:{trace.path}"


def _counts(rows: Any) -> str:
    named = ((table.removesuffix("s") if count == 1 else table, count) for table, count in rows.items() if count)
    return ", ".join(f"{count:,} {table}" for table, count in named) or "nothing"
