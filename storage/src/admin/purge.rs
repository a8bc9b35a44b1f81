//! What goes for good: whole rooms, and old events of rooms.
//!
//! A room vanishes in one change ([`Write::Room`]): from then on nobody finds it. What it leaves
//! behind is many rows, which go in batches ([`Write::Remains`]); until they are gone nobody may make
//! the room anew, which the engine sees to.
//!
//! Of a purged event that may be unread its place stays, without a name, for as long as unread
//! messages before it are counted. Then the numbers of its thread begin after it.

use crate::{
    db::{Conn, Result, composed, sql},
    search, unread,
};

/// Rows that go.
#[derive(Clone, Debug)]
pub enum Write {
    /// A room vanishes. Users of this deployment keep that they are not in it, which their clients
    /// have to be told; the change must say so of those who still are.
    Room {
        /// The room.
        room_id: String,
    },
    /// Some of what a vanished room left behind.
    Remains {
        /// The room.
        room_id: String,
        /// How many rows of each table at most.
        limit: i64,
    },
    /// Events go, with what is said of them elsewhere.
    Events {
        /// The room.
        room_id: String,
        /// The events, each with those that it follows.
        events: Vec<(String, Vec<String>)>,
    },
}

/// Tables with few rows for each room, and those of whose rows a room's own ones are not found
/// without its users.
const AT_ONCE: [&str; 16] = [
    "DELETE FROM delayed_events WHERE room_id = $1",
    "DELETE FROM partial_rooms WHERE room_id = $1",
    "DELETE FROM aliases WHERE room_id = $1",
    "DELETE FROM forward_extremities WHERE room_id = $1",
    "DELETE FROM backward_extremities WHERE room_id = $1",
    "DELETE FROM current_state WHERE room_id = $1",
    "DELETE FROM room_servers WHERE room_id = $1",
    "DELETE FROM thread_counts WHERE room_id = $1",
    "DELETE FROM notice_rooms WHERE room_id = $1",
    "DELETE FROM directory_rooms WHERE room_id = $1",
    "DELETE FROM guest_rooms WHERE room_id = $1",
    "DELETE FROM network_rooms WHERE room_id = $1",
    "DELETE FROM unread_marks WHERE room_id = $1 AND user_id IN \
       (SELECT m.user_id FROM memberships m WHERE m.room_id = $1 AND m.local = 1)",
    "DELETE FROM push_reach WHERE room_id = $1 AND user_id IN \
       (SELECT m.user_id FROM memberships m WHERE m.room_id = $1 AND m.local = 1)",
    "DELETE FROM thread_subscriptions WHERE room_id = $1 AND user_id IN \
       (SELECT m.user_id FROM memberships m WHERE m.room_id = $1 AND m.local = 1)",
    "DELETE FROM account_data WHERE room_id = $1 AND user_id IN \
       (SELECT m.user_id FROM memberships m WHERE m.room_id = $1 AND m.local = 1)",
];

/// Tables with many rows for each room, and the column by which they go.
const IN_BATCHES: [(&str, &str); 12] = [
    ("timeline", "pos"),
    ("events", "event_id"),
    ("event_edges", "prev_id"),
    ("auth_ranks", "event_id"),
    ("room_states", "pos"),
    ("state_nodes", "node_id"),
    ("relations", "event_id"),
    ("notifications", "event_id"),
    ("notification_sums", "user_id"),
    ("pending_redactions", "target_id"),
    ("receipts", "user_id"),
    ("member_moves", "pos"),
];

/// Tables that name rooms and keep their rows when one is purged: whether a room may be joined, what
/// was reported, what was done, which keys users keep, how far the user directory has come, which rooms
/// clients were sent, so that they are told that these are gone.
#[cfg(test)]
const KEPT: [&str; 5] =
    ["blocked_rooms", "reports", "directory_progress", "key_backup_sessions", "sliding_rooms"];

pub(crate) async fn apply(conn: &mut Conn, write: Write) -> Result<()> {
    match write {
        Write::Room { room_id } => vanish(conn, &room_id).await,
        Write::Remains { room_id, limit } => sweep(conn, &room_id, limit).await,
        Write::Events { room_id, events } => {
            purge_events(conn, &room_id, events).await?;
            fold(conn, &room_id).await
        }
    }
}

