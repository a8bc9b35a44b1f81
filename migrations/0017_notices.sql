-- The room in which the server speaks to each of its users.
CREATE TABLE notice_rooms (
    user_id TEXT PRIMARY KEY,
    room_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX notice_rooms_room ON notice_rooms (room_id);
