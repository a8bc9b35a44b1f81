-- Which threads users follow. pos: where that changed last. unsubscribed_pos: up to which event a user
-- had seen a thread that they left; NULL while they follow it.
CREATE TABLE thread_subscriptions (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    thread_root TEXT NOT NULL,
    automatic SMALLINT NOT NULL,
    unsubscribed_pos BIGINT,
    pos BIGINT NOT NULL,
    PRIMARY KEY (user_id, room_id, thread_root)
) WITHOUT ROWID;
CREATE INDEX thread_subscriptions_pos ON thread_subscriptions (user_id, pos);

CREATE INDEX thread_subscriptions_by_thread ON thread_subscriptions (room_id, thread_root);
