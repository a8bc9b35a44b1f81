-- Which words stand in which events. `term` and `room` are hashes of a word and a room id, `pos` is the
-- event's place in the timeline, `key` says in which field of it the words are (storage/src/search.rs).
CREATE TABLE search_postings (
    term BIGINT NOT NULL,
    room BIGINT NOT NULL,
    pos BIGINT NOT NULL,
    key SMALLINT NOT NULL,
    PRIMARY KEY (term, room, pos)
) WITHOUT ROWID;

-- The terms of each event in the index, so that it can be taken out when it is redacted.
CREATE TABLE search_documents (
    pos BIGINT PRIMARY KEY,
    room BIGINT NOT NULL,
    terms BLOB NOT NULL
);

-- Everything after 'backward' up to and including 'forward' is in the index. What was there before it
-- began is taken in from the newest event to the oldest, and so is history that is fetched later.
CREATE TABLE search_progress (direction TEXT PRIMARY KEY, pos BIGINT NOT NULL) WITHOUT ROWID;
INSERT INTO search_progress (direction, pos)
    SELECT 'forward', value FROM counters WHERE name = 'stream';
INSERT INTO search_progress (direction, pos)
    SELECT 'backward', value FROM counters WHERE name = 'stream';
