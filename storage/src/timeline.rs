//! The order in which a room's events are shown.

pub mod by_time;

use crate::{
    bulk,
    change::At,
    db::{Conn, Result, Row, Value, sql},
    events::{EVENT_COLUMNS, EventRow, event_row},
    unread::Numbers,
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
    /// What it does to everybody who has the default push rules: bits of
    /// [`notifies`](crate::unread::notifies).
    pub notifies: i16,
    /// The running numbers of its thread with this event, if it notifies.
    pub numbers: Numbers,
}

/// Writes the rows of a batch; `base` is the position before each change's first fact, `backfill`
/// the next free negative position, which is counted down.
pub(crate) async fn apply(
    conn: &mut Conn,
    rows: Vec<(i64, Write)>,
    backfill: &mut i64,
) -> Result<()> {
    let entries = rows.into_iter().map(|(base, row)| match row {
        Write::Append { entry, at } => (at.after(base), entry),
        Write::Backfill(entry) => {
            *backfill -= 1;
            (*backfill + 1, entry)
        }
    });
    put_entries(conn, entries.collect()).await
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
            e.notifies.into(),
            e.numbers.notify.into(),
            e.numbers.highlight.into(),
        ]
    });
    bulk::insert(
        conn,
        "INSERT INTO timeline (pos, room_id, event_id, depth, local, thread_root, notifies, \
         notify_count, highlight_count)",
        "",
        values,
    )
    .await
}

pub(crate) const ENTRY: &str = "t.pos, t.room_id, t.event_id, t.depth, t.local, t.thread_root, \
                     t.notifies, t.notify_count, t.highlight_count";

pub(crate) fn entry(row: &Row, first: usize) -> Result<Entry> {
    Ok(Entry {
        pos: row.get(first)?,
        room_id: row.get(first + 1)?,
        event_id: row.get(first + 2)?,
        depth: row.get(first + 3)?,
        local: row.get(first + 4)?,
        thread_root: row.get(first + 5)?,
        notifies: row.get(first + 6)?,
        numbers: Numbers { notify: row.get(first + 7)?, highlight: row.get(first + 8)? },
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

impl Direction {
    /// How SQL compares with the beginning of a page, and orders the page.
    pub(crate) fn comparison(self) -> (&'static str, &'static str) {
        match self {
            Self::Backward => ("<", "DESC"),
            Self::Forward => (">", "ASC"),
        }
    }
}

pub(crate) const EVENT: &str = "e.room_id, e.event_id, e.type, e.state_key, e.sender, e.depth, \
                     e.origin_server_ts, e.received_ts, e.state_before, e.flags, e.redacted_by, e.json, \
                     e.device_id, e.txn_id";

pub(crate) fn event_and_entry(row: &Row) -> Result<(EventRow, Entry)> {
    Ok((event_row(row)?, entry(row, EVENT_COLUMNS)?))
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
) -> Result<Vec<Entry>> {
    let text = format!(
        "SELECT {ENTRY} FROM timeline t WHERE t.room_id = $1 AND t.pos > $2 AND t.pos <= $3 \
         ORDER BY t.pos DESC LIMIT $4"
    );
    let values = vec![room_id.into(), after.into(), until.into(), limit.into()];
    crate::db::composed(text, values).map(conn, |row| entry(row, 0)).await
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
pub async fn page(conn: &mut Conn, room_id: &str, range: Range, limit: i64) -> Result<Vec<Entry>> {
    let (compare, order) = range.direction.comparison();
    let text = format!(
        "SELECT {ENTRY} FROM timeline t WHERE t.room_id = $1 \
         AND (t.depth, t.pos) {compare} ($2, $3) AND t.pos > $4 AND t.pos <= $5 ORDER BY t.depth {order}, t.pos {order} LIMIT $6"
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
    crate::db::composed(text, values).map(conn, |row| entry(row, 0)).await
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
    // One look into the index for each room, however much was said.
    sql("SELECT r.room_id FROM rooms r WHERE r.room_id = ANY($1) AND EXISTS \
         (SELECT 1 FROM timeline t WHERE t.room_id = r.room_id AND t.pos > $2 AND t.pos <= $3)")
    .bind(room_ids)
    .bind(after)
    .bind(until)
    .map(conn, |row| row.get(0))
    .await
}

/// Where the newest event of each of the rooms stands, as `(room_id, pos)`.
///
/// # Errors
///
/// When the database fails.
pub async fn newest_positions(conn: &mut Conn, room_ids: &[String]) -> Result<Vec<(String, i64)>> {
    // One look into the index for each room, however many events it has.
    sql("SELECT r.room_id, (SELECT MAX(t.pos) FROM timeline t WHERE t.room_id = r.room_id) AS pos \
         FROM rooms r WHERE r.room_id = ANY($1)")
    .bind(room_ids)
    .map(conn, |row| Ok((row.get(0)?, row.get::<Option<i64>>(1)?)))
    .await
    .map(|rows| rows.into_iter().filter_map(|(room, pos)| Some((room, pos?))).collect())
}

/// How many events of a room are looked at for the newest of some types.
const NEWEST_OF_TYPES: i64 = 2_000;

/// Where the newest event of one of the types stands in a room, up to a position, of the last
/// [`NEWEST_OF_TYPES`] events of the room.
///
/// # Errors
///
/// When the database fails.
pub async fn newest_of_types(
    conn: &mut Conn,
    room_id: &str,
    kinds: &[String],
    until: i64,
) -> Result<Option<i64>> {
    let row = sql("SELECT t.pos FROM timeline t \
         JOIN events e ON e.event_id = t.event_id AND e.room_id = t.room_id \
         WHERE t.room_id = $1 AND e.type = ANY($2) AND t.pos <= $3 AND t.pos >= COALESCE(( \
           SELECT o.pos FROM timeline o WHERE o.room_id = $1 AND o.pos <= $3 \
           ORDER BY o.pos DESC LIMIT 1 OFFSET $4), $5) \
         ORDER BY t.pos DESC LIMIT 1")
    .bind(room_id)
    .bind(kinds)
    .bind(until)
    .bind(NEWEST_OF_TYPES)
    .bind(i64::MIN)
    .optional(conn)
    .await?;
    row.map(|row| row.get(0)).transpose()
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
