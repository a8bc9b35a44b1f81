-- What users report to the administrators: a room, an event in a room (with its sender), or a user.
CREATE TABLE reports (
    report_id TEXT PRIMARY KEY,
    reporter TEXT NOT NULL,
    room_id TEXT,
    event_id TEXT,
    user_id TEXT,
    reason TEXT NOT NULL,
    received_ts BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX reports_time ON reports (received_ts);
CREATE INDEX reports_reporter ON reports (reporter, received_ts);