async fn vanish(conn: &mut Conn, room_id: &str) -> Result<()> {
    for text in AT_ONCE {
        sql(text).bind(room_id).execute(conn).await?;
    }
    for text in [
        "DELETE FROM memberships WHERE room_id = $1 AND local = 0",
        "UPDATE memberships SET membership = 'leave', forgotten = 1, stripped_state = NULL, \
         own_rules_pos = NULL WHERE room_id = $1",
        "DELETE FROM rooms WHERE room_id = $1",
    ] {
        sql(text).bind(room_id).execute(conn).await?;
    }
    Ok(())
}

async fn sweep(conn: &mut Conn, room_id: &str, limit: i64) -> Result<()> {
    let places = sql("SELECT pos FROM timeline WHERE room_id = $1 LIMIT $2");
    for pos in places.bind(room_id).bind(limit).map(conn, |row| row.get(0)).await? {
        search::remove(conn, pos).await?;
        sql("DELETE FROM timeline WHERE pos = $1").bind(pos).execute(conn).await?;
    }
    for (table, column) in IN_BATCHES {
        let text = format!(
            "DELETE FROM {table} WHERE room_id = $1 AND {column} IN \
             (SELECT r.{column} FROM {table} r WHERE r.room_id = $1 LIMIT $2)"
        );
        composed(text, vec![room_id.into(), limit.into()]).execute(conn).await?;
    }
    Ok(())
}

