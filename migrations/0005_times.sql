-- Clients look for the event that is closest to a moment.
CREATE INDEX events_time ON events (room_id, origin_server_ts);
