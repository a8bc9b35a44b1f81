-- End-to-end encryption: what devices and users publish so that others can encrypt for them
-- (storage/src/encryption/).

-- JSON as it was signed, with the signatures that were added since.
CREATE TABLE device_keys (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id)
) WITHOUT ROWID;

-- Keys are handed out in the order of `ordinal`. One that was is remembered for a while, so that an
-- upload that is repeated does not bring it back.
CREATE TABLE one_time_keys (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    key_id TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    claimed SMALLINT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id, algorithm, key_id)
) WITHOUT ROWID;
CREATE INDEX one_time_keys_order ON one_time_keys (user_id, device_id, algorithm, ordinal)
    WHERE claimed = 0;

CREATE TABLE fallback_keys (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    key_id TEXT NOT NULL,
    used SMALLINT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id, algorithm)
) WITHOUT ROWID;

-- usage: 'master', 'self_signing' or 'user_signing'; of this deployment's users and of others.
CREATE TABLE cross_signing_keys (
    user_id TEXT NOT NULL,
    usage TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (user_id, usage)
) WITHOUT ROWID;

-- What users of this deployment have signed of others: only they see it.
CREATE TABLE user_signatures (
    signer TEXT NOT NULL,
    user_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    signing_key_id TEXT NOT NULL,
    signature TEXT NOT NULL,
    pos BIGINT NOT NULL,
    PRIMARY KEY (signer, user_id, key_id, signing_key_id)
) WITHOUT ROWID;
CREATE INDEX user_signatures_pos ON user_signatures (signer, pos);

-- Where the devices or keys of a user changed last.
CREATE TABLE device_lists (
    user_id TEXT PRIMARY KEY,
    pos BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX device_lists_pos ON device_lists (pos);

-- Where users came into rooms and left them, to tell with whom one begins and ceases to share one.
CREATE TABLE member_moves (
    room_id TEXT NOT NULL,
    pos BIGINT NOT NULL,
    user_id TEXT NOT NULL,
    joined SMALLINT NOT NULL,
    PRIMARY KEY (room_id, pos, user_id)
) WITHOUT ROWID;
CREATE INDEX member_moves_user ON member_moves (user_id, pos);

-- Devices of which a server is to be told; device_id '': the cross-signing keys. pos 0: noted by the
-- transaction that is under way. The server knows what was up to prev_pos.
CREATE TABLE device_outbox (
    server TEXT NOT NULL,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    pos BIGINT NOT NULL,
    prev_pos BIGINT NOT NULL,
    PRIMARY KEY (server, user_id, device_id)
) WITHOUT ROWID;
CREATE INDEX device_outbox_user ON device_outbox (user_id);

-- Other servers' users whose devices are known here, and up to which of their server's numbers. stale:
-- something was missed, and they are asked for again, not before retry_ts.
CREATE TABLE remote_lists (
    user_id TEXT PRIMARY KEY,
    stream_id BIGINT NOT NULL,
    stale SMALLINT NOT NULL,
    failures BIGINT NOT NULL,
    retry_ts BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX remote_lists_stale ON remote_lists (retry_ts) WHERE stale = 1;

CREATE TABLE remote_devices (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    display_name TEXT,
    json TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id)
) WITHOUT ROWID;
