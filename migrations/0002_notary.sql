-- The documents in which other servers published their keys, as they signed them: for those who ask
-- this server as a notary. One row for each key, with the newest document that lists it.
CREATE TABLE remote_key_documents (
    server TEXT NOT NULL,
    key_id TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (server, key_id)
) WITHOUT ROWID;
