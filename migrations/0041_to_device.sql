-- Messages to devices: those that wait for a device of this deployment, those that wait for another
-- server, and which of other servers have come.
CREATE TABLE to_device (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    pos BIGINT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id, pos)
) WITHOUT ROWID;

CREATE TABLE to_device_outbox (
    server TEXT NOT NULL,
    pos BIGINT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (server, pos)
) WITHOUT ROWID;

CREATE TABLE to_device_received (
    origin TEXT NOT NULL,
    message_id TEXT NOT NULL,
    received_ts BIGINT NOT NULL,
    PRIMARY KEY (origin, message_id)
) WITHOUT ROWID;
CREATE INDEX to_device_received_ts ON to_device_received (received_ts);

-- Which rows of the outboxes are in the transaction in flight, as JSON.
ALTER TABLE destinations ADD COLUMN txn_rows TEXT;