/// Whether a vanished room has left something behind.
///
/// # Errors
///
/// When the database fails.
pub async fn remains(conn: &mut Conn, room_id: &str) -> Result<bool> {
    for (table, _) in IN_BATCHES {
        let text = format!("SELECT 1 FROM {table} WHERE room_id = $1 LIMIT 1");
        if composed(text, vec![room_id.into()]).optional(conn).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn purge_events(
    conn: &mut Conn,
    room_id: &str,
    events: Vec<(String, Vec<String>)>,
) -> Result<()> {
    let previous: Vec<String> = events.iter().flat_map(|(_, previous)| previous.clone()).collect();
    let events: Vec<String> = events.into_iter().map(|(event_id, _)| event_id).collect();
    let places = sql("SELECT pos FROM timeline WHERE room_id = $1 AND event_id = ANY($2)")
        .bind(room_id)
        .bind(&*events)
        .map(conn, |row| row.get(0));
    for pos in places.await? {
        search::remove(conn, pos).await?;
    }
    sql("DELETE FROM event_edges WHERE room_id = $1 AND prev_id = ANY($2) AND event_id = ANY($3)")
        .bind(room_id)
        .bind(previous)
        .bind(&*events)
        .execute(conn)
        .await?;
    for text in [
        "UPDATE timeline SET event_id = '-' || CAST(pos AS TEXT), \
         notifies = CASE WHEN notifies < 4 THEN notifies + CAST(4 AS SMALLINT) ELSE notifies END \
         WHERE room_id = $1 AND event_id = ANY($2) AND notifies > 0",
        "DELETE FROM timeline WHERE room_id = $1 AND event_id = ANY($2)",
        "DELETE FROM events WHERE room_id = $1 AND event_id = ANY($2)",
        "DELETE FROM auth_ranks WHERE room_id = $1 AND event_id = ANY($2)",
        "DELETE FROM relations WHERE room_id = $1 AND event_id = ANY($2)",
        "DELETE FROM pending_redactions WHERE room_id = $1 AND target_id = ANY($2)",
    ] {
        sql(text).bind(room_id).bind(&*events).execute(conn).await?;
    }
    unread::own::remove(conn, room_id, &events).await
}

/// Lets the numbers of each thread begin after what of it was purged before the first message that
/// is still there.
async fn fold(conn: &mut Conn, room_id: &str) -> Result<()> {
    let threads = sql("SELECT DISTINCT COALESCE(thread_root, 'main') FROM timeline \
         WHERE room_id = $1 AND notifies >= 4")
    .bind(room_id)
    .map(conn, |row| row.get::<String>(0))
    .await?;
    for thread in threads {
        let first = sql("SELECT COALESCE(MIN(pos), $3) FROM timeline WHERE room_id = $1 \
             AND COALESCE(thread_root, 'main') = $2 AND notifies > 0 AND notifies < 4")
        .bind(room_id)
        .bind(&thread)
        .bind(i64::MAX)
        .optional(conn)
        .await?;
        let first: i64 = first.map_or(Ok(i64::MAX), |row| row.get(0))?;
        fold_thread(conn, room_id, &thread, first).await?;
    }
    Ok(())
}

async fn fold_thread(conn: &mut Conn, room_id: &str, thread: &str, first: i64) -> Result<()> {
    let last = sql("SELECT notify_count, highlight_count FROM timeline WHERE room_id = $1 \
         AND COALESCE(thread_root, 'main') = $2 AND notifies > 0 AND pos < $3 \
         ORDER BY pos DESC LIMIT 1")
    .bind(room_id)
    .bind(thread)
    .bind(first)
    .optional(conn)
    .await?;
    let Some(last) = last else { return Ok(()) };
    let (notify, highlight): (i64, i64) = (last.get(0)?, last.get(1)?);
    sql("UPDATE thread_counts SET base_notify = $3, base_highlight = $4 \
         WHERE room_id = $1 AND thread_root = $2")
    .bind(room_id)
    .bind(thread)
    .bind(notify)
    .bind(highlight)
    .execute(conn)
    .await?;
    for text in [
        "DELETE FROM timeline WHERE room_id = $1 AND COALESCE(thread_root, 'main') = $2 \
         AND notifies > 0 AND pos < $3 AND event_id LIKE '-%'",
        "UPDATE timeline SET notifies = 0 WHERE room_id = $1 \
         AND COALESCE(thread_root, 'main') = $2 AND notifies > 0 AND pos < $3",
    ] {
        sql(text).bind(room_id).bind(thread).bind(first).execute(conn).await?;
    }
    Ok(())
}

/// An event that is to be purged: its id and its JSON.
pub type Old = (String, String);

/// The events of a room that are neither state nor at the end of the graph nor the newest message,
/// and that are older than a time, by their own word or ours; at most `limit`.
///
/// # Errors
///
/// When the database fails.
pub async fn expired(
    conn: &mut Conn,
    room_id: &str,
    before_ts: i64,
    limit: i64,
) -> Result<Vec<Old>> {
    let found = old(conn, OLD, room_id, before_ts, limit).await?;
    match found.is_empty() {
        true => old(conn, LYING, room_id, before_ts, limit).await,
        false => Ok(found),
    }
}

/// The events `e` that say themselves that they are older than `$2`; an index leads to them.
const OLD: &str = "e.origin_server_ts < $2";

/// The events `e` that are older than `$2` whatever they say. Few come before the time that they say
/// they are of, and those have an index of their own, for which its condition must stand here.
const LYING: &str =
    "e.origin_server_ts > e.received_ts AND e.received_ts < $2 AND e.origin_server_ts >= $2";

/// Those of some events that may still go.
///
/// # Errors
///
/// When the database fails.
pub async fn may_go(conn: &mut Conn, room_id: &str, events: &[Old]) -> Result<Vec<Old>> {
    let ids: Vec<String> = events.iter().map(|(event_id, _)| event_id.clone()).collect();
    let text = format!(
        "SELECT e.event_id, e.json FROM events e WHERE e.room_id = $1 AND e.event_id = ANY($2) \
         AND {MAY_GO}"
    );
    composed(text, vec![room_id.into(), ids.into()])
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
        .await
}

/// How many events [`expired`] would find in all.
///
/// # Errors
///
/// When the database fails.
pub async fn count_expired(conn: &mut Conn, room_id: &str, before_ts: i64) -> Result<i64> {
    let mut count = 0;
    for condition in [OLD, LYING] {
        let text = format!(
            "SELECT COUNT(*) FROM events e WHERE e.room_id = $1 AND {condition} AND {MAY_GO}"
        );
        let row = composed(text, vec![room_id.into(), before_ts.into()]).optional(conn).await?;
        count += row.map_or(Ok(0), |row| row.get::<i64>(0))?;
    }
    Ok(count)
}

/// What the graph and the state stand on stays, and so does the newest message of the room `$1`.
const MAY_GO: &str = "e.state_key IS NULL \
     AND NOT EXISTS (SELECT 1 FROM forward_extremities f \
       WHERE f.room_id = e.room_id AND f.event_id = e.event_id) \
     AND NOT EXISTS (SELECT 1 FROM timeline n WHERE n.room_id = e.room_id \
       AND n.event_id = e.event_id AND n.pos = (SELECT t.pos FROM timeline t \
         JOIN events m ON m.event_id = t.event_id AND m.room_id = t.room_id \
         WHERE t.room_id = $1 AND m.state_key IS NULL ORDER BY t.pos DESC LIMIT 1))";

async fn old(
    conn: &mut Conn,
    condition: &str,
    room_id: &str,
    before: i64,
    limit: i64,
) -> Result<Vec<Old>> {
    composed(old_text(condition), vec![room_id.into(), before.into(), limit.into()])
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
        .await
}

fn old_text(condition: &str) -> String {
    format!(
        "SELECT e.event_id, e.json FROM events e WHERE e.room_id = $1 AND {condition} \
         AND {MAY_GO} LIMIT $3"
    )
}

/// The events of a room that may go and stand before a place in its history; with `keep_local` not
/// those that this deployment made. At most `limit`.
///
/// # Errors
///
/// When the database fails.
pub async fn before(
    conn: &mut Conn,
    room_id: &str,
    (depth, pos): (i64, i64),
    keep_local: bool,
    limit: i64,
) -> Result<Vec<Old>> {
    let text = format!(
        "SELECT e.event_id, e.json FROM timeline p \
         JOIN events e ON e.event_id = p.event_id AND e.room_id = p.room_id \
         WHERE p.room_id = $1 AND (p.depth, p.pos) < ($2, $3) AND ($4 = 0 OR p.local = 0) \
         AND {MAY_GO} ORDER BY p.depth, p.pos LIMIT $5"
    );
    let values = vec![room_id.into(), depth.into(), pos.into(), keep_local.into(), limit.into()];
    composed(text, values).map(conn, |row| Ok((row.get(0)?, row.get(1)?))).await
}

/// Where the first event that a room got at a time or later stands: `(depth, pos)`.
///
/// # Errors
///
/// When the database fails.
pub async fn place_at(conn: &mut Conn, room_id: &str, ts: i64) -> Result<Option<(i64, i64)>> {
    let row = sql("SELECT t.depth, t.pos FROM timeline t \
         JOIN events e ON e.event_id = t.event_id AND e.room_id = t.room_id \
         WHERE t.room_id = $1 AND e.received_ts >= $2 ORDER BY t.depth, t.pos LIMIT 1")
    .bind(room_id)
    .bind(ts)
    .optional(conn)
    .await?;
    row.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::TempDatabase;

    /// Whoever adds a table about rooms has to say here what becomes of it.
    #[tokio::test]
    async fn every_table_that_names_rooms_is_known() {
        let database = TempDatabase::sqlite().unwrap();
        let storage = database.open().await.unwrap();
        let mut conn = storage.read().await.unwrap();
        let found = sql("SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND c.name = 'room_id' ORDER BY m.name")
        .map(&mut conn, |row| row.get::<String>(0))
        .await
        .unwrap();
        drop(conn);
        let at_once = AT_ONCE.iter().filter_map(|text| text.split(' ').nth(2));
        let known: Vec<&str> = at_once
            .chain(IN_BATCHES.iter().map(|(table, _)| *table))
            .chain(KEPT)
            .chain(["rooms", "memberships"])
            .collect();
        let unknown: Vec<_> =
            found.iter().filter(|table| !known.contains(&table.as_str())).collect();
        assert!(unknown.is_empty(), "what becomes of these when a room is purged? {unknown:?}");
        storage.close().await;
        database.remove().await.unwrap();
    }

    #[tokio::test]
    async fn indexes_lead_to_what_is_old() {
        let database = TempDatabase::sqlite().unwrap();
        let storage = database.open().await.unwrap();
        let mut conn = storage.read().await.unwrap();
        for (condition, index) in [(OLD, "events_time"), (LYING, "events_lying")] {
            let text = format!("EXPLAIN QUERY PLAN {}", old_text(condition));
            let plan = composed(text, vec!["!r".into(), 1_i64.into(), 1_i64.into()])
                .map(&mut conn, |row| row.get::<String>(3))
                .await
                .unwrap();
            let wanted = format!("SEARCH e USING INDEX {index} (room_id=? AND ");
            assert!(plan.iter().any(|step| step.starts_with(&wanted)), "{condition}: {plan:?}");
        }
        drop(conn);
        storage.close().await;
        database.remove().await.unwrap();
    }
}
