"""Erasure: every place of the database where words stand, and taking them out for good. The one exception to the rule
that rows are never changed in place.

What holds the words goes whole where nothing needs it: a message, a passage, an event that waits. A message that
stands in the FIFO queue keeps its row, with a note for its words, so that every call keeps its result and the queue
begins with an event. Of blocks, their edits and summaries only the lines or sentences go that hold the words.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from memos.functions.arguments import parsed_leniently
from memos.functions.process_functions import ProcessFunctions
from memos.functions.table import HEARTBEAT_ARGUMENT, SPEECH_FUNCTION, THOUGHTS_ARGUMENT, function_names
from memos.memory.archival_storage import ArchivalStorage
from memos.memory.recall_storage import RecallStorage
from memos.memory.working_context import WorkingContext
from memos.storage.attachments import IMAGES_KEY
from memos.storage.database import Database
from memos.storage.unwanted_words import UnwantedWords

NOTES = ("[Erased: the user wants it forgotten.]", "[…]")
"""What stands for words that were erased where something must; the second where the first one holds the words."""
GONE, NOTED, LINES, SENTENCES, RENAMED = (
    "is deleted",
    "stands in the queue: a note takes its place",
    "loses the lines that hold them",
    "loses the sentences that hold them",
    "is renamed",
)
_CLIP_CHARS, _CLIP_BEFORE = 90, 30

Kind = Literal["words", "derived", "named", "own"]
COLUMNS: Mapping[str, Mapping[Kind, str]] = {
    "agents": {"words": "summary", "named": "name deleted_name model persona_name human_name settings", "own": "id"},
    "inbox": {"words": "text payload", "own": "id agent_id kind"},
    "messages": {
        "words": "content payload calls reasoning name speaker session",
        "derived": "said search_text attachments",
        "own": "id agent_id turn_id role kind call_id state origin provenance superseded_by",
    },
    "blocks": {"words": "value description", "named": "label", "own": "agent_id"},
    "revisions": {"words": "before after", "named": "label", "own": "agent_id author turn_id"},
    "passages": {
        "words": "content tags",
        "derived": "search_text",
        "own": "id agent_id turn_id provenance superseded_by",
    },
    "counts": {"own": "agent_id"},
    "embedding_spaces": {"named": "name"},
    "model_calls": {"named": "model", "own": "agent_id turn_id purpose"},
    "overrides": {"words": "content", "own": "agent_id"},
    "summaries": {"words": "text", "named": "author", "own": "agent_id"},
    "model_notes": {"words": "note", "named": "model endpoint topic"},
    "attachments": {"words": "name", "own": "hash media_type"},
    "prompts": {"own": "agent_id"},
}
"""Every column of text: `words` are looked through and erased, `derived` follow them, what is `named` (by a person, a
setting or a provider) is told and left, and memos' `own` are ids and kinds. Columns called `…_at` hold times."""

_NO_WORDS = frozenset({"hash", "width", "height", "utc_offset_min", "found", "last_login", "heartbeat", "spoken"})
_NO_THOUGHTS = frozenset({"type", "signature", "data", "id", "index", "format"})
_OURS = frozenset(
    {
        *function_names(ProcessFunctions, WorkingContext, RecallStorage, ArchivalStorage),
        *("name", "content", "old_content", "new_content", "message", "query", "page", "tags", "replaces", "minutes"),
        *("roles", "start", "end", "start_date", "end_date", "around", HEARTBEAT_ARGUMENT, THOUGHTS_ARGUMENT),
        *("images", "speech", "reason"),
    }
)
"""Names of functions, arguments and parts of a payload: no words of anybody's."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One thing that holds the words: `what` it is, the `text` around them, and its `fate`.

    `key` names it as long as it is there. `agent_id` is '' for what belongs to all agents.
    """

    key: str
    what: str
    text: str
    fate: str
    agent_id: str = ""


