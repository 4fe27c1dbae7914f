-- A database as schema 1 wrote it. Never edited once released: it is what people have on disk.

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
CREATE TABLE _sqlite_migrations (id INTEGER PRIMARY KEY, migration_set TEXT, name TEXT, applied_at TEXT);
INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('memos', 'm001_agents_memory_and_search', '2026-11-23');

INSERT INTO agents (id, name, model, persona_name, human_name, queue_start, summary, created_at, last_login_at)
    VALUES ('a1', 'golden', 'builtin/tiny', 'clerk', 'basic', 1, 'What was before.', '2026-11-23T10:00:00+00:00', '2026-11-23T10:00:05+00:00');
INSERT INTO blocks (agent_id, label, value, limit_chars) VALUES ('a1', 'persona', 'I am a clerk.', 2000);
INSERT INTO blocks (agent_id, label, value, limit_chars) VALUES ('a1', 'human', 'Her name is Ana; she keeps bees.', 2000);
INSERT INTO revisions (agent_id, label, before, after, author, turn_id, created_at)
    VALUES ('a1', 'human', '', 'Her name is Ana; she keeps bees.', 'agent', 't1', '2026-11-23T10:00:08+00:00');
INSERT INTO messages (id, agent_id, turn_id, role, kind, content, state, origin, provenance, created_at, speaker, said, search_text)
    VALUES ('t1', 'a1', 't1', 'user', 'user_message', 'My name is Ana and I keep bees.', 'complete', 'live', 'user',
            '2026-11-23T10:00:06+00:00', 'user', 'My name is Ana and I keep bees.',
            '[2026-11-23 10:00, Monday November] user: My name is Ana and I keep bees.');
INSERT INTO messages (id, agent_id, turn_id, role, content, calls, state, origin, provenance, created_at)
    VALUES ('m2', 'a1', 't1', 'assistant', 'She told me her name.',
            '[{"id": "c1", "name": "core_memory_append", "arguments": "{\"name\": \"human\", \"content\": \"Her name is Ana; she keeps bees.\"}"}]',
            'complete', 'live', 'agent', '2026-11-23T10:00:07+00:00');
INSERT INTO messages (id, agent_id, turn_id, role, name, content, call_id, ok, state, origin, provenance, created_at)
    VALUES ('m3', 'a1', 't1', 'tool', 'core_memory_append', 'Added to human (29 of 2000 characters).', 'c1', 1,
            'complete', 'live', 'system', '2026-11-23T10:00:08+00:00');
INSERT INTO passages (id, agent_id, turn_id, content, search_text, provenance, created_at)
    VALUES ('p1', 'a1', 't1', 'Ana keeps bees on her roof.', '[2026-11-23 10:00, Monday November] Ana keeps bees on her roof.',
            'agent', '2026-11-23T10:00:09+00:00');
