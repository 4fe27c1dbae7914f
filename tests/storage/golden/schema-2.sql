-- What schema 2 put on top of schema-1.sql, as it did. Never edited once released.

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
INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('memos', 'm002_usage_and_paging', '2026-11-24');

INSERT INTO token_scales (model, endpoint, tokenizer, scale, updated_at)
    VALUES ('openai/one', 'http://127.0.0.1:8080/v1', 'cl100k_base', '{"observations": []}', '2026-11-24T10:00:00+00:00');
INSERT INTO token_scales (model, endpoint, tokenizer, scale, updated_at)
    VALUES ('openai/one', 'http://127.0.0.1:8080/v1', 'bytes', 'B', '2026-11-24T10:00:01+00:00');
INSERT INTO token_scales (model, endpoint, tokenizer, scale, updated_at)
    VALUES ('anthropic/two', '', 'cl100k_base', 'C', '2026-11-24T10:00:02+00:00');
