//! The servers that this deployment sends to, as administrators page through them.

use crate::db::{Conn, Result, Row, composed, sql};

/// A server that this one shares rooms with, or sent something to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestinationState {
    /// The server.
    pub server: String,
    /// Everything up to here was sent or is not owed; `None`: nothing was sent yet.
    pub cursor_pos: Option<i64>,
    /// Failures since the last success.
    pub failures: i64,
    /// Not before this time.
    pub retry_ts: i64,
    /// When it last took a transaction.
    pub last_success_ts: Option<i64>,
    /// Why it last did not take one; `None` since it took the next.
    pub last_error: Option<String>,
}

/// By what a list of servers is ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By name.
    #[default]
    Name,
    /// By when they are tried again.
    Retry,
    /// By how often they failed.
    Failures,
    /// By how far they were sent to.
    Cursor,
}

const SERVERS: &str = "(SELECT server FROM destinations UNION SELECT server FROM room_servers) s \
     LEFT JOIN destinations d ON d.server = s.server WHERE s.server <> $1";

const COLUMNS: &str = "s.server, d.cursor_pos, COALESCE(d.failures, 0), COALESCE(d.retry_ts, 0), \
     d.last_success_ts, d.last_error";

fn state(row: &Row) -> Result<DestinationState> {
    Ok(DestinationState {
        server: row.get(0)?,
        cursor_pos: row.get(1)?,
        failures: row.get(2)?,
        retry_ts: row.get(3)?,
        last_success_ts: row.get(4)?,
        last_error: row.get(5)?,
    })
}

/// A page of the servers other than `own`, and how many there are.
///
/// # Errors
///
/// When the database fails.
pub async fn page(
    conn: &mut Conn,
    own: &str,
    (order, backwards): (Order, bool),
    (offset, limit): (i64, i64),
) -> Result<(Vec<DestinationState>, i64)> {
    let count = format!("SELECT COUNT(*) FROM {SERVERS}");
    let count = composed(count, vec![own.into()]).long().optional(conn).await?;
    let total = count.map_or(Ok(0), |row| row.get(0))?;
    let column = match order {
        Order::Name => "s.server",
        Order::Retry => "COALESCE(d.retry_ts, 0)",
        Order::Failures => "COALESCE(d.failures, 0)",
        Order::Cursor => "COALESCE(d.cursor_pos, 0)",
    };
    let direction = if backwards { "DESC" } else { "ASC" };
    let text = format!(
        "SELECT {COLUMNS} FROM {SERVERS} ORDER BY {column} {direction}, s.server \
         LIMIT $2 OFFSET $3"
    );
    let values = vec![own.into(), limit.into(), offset.into()];
    Ok((composed(text, values).long().map(conn, state).await?, total))
}

/// One server; `None` when this one has nothing to do with it.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, own: &str, server: &str) -> Result<Option<DestinationState>> {
    let text = format!("SELECT {COLUMNS} FROM {SERVERS} AND s.server = $2");
    let rows = composed(text, vec![own.into(), server.into()]).map(conn, state).await?;
    Ok(rows.into_iter().next())
}

/// A page of the rooms that a server is in, each with where this deployment last said something
/// there, and how many there are.
///
/// # Errors
///
/// When the database fails.
pub async fn rooms(
    conn: &mut Conn,
    server: &str,
    backwards: bool,
    (offset, limit): (i64, i64),
) -> Result<(Vec<(String, i64)>, i64)> {
    let count = sql("SELECT COUNT(*) FROM room_servers WHERE server = $1 AND left_pos IS NULL");
    let count = count.bind(server).optional(conn).await?;
    let total = count.map_or(Ok(0), |row| row.get(0))?;
    let direction = if backwards { "DESC" } else { "ASC" };
    let text = format!(
        "SELECT s.room_id, COALESCE((SELECT MAX(t.pos) FROM timeline t \
           WHERE t.room_id = s.room_id AND t.local = 1), s.joined_pos) \
         FROM room_servers s WHERE s.server = $1 AND s.left_pos IS NULL \
         ORDER BY s.room_id {direction} LIMIT $2 OFFSET $3"
    );
    let values = vec![server.into(), limit.into(), offset.into()];
    let rows =
        composed(text, values).long().map(conn, |row| Ok((row.get(0)?, row.get(1)?))).await?;
    Ok((rows, total))
}

/// How many events a server is owed after `after`, counted up to `limit`.
///
/// # Errors
///
/// When the database fails.
pub async fn owed(conn: &mut Conn, server: &str, after: i64, limit: i64) -> Result<i64> {
    let row = sql("SELECT COUNT(*) FROM (SELECT 1 FROM timeline t \
         JOIN room_servers s ON s.server = $1 AND s.room_id = t.room_id \
           AND s.joined_pos <= t.pos AND (s.left_pos IS NULL OR t.pos <= s.left_pos) \
         WHERE t.local = 1 AND t.pos > $2 LIMIT $3) owed")
    .bind(server)
    .bind(after)
    .bind(limit)
    .optional(conn)
    .await?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// How many servers there are other than `own`, and how many of them do not take what they are sent.
///
/// # Errors
///
/// When the database fails.
pub async fn count(conn: &mut Conn, own: &str) -> Result<(i64, i64)> {
    let text = format!(
        "SELECT COUNT(*), COUNT(CASE WHEN COALESCE(d.failures, 0) > 0 THEN 1 END) FROM {SERVERS}"
    );
    let row = composed(text, vec![own.into()]).long().optional(conn).await?;
    row.map_or(Ok((0, 0)), |row| Ok((row.get(0)?, row.get(1)?)))
}
