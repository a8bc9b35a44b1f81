-- How often single users may do something, where administrators let them more, or less, than others.
-- Both 0: as often as they like.
CREATE TABLE rate_limits (
    user_id TEXT PRIMARY KEY,
    per_second BIGINT NOT NULL,
    burst BIGINT NOT NULL
) WITHOUT ROWID;