@dataclass(slots=True)
class Erased:
    """How many rows were deleted and how many rewritten, by table."""

    deleted: Counter[str] = field(default_factory=Counter)
    rewritten: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Left:
    """Where words still stand after an erasure: so many rows of a column, of an agent ('' where it is of none)."""

    column: str
    agent: str
    rows: int


class Erasure:
    """Finds and erases words in one database. Blocking."""

    def __init__(self, database: Database, words: UnwantedWords) -> None:
        self._database = database
        self._words = words
        self._note = next((note for note in NOTES if not words.stand_in(note)), "")

    # --- looking -------------------------------------------------------------------------------------------

    def traces(self, agent_ids: Sequence[str]) -> list[Trace]:
        """Return all that holds the words, of these agents and of what belongs to all."""
        with self._database.transaction() as connection:
            self._teach(connection)
            return list(self._traces(connection, agent_ids))

    def named(self, agent_ids: Sequence[str]) -> list[str]:
        """Return the names and settings that hold the words and are left as they are, a phrase each."""
        found: dict[str, None] = {}
        with self._database.transaction() as connection:
            self._teach(connection)
            for table, kinds in COLUMNS.items():
                for column in kinds.get("named", "").split():
                    where, values = self._of(connection, table, agent_ids)
                    for row in connection.execute(
                        f"SELECT DISTINCT {column} AS text FROM {table} WHERE stand_in({column}) AND {where}",  # noqa: S608
                        values,
                    ):
                        found[f"{table}.{column}: {self._clip(row['text'])}"] = None
        return list(found)

    def left(self) -> list[Left]:
        """Return every column of text of every table in which the words still stand, whatever it is for."""
        left = []
        with self._database.transaction() as connection:
            self._teach(connection)
            names = {row["id"]: row["name"] for row in connection.execute("SELECT id, name FROM agents")}
            for table, columns in text_columns(connection).items():
                owner = "agent_id" if "agent_id" in columns else "id" if table == "agents" else "''"
                for column in columns:
                    for row in connection.execute(
                        f"SELECT {owner} AS owner, count(*) AS found FROM {table}"  # noqa: S608
                        f" WHERE typeof({column}) = 'text' AND stand_in({column}) GROUP BY 1",
                    ):
                        left.append(Left(f"{table}.{column}", names.get(row["owner"], ""), row["found"]))
        return left

    def _traces(self, connection: sqlite3.Connection, agent_ids: Sequence[str]) -> Iterator[Trace]:
        for row in self._messages(connection, agent_ids):
            who = row["speaker"] or row["kind"] or row["name"] or row["role"]
            fate = NOTED if row["in_queue"] else GONE if self._goes_whole(row) else "loses the parts that hold them"
            text = self._clip(row["content"], row["said"], row["calls"], row["payload"], row["reasoning"])
            yield Trace(f"message:{row['seq']}", f"message {row['seq']}, {who}", text, fate, row["agent_id"])
        for row in self._rows(connection, agent_ids, "overrides", "stand_in_json(t.content)"):
            yield Trace(
                f"override:{row['message_seq']}",
                f"message {row['message_seq']} as it stands shortened in the queue",
                self._clip(row["content"]),
                GONE,
                row["agent_id"],
            )
        for row in self._rows(connection, agent_ids, "inbox", _WAITING_EVENT):
            yield Trace(f"inbox:{row['seq']}", "a message that waits", self._clip(row["text"]), GONE, row["agent_id"])
        yield from self._traces_in_blocks(connection, agent_ids)
        for row in self._rows(connection, agent_ids, "passages", _PASSAGE):
            text = self._clip(row["content"], row["tags"])
            yield Trace(f"passage:{row['seq']}", f"passage {row['seq']}", text, GONE, row["agent_id"])
        yield from self._traces_in_summaries(connection, agent_ids)
        for row in self._sessions(connection, agent_ids):
            key = f"session:{row['agent_id']}:{row['session']}"
            yield Trace(key, "the name of an imported chat", self._clip(row["session"]), RENAMED, row["agent_id"])
        for row in connection.execute("SELECT hash, name FROM attachments WHERE stand_in(name)"):
            yield Trace(f"image:{row['hash']}", "the name of an image", self._clip(row["name"]), RENAMED)
        for row in connection.execute("SELECT rowid, model, note FROM model_notes WHERE stand_in_json(note)"):
            yield Trace(f"note:{row['rowid']}", f"what was seen of {row['model']}", self._clip(row["note"]), GONE)

    def _traces_in_blocks(self, connection: sqlite3.Connection, agent_ids: Sequence[str]) -> Iterator[Trace]:
        values: dict[tuple[str, str], str] = {}
        for row in self._rows(connection, agent_ids, "blocks", "stand_in(t.value) OR stand_in(t.description)"):
            values[row["agent_id"], row["label"]] = self._clip(row["value"], row["description"])
        edits = Counter[tuple[str, str]]()
        for row in self._rows(connection, agent_ids, "revisions", _REVISION):
            edits[row["agent_id"], row["label"]] += 1
            values.setdefault((row["agent_id"], row["label"]), self._clip(row["before"], row["after"]))
        for (agent_id, label), text in values.items():
            count = edits[agent_id, label]
            earlier = f" and {count} edit{'s' if count > 1 else ''} of it" if count else ""
            yield Trace(f"block:{agent_id}:{label}", f"core memory {label}{earlier}", text, LINES, agent_id)

    def _traces_in_summaries(self, connection: sqlite3.Connection, agent_ids: Sequence[str]) -> Iterator[Trace]:
        found: dict[str, list[str]] = {}
        where, values = self._of(connection, "agents", agent_ids)
        for row in connection.execute(f"SELECT id, summary FROM agents WHERE stand_in(summary) AND {where}", values):  # noqa: S608
            found.setdefault(row["id"], []).append(row["summary"])
        for row in self._rows(connection, agent_ids, "summaries", "stand_in(t.text)"):
            found.setdefault(row["agent_id"], []).append(row["text"])
        for agent_id, texts in found.items():
            what = f"the summary, {len(texts)} versions"
            yield Trace(f"summary:{agent_id}", what, self._clip(*texts), SENTENCES, agent_id)

    # --- erasing -------------------------------------------------------------------------------------------

    def erase(self, agent_ids: Sequence[str], spared: Collection[str] = ()) -> Erased:
        """Erase all that `traces` gives but what has a key in `spared`, in one transaction; say how many rows."""
        self._database.query("PRAGMA secure_delete = ON")  # whatever comes after, freed pages are zeros
        with self._database.transaction() as connection:
            self._teach(connection)
            work = _Work(connection, frozenset(spared))
            self._erase_messages(work, agent_ids)
            for row in self._rows(connection, agent_ids, "inbox", _WAITING_EVENT):
                work.delete("inbox", "seq", row["seq"], f"inbox:{row['seq']}")
            self._erase_in_blocks(work, agent_ids)
            for row in self._rows(connection, agent_ids, "passages", _PASSAGE):
                work.delete("passages", "seq", row["seq"], f"passage:{row['seq']}")
            self._erase_in_summaries(work, agent_ids)
            for row in self._sessions(connection, agent_ids):
                if f"session:{row['agent_id']}:{row['session']}" not in work.spared:
                    cursor = connection.execute(
                        "UPDATE messages SET session = 'import:' || lower(hex(randomblob(8)))"
                        " WHERE agent_id = ? AND session = ?",
                        (row["agent_id"], row["session"]),
                    )
                    work.erased.rewritten["messages"] += cursor.rowcount
            for row in connection.execute("SELECT hash FROM attachments WHERE stand_in(name)").fetchall():
                work.update("attachments", "hash", row["hash"], {"name": "image"}, f"image:{row['hash']}")
            for row in connection.execute("SELECT rowid FROM model_notes WHERE stand_in_json(note)").fetchall():
                work.delete("model_notes", "rowid", row["rowid"], f"note:{row['rowid']}")
            return work.erased

    def _erase_messages(self, work: _Work, agent_ids: Sequence[str]) -> None:
        images: set[str] = set()
        turns: set[str] = set()
        for row in self._messages(work.connection, agent_ids):
            key, seq = f"message:{row['seq']}", row["seq"]
            if key in work.spared:
                continue
            turns.add(row["turn_id"])
            if self._words.stand_in(row["said"]):
                images |= _images(row)
            work.delete("overrides", "message_seq", seq, key)
            if not row["in_queue"] and self._goes_whole(row):
                work.delete("messages", "seq", seq, key)
            else:
                work.update("messages", "seq", seq, self._rewritten(row), key)
        for row in self._rows(work.connection, agent_ids, "overrides", "stand_in_json(t.content)"):
            if f"message:{row['message_seq']}" not in work.spared:
                work.delete("overrides", "message_seq", row["message_seq"], f"override:{row['message_seq']}")
        # Thoughts that only their provider can read may speak of what was erased beside them.
        cursor = work.connection.execute(
            "UPDATE messages SET reasoning = NULL WHERE reasoning IS NOT NULL AND turn_id <> ''"
            " AND turn_id IN (SELECT value FROM json_each(?)) AND agent_id IN (SELECT value FROM json_each(?))",
            (json.dumps(sorted(turns)), json.dumps(list(agent_ids))),
        )
        work.erased.rewritten["messages"] += cursor.rowcount
        for hash_ in sorted(images):
            if not work.connection.execute(_STILL_SHOWN, {"hash": hash_}).fetchone():
                work.delete("attachments", "hash", hash_, f"image:{hash_}")

    def _goes_whole(self, row: sqlite3.Row) -> bool:
        """Whether nothing is left of a message that was heard and does not hold the words."""
        return not row["said"] or self._words.stand_in(row["said"]) or self._words.stand_in(row["speaker"])

    def _rewritten(self, row: sqlite3.Row) -> dict[str, Any]:
        """Return what changes in a message: the parts that hold the words, and all that was said if it does."""
        heard = self._words.stand_in(row["said"])
        payload = json.loads(row["payload"])
        changed: dict[str, Any] = {
            "payload": json.dumps(self._payload(payload, heard)),
            "calls": json.dumps([self._call(call, heard) for call in json.loads(row["calls"])]),
            "reasoning": None,
        }
        if heard:
            changed |= {"said": "", "speaker": "", "search_text": "", "attachments": "[]"}
        if self._words.stand_in(row["content"]) or (heard and (row["role"] == "user" or payload.get("spoken"))):
            changed["content"] = self._note
        if self._are_words(row["name"] or ""):
            changed["name"] = "forgotten"
        return changed

    def _payload(self, payload: Mapping[str, Any], heard: bool) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, value in payload.items():
            if self._are_words(key) or (key == IMAGES_KEY and heard):
                continue
            if key in _NO_WORDS:
                kept[key] = value
            elif key == "speech" and heard:
                kept[key] = self._note
            else:
                kept[key] = self._value(value)
        return kept

    def _call(self, call: Mapping[str, str], heard: bool) -> dict[str, str]:
        name = "forgotten" if self._are_words(call["name"]) else call["name"]
        arguments = call["arguments"]
        speech = heard and call["name"] == SPEECH_FUNCTION
        if speech or self._words.stand_in_json(arguments, _OURS):
            given = self._value(parsed_leniently(arguments))
            if speech and "message" in given:
                given["message"] = self._note
            arguments = json.dumps(given, ensure_ascii=False)
        return {**call, "name": name, "arguments": arguments}

    def _value(self, value: Any) -> Any:
        """Return a JSON value with a note for each string that holds the words, and without keys that do."""
        if isinstance(value, dict):
            return {key: self._value(inner) for key, inner in value.items() if not self._are_words(key)}
        if isinstance(value, list):
            return [self._value(inner) for inner in value]
        if isinstance(value, bool) or value is None:
            return value
        return self._note if self._words.stand_in(str(value)) else value

    def _erase_in_blocks(self, work: _Work, agent_ids: Sequence[str]) -> None:
        without = self._words.lines_without
        for row in self._rows(work.connection, agent_ids, "blocks", "stand_in(t.value) OR stand_in(t.description)"):
            changed = {"value": without(row["value"]).strip(), "description": without(row["description"])}
            work.update("blocks", "rowid", row["rowid"], changed, f"block:{row['agent_id']}:{row['label']}")
        for row in self._rows(work.connection, agent_ids, "revisions", _REVISION):
            key = f"block:{row['agent_id']}:{row['label']}"
            before, after = without(row["before"]).strip(), without(row["after"]).strip()
            if before == after:  # nothing is left of the edit
                work.delete("revisions", "seq", row["seq"], key)
            else:
                work.update("revisions", "seq", row["seq"], {"before": before, "after": after}, key)

    def _erase_in_summaries(self, work: _Work, agent_ids: Sequence[str]) -> None:
        where, values = self._of(work.connection, "agents", agent_ids)
        rows = work.connection.execute(
            f"SELECT id, summary FROM agents WHERE stand_in(summary) AND {where}",  # noqa: S608
            values,
        ).fetchall()
        for row in rows:
            summary = self._words.sentences_without(row["summary"])
            work.update("agents", "id", row["id"], {"summary": summary}, f"summary:{row['id']}")
        for row in self._rows(work.connection, agent_ids, "summaries", "stand_in(t.text)"):
            text = self._words.sentences_without(row["text"])
            work.update("summaries", "seq", row["seq"], {"text": text}, f"summary:{row['agent_id']}")

    # --- matching ------------------------------------------------------------------------------------------

    def _messages(self, connection: sqlite3.Connection, agent_ids: Sequence[str]) -> list[sqlite3.Row]:
        in_queue = (
            "t.origin = 'live' AND t.superseded_by IS NULL"
            " AND t.seq >= (SELECT queue_start FROM agents WHERE agents.id = t.agent_id) AS in_queue"
        )
        holds = "hold(t.content, t.said, t.payload, t.calls, t.reasoning, t.name, t.speaker, t.origin)"
        return self._rows(connection, agent_ids, "messages", holds, in_queue)

    def _sessions(self, connection: sqlite3.Connection, agent_ids: Sequence[str]) -> list[sqlite3.Row]:
        return connection.execute(
            "SELECT DISTINCT agent_id, session FROM messages WHERE origin = 'import'"
            " AND agent_id IN (SELECT value FROM json_each(?)) AND stand_in(substr(session, 8))",
            (json.dumps(list(agent_ids)),),
        ).fetchall()

    @staticmethod
    def _rows(
        connection: sqlite3.Connection, agent_ids: Sequence[str], table: str, where: str, more: str = "t.rowid"
    ) -> list[sqlite3.Row]:
        return connection.execute(
            f"SELECT t.*, t.rowid, {more} FROM {table} t"  # noqa: S608
            f" WHERE t.agent_id IN (SELECT value FROM json_each(?)) AND ({where}) ORDER BY t.rowid",
            (json.dumps(list(agent_ids)),),
        ).fetchall()

    @staticmethod
    def _of(connection: sqlite3.Connection, table: str, agent_ids: Sequence[str]) -> tuple[str, tuple[str, ...]]:
        """Return the condition of rows that belong to these agents, or to nobody, and its values."""
        columns = text_columns(connection)[table]
        owner = "agent_id" if "agent_id" in columns else "id" if table == "agents" else ""
        if not owner:
            return "TRUE", ()
        condition = f"{owner} IN (SELECT value FROM json_each(?))"  # noqa: S608
        return condition, (json.dumps(list(agent_ids)),)

    def _teach(self, connection: sqlite3.Connection) -> None:
        """Let SQL ask whether the words stand somewhere."""
        given: Mapping[str, tuple[int, Callable[..., bool]]] = {
            "stand_in": (1, lambda text: self._words.stand_in(text or "")),
            "stand_in_json": (1, lambda text: self._words.stand_in_json(text or "", _OURS)),
            "hold": (8, self._hold),
        }
        for name, (count, run) in given.items():
            connection.create_function(name, count, run)

    def _hold(
        self,
        content: str,
        said: str,
        payload: str,
        calls: str,
        reasoning: str | None,
        name: str | None,
        speaker: str,
        origin: str,
    ) -> bool:
        words = self._words
        if words.stand_in(content) or words.stand_in(said) or self._are_words(name or ""):
            return True
        if origin == "import" and words.stand_in(speaker):
            return True
        if words.stand_in(payload) and words.stand_in_json(_only_words(payload, _NO_WORDS), _OURS):
            return True
        if words.stand_in(calls) and any(
            self._are_words(call["name"]) or words.stand_in_json(call["arguments"], _OURS) for call in json.loads(calls)
        ):
            return True
        return bool(reasoning) and words.stand_in_json(_only_words(reasoning or "{}", _NO_THOUGHTS), _OURS)

    def _are_words(self, name: str) -> bool:
        return name not in _OURS | _NO_WORDS and self._words.stand_in(name)

    def _clip(self, *texts: str | None) -> str:
        """Return the surroundings of the words in the first of the texts that has them."""
        text = " ".join(next((text for text in texts if text and self._words.stand_in(text)), "").split())
        start = max(0, self._words.place_in(text) - _CLIP_BEFORE)
        return text[start : start + _CLIP_CHARS]


