-- One text for both databases: `BLOB` becomes BYTEA and `WITHOUT ROWID` goes away on PostgreSQL
-- (storage/src/dialect.rs). Times are milliseconds since the epoch. Flags are documented where the
-- rows are defined, in storage/src/.

-- ── Positions ────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- 'stream' counts up (every fact that a client can see), 'backfill' counts down (history).
CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL) WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES ('stream', 0), ('backfill', 0);

-- One row per position, dense: what happened there.
CREATE TABLE positions (
    pos BIGINT PRIMARY KEY,
    kind SMALLINT NOT NULL,
    subject TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL
);

-- A token of an older epoch is valid up to the start of the next one.
CREATE TABLE epochs (epoch BIGINT PRIMARY KEY, start_pos BIGINT NOT NULL, created_ts BIGINT NOT NULL);

-- The newest batch that each process start has committed, so that the outcome of an interrupted COMMIT
-- can be looked up.
CREATE TABLE batches (
    instance TEXT PRIMARY KEY,
    batch BIGINT NOT NULL,
    base BIGINT NOT NULL
) WITHOUT ROWID;

-- ── Rooms ────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE rooms (
    room_id TEXT PRIMARY KEY,
    room_version TEXT NOT NULL,
    version BIGINT NOT NULL,
    current_state BIGINT NOT NULL,
    flags SMALLINT NOT NULL,
    published SMALLINT NOT NULL,
    joined_members BIGINT NOT NULL,
    invited_members BIGINT NOT NULL,
    notify_count BIGINT NOT NULL,
    max_depth BIGINT NOT NULL
);
CREATE INDEX rooms_published ON rooms (published) WHERE published = 1;

