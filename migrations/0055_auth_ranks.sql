-- How many events stand above each other at most under a state event, by way of `auth_events`: every
-- event ranks higher than those that authorise it. State resolution walks from high ranks to low ones
-- and can stop where all states agree (engine/src/rooms/auth_graph.rs). What has no row is ranked when
-- it is needed.
CREATE TABLE auth_ranks (
    room_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    auth_rank BIGINT NOT NULL,
    PRIMARY KEY (event_id, room_id)
) WITHOUT ROWID;
