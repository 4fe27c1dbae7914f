"""The schema of memos.db as ordered steps. A step that has been released is never edited; a new one is added.

`messages` is recall storage, `passages` archival storage, `blocks` working context with every edit in `revisions`.
`indexed_at IS NULL` marks rows whose vector is still to be written: the outbox of the derived index.
All times are UTC, ISO 8601; `seq` gives the order.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from filelock import FileLock
from sqlite_utils import Database as SqliteUtilsDatabase
from sqlite_utils.migrations import Migrations

from memos.storage.database import SCHEMA_VERSION

migration = Migrations("memos")

_FIRST_SCHEMA = """
CREATE TABLE agents (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    model TEXT NOT NULL,
    persona_name TEXT NOT NULL,
    human_name TEXT NOT NULL,
    settings TEXT NOT NULL DEFAULT '{}',      -- what `run` was told for this agent, as JSON
    queue_start INTEGER NOT NULL DEFAULT 0,   -- first seq of the FIFO queue
    summary TEXT NOT NULL DEFAULT '',         -- recursive summary of what left the queue
    created_at TEXT NOT NULL,
    last_login_at TEXT,
    paused_until TEXT                         -- no timed heartbeat before
);
-- Events acknowledged while a turn was running; each moves to `messages` when the kernel fetches it.
CREATE TABLE inbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    agent_id TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    payload TEXT NOT NULL DEFAULT '{}',
    created_at TEXT NOT NULL
);
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    agent_id TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE,
    turn_id TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('user', 'assistant', 'tool')),
    kind TEXT,                                -- of an event
    name TEXT,                                -- of the function, on a result
    content TEXT NOT NULL,
    payload TEXT NOT NULL DEFAULT '{}',
    calls TEXT NOT NULL DEFAULT '[]',
    call_id TEXT,
    ok INTEGER,
    reasoning TEXT,
    attachments TEXT NOT NULL DEFAULT '[]',
    state TEXT NOT NULL CHECK (state IN ('provisional', 'complete', 'incomplete')),
    origin TEXT NOT NULL CHECK (origin IN ('live', 'import')),
    provenance TEXT NOT NULL,
    session TEXT,
    superseded_by TEXT,
    created_at TEXT NOT NULL,
    speaker TEXT NOT NULL DEFAULT '',
    said TEXT NOT NULL DEFAULT '',            -- words between user and agent; '' where nobody heard any
    search_text TEXT NOT NULL DEFAULT '',     -- "[date] speaker: said", what both legs of search index
    indexed_at TEXT
);
CREATE INDEX messages_by_agent ON messages(agent_id, seq);
CREATE INDEX messages_by_call ON messages(agent_id, call_id) WHERE call_id IS NOT NULL;
CREATE INDEX messages_said_by_time ON messages(agent_id, created_at) WHERE said <> '';
CREATE INDEX messages_heard ON messages(agent_id, session, seq) WHERE said <> '' AND superseded_by IS NULL;
CREATE INDEX messages_unsettled ON messages(agent_id) WHERE state = 'provisional';
CREATE INDEX messages_outbox ON messages(seq) WHERE indexed_at IS NULL AND search_text <> '';

CREATE TABLE blocks (
    agent_id TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE,
    label TEXT NOT NULL,
    value TEXT NOT NULL,
    limit_chars INTEGER NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    read_only INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (agent_id, label)
);
CREATE TABLE revisions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE,
    label TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    author TEXT NOT NULL,                     -- agent, user or system
    turn_id TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE INDEX revisions_by_agent ON revisions(agent_id, seq);

CREATE TABLE passages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    agent_id TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE,
    turn_id TEXT NOT NULL,
    content TEXT NOT NULL,
    search_text TEXT NOT NULL,
    provenance TEXT NOT NULL,
    superseded_by TEXT,
    created_at TEXT NOT NULL,
    indexed_at TEXT
);
CREATE INDEX passages_by_agent ON passages(agent_id, seq);
CREATE INDEX passages_outbox ON passages(seq) WHERE indexed_at IS NULL;

