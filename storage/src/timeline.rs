//! The order in which a room's events are shown, and the running numbers behind unread counts.

use crate::{
    bulk,
    change::At,
    db::{Conn, Result, Row, Value, sql},
    events::{EventRow, event_row},
};

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// A new event at the end of its room's timeline.
    Append {
        /// The event's place and numbers; `pos` is given by the commit.
        entry: Entry,
        /// The fact of this event.
        at: At,
    },
    /// An event of history, before everything that the timeline has. The commit gives negative
    /// positions in the order of the rows: the newest event first.
    Backfill(Entry),
    /// The running number of a thread.
    ThreadCount {
        /// The room.
        room_id: String,
        /// The thread's root event.
        thread_root: String,
        /// Default-notifying events in the thread.
        notify_count: i64,
    },
    /// Where a user has read up to.
    UnreadMark(UnreadMark),
    /// A user has read up to an event that they send themselves.
    OwnEvent {
        /// The mark; `pos` is given by the commit.
        mark: UnreadMark,
        /// The fact of the event.
        at: At,
    },
}

/// An event's place in the timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The position; ignored when written.
    pub pos: i64,
    /// The room.
    pub room_id: String,
    /// The event.
    pub event_id: String,
    /// The event's depth.
    pub depth: i64,
    /// Whether this deployment made it and owes it to other servers.
    pub local: bool,
    /// The thread that it belongs to.
    pub thread_root: Option<String>,
    /// Default-notifying events of the room up to and including this one.
    pub notify_count: i64,
    /// Default-notifying events of the thread up to and including this one.
    pub thread_notify_count: i64,
}

/// Where a user has read up to in a room or thread, as a value of its running number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadMark {
    /// The user.
    pub user_id: String,
    /// The room.
    pub room_id: String,
    /// The thread, or `""` for the whole room.
    pub thread_root: String,
    /// The position that was read up to.
    pub pos: i64,
    /// The running number there.
    pub notify_count: i64,
}

/// Writes the rows of a batch; `base` is the position before each change's first fact, `backfill`
/// the next free negative position, which is counted down.
pub(crate) async fn apply(
    conn: &mut Conn,
    rows: Vec<(i64, Write)>,
    backfill: &mut i64,
) -> Result<()> {
    let (mut entries, mut threads, mut marks) = (vec![], vec![], vec![]);
    for (base, row) in rows {
        match row {
            Write::Append { entry, at } => entries.push((at.after(base), entry)),
            Write::Backfill(entry) => {
                entries.push((*backfill, entry));
                *backfill -= 1;
            }
            Write::ThreadCount { room_id, thread_root, notify_count } => {
                threads.push((room_id, thread_root, notify_count));
            }
            Write::UnreadMark(mark) => marks.push(mark),
            Write::OwnEvent { mark, at } => marks.push(UnreadMark { pos: at.after(base), ..mark }),
        }
    }
    put_entries(conn, entries).await?;
    put_thread_counts(conn, threads).await?;
    put_unread_marks(conn, marks).await
}

async fn put_entries(conn: &mut Conn, entries: Vec<(i64, Entry)>) -> Result<()> {
    let values = entries.into_iter().map(|(pos, e)| -> Vec<Value> {
        vec![
            pos.into(),
            e.room_id.into(),
            e.event_id.into(),
            e.depth.into(),
            e.local.into(),
            e.thread_root.into(),
            e.notify_count.into(),
            e.thread_notify_count.into(),
        ]
    });
    bulk::insert(
        conn,
        "INSERT INTO timeline (pos, room_id, event_id, depth, local, thread_root, notify_count, \
         thread_notify_count)",
        "",
        values.collect(),
    )
    .await
}

async fn put_thread_counts(conn: &mut Conn, rows: Vec<(String, String, i64)>) -> Result<()> {
    let rows = bulk::last_by_key(rows, |(room, root, _)| (room.clone(), root.clone()));
    let values = rows
        .into_iter()
        .map(|(room, root, count)| -> Vec<Value> { vec![room.into(), root.into(), count.into()] });
    bulk::insert(
        conn,
        "INSERT INTO thread_counts (room_id, thread_root, notify_count)",
        "ON CONFLICT (room_id, thread_root) DO UPDATE SET notify_count = excluded.notify_count",
        values.collect(),
    )
    .await
}