@dataclass(slots=True)
class _Work:
    """An erasure under way: what is spared, and what was done."""

    connection: sqlite3.Connection
    spared: frozenset[str]
    erased: Erased = field(default_factory=Erased)

    def delete(self, table: str, column: str, value: object, key: str) -> None:
        if key not in self.spared:
            cursor = self.connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (value,))  # noqa: S608
            self.erased.deleted[table] += cursor.rowcount

    def update(self, table: str, column: str, value: object, changed: Mapping[str, Any], key: str) -> None:
        if key not in self.spared:
            assignments = ", ".join(f"{name} = ?" for name in changed)
            self.connection.execute(
                f"UPDATE {table} SET {assignments} WHERE {column} = ?",  # noqa: S608
                (*changed.values(), value),
            )
            self.erased.rewritten[table] += 1


_WAITING_EVENT = "stand_in(t.text) OR stand_in_json(t.payload)"
_PASSAGE = "stand_in(t.content) OR stand_in_json(t.tags)"
_REVISION = "stand_in(t.before) OR stand_in(t.after)"
_STILL_SHOWN = """
SELECT 1 FROM messages WHERE instr(attachments, :hash) OR instr(payload, :hash)
UNION ALL SELECT 1 FROM inbox WHERE instr(payload, :hash)
"""


def text_columns(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Return the columns of text of every table but those that SQLite keeps for itself, as the schema has them."""
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
        " AND name NOT LIKE '%!_fts%' ESCAPE '!'"
    ).fetchall()
    return {
        table: [
            column["name"]
            for column in connection.execute(f"PRAGMA table_info({table})")
            if column["type"].upper() in ("TEXT", "")
        ]
        for (table,) in tables
    }


def _images(row: sqlite3.Row) -> set[str]:
    """Return the hashes of the images that a message shows or showed."""
    told: Iterable[Mapping[str, Any]] = json.loads(row["payload"]).get(IMAGES_KEY, ())
    return {*json.loads(row["attachments"]), *(str(image["hash"]) for image in told)}


def _only_words(text: str, without: frozenset[str]) -> str:
    """Return JSON without the parts that are nobody's words."""
    return json.dumps(_pruned(json.loads(text), without), ensure_ascii=False)


def _pruned(value: Any, without: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(inner, without) for key, inner in value.items() if key not in without}
    return [_pruned(inner, without) for inner in value] if isinstance(value, list) else value