-- Counts in every packet must cost O(1), whatever has been stored.
CREATE TABLE counts (
    agent_id TEXT PRIMARY KEY REFERENCES agents(id) ON DELETE CASCADE,
    recall INTEGER NOT NULL DEFAULT 0,
    archival INTEGER NOT NULL DEFAULT 0
);
CREATE TRIGGER agents_counted AFTER INSERT ON agents BEGIN
    INSERT INTO counts(agent_id) VALUES (new.id);
END;
CREATE TRIGGER messages_counted AFTER INSERT ON messages WHEN new.said <> '' BEGIN
    UPDATE counts SET recall = recall + 1 WHERE agent_id = new.agent_id;
END;
CREATE TRIGGER messages_counted_later AFTER UPDATE OF said ON messages BEGIN
    UPDATE counts SET recall = recall + (new.said <> '') - (old.said <> '') WHERE agent_id = new.agent_id;
END;
CREATE TRIGGER messages_uncounted AFTER DELETE ON messages WHEN old.said <> '' BEGIN
    UPDATE counts SET recall = recall - 1 WHERE agent_id = old.agent_id;
END;
CREATE TRIGGER passages_counted AFTER INSERT ON passages BEGIN
    UPDATE counts SET archival = archival + 1 WHERE agent_id = new.agent_id;
END;
CREATE TRIGGER passages_uncounted AFTER DELETE ON passages BEGIN
    UPDATE counts SET archival = archival - 1 WHERE agent_id = old.agent_id;
END;

CREATE VIRTUAL TABLE messages_fts USING fts5(
    search_text, content='messages', content_rowid='seq', tokenize='porter unicode61'
);
CREATE TRIGGER messages_fts_insert AFTER INSERT ON messages WHEN new.search_text <> '' BEGIN
    INSERT INTO messages_fts(rowid, search_text) VALUES (new.seq, new.search_text);
END;
CREATE TRIGGER messages_fts_update AFTER UPDATE OF search_text ON messages BEGIN
    INSERT INTO messages_fts(messages_fts, rowid, search_text)
        SELECT 'delete', old.seq, old.search_text WHERE old.search_text <> '';
    INSERT INTO messages_fts(rowid, search_text) SELECT new.seq, new.search_text WHERE new.search_text <> '';
END;
CREATE TRIGGER messages_fts_delete AFTER DELETE ON messages WHEN old.search_text <> '' BEGIN
    INSERT INTO messages_fts(messages_fts, rowid, search_text) VALUES ('delete', old.seq, old.search_text);
END;
CREATE VIRTUAL TABLE passages_fts USING fts5(
    search_text, content='passages', content_rowid='seq', tokenize='porter unicode61'
);
CREATE TRIGGER passages_fts_insert AFTER INSERT ON passages BEGIN
    INSERT INTO passages_fts(rowid, search_text) VALUES (new.seq, new.search_text);
END;
CREATE TRIGGER passages_fts_update AFTER UPDATE OF search_text ON passages BEGIN
    INSERT INTO passages_fts(passages_fts, rowid, search_text) VALUES ('delete', old.seq, old.search_text);
    INSERT INTO passages_fts(rowid, search_text) VALUES (new.seq, new.search_text);
END;
CREATE TRIGGER passages_fts_delete AFTER DELETE ON passages BEGIN
    INSERT INTO passages_fts(passages_fts, rowid, search_text) VALUES ('delete', old.seq, old.search_text);
END;

CREATE TABLE embedding_spaces (
    name TEXT PRIMARY KEY,                    -- model and revision: vectors of two spaces are never compared
    dims INTEGER NOT NULL,
    created_at TEXT NOT NULL
);
"""


@migration()
def m001_agents_memory_and_search(db: SqliteUtilsDatabase) -> None:
    """Agents, recall and archival storage, working context with revisions, full-text search, the outbox."""
    for statement in _statements(_FIRST_SCHEMA):
        db.conn.execute(statement)


_PAGING = """
CREATE TABLE model_calls (                    -- the usage ledger: one row a request to a model
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE,
    turn_id TEXT NOT NULL,
    model TEXT NOT NULL,
    purpose TEXT NOT NULL CHECK (purpose IN ('chat', 'summarise', 'embed')),
    prompt_tokens INTEGER,                    -- NULL: the model reported none
    reply_tokens INTEGER,
    cached_tokens INTEGER,
    cost_usd REAL,                            -- NULL: nobody knows the price
    created_at TEXT NOT NULL
);
CREATE INDEX model_calls_by_agent ON model_calls(agent_id, created_at);

