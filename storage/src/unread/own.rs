//! What events mean to single users: a row for each, and sums of many rows, so that a count of very much that was not
//! read adds up few.

use std::collections::BTreeMap;

use super::{NotificationRow, Numbers};
use crate::{
    bulk,
    db::{Conn, Result, Value, sql},
};

/// How many positions share a sum: those from a multiple of it on. A migration made sums of as many.
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

/// Statements that add up what a user (`$1`) has not read in some rooms (`$2`) by these rows: of main timelines, and of
/// threads, the rows of the stretch in which they have read up to somewhere, and the sums after it.
pub(super) fn parts() -> [String; 4] {
    let mark = |alias: &str, thread: &str| {
        format!(
            "LEFT JOIN unread_marks {alias} ON {alias}.user_id = m.user_id \
             AND {alias}.room_id = m.room_id AND {alias}.thread_root = {thread}"
        )
    };
    let rows_after = |read: &str| {
        format!(
            "JOIN notifications n ON n.user_id = m.user_id AND n.room_id = m.room_id \
             AND n.pos > {read} AND n.pos < ({read} / {STRETCH} + 1) * {STRETCH}"
        )
    };
    let sums_after = |read: &str| {
        format!(
            "JOIN notification_sums s ON s.room_id = m.room_id AND s.user_id = m.user_id \
             AND s.stretch > {read} / {STRETCH}"
        )
    };
    // Of the stretch in which a thread was read up to somewhere its rows after that, of a later one the sum.
    let sum = |of: &str| {
        format!(
            "CASE WHEN s.stretch > COALESCE(k.pos, 0) / {STRETCH} THEN s.{of} ELSE \
             COALESCE((SELECT SUM(n.{of}) FROM notifications n WHERE n.user_id = s.user_id \
               AND n.room_id = s.room_id AND n.pos > k.pos AND n.pos < (s.stretch + 1) * {STRETCH} \
               AND n.thread_root = s.thread_root), 0) END"
        )
    };
    let part = |key: [&str; 2], [notify, highlight]: [&str; 2], from: &str, only: &str| {
        let [room, thread] = key;
        format!(
            "SELECT {room}, {thread}, CAST(SUM({notify}) AS BIGINT), CAST(SUM({highlight}) AS BIGINT) \
             FROM memberships m {from} WHERE m.user_id = $1 AND m.room_id = ANY($2) AND {only}"
        )
    };
    let room = &mark("w", "''");
    let main = &format!("{room} {}", mark("k", "'main'"));
    let room_read = "COALESCE(w.pos, 0)";
    let main_read =
        "CASE WHEN COALESCE(k.pos, 0) > COALESCE(w.pos, 0) THEN k.pos ELSE COALESCE(w.pos, 0) END";
    let of_main = ["m.room_id", "'main'"];
    [
        part(
            of_main,
            ["n.notify", "n.highlight"],
            &format!("{main} {}", rows_after(main_read)),
            "n.thread_root = 'main' GROUP BY m.room_id",
        ),
        part(
            of_main,
            ["s.notify", "s.highlight"],
            &format!("{main} {}", sums_after(main_read)),
            "s.thread_root = 'main' GROUP BY m.room_id",
        ),
        part(
            ["n.room_id", "n.thread_root"],
            ["n.notify", "n.highlight"],
            &format!("{room} {} {}", rows_after(room_read), mark("k", "n.thread_root")),
            "n.thread_root <> 'main' AND n.pos > COALESCE(k.pos, 0) GROUP BY n.room_id, n.thread_root",
        ),
        part(
            ["s.room_id", "s.thread_root"],
            [&sum("notify"), &sum("highlight")],
            &format!("{room} {} {}", sums_after(room_read), mark("k", "s.thread_root")),
            &format!(
                "s.thread_root <> 'main' AND s.stretch >= COALESCE(k.pos, 0) / {STRETCH} \
                 GROUP BY s.room_id, s.thread_root"
            ),
        ),
    ]
}
