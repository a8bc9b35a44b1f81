-- The third-party identifiers by which this deployment knows its users; of each there is one.
CREATE TABLE threepids (
    medium TEXT NOT NULL,
    address TEXT NOT NULL,
    user_id TEXT NOT NULL,
    validated_ts BIGINT NOT NULL,
    added_ts BIGINT NOT NULL,
    PRIMARY KEY (medium, address)
) WITHOUT ROWID;
CREATE INDEX threepids_user ON threepids (user_id);

-- Who says that an address is theirs, and whether they have shown it. Secret and token are stored as
-- their SHA-256; token_hash NULL: nobody can show it, a letter about something else was sent.
CREATE TABLE email_sessions (
    session_id TEXT PRIMARY KEY,
    address TEXT NOT NULL,
    purpose TEXT NOT NULL,
    secret_hash BLOB NOT NULL,
    send_attempt BIGINT NOT NULL,
    token_hash BLOB,
    next_link TEXT,
    created_ts BIGINT NOT NULL,
    validated_ts BIGINT
);
CREATE UNIQUE INDEX email_sessions_attempt ON email_sessions (address, purpose, secret_hash);
CREATE INDEX email_sessions_created ON email_sessions (created_ts);

-- The email session by which a stage was passed.
ALTER TABLE uia_sessions ADD COLUMN email_session TEXT;
