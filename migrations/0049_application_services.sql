-- How far each application service has been told what happens, and the transaction in flight, so that
-- its repetition is identical.
CREATE TABLE application_services (
    id TEXT PRIMARY KEY,
    cursor_pos BIGINT NOT NULL,
    txn_id TEXT,
    txn_body TEXT,
    txn_pos BIGINT
) WITHOUT ROWID;

-- The rooms that application services list for the networks that they lead to.
CREATE TABLE network_rooms (
    appservice_id TEXT NOT NULL,
    network_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    PRIMARY KEY (appservice_id, network_id, room_id)
) WITHOUT ROWID;
CREATE INDEX network_rooms_room ON network_rooms (room_id);
