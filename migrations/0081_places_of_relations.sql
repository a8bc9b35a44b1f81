-- How deep in its room an event stands that relates to another, and its own time: by them the newest event of a thread
-- and the newest replacement are found without a look at the others.
ALTER TABLE relations ADD COLUMN depth BIGINT NOT NULL DEFAULT 0;
ALTER TABLE relations ADD COLUMN origin_server_ts BIGINT NOT NULL DEFAULT 0;
UPDATE relations SET
    depth = COALESCE((SELECT e.depth FROM events e
        WHERE e.event_id = relations.event_id AND e.room_id = relations.room_id), 0),
    origin_server_ts = COALESCE((SELECT e.origin_server_ts FROM events e
        WHERE e.event_id = relations.event_id AND e.room_id = relations.room_id), 0);
-- Each event has one relation at most. An index that does not say so is hardly better for SQLite than the primary key, of
-- which it then uses the room alone.
DROP INDEX relations_event;
CREATE UNIQUE INDEX relations_event ON relations (room_id, event_id);
DROP INDEX relations_type;
CREATE INDEX relations_place ON relations (room_id, rel_type, parent_id, depth, sender);
CREATE INDEX relations_replaced ON relations (room_id, parent_id, origin_server_ts, event_id)
    WHERE rel_type = 'm.replace';
