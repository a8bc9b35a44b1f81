//! Which threads users follow.

use crate::{
    change::At,
    db::{Conn, Result, Row, composed, sql},
};

/// What a thread is to a user who follows it, or did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionRow {
    /// The user.
    pub user_id: String,
    /// The room.
    pub room_id: String,
    /// The event with which the thread begins.
    pub thread_root: String,
    /// Whether a client of theirs, not they, wanted it.
    pub automatic: bool,
    /// Up to where they had seen the timeline when they left it; `None`: they follow it.
    pub unsubscribed_pos: Option<i64>,
    /// Where that changed last; ignored when written.
    pub pos: i64,
}

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// Replaces what a thread is to a user.
    Put {
        /// The row.
        row: SubscriptionRow,
        /// The fact of the change.
        at: At,
    },
    /// Removes what all threads are to a user.
    RemoveAll {
        /// The user.
        user_id: String,
    },
}

/// Writes the rows of a batch in their order; `base` is the position before each change's facts.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<(i64, Write)>) -> Result<()> {
    for (base, row) in rows {
        match row {
            Write::Put { row, at } => put(conn, row, at.after(base)).await?,
            Write::RemoveAll { user_id } => {
                let all = sql("DELETE FROM thread_subscriptions WHERE user_id = $1");
                all.bind(user_id).execute(conn).await?;
            }
        }
    }
    Ok(())
}

async fn put(conn: &mut Conn, row: SubscriptionRow, pos: i64) -> Result<()> {
    sql("INSERT INTO thread_subscriptions \
         (user_id, room_id, thread_root, automatic, unsubscribed_pos, pos) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (user_id, room_id, thread_root) \
         DO UPDATE SET automatic = excluded.automatic, \
         unsubscribed_pos = excluded.unsubscribed_pos, pos = excluded.pos")
    .bind(row.user_id)
    .bind(row.room_id)
    .bind(row.thread_root)
    .bind(row.automatic)
    .bind(row.unsubscribed_pos)
    .bind(pos)
    .execute(conn)
    .await?;
    Ok(())
}

const COLUMNS: &str = "user_id, room_id, thread_root, automatic, unsubscribed_pos, pos";

fn subscription_row(row: &Row) -> Result<SubscriptionRow> {
    Ok(SubscriptionRow {
        user_id: row.get(0)?,
        room_id: row.get(1)?,
        thread_root: row.get(2)?,
        automatic: row.get(3)?,
        unsubscribed_pos: row.get(4)?,
        pos: row.get(5)?,
    })
}

/// What a thread is to a user; `None` when they never followed it.
///
/// # Errors
///
/// When the database fails.
pub async fn get(
    conn: &mut Conn,
    user_id: &str,
    room_id: &str,
    thread_root: &str,
) -> Result<Option<SubscriptionRow>> {
    let text = format!(
        "SELECT {COLUMNS} FROM thread_subscriptions \
         WHERE user_id = $1 AND room_id = $2 AND thread_root = $3"
    );
    let values = vec![user_id.into(), room_id.into(), thread_root.into()];
    Ok(composed(text, values).map(conn, subscription_row).await?.into_iter().next())
}

/// The users who follow a thread.
///
/// # Errors
///
/// When the database fails.
pub async fn followers(conn: &mut Conn, room_id: &str, thread_root: &str) -> Result<Vec<String>> {
    let text = "SELECT user_id FROM thread_subscriptions \
                WHERE room_id = $1 AND thread_root = $2 AND unsubscribed_pos IS NULL";
    let values = vec![room_id.into(), thread_root.into()];
    composed(text.to_owned(), values).map(conn, |row| row.get(0)).await
}

/// How many threads a user follows or did.
///
/// # Errors
///
/// When the database fails.
pub async fn count(conn: &mut Conn, user_id: &str) -> Result<i64> {
    let row = sql("SELECT COUNT(*) FROM thread_subscriptions WHERE user_id = $1")
        .bind(user_id)
        .optional(conn)
        .await?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// What changed after `after` and up to and including `until`, the newest first.
///
/// # Errors
///
/// When the database fails.
pub async fn changed(
    conn: &mut Conn,
    user_id: &str,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<SubscriptionRow>> {
    let text = format!(
        "SELECT {COLUMNS} FROM thread_subscriptions \
         WHERE user_id = $1 AND pos > $2 AND pos <= $3 ORDER BY pos DESC LIMIT $4"
    );
    let values = vec![user_id.into(), after.into(), until.into(), limit.into()];
    composed(text, values).map(conn, subscription_row).await
}
