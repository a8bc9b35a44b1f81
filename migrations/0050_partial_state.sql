-- Rooms that are joined before all of their state is known.

-- Between these positions only a part of the room's state was known the last time; 0: never.
ALTER TABLE rooms ADD COLUMN partial_pos BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN full_pos BIGINT NOT NULL DEFAULT 0;

-- Said to be in a room whose members are not all known: it is sent what happens there until they are.
ALTER TABLE room_servers ADD COLUMN assumed SMALLINT NOT NULL DEFAULT 0;

-- Events whose state is not known wholly (storage/src/events.rs, flags).
CREATE INDEX events_partial ON events (room_id, depth) WHERE (flags & 8) <> 0;
