-- Content that nobody is given: by its hash, so that the same bytes are held back under every name, and
-- when they are uploaded or fetched again.
CREATE TABLE media_quarantine (
    hash TEXT PRIMARY KEY,
    quarantined_by TEXT NOT NULL,
    quarantined_ts BIGINT NOT NULL
) WITHOUT ROWID;

-- Whether an administrator said that it is not to be held back.
ALTER TABLE media ADD COLUMN protected SMALLINT NOT NULL DEFAULT 0;
