-- Connections of sliding sync: what each client has been sent. A connection has a name that nobody can
-- guess, and states by their numbers: the client names the one that it has. `sliding_rooms` holds what
-- the state of that number changed; number 0 is what all states have in common.
CREATE TABLE sliding_connections (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    conn_id TEXT NOT NULL,
    connection TEXT NOT NULL,
    confirmed BIGINT NOT NULL,
    used_ts BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id, conn_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX sliding_connections_name ON sliding_connections (connection);
CREATE INDEX sliding_connections_used ON sliding_connections (used_ts);

CREATE TABLE sliding_states (
    connection TEXT NOT NULL,
    serial BIGINT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (connection, serial)
) WITHOUT ROWID;

CREATE TABLE sliding_rooms (
    connection TEXT NOT NULL,
    serial BIGINT NOT NULL,
    room_id TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (connection, serial, room_id)
) WITHOUT ROWID;
