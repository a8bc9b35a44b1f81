//! The transaction ids of clients, and what came of them.
//!
//! A request is known by a hash, and those of a week stand together: they are found in one place, and are forgotten
//! without looking for them.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::db::{Conn, Result, sql};

/// Milliseconds in a week.
const WEEK_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

/// A request that has the same effect however often a device makes it, by its hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientRequest([u8; 16]);

impl ClientRequest {
    /// The request of a user's device, at an endpoint whose path is given without the transaction id.
    #[must_use]
    pub fn new(user_id: &str, device_id: &str, path: &str, txn_id: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [user_id, device_id, path, txn_id] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        let mut half = [0; 16];
        for (to, from) in half.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        Self(half)
    }
}

impl fmt::Debug for ClientRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A client's request and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTransaction {
    /// The request.
    pub request: ClientRequest,
    /// The event that was sent, or what else the client is told.
    pub event_id: String,
    /// When, in milliseconds since the epoch.
    pub created_ts: i64,
}

/// By which transaction which device sent an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentBy {
    /// The device.
    pub device_id: String,
    /// Its id for the request.
    pub txn_id: String,
}

/// Claims a transaction id. `Some` is what the client was told when another had it first.
pub(crate) async fn claim(conn: &mut Conn, txn: &ClientTransaction) -> Result<Option<String>> {
    let week = week(txn.created_ts);
    let changed = sql("INSERT INTO client_transactions (week, request, event_id) \
         SELECT $1, $2, $3 WHERE NOT EXISTS \
           (SELECT 1 FROM client_transactions WHERE week = $4 AND request = $2) \
         ON CONFLICT DO NOTHING")
    .bind(week)
    .bind(&txn.request.0[..])
    .bind(&txn.event_id)
    .bind(week - 1)
    .execute(conn)
    .await?;
    if changed == 1 {
        return Ok(None);
    }
    outcome(conn, txn.request, txn.created_ts).await
}

/// What came of a request, for a week at least.
///
/// # Errors
///
/// When the database fails.
pub async fn outcome(
    conn: &mut Conn,
    request: ClientRequest,
    now_ms: i64,
) -> Result<Option<String>> {
    let week = week(now_ms);
    let row = sql("SELECT event_id FROM client_transactions \
         WHERE week IN ($1, $2) AND request = $3 LIMIT 1")
    .bind(week)
    .bind(week - 1)
    .bind(&request.0[..])
    .optional(conn)
    .await?;
    row.map(|row| row.get(0)).transpose()
}

/// Forgets the weeks that were over at a time.
pub(super) async fn forget(conn: &mut Conn, before: i64) -> Result<()> {
    sql("DELETE FROM client_transactions WHERE week < $1").bind(week(before)).execute(conn).await?;
    Ok(())
}

fn week(ts: i64) -> i64 {
    ts.div_euclid(WEEK_MS)
}
