-- Events that users have asked to be sent later. since_ts: from when on the delay runs; due_ts: when it
-- has passed. A row is there as long as nothing has come of it.
CREATE TABLE delayed_events (
    delay_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    type TEXT NOT NULL,
    state_key TEXT,
    content TEXT NOT NULL,
    delay_ms BIGINT NOT NULL,
    since_ts BIGINT NOT NULL,
    due_ts BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX delayed_events_due ON delayed_events (due_ts);
CREATE INDEX delayed_events_user ON delayed_events (user_id);
CREATE INDEX delayed_events_room ON delayed_events (room_id);
