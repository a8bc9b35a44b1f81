//! Signing keys, other servers' keys, destinations, transactions received.

use crate::db::{Conn, Result, Row, sql};

/// A signing key of this deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerKeyRow {
    /// `ed25519:…`.
    pub key_id: String,
    /// The 32-byte seed; `None` for a key that is published as old only.
    pub secret: Option<Vec<u8>>,
    /// Unpadded base64.
    pub public_key: String,
    /// When it was made.
    pub created_ts: i64,
    /// When it was replaced.
    pub expired_ts: Option<i64>,
}

/// A verify key of another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteKeyRow {
    /// The server.
    pub server: String,
    /// `ed25519:…`.
    pub key_id: String,
    /// Unpadded base64.
    pub public_key: String,
    /// Signatures made after this time are not valid.
    pub valid_until_ts: i64,
    /// When we learned it.
    pub fetched_ts: i64,
}

/// What a destination was sent, and what is in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestinationRow {
    /// The server.
    pub server: String,
    /// Everything up to here was sent or is not owed.
    pub cursor_pos: i64,
    /// Failures since the last success.
    pub failures: i64,
    /// Not before this time.
    pub retry_ts: i64,
    /// When it last took a transaction.
    pub last_success_ts: Option<i64>,
    /// Why it last did not take one; `None` since it took the next.
    pub last_error: Option<String>,
    /// The transaction in flight.
    pub txn: Option<InFlight>,
}

/// A transaction that is being sent, stored so that a retry is identical.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// Its id.
    pub txn_id: String,
    /// Its body.
    pub body: String,
    /// Where the cursor goes when it was taken.
    pub pos: i64,
    /// Which rows of the outboxes go when it was taken.
    pub rows: Option<String>,
}

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds a signing key of this deployment, or marks it as expired.
    ServerKey(ServerKeyRow),
    /// Adds or updates another server's key.
    RemoteKey(RemoteKeyRow),
    /// The newest document in which another server published a key.
    RemoteKeyDocument {
        /// The server.
        server: String,
        /// `ed25519:…`.
        key_id: String,
        /// Canonical JSON with its signatures.
        document: String,
    },
    /// What a destination was sent.
    Destination(DestinationRow),
    /// A transaction of another server begins (`response` is `None`) or was answered.
    Received {
        /// The server.
        origin: String,
        /// Its id for the transaction.
        txn_id: String,
        /// Our answer.
        response: Option<String>,
        /// When.
        ts: i64,
    },
    /// Forgets the transactions of other servers that came before a time.
    ForgetReceived {
        /// The time.
        before: i64,
    },
}

/// Writes the rows of a batch in their order.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<Write>) -> Result<()> {
    for row in rows {
        apply_one(conn, row).await?;
    }
    Ok(())
}

async fn apply_one(conn: &mut Conn, row: Write) -> Result<()> {
    match row {
        Write::ServerKey(k) => sql("INSERT INTO server_keys \
             (key_id, secret, public_key, created_ts, expired_ts) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (key_id) DO UPDATE SET expired_ts = excluded.expired_ts")
        .bind(k.key_id)
        .bind(k.secret)
        .bind(k.public_key)
        .bind(k.created_ts)
        .bind(k.expired_ts),
        Write::RemoteKey(k) => sql("INSERT INTO remote_keys \
             (server, key_id, public_key, valid_until_ts, fetched_ts) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (server, key_id) DO UPDATE SET \
             public_key = excluded.public_key, valid_until_ts = excluded.valid_until_ts, \
             fetched_ts = excluded.fetched_ts")
        .bind(k.server)
        .bind(k.key_id)
        .bind(k.public_key)
        .bind(k.valid_until_ts)
        .bind(k.fetched_ts),
        Write::RemoteKeyDocument { server, key_id, document } => {
            sql("INSERT INTO remote_key_documents (server, key_id, document) VALUES ($1, $2, $3) \
                 ON CONFLICT (server, key_id) DO UPDATE SET document = excluded.document")
            .bind(server)
            .bind(key_id)
            .bind(document)
        }
        Write::Destination(d) => {
            let txn = d.txn.as_ref();
            sql("INSERT INTO destinations (server, cursor_pos, failures, retry_ts, \
                 last_success_ts, txn_id, txn_body, txn_pos, txn_rows, last_error, lease_fence, \
                 lease_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0) \
                 ON CONFLICT (server) DO UPDATE SET cursor_pos = excluded.cursor_pos, \
                 failures = excluded.failures, retry_ts = excluded.retry_ts, \
                 last_success_ts = excluded.last_success_ts, txn_id = excluded.txn_id, \
                 txn_body = excluded.txn_body, txn_pos = excluded.txn_pos, \
                 txn_rows = excluded.txn_rows, last_error = excluded.last_error")
            .bind(d.server)
            .bind(d.cursor_pos)
            .bind(d.failures)
            .bind(d.retry_ts)
            .bind(d.last_success_ts)
            .bind(txn.map(|t| t.txn_id.clone()))
            .bind(txn.map(|t| t.body.clone()))
            .bind(txn.map(|t| t.pos))
            .bind(txn.and_then(|t| t.rows.clone()))
            .bind(d.last_error)
        }
        Write::Received { origin, txn_id, response, ts } => {
            sql("INSERT INTO received_transactions (origin, txn_id, response, received_ts) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT (origin, txn_id) DO UPDATE SET \
                 response = excluded.response")
            .bind(origin)
            .bind(txn_id)
            .bind(response)
            .bind(ts)
        }
        Write::ForgetReceived { before } => {
            sql("DELETE FROM received_transactions WHERE received_ts < $1").bind(before)
        }
    }
    .execute(conn)
    .await?;
    Ok(())
}

