-- For SQLite only (storage/src/dialect.rs): a table whose key is BIGINT has a second tree there, from keys to
-- row IDs. A key that is INTEGER is the row ID.

ALTER TABLE positions RENAME TO positions_of_76;
CREATE TABLE positions (
    pos INTEGER PRIMARY KEY,
    kind SMALLINT NOT NULL,
    subject TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL
);
INSERT INTO positions (pos, kind, subject, object, detail)
    SELECT pos, kind, subject, object, detail FROM positions_of_76 ORDER BY pos;
DROP TABLE positions_of_76;

ALTER TABLE epochs RENAME TO epochs_of_76;
CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY,
    start_pos BIGINT NOT NULL,
    created_ts BIGINT NOT NULL
);
INSERT INTO epochs (epoch, start_pos, created_ts)
    SELECT epoch, start_pos, created_ts FROM epochs_of_76;
DROP TABLE epochs_of_76;

ALTER TABLE timeline RENAME TO timeline_of_76;
CREATE TABLE timeline (
    pos INTEGER PRIMARY KEY,
    room_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    depth BIGINT NOT NULL,
    local SMALLINT NOT NULL,
    thread_root TEXT,
    notifies SMALLINT NOT NULL,
    notify_count BIGINT NOT NULL,
    highlight_count BIGINT NOT NULL
);
INSERT INTO timeline (pos, room_id, event_id, depth, local, thread_root, notifies,
        notify_count, highlight_count)
    SELECT pos, room_id, event_id, depth, local, thread_root, notifies,
        notify_count, highlight_count
    FROM timeline_of_76 ORDER BY pos;
DROP TABLE timeline_of_76;
CREATE INDEX timeline_room ON timeline (room_id, pos);
CREATE INDEX timeline_depth ON timeline (room_id, depth, pos);
CREATE UNIQUE INDEX timeline_event ON timeline (event_id, room_id);
CREATE INDEX timeline_thread ON timeline (room_id, thread_root, pos) WHERE thread_root IS NOT NULL;
CREATE INDEX timeline_local ON timeline (pos) WHERE local = 1;
CREATE INDEX timeline_notifies ON timeline (room_id, pos) WHERE notifies > 0;
CREATE INDEX timeline_numbers ON timeline (room_id, COALESCE(thread_root, 'main'), pos)
    WHERE notifies > 0;
CREATE INDEX timeline_uncounted ON timeline (room_id, pos) WHERE notifies >= 4;

ALTER TABLE search_documents RENAME TO search_documents_of_76;
CREATE TABLE search_documents (
    pos INTEGER PRIMARY KEY,
    room BIGINT NOT NULL,
    terms BLOB NOT NULL
);
INSERT INTO search_documents (pos, room, terms)
    SELECT pos, room, terms FROM search_documents_of_76 ORDER BY pos;
DROP TABLE search_documents_of_76;
