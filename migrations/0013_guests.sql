-- Rooms that let guests in no more: those of this deployment are still to leave.
CREATE TABLE guest_rooms (
    room_id TEXT PRIMARY KEY,
    number TEXT NOT NULL
) WITHOUT ROWID;
