-- What the running numbers of a thread were where its history was purged: nothing before counts as
-- unread (storage/src/admin/purge.rs).
ALTER TABLE thread_counts ADD COLUMN base_notify BIGINT NOT NULL DEFAULT 0;
ALTER TABLE thread_counts ADD COLUMN base_highlight BIGINT NOT NULL DEFAULT 0;
