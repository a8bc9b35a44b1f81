-- Work of administrators that takes long: removing a room, purging history, redacting what a user said.
-- It is done in the background, goes on after a restart, and is remembered for a while.
CREATE TABLE admin_tasks (
    task_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    status TEXT NOT NULL,
    request TEXT NOT NULL,
    progress TEXT NOT NULL,
    created_ts BIGINT NOT NULL,
    changed_ts BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX admin_tasks_subject ON admin_tasks (subject, created_ts);
CREATE INDEX admin_tasks_open ON admin_tasks (created_ts) WHERE status IN ('scheduled', 'active');

-- Rooms that nobody here may join, known or not.
CREATE TABLE blocked_rooms (
    room_id TEXT PRIMARY KEY,
    blocked_by TEXT NOT NULL,
    created_ts BIGINT NOT NULL
) WITHOUT ROWID;
