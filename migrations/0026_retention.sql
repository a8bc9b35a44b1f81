-- Events that came before the time that they say they are of: to find those that are older than they say
-- without a look at all the others (storage/src/admin/purge.rs).
CREATE INDEX events_lying ON events (room_id, received_ts) WHERE origin_server_ts > received_ts;
