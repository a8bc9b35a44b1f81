-- What was uploaded, or promised to be, and what was fetched from other servers. The bytes are elsewhere,
-- named by their SHA-256 (storage/src/blobs.rs), each once however often it was uploaded.
CREATE TABLE media (
    origin TEXT NOT NULL,
    media_id TEXT NOT NULL,
    -- SHA-256 in hexadecimal; NULL as long as nothing was uploaded.
    hash TEXT,
    size BIGINT NOT NULL,
    content_type TEXT,
    file_name TEXT,
    -- The user of this server who uploaded it; NULL for what other servers have.
    uploader TEXT,
    created_ts BIGINT NOT NULL,
    used_ts BIGINT NOT NULL,
    -- Until when a promise can be kept.
    expires_ts BIGINT,
    -- Whether only those who are logged in may have it.
    authenticated SMALLINT NOT NULL,
    PRIMARY KEY (origin, media_id)
) WITHOUT ROWID;
CREATE INDEX media_hash ON media (hash);
CREATE INDEX media_uploader ON media (uploader, created_ts);
CREATE INDEX media_used ON media (used_ts);

-- Smaller pictures of pictures.
CREATE TABLE media_thumbnails (
    hash TEXT NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    crop SMALLINT NOT NULL,
    animated SMALLINT NOT NULL,
    thumbnail_hash TEXT NOT NULL,
    size BIGINT NOT NULL,
    content_type TEXT NOT NULL,
    PRIMARY KEY (hash, width, height, crop, animated)
) WITHOUT ROWID;
CREATE INDEX media_thumbnails_hash ON media_thumbnails (thumbnail_hash);

-- Bytes that nothing in the two tables above may need any more: looked at, and removed if it is so.
CREATE TABLE media_garbage (hash TEXT PRIMARY KEY) WITHOUT ROWID;
