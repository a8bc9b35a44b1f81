-- The threads of a room are found by it.
CREATE INDEX relations_type ON relations (room_id, rel_type, parent_id);