async fn put_unread_marks(conn: &mut Conn, marks: Vec<UnreadMark>) -> Result<()> {
    let marks =
        bulk::last_by_key(marks, |m| (m.user_id.clone(), m.room_id.clone(), m.thread_root.clone()));
    let values = marks.into_iter().map(|m| -> Vec<Value> {
        vec![
            m.user_id.into(),
            m.room_id.into(),
            m.thread_root.into(),
            m.pos.into(),
            m.notify_count.into(),
        ]
    });
    bulk::insert(
        conn,
        "INSERT INTO unread_marks (user_id, room_id, thread_root, pos, notify_count)",
        "ON CONFLICT (user_id, room_id, thread_root) DO UPDATE SET \
         pos = excluded.pos, notify_count = excluded.notify_count",
        values.collect(),
    )
    .await
}

const ENTRY: &str = "t.pos, t.room_id, t.event_id, t.depth, t.local, t.thread_root, \
                     t.notify_count, t.thread_notify_count";

fn entry(row: &Row, first: usize) -> Result<Entry> {
    Ok(Entry {
        pos: row.get(first)?,
        room_id: row.get(first + 1)?,
        event_id: row.get(first + 2)?,
        depth: row.get(first + 3)?,
        local: row.get(first + 4)?,
        thread_root: row.get(first + 5)?,
        notify_count: row.get(first + 6)?,
        thread_notify_count: row.get(first + 7)?,
    })
}

/// Where an event stands in the timeline of its room; `None` for outliers, rejected and soft-failed
/// events.
///
/// # Errors
///
/// When the database fails.
pub async fn find(conn: &mut Conn, room_id: &str, event_id: &str) -> Result<Option<Entry>> {
    let text = format!("SELECT {ENTRY} FROM timeline t WHERE t.event_id = $2 AND t.room_id = $1");
    let values = vec![room_id.into(), event_id.into()];
    let rows = crate::db::composed(text, values).map(conn, |row| entry(row, 0)).await?;
    Ok(rows.into_iter().next())
}

/// The direction of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From newer to older.
    Backward,
    /// From older to newer.
    Forward,
}

const JOINED: &str = "FROM timeline t JOIN events e \
                      ON e.event_id = t.event_id AND e.room_id = t.room_id WHERE t.room_id = $1";

const EVENT: &str = "e.room_id, e.event_id, e.type, e.state_key, e.sender, e.depth, \
                     e.origin_server_ts, e.received_ts, e.state_before, e.flags, e.redacted_by, e.json";

fn event_and_entry(row: &Row) -> Result<(EventRow, Entry)> {
    Ok((event_row(row)?, entry(row, 12)?))
}

/// The newest `limit` events of a room with `after < pos <= until`, newest first: /sync's order.
///
/// # Errors
///
/// When the database fails.
pub async fn newest(
    conn: &mut Conn,
    room_id: &str,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<(EventRow, Entry)>> {
    let text = format!(
        "SELECT {EVENT}, {ENTRY} {JOINED} AND t.pos > $2 AND t.pos <= $3 \
         ORDER BY t.pos DESC LIMIT $4"
    );
    let values = vec![room_id.into(), after.into(), until.into(), limit.into()];
    crate::db::composed(text, values).map(conn, event_and_entry).await
}

/// Which part of a room's history a page may show, and in which order.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// `(depth, pos)` after which the page starts in its direction, itself excluded.
    pub from: (i64, i64),
    /// Only events with a greater position.
    pub after: i64,
    /// Only events with at most this position.
    pub until: i64,
    /// The direction of the page.
    pub direction: Direction,
}

/// A page of a room's history in the order of (depth, position): /messages' order.
///
/// # Errors
///
/// When the database fails.
pub async fn page(
    conn: &mut Conn,
    room_id: &str,
    range: Range,
    limit: i64,
) -> Result<Vec<(EventRow, Entry)>> {
    let (compare, order) = match range.direction {
        Direction::Backward => ("<", "DESC"),
        Direction::Forward => (">", "ASC"),
    };
    let text = format!(
        "SELECT {EVENT}, {ENTRY} {JOINED} AND (t.depth, t.pos) {compare} ($2, $3) \
         AND t.pos > $4 AND t.pos <= $5 ORDER BY t.depth {order}, t.pos {order} LIMIT $6"
    );
    let Range { from, after, until, .. } = range;
    let values = vec![
        room_id.into(),
        from.0.into(),
        from.1.into(),
        after.into(),
        until.into(),
        limit.into(),
    ];
    crate::db::composed(text, values).map(conn, event_and_entry).await
}

/// Those of `room_ids` that have events with `after < pos <= until`.
///
/// # Errors
///
/// When the database fails.
pub async fn active(
    conn: &mut Conn,
    room_ids: &[String],
    after: i64,
    until: i64,
) -> Result<Vec<String>> {
    sql("SELECT DISTINCT room_id FROM timeline \
         WHERE room_id = ANY($1) AND pos > $2 AND pos <= $3")
    .bind(room_ids)
    .bind(after)
    .bind(until)
    .map(conn, |row| row.get(0))
    .await
}

