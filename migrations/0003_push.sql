-- Unread counts of highlights too, for each thread, and of users whose rules are their own.
-- Counting begins anew.

-- notify_count and highlight_count of an event that notifies by default are the numbers of its thread
-- up to it (storage/src/unread.rs); of other events they are 0. For notifies see there.
UPDATE timeline SET notify_count = 0;
ALTER TABLE timeline DROP COLUMN thread_notify_count;
ALTER TABLE timeline ADD COLUMN highlight_count BIGINT NOT NULL DEFAULT 0;
ALTER TABLE timeline ADD COLUMN notifies SMALLINT NOT NULL DEFAULT 0;
CREATE INDEX timeline_notifies ON timeline (room_id, pos) WHERE notifies > 0;
CREATE INDEX timeline_numbers ON timeline (room_id, COALESCE(thread_root, 'main'), pos)
    WHERE notifies > 0;
CREATE INDEX timeline_uncounted ON timeline (room_id, pos) WHERE notifies >= 4;

ALTER TABLE rooms DROP COLUMN notify_count;

-- 'main' is the thread of the events that are in no other; pos is where the numbers were raised last.
DELETE FROM thread_counts;
ALTER TABLE thread_counts ADD COLUMN highlight_count BIGINT NOT NULL DEFAULT 0;
ALTER TABLE thread_counts ADD COLUMN pos BIGINT NOT NULL DEFAULT 0;
CREATE INDEX thread_counts_pos ON thread_counts (room_id, pos);

ALTER TABLE unread_marks DROP COLUMN notify_count;

-- From where on the push rules of a member were asked themselves; NULL: the default ones hold.
ALTER TABLE memberships ADD COLUMN own_rules_pos BIGINT;
CREATE INDEX memberships_own_rules ON memberships (room_id, user_id)
    WHERE own_rules_pos IS NOT NULL;

-- In which rooms the rules ('rules') or the ignored users ('ignored') of a user make a difference;
-- room_id '' is every room.
CREATE TABLE push_reach (
    user_id TEXT NOT NULL,
    source TEXT NOT NULL,
    room_id TEXT NOT NULL,
    PRIMARY KEY (user_id, source, room_id)
) WITHOUT ROWID;

-- What an event means to one user, beside what it means to everybody.
CREATE TABLE notifications (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    pos BIGINT NOT NULL,
    event_id TEXT NOT NULL,
    thread_root TEXT NOT NULL,
    notify SMALLINT NOT NULL,
    highlight SMALLINT NOT NULL,
    PRIMARY KEY (user_id, room_id, pos)
) WITHOUT ROWID;
CREATE INDEX notifications_event ON notifications (room_id, event_id);
