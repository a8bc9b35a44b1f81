//! Receipts: how far each user has read in each room and thread.

use crate::{
    bulk,
    change::At,
    db::{Conn, Result, Row, Value},
};

/// A receipt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiptRow {
    /// The room.
    pub room_id: String,
    /// Who read.
    pub user_id: String,
    /// `m.read` or `m.read.private`.
    pub receipt_type: String,
    /// The thread, or `""` for an unthreaded receipt.
    pub thread_id: String,
    /// The event that was read.
    pub event_id: String,
    /// When.
    pub ts: i64,
    /// The position of the receipt; ignored when written.
    pub pos: i64,
}

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// Replaces a user's receipt.
    Put {
        /// The receipt.
        row: ReceiptRow,
        /// The fact of the receipt.
        at: At,
    },
}

/// Writes the rows of a batch; `base` is the position before each change's first fact.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<(i64, Write)>) -> Result<()> {
    let rows = rows.into_iter().map(|(base, Write::Put { mut row, at })| {
        row.pos = at.after(base);
        row
    });
    let rows = bulk::last_by_key(rows, |r| {
        (r.room_id.clone(), r.user_id.clone(), r.receipt_type.clone(), r.thread_id.clone())
    });
    let values = rows.into_iter().map(|r| -> Vec<Value> {
        vec![
            r.room_id.into(),
            r.user_id.into(),
            r.receipt_type.into(),
            r.thread_id.into(),
            r.event_id.into(),
            r.ts.into(),
            r.pos.into(),
        ]
    });
    bulk::insert(
        conn,
        "INSERT INTO receipts (room_id, user_id, receipt_type, thread_id, event_id, ts, pos)",
        "ON CONFLICT (room_id, user_id, receipt_type, thread_id) DO UPDATE SET \
         event_id = excluded.event_id, ts = excluded.ts, pos = excluded.pos",
        values,
    )
    .await
}

fn receipt_row(row: &Row) -> Result<ReceiptRow> {
    Ok(ReceiptRow {
        room_id: row.get(0)?,
        user_id: row.get(1)?,
        receipt_type: row.get(2)?,
        thread_id: row.get(3)?,
        event_id: row.get(4)?,
        ts: row.get(5)?,
        pos: row.get(6)?,
    })
}

/// The receipts of the given rooms with `after < pos <= until`.
///
/// # Errors
///
/// When the database fails.
pub async fn between(
    conn: &mut Conn,
    room_ids: &[String],
    after: i64,
    until: i64,
) -> Result<Vec<ReceiptRow>> {
    let text = "SELECT room_id, user_id, receipt_type, thread_id, event_id, ts, pos FROM receipts \
                WHERE room_id = ANY($1) AND pos > $2 AND pos <= $3 ORDER BY pos";
    crate::db::sql(text).bind(room_ids).bind(after).bind(until).map(conn, receipt_row).await
}

/// The receipts of one user in a room.
///
/// # Errors
///
/// When the database fails.
pub async fn of_user(conn: &mut Conn, room_id: &str, user_id: &str) -> Result<Vec<ReceiptRow>> {
    let text = "SELECT room_id, user_id, receipt_type, thread_id, event_id, ts, pos FROM receipts \
                WHERE room_id = $1 AND user_id = $2";
    crate::db::sql(text).bind(room_id).bind(user_id).map(conn, receipt_row).await
}
