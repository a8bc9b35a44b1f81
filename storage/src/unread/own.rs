//! What events mean to single users: a row for each, and sums of many rows, so that a count of very much that was not
//! read adds up few.

use std::collections::BTreeMap;

use super::{NotificationRow, Numbers};
use crate::{
    bulk,
    db::{Conn, Result, Value, sql},
};

/// How many positions share a sum: those from a multiple of it on. `reading.rs` counts on it, and so does a migration.
const STRETCH: i64 = 128;

/// Writes rows, each with the position of its event.
pub(super) async fn put(conn: &mut Conn, rows: Vec<NotificationRow>) -> Result<()> {
    let sums = sums(&rows);
    let values = rows.into_iter().map(|n| -> Vec<Value> {
        vec![
            n.user_id.into(),
            n.room_id.into(),
            n.pos.into(),
            n.event_id.into(),
            n.thread.into(),
            n.notify.into(),
            n.highlight.into(),
        ]
    });
    bulk::insert(
        conn,
        "INSERT INTO notifications (user_id, room_id, pos, event_id, thread_root, notify, highlight)",
        "",
        values,
    )
    .await?;
    add(conn, sums).await
}

/// Removes what events of a room, which count no more, meant to anybody.
pub(crate) async fn remove(conn: &mut Conn, room_id: &str, event_ids: &[String]) -> Result<()> {
    let removed = sql("DELETE FROM notifications WHERE room_id = $1 AND event_id = ANY($2) \
         RETURNING user_id, pos, thread_root, notify, highlight")
    .bind(room_id)
    .bind(event_ids)
    .map(conn, |row| {
        let (notify, highlight): (i16, i16) = (row.get(3)?, row.get(4)?);
        Ok(NotificationRow {
            user_id: row.get(0)?,
            room_id: room_id.to_owned(),
            pos: row.get(1)?,
            event_id: String::new(),
            thread: row.get(2)?,
            notify: notify.saturating_neg(),
            highlight: highlight.saturating_neg(),
        })
    })
    .await?;
    add(conn, sums(&removed)).await
}

/// Sums by room, user, stretch and thread: every writer takes them in this order.
type Sums = BTreeMap<(String, String, i64, String), Numbers>;

fn sums(rows: &[NotificationRow]) -> Sums {
    let mut sums = Sums::new();
    for row in rows {
        let stretch = row.pos / STRETCH;
        let key = (row.room_id.clone(), row.user_id.clone(), stretch, row.thread.clone());
        let sum = sums.entry(key).or_default();
        sum.notify += i64::from(row.notify);
        sum.highlight += i64::from(row.highlight);
    }
    sums
}

async fn add(conn: &mut Conn, sums: Sums) -> Result<()> {
    let values = sums.into_iter().map(|((room_id, user_id, stretch, thread), sum)| -> Vec<Value> {
        vec![
            room_id.into(),
            user_id.into(),
            stretch.into(),
            thread.into(),
            sum.notify.into(),
            sum.highlight.into(),
        ]
    });
    bulk::insert(
        conn,
        "INSERT INTO notification_sums (room_id, user_id, stretch, thread_root, notify, highlight)",
        "ON CONFLICT (room_id, user_id, stretch, thread_root) DO UPDATE SET \
         notify = notification_sums.notify + excluded.notify, \
         highlight = notification_sums.highlight + excluded.highlight",
        values,
    )
    .await
}