/// The signing keys of this deployment, newest first.
///
/// # Errors
///
/// When the database fails.
pub async fn server_keys(conn: &mut Conn) -> Result<Vec<ServerKeyRow>> {
    sql("SELECT key_id, secret, public_key, created_ts, expired_ts FROM server_keys \
         ORDER BY created_ts DESC, key_id")
    .map(conn, |row| {
        Ok(ServerKeyRow {
            key_id: row.get(0)?,
            secret: row.get(1)?,
            public_key: row.get(2)?,
            created_ts: row.get(3)?,
            expired_ts: row.get(4)?,
        })
    })
    .await
}

/// The known keys of another server.
///
/// # Errors
///
/// When the database fails.
pub async fn remote_keys(conn: &mut Conn, server: &str) -> Result<Vec<RemoteKeyRow>> {
    sql("SELECT server, key_id, public_key, valid_until_ts, fetched_ts FROM remote_keys \
         WHERE server = $1")
    .bind(server)
    .map(conn, |row| {
        Ok(RemoteKeyRow {
            server: row.get(0)?,
            key_id: row.get(1)?,
            public_key: row.get(2)?,
            valid_until_ts: row.get(3)?,
            fetched_ts: row.get(4)?,
        })
    })
    .await
}

/// The documents in which another server published its keys, by key.
///
/// # Errors
///
/// When the database fails.
pub async fn remote_key_documents(conn: &mut Conn, server: &str) -> Result<Vec<(String, String)>> {
    sql("SELECT key_id, document FROM remote_key_documents WHERE server = $1 ORDER BY key_id")
        .bind(server)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
        .await
}

/// Whether another server is or was in a room with this one, or its keys are known.
///
/// # Errors
///
/// When the database fails.
pub async fn is_known(conn: &mut Conn, server: &str) -> Result<bool> {
    let row = sql("SELECT 1 WHERE EXISTS (SELECT 1 FROM room_servers WHERE server = $1) \
                   OR EXISTS (SELECT 1 FROM remote_keys WHERE server = $1)")
    .bind(server)
    .optional(conn)
    .await?;
    Ok(row.is_some())
}

fn destination_row(row: &Row) -> Result<DestinationRow> {
    let txn_id: Option<String> = row.get(5)?;
    let txn = match txn_id {
        Some(txn_id) => Some(InFlight {
            txn_id,
            body: row.get::<Option<String>>(6)?.unwrap_or_default(),
            pos: row.get::<Option<i64>>(7)?.unwrap_or_default(),
            rows: row.get(8)?,
        }),
        None => None,
    };
    Ok(DestinationRow {
        server: row.get(0)?,
        cursor_pos: row.get(1)?,
        failures: row.get(2)?,
        retry_ts: row.get(3)?,
        last_success_ts: row.get(4)?,
        last_error: row.get(9)?,
        txn,
    })
}

/// What a destination was sent.
///
/// # Errors
///
/// When the database fails.
pub async fn destination(conn: &mut Conn, server: &str) -> Result<Option<DestinationRow>> {
    let row = sql("SELECT server, cursor_pos, failures, retry_ts, last_success_ts, txn_id, \
         txn_body, txn_pos, txn_rows, last_error FROM destinations WHERE server = $1")
    .bind(server)
    .optional(conn)
    .await?;
    row.map(|row| destination_row(&row.row())).transpose()
}

/// Every server that was or is in a room with us, or was sent anything, whose cursor is behind
/// `head`, or for which something else waits.
///
/// # Errors
///
/// When the database fails.
pub async fn destinations_behind(conn: &mut Conn, head: i64) -> Result<Vec<String>> {
    sql("SELECT server FROM destinations WHERE cursor_pos < $1 OR txn_id IS NOT NULL \
         UNION SELECT s.server FROM room_servers s \
         WHERE NOT EXISTS (SELECT 1 FROM destinations d WHERE d.server = s.server) \
         UNION SELECT server FROM to_device_outbox UNION SELECT server FROM device_outbox")
    .bind(head)
    .map(conn, |row| row.get(0))
    .await
}

/// Our answer to a transaction of another server: `None` when it was never seen, `Some(None)` when
/// it is being worked on.
///
/// # Errors
///
/// When the database fails.
pub async fn received(
    conn: &mut Conn,
    origin: &str,
    txn_id: &str,
) -> Result<Option<Option<String>>> {
    let row = sql("SELECT response FROM received_transactions WHERE origin = $1 AND txn_id = $2")
        .bind(origin)
        .bind(txn_id)
        .optional(conn)
        .await?;
    row.map(|row| row.get(0)).transpose()
}
