//! Events that are to be sent later.

use crate::db::{Conn, Result, Row, Value, composed, sql};

/// An event that is to be sent later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayedEventRow {
    /// Its name until then.
    pub delay_id: String,
    /// Who sends it.
    pub user_id: String,
    /// To which room.
    pub room_id: String,
    /// The event type.
    pub kind: String,
    /// The state key of a state event.
    pub state_key: Option<String>,
    /// The content.
    pub content: String,
    /// How long it waits, in milliseconds.
    pub delay_ms: i64,
    /// From when on.
    pub since_ts: i64,
}

impl DelayedEventRow {
    /// When it has waited for long enough.
    #[must_use]
    pub fn due_ts(&self) -> i64 {
        self.since_ts.saturating_add(self.delay_ms)
    }
}

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds an event, or has it wait anew.
    Put(DelayedEventRow),
    /// Removes an event: something has come of it.
    Remove {
        /// Which.
        delay_id: String,
    },
    /// Removes all events of a user.
    RemoveAll {
        /// The user.
        user_id: String,
    },
}

pub(crate) async fn apply(conn: &mut Conn, rows: Vec<Write>) -> Result<()> {
    for row in rows {
        match row {
            Write::Put(row) => put(conn, row).await?,
            Write::Remove { delay_id } => {
                let one = sql("DELETE FROM delayed_events WHERE delay_id = $1");
                one.bind(delay_id).execute(conn).await?;
            }
            Write::RemoveAll { user_id } => {
                let all = sql("DELETE FROM delayed_events WHERE user_id = $1");
                all.bind(user_id).execute(conn).await?;
            }
        }
    }
    Ok(())
}

async fn put(conn: &mut Conn, row: DelayedEventRow) -> Result<()> {
    let due_ts = row.due_ts();
    sql("INSERT INTO delayed_events (delay_id, user_id, room_id, type, state_key, content, \
         delay_ms, since_ts, due_ts) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         ON CONFLICT (delay_id) DO UPDATE SET since_ts = excluded.since_ts, \
         due_ts = excluded.due_ts")
    .bind(row.delay_id)
    .bind(row.user_id)
    .bind(row.room_id)
    .bind(row.kind)
    .bind(row.state_key)
    .bind(row.content)
    .bind(row.delay_ms)
    .bind(row.since_ts)
    .bind(due_ts)
    .execute(conn)
    .await?;
    Ok(())
}

fn delayed_event_row(row: &Row) -> Result<DelayedEventRow> {
    Ok(DelayedEventRow {
        delay_id: row.get(0)?,
        user_id: row.get(1)?,
        room_id: row.get(2)?,
        kind: row.get(3)?,
        state_key: row.get(4)?,
        content: row.get(5)?,
        delay_ms: row.get(6)?,
        since_ts: row.get(7)?,
    })
}

async fn select(conn: &mut Conn, rest: &str, values: Vec<Value>) -> Result<Vec<DelayedEventRow>> {
    let text = format!(
        "SELECT delay_id, user_id, room_id, type, state_key, content, delay_ms, since_ts \
         FROM delayed_events {rest}"
    );
    composed(text, values).map(conn, delayed_event_row).await
}

/// One event that waits.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, delay_id: &str) -> Result<Option<DelayedEventRow>> {
    let rows = select(conn, "WHERE delay_id = $1", vec![delay_id.into()]).await?;
    Ok(rows.into_iter().next())
}

/// The events of a user that wait, the next one first.
///
/// # Errors
///
/// When the database fails.
pub async fn of_user(conn: &mut Conn, user_id: &str) -> Result<Vec<DelayedEventRow>> {
    let rest = "WHERE user_id = $1 ORDER BY due_ts, since_ts, delay_id";
    select(conn, rest, vec![user_id.into()]).await
}

/// How many events of a user wait.
///
/// # Errors
///
/// When the database fails.
pub async fn count(conn: &mut Conn, user_id: &str) -> Result<i64> {
    let row = sql("SELECT COUNT(*) FROM delayed_events WHERE user_id = $1")
        .bind(user_id)
        .optional(conn)
        .await?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// The events that have waited for long enough at `now`, the one that was due first at the top; of many
/// the first `limit`.
///
/// # Errors
///
/// When the database fails.
pub async fn due(conn: &mut Conn, now: i64, limit: i64) -> Result<Vec<DelayedEventRow>> {
    let rest = "WHERE due_ts <= $1 ORDER BY due_ts, since_ts, delay_id LIMIT $2";
    select(conn, rest, vec![now.into(), limit.into()]).await
}

/// When the next event is due; `None`: none waits.
///
/// # Errors
///
/// When the database fails.
pub async fn next_due(conn: &mut Conn) -> Result<Option<i64>> {
    let text = "SELECT due_ts FROM delayed_events ORDER BY due_ts LIMIT 1";
    let row = sql(text).optional(conn).await?;
    row.map(|row| row.get(0)).transpose()
}
