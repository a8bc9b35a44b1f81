-- What clients' requests came to, by a hash of the request, in weeks, so that they are forgotten week by week
-- (storage/src/events/transactions.rs). Those from before this migration are forgotten at once.
DROP TABLE client_transactions;
CREATE TABLE client_transactions (
    week BIGINT NOT NULL,
    request BLOB NOT NULL,
    event_id TEXT NOT NULL,
    PRIMARY KEY (week, request)
) WITHOUT ROWID;

-- By which of its transactions which device sent an event.
ALTER TABLE events ADD COLUMN device_id TEXT;
ALTER TABLE events ADD COLUMN txn_id TEXT;
