-- The words by which users are found: those of the names of local users and of their profiles, and of
-- what users of other servers are called in rooms. They only propose (storage/src/user_directory.rs).
CREATE TABLE directory_words (
    word TEXT COLLATE BYTES NOT NULL,
    user_id TEXT NOT NULL,
    PRIMARY KEY (word, user_id)
) WITHOUT ROWID;
CREATE INDEX directory_words_user ON directory_words (user_id);

-- Rooms that anybody may join or read: their members can be found by everybody.
CREATE TABLE directory_rooms (room_id TEXT PRIMARY KEY) WITHOUT ROWID;

-- How far the directory has come: with the memberships as they change, and, in a database from before
-- it, with the accounts and the rooms that were there.
CREATE TABLE directory_progress (
    subject TEXT PRIMARY KEY,
    pos BIGINT NOT NULL,
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO directory_progress (subject, pos, user_id, room_id)
    VALUES ('memberships', 0, '', ''), ('accounts', 0, '', ''), ('rooms', 0, '', '');

CREATE INDEX memberships_pos ON memberships (pos, user_id, room_id);