CREATE TABLE token_scales (                   -- how a model's own count relates to the offline tokenizer's
    model TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    tokenizer TEXT NOT NULL,
    scale TEXT NOT NULL,                      -- what was learned, as JSON
    updated_at TEXT NOT NULL,
    PRIMARY KEY (model, endpoint, tokenizer)
);

CREATE TABLE overrides (                      -- what stands in the FIFO queue for a message too long to stand there
    message_seq INTEGER PRIMARY KEY REFERENCES messages(seq) ON DELETE CASCADE,
    agent_id TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE,
    content TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE INDEX overrides_by_agent ON overrides(agent_id, message_seq);

CREATE TABLE summaries (                      -- every recursive summary an agent ever had; the newest is agents.summary
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE,
    text TEXT NOT NULL,
    author TEXT NOT NULL,                     -- a model, or memos where no model could
    last_seq INTEGER NOT NULL,                -- the newest message it covers
    created_at TEXT NOT NULL
);
CREATE INDEX summaries_by_agent ON summaries(agent_id, seq);

ALTER TABLE passages ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';  -- as JSON, in lower case

-- What was taken back is no longer counted.
DROP TRIGGER messages_uncounted;
CREATE TRIGGER messages_uncounted AFTER DELETE ON messages WHEN old.said <> '' AND old.superseded_by IS NULL BEGIN
    UPDATE counts SET recall = recall - 1 WHERE agent_id = old.agent_id;
END;
CREATE TRIGGER messages_taken_back AFTER UPDATE OF superseded_by ON messages
    WHEN new.said <> '' AND (old.superseded_by IS NULL) <> (new.superseded_by IS NULL) BEGIN
    UPDATE counts SET recall = recall + (new.superseded_by IS NULL) - (old.superseded_by IS NULL)
        WHERE agent_id = new.agent_id;
END;
DROP TRIGGER passages_uncounted;
CREATE TRIGGER passages_uncounted AFTER DELETE ON passages WHEN old.superseded_by IS NULL BEGIN
    UPDATE counts SET archival = archival - 1 WHERE agent_id = old.agent_id;
END;
CREATE TRIGGER passages_taken_back AFTER UPDATE OF superseded_by ON passages
    WHEN (old.superseded_by IS NULL) <> (new.superseded_by IS NULL) BEGIN
    UPDATE counts SET archival = archival + (new.superseded_by IS NULL) - (old.superseded_by IS NULL)
        WHERE agent_id = new.agent_id;
END;

-- The newest message at the last flush: a warning of memory pressure after it is of the filling under way.
ALTER TABLE agents ADD COLUMN flushed_at INTEGER NOT NULL DEFAULT 0;
"""


@migration()
def m002_usage_and_paging(db: SqliteUtilsDatabase) -> None:
    """The usage ledger, learned token scales, overrides of long messages, the history of summaries, tags."""
    for statement in _statements(_PAGING):
        db.conn.execute(statement)


_MODEL_NOTES = """
CREATE TABLE model_notes (                    -- what was learned of a model at an endpoint, as JSON
    model TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    topic TEXT NOT NULL,                      -- scale:TOKENIZER, or card: what the model really does
    note TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (model, endpoint, topic)
);
INSERT INTO model_notes (model, endpoint, topic, note, updated_at)
    SELECT model, endpoint, 'scale:' || tokenizer, scale, updated_at FROM token_scales;
DROP TABLE token_scales;
"""


@migration()
def m003_model_notes(db: SqliteUtilsDatabase) -> None:
    """One table for all that is learned of models: token scales move there, capability cards join them."""
    for statement in _statements(_MODEL_NOTES):
        db.conn.execute(statement)


_ATTACHMENTS = """
CREATE TABLE attachments (                    -- images that messages show, one row for each
    hash TEXT PRIMARY KEY,                    -- sha256 of the bytes, in hexadecimal
    media_type TEXT NOT NULL,
    width INTEGER NOT NULL,                   -- in pixels
    height INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    name TEXT NOT NULL,                       -- of the file it first came from
    created_at TEXT NOT NULL,
    bytes BLOB NOT NULL
);
"""


@migration()
def m004_attachments(db: SqliteUtilsDatabase) -> None:
    """Images by the hash of their bytes; messages name them in `attachments`."""
    for statement in _statements(_ATTACHMENTS):
        db.conn.execute(statement)


_PROMPTS = """
CREATE TABLE prompts (                        -- what stood in the prompt that a reply answers, by ids
    reply_seq INTEGER PRIMARY KEY REFERENCES messages(seq) ON DELETE CASCADE,
    agent_id TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE,
    first_seq INTEGER NOT NULL,               -- the queue: the live messages from here
    last_seq INTEGER NOT NULL,                -- to here
    revision_seq INTEGER NOT NULL,            -- the newest edit of a block: they read as it left them
    summary_seq INTEGER NOT NULL              -- the newest summary; 0: there was none
);
CREATE INDEX prompts_by_agent ON prompts(agent_id, reply_seq);
"""


@migration()
def m005_prompts(db: SqliteUtilsDatabase) -> None:
    """What stood in the prompt of each reply, so that `/why` can tell it later."""
    for statement in _statements(_PROMPTS):
        db.conn.execute(statement)


_TRASH = """
ALTER TABLE agents ADD COLUMN deleted_at TEXT;    -- since when it lies in the trash
ALTER TABLE agents ADD COLUMN deleted_name TEXT;  -- its name until then; `name` is now "-" and its id: nobody's choice

-- What was spent stays spent: a call outlives its agent, as nobody's.
CREATE TABLE calls_of_anybody (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id TEXT REFERENCES agents(id) ON DELETE SET NULL,  -- NULL: of an agent that was erased
    turn_id TEXT NOT NULL,
    model TEXT NOT NULL,
    purpose TEXT NOT NULL CHECK (purpose IN ('chat', 'summarise', 'embed')),
    prompt_tokens INTEGER,                    -- NULL: the model reported none
    reply_tokens INTEGER,
    cached_tokens INTEGER,
    cost_usd REAL,                            -- NULL: nobody knows the price
    created_at TEXT NOT NULL
);
INSERT INTO calls_of_anybody (
    seq, agent_id, turn_id, model, purpose, prompt_tokens, reply_tokens, cached_tokens, cost_usd, created_at
) SELECT seq, agent_id, turn_id, model, purpose, prompt_tokens, reply_tokens, cached_tokens, cost_usd, created_at
    FROM model_calls;
DROP TABLE model_calls;
ALTER TABLE calls_of_anybody RENAME TO model_calls;
CREATE INDEX model_calls_by_agent ON model_calls(agent_id, created_at);
"""


@migration()
def m006_trash(db: SqliteUtilsDatabase) -> None:
    """Deleted agents lie in a trash, and the ledger outlives an agent that is erased."""
    for statement in _statements(_TRASH):
        db.conn.execute(statement)


def migrate(path: Path, connection: sqlite3.Connection) -> None:
    """Bring the database at `path` to the newest schema: snapshot first, one process at a time, all or nothing each.

    The snapshot of an older schema stays beside the database as `memos.before-schema-N.db`.
    """
    with FileLock(path.with_suffix(".migration.lock"), mode=0o600):
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version >= SCHEMA_VERSION:
            return  # another process was quicker
        if version:
            _snapshot(connection, path.with_suffix(f".before-schema-{SCHEMA_VERSION}.db"))
        apply_migrations(connection)


def apply_migrations(connection: sqlite3.Connection) -> None:
    """Take every step that an open database lacks."""
    migration.apply(SqliteUtilsDatabase(connection))
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _snapshot(connection: sqlite3.Connection, target: Path) -> None:
    with sqlite3.connect(target) as copy:
        connection.backup(copy)
    target.chmod(0o600)


def _statements(script: str) -> list[str]:
    """Split a script at its statements; unlike `executescript` this leaves the open transaction alone."""
    statements: list[str] = []
    pending = ""
    for line in script.splitlines():
        pending += line + "\n"
        if sqlite3.complete_statement(pending):
            statements.append(pending.strip())
            pending = ""
    return [statement for statement in statements if statement]