-- Joined without its full state: what completing it needs.
CREATE TABLE partial_rooms (
    room_id TEXT PRIMARY KEY,
    join_event_id TEXT NOT NULL,
    resident_servers TEXT NOT NULL,
    device_list_pos BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE aliases (
    alias TEXT PRIMARY KEY,
    room_id TEXT NOT NULL,
    creator TEXT NOT NULL,
    created_ts BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX aliases_room ON aliases (room_id);

CREATE TABLE events (
    room_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    type TEXT NOT NULL,
    state_key TEXT,
    sender TEXT NOT NULL,
    depth BIGINT NOT NULL,
    origin_server_ts BIGINT NOT NULL,
    received_ts BIGINT NOT NULL,
    state_before BIGINT,
    flags SMALLINT NOT NULL,
    redacted_by TEXT,
    json TEXT NOT NULL
);
CREATE UNIQUE INDEX events_id ON events (event_id, room_id);

-- Which events name `prev_id` as one they follow, known or not.
CREATE TABLE event_edges (
    room_id TEXT NOT NULL,
    prev_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    PRIMARY KEY (room_id, prev_id, event_id)
) WITHOUT ROWID;

CREATE TABLE forward_extremities (
    room_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    PRIMARY KEY (room_id, event_id)
) WITHOUT ROWID;

-- Events that are named as predecessors and not known: where history can be asked for.
CREATE TABLE backward_extremities (
    room_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    depth BIGINT NOT NULL,
    PRIMARY KEY (room_id, event_id)
) WITHOUT ROWID;

-- The order in which this deployment shows the events of a room. Negative: backfilled.
CREATE TABLE timeline (
    pos BIGINT PRIMARY KEY,
    room_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    depth BIGINT NOT NULL,
    local SMALLINT NOT NULL,
    thread_root TEXT,
    notify_count BIGINT NOT NULL,
    thread_notify_count BIGINT NOT NULL
);
CREATE INDEX timeline_room ON timeline (room_id, pos);
CREATE INDEX timeline_depth ON timeline (room_id, depth, pos);
CREATE UNIQUE INDEX timeline_event ON timeline (event_id, room_id);
CREATE INDEX timeline_thread ON timeline (room_id, thread_root, pos) WHERE thread_root IS NOT NULL;
CREATE INDEX timeline_local ON timeline (pos) WHERE local = 1;

-- A running number of default-notifying events per thread, beside rooms.notify_count.
CREATE TABLE thread_counts (
    room_id TEXT NOT NULL,
    thread_root TEXT NOT NULL,
    notify_count BIGINT NOT NULL,
    PRIMARY KEY (room_id, thread_root)
) WITHOUT ROWID;

-- Where a user has read up to, as a value of the running numbers ('' is the whole room).
CREATE TABLE unread_marks (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    thread_root TEXT NOT NULL,
    pos BIGINT NOT NULL,
    notify_count BIGINT NOT NULL,
    PRIMARY KEY (user_id, room_id, thread_root)
) WITHOUT ROWID;

CREATE TABLE state_nodes (
    room_id TEXT NOT NULL,
    node_id BIGINT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (room_id, node_id)
) WITHOUT ROWID;

CREATE TABLE current_state (
    room_id TEXT NOT NULL,
    type TEXT NOT NULL,
    state_key TEXT NOT NULL,
    event_id TEXT NOT NULL,
    PRIMARY KEY (room_id, type, state_key)
) WITHOUT ROWID;

-- The root of the current state from each position at which it changed.
CREATE TABLE room_states (
    room_id TEXT NOT NULL,
    pos BIGINT NOT NULL,
    root BIGINT NOT NULL,
    PRIMARY KEY (room_id, pos)
) WITHOUT ROWID;

-- The membership of each user in each room as this server knows it; for local users who are outside
-- the room (remote invites and knocks) also the stripped state that came with it.
CREATE TABLE memberships (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    membership TEXT NOT NULL,
    event_id TEXT NOT NULL,
    sender TEXT NOT NULL,
    local SMALLINT NOT NULL,
    forgotten SMALLINT NOT NULL,
    pos BIGINT NOT NULL,
    display_name TEXT,
    avatar_url TEXT,
    stripped_state TEXT,
    PRIMARY KEY (user_id, room_id)
) WITHOUT ROWID;
CREATE INDEX memberships_room ON memberships (room_id, membership, user_id);
CREATE INDEX memberships_local ON memberships (room_id, user_id) WHERE local = 1;

-- From which position to which a server has been in a room; left_pos NULL: it still is.
CREATE TABLE room_servers (
    room_id TEXT NOT NULL,
    server TEXT NOT NULL,
    joined_members BIGINT NOT NULL,
    joined_pos BIGINT NOT NULL,
    left_pos BIGINT,
    PRIMARY KEY (server, room_id)
) WITHOUT ROWID;
CREATE INDEX room_servers_room ON room_servers (room_id);

CREATE TABLE relations (
    room_id TEXT NOT NULL,
    parent_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    rel_type TEXT NOT NULL,
    type TEXT NOT NULL,
    sender TEXT NOT NULL,
    PRIMARY KEY (room_id, parent_id, event_id)
) WITHOUT ROWID;
CREATE INDEX relations_event ON relations (room_id, event_id);

-- Redactions whose target is not known yet, or may not be redacted by them.
CREATE TABLE pending_redactions (
    room_id TEXT NOT NULL,
    target_id TEXT NOT NULL,
    redaction_id TEXT NOT NULL,
    PRIMARY KEY (room_id, target_id, redaction_id)
) WITHOUT ROWID;

-- ── Accounts ─────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE users (
    user_id TEXT PRIMARY KEY,
    password_hash TEXT,
    flags SMALLINT NOT NULL,
    appservice_id TEXT,
    created_ts BIGINT NOT NULL,
    deactivated_ts BIGINT
);

CREATE TABLE profiles (
    user_id TEXT NOT NULL,
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (user_id, field)
) WITHOUT ROWID;

-- Users whose memberships must follow a change of their account; leaving: they leave every room.
CREATE TABLE membership_tasks (
    user_id TEXT PRIMARY KEY,
    leaving SMALLINT NOT NULL,
    number TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE devices (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    display_name TEXT,
    created_ts BIGINT NOT NULL,
    last_seen_ts BIGINT,
    last_seen_ip TEXT,
    PRIMARY KEY (user_id, device_id)
) WITHOUT ROWID;

-- Tokens are stored as their SHA-256.
CREATE TABLE access_tokens (
    token_hash BLOB PRIMARY KEY,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    created_ts BIGINT NOT NULL,
    expires_ts BIGINT,
    refreshed_from BLOB
);
CREATE INDEX access_tokens_device ON access_tokens (user_id, device_id);

CREATE TABLE refresh_tokens (
    token_hash BLOB PRIMARY KEY,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    created_ts BIGINT NOT NULL,
    successor BLOB,
    dead SMALLINT NOT NULL
);
CREATE INDEX refresh_tokens_device ON refresh_tokens (user_id, device_id);

CREATE TABLE login_tokens (
    token_hash BLOB PRIMARY KEY,
    user_id TEXT NOT NULL,
    expires_ts BIGINT NOT NULL
);

CREATE TABLE uia_sessions (
    session_id TEXT PRIMARY KEY,
    action TEXT NOT NULL,
    user_id TEXT,
    body TEXT NOT NULL,
    completed TEXT NOT NULL,
    registration_token TEXT,
    created_ts BIGINT NOT NULL
);
CREATE INDEX uia_sessions_created ON uia_sessions (created_ts);

CREATE TABLE registration_tokens (
    token TEXT PRIMARY KEY,
    uses_allowed BIGINT,
    completed BIGINT NOT NULL,
    expires_ts BIGINT,
    created_ts BIGINT NOT NULL
);

-- Attempts at log-in, registration and passwords, counted for the whole deployment.
CREATE TABLE attempts (
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    window_start BIGINT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;

CREATE TABLE filters (
    user_id TEXT NOT NULL,
    filter_id TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (user_id, filter_id)
) WITHOUT ROWID;

-- room_id '' is global.
CREATE TABLE account_data (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    type TEXT NOT NULL,
    content TEXT NOT NULL,
    pos BIGINT NOT NULL,
    PRIMARY KEY (user_id, room_id, type)
) WITHOUT ROWID;
CREATE INDEX account_data_pos ON account_data (user_id, pos);

-- thread_id '' is unthreaded.
CREATE TABLE receipts (
    room_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    receipt_type TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    ts BIGINT NOT NULL,
    pos BIGINT NOT NULL,
    PRIMARY KEY (room_id, user_id, receipt_type, thread_id)
) WITHOUT ROWID;
CREATE INDEX receipts_pos ON receipts (room_id, pos);

-- Answers already given to a device's transaction ids, per endpoint path.
CREATE TABLE client_transactions (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    path TEXT NOT NULL,
    txn_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    created_ts BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id, path, txn_id)
) WITHOUT ROWID;
CREATE INDEX client_transactions_event ON client_transactions (event_id, user_id, device_id);
CREATE INDEX client_transactions_created ON client_transactions (created_ts);

-- ── Federation ───────────────────────────────────────────────────────────────────────────────────

CREATE TABLE server_keys (
    key_id TEXT PRIMARY KEY,
    secret BLOB,
    public_key TEXT NOT NULL,
    created_ts BIGINT NOT NULL,
    expired_ts BIGINT
) WITHOUT ROWID;

CREATE TABLE remote_keys (
    server TEXT NOT NULL,
    key_id TEXT NOT NULL,
    public_key TEXT NOT NULL,
    valid_until_ts BIGINT NOT NULL,
    fetched_ts BIGINT NOT NULL,
    PRIMARY KEY (server, key_id)
) WITHOUT ROWID;

-- How far each server has been sent our events, and the transaction in flight, so that a retry is
-- identical.
CREATE TABLE destinations (
    server TEXT PRIMARY KEY,
    cursor_pos BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    retry_ts BIGINT NOT NULL,
    last_success_ts BIGINT,
    txn_id TEXT,
    txn_body TEXT,
    txn_pos BIGINT,
    lease_owner TEXT,
    lease_fence BIGINT NOT NULL,
    lease_until BIGINT NOT NULL
) WITHOUT ROWID;

-- Transactions seen from other servers; response NULL: in flight.
CREATE TABLE received_transactions (
    origin TEXT NOT NULL,
    txn_id TEXT NOT NULL,
    response TEXT,
    received_ts BIGINT NOT NULL,
    PRIMARY KEY (origin, txn_id)
) WITHOUT ROWID;
CREATE INDEX received_transactions_ts ON received_transactions (received_ts);
