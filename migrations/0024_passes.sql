-- What users show to third parties to prove who they are; stored as their SHA-256.
CREATE TABLE openid_tokens (
    token_hash BLOB PRIMARY KEY,
    user_id TEXT NOT NULL,
    expires_ts BIGINT NOT NULL
);
CREATE INDEX openid_tokens_user ON openid_tokens (user_id, expires_ts);
CREATE INDEX login_tokens_user ON login_tokens (user_id, expires_ts);

-- Which program made the last request of a device.
ALTER TABLE devices ADD COLUMN user_agent TEXT;