/// The events that this deployment made with `after < pos <= until` in rooms that `server` was in
/// at the time (the event that removed it included), oldest first: what its cursor passes over.
///
/// # Errors
///
/// When the database fails.
pub async fn owed_to(
    conn: &mut Conn,
    server: &str,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<(EventRow, Entry)>> {
    let text = format!(
        "SELECT {EVENT}, {ENTRY} FROM timeline t \
         JOIN room_servers s ON s.server = $1 AND s.room_id = t.room_id \
           AND s.joined_pos <= t.pos AND (s.left_pos IS NULL OR t.pos <= s.left_pos) \
         JOIN events e ON e.event_id = t.event_id AND e.room_id = t.room_id \
         WHERE t.local = 1 AND t.pos > $2 AND t.pos <= $3 ORDER BY t.pos LIMIT $4"
    );
    let values = vec![server.into(), after.into(), until.into(), limit.into()];
    crate::db::composed(text, values).map(conn, event_and_entry).await
}

/// As [`owed_to`], but of each room only the newest event: enough for a server that was away for so
/// long that it has to ask for the others anyway.
///
/// # Errors
///
/// When the database fails.
pub async fn newest_owed_to(
    conn: &mut Conn,
    server: &str,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<(EventRow, Entry)>> {
    let text = format!(
        "SELECT {EVENT}, {ENTRY} FROM timeline t \
         JOIN events e ON e.event_id = t.event_id AND e.room_id = t.room_id \
         JOIN (SELECT MAX(o.pos) AS pos FROM timeline o \
           JOIN room_servers s ON s.server = $1 AND s.room_id = o.room_id \
             AND s.joined_pos <= o.pos AND (s.left_pos IS NULL OR o.pos <= s.left_pos) \
           WHERE o.local = 1 AND o.pos > $2 AND o.pos <= $3 GROUP BY o.room_id) n \
           ON n.pos = t.pos \
         ORDER BY t.pos LIMIT $4"
    );
    let values = vec![server.into(), after.into(), until.into(), limit.into()];
    crate::db::composed(text, values).map(conn, event_and_entry).await
}

/// The running number of a thread.
///
/// # Errors
///
/// When the database fails.
pub async fn thread_count(conn: &mut Conn, room_id: &str, thread_root: &str) -> Result<i64> {
    let row = sql("SELECT notify_count FROM thread_counts WHERE room_id = $1 AND thread_root = $2")
        .bind(room_id)
        .bind(thread_root)
        .optional(conn)
        .await?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// How many default-notifying events a thread has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadCount {
    /// The thread's root event.
    pub thread_root: String,
    /// Now.
    pub now: i64,
    /// At the position that was asked for.
    pub then: i64,
}

/// The running numbers of a room's threads, now and as they were at position `pos`.
///
/// # Errors
///
/// When the database fails.
pub async fn thread_counts(conn: &mut Conn, room_id: &str, pos: i64) -> Result<Vec<ThreadCount>> {
    sql("SELECT c.thread_root, c.notify_count, \
           (SELECT t.thread_notify_count FROM timeline t WHERE t.room_id = c.room_id \
            AND t.thread_root = c.thread_root AND t.pos <= $2 ORDER BY t.pos DESC LIMIT 1) \
         FROM thread_counts c WHERE c.room_id = $1 ORDER BY c.thread_root")
    .bind(room_id)
    .bind(pos)
    .map(conn, |row| {
        let then: Option<i64> = row.get(2)?;
        Ok(ThreadCount {
            thread_root: row.get(0)?,
            now: row.get(1)?,
            then: then.unwrap_or_default(),
        })
    })
    .await
}

/// Where a user has read up to in each of the given rooms, all threads.
///
/// # Errors
///
/// When the database fails.
pub async fn unread_marks(
    conn: &mut Conn,
    user_id: &str,
    room_ids: &[String],
) -> Result<Vec<UnreadMark>> {
    sql("SELECT user_id, room_id, thread_root, pos, notify_count FROM unread_marks \
         WHERE user_id = $1 AND room_id = ANY($2)")
    .bind(user_id)
    .bind(room_ids)
    .map(conn, |row| {
        Ok(UnreadMark {
            user_id: row.get(0)?,
            room_id: row.get(1)?,
            thread_root: row.get(2)?,
            pos: row.get(3)?,
            notify_count: row.get(4)?,
        })
    })
    .await
}
