-- What schema 3 put on top of schema-2.sql, as it did. Never edited once released.

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
INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('memos', 'm003_model_notes', '2026-11-24');

INSERT INTO model_notes (model, endpoint, topic, note, updated_at)
    VALUES ('openai/one', 'http://127.0.0.1:8080/v1', 'card', '{"images": true}', '2026-11-24T10:00:03+00:00');
