-- How users want to be told of what notifies them, and how far they have been (storage/src/pushers.rs).
CREATE TABLE pushers (
    app_id TEXT NOT NULL,
    pushkey TEXT NOT NULL,
    user_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    app_display_name TEXT NOT NULL,
    device_display_name TEXT NOT NULL,
    profile_tag TEXT,
    lang TEXT NOT NULL,
    -- JSON, as the client wrote it.
    data TEXT NOT NULL,
    enabled SMALLINT NOT NULL,
    -- The device that set it and with which it goes; '' is an application service's own.
    device_id TEXT NOT NULL,
    set_ts BIGINT NOT NULL,
    -- Everything up to here was told, or is not to be.
    cursor_pos BIGINT NOT NULL,
    -- The number of unread messages that was told last, or was known when it was made.
    badge BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    retry_ts BIGINT NOT NULL,
    PRIMARY KEY (app_id, pushkey, user_id)
) WITHOUT ROWID;
CREATE INDEX pushers_user ON pushers (user_id, device_id);
