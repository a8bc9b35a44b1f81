-- What events mean to single users, in sums of 128 positions each (storage/src/unread/own.rs), so that a count of very
-- much that was not read adds up few rows.
CREATE TABLE notification_sums (
    room_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    stretch BIGINT NOT NULL,
    thread_root TEXT NOT NULL,
    notify BIGINT NOT NULL,
    highlight BIGINT NOT NULL,
    PRIMARY KEY (room_id, user_id, stretch, thread_root)
) WITHOUT ROWID;
INSERT INTO notification_sums (room_id, user_id, stretch, thread_root, notify, highlight)
    SELECT room_id, user_id, pos / 128, thread_root, SUM(notify), SUM(highlight) FROM notifications
    GROUP BY room_id, user_id, pos / 128, thread_root;
DROP INDEX notifications_thread;
