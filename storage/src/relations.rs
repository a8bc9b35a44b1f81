//! Which events relate to which (`m.relates_to`).

use crate::{
    db::{Conn, Result, Row, Value, composed, sql},
    timeline::{ENTRY, Entry, Range, entry},
};

/// The events that relate to one, directly or by way of others.
#[derive(Clone, Copy, Debug)]
pub struct Related<'a> {
    /// The event that they relate to.
    pub parent_id: &'a str,
    /// Only by this `rel_type`, on every step of the way.
    pub rel_type: Option<&'a str>,
    /// Only events of this type, on every step of the way.
    pub kind: Option<&'a str>,
    /// How many steps away they are at most.
    pub depth: i64,
}

/// A page of the events in the timeline of a room that relate to one, ordered like
/// [`timeline::page`](crate::timeline::page).
///
/// # Errors
///
/// When the database fails.
pub async fn page(
    conn: &mut Conn,
    room_id: &str,
    related: Related<'_>,
    range: Range,
    limit: i64,
) -> Result<Vec<Entry>> {
    let Range { from, after, until, .. } = range;
    let mut values: Vec<Value> = vec![
        room_id.into(),
        from.0.into(),
        from.1.into(),
        after.into(),
        until.into(),
        limit.into(),
        related.parent_id.into(),
        related.depth.into(),
    ];
    let mut only = String::new();
    for (column, wanted) in [("rel_type", related.rel_type), ("type", related.kind)] {
        let Some(wanted) = wanted else { continue };
        values.push(wanted.into());
        only.push_str(&format!(" AND r.{column} = ${}", values.len()));
    }
    let (compare, order) = range.direction.comparison();
    // In old room versions servers choose the IDs of their events, and can make them relate to each
    // other in circles: the limit of the depth ends those. A cross join is what SQLite makes in the
    // order of its text; left to itself it may walk through the whole room instead.
    let text = format!(
        "WITH RECURSIVE related (event_id, level) AS ( \
           SELECT r.event_id, 1 FROM relations r \
             WHERE r.room_id = $1 AND r.parent_id = $7{only} \
           UNION SELECT r.event_id, related.level + 1 FROM related \
             JOIN relations r ON r.room_id = $1 AND r.parent_id = related.event_id \
             WHERE related.level < $8{only}) \
         SELECT {ENTRY} FROM (SELECT DISTINCT event_id FROM related) c CROSS JOIN timeline t \
         WHERE t.room_id = $1 AND t.event_id = c.event_id AND t.event_id <> $7 \
         AND (t.depth, t.pos) {compare} ($2, $3) \
         AND t.pos > $4 AND t.pos <= $5 ORDER BY t.depth {order}, t.pos {order} LIMIT $6"
    );
    composed(text, values).map(conn, |row| entry(row, 0)).await
}

/// What events to aggregate.
#[derive(Clone, Copy, Debug)]
pub struct Children<'a> {
    /// The room.
    pub room_id: &'a str,
    /// The events that they relate to.
    pub parents: &'a [String],
    /// Not by these senders.
    pub ignored: &'a [String],
    /// Only with at most this position.
    pub until: i64,
    /// How many of each parent at most.
    pub limit: i64,
}

/// An event that relates to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The event that it relates to.
    pub parent_id: String,
    /// The event.
    pub event_id: String,
    /// Its position.
    pub pos: i64,
}

/// Those of the events that have children at all, each with each `rel_type` of those.
///
/// # Errors
///
/// When the database fails.
pub async fn rel_types(
    conn: &mut Conn,
    room_id: &str,
    parents: &[String],
) -> Result<Vec<(String, String)>> {
    sql("SELECT DISTINCT parent_id, rel_type FROM relations \
         WHERE room_id = $1 AND parent_id = ANY($2)")
    .bind(room_id)
    .bind(parents)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}

/// Which relations are looked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct RelatedBy<'a> {
    /// In one of these ways; `None`: in any.
    pub rel_types: Option<&'a [String]>,
    /// By events of one of these senders; `None`: of any.
    pub senders: Option<&'a [String]>,
}

/// Those of the events to which others relate in this way.
///
/// # Errors
///
/// When the database fails.
pub async fn related_by(
    conn: &mut Conn,
    room_id: &str,
    parents: &[String],
    by: RelatedBy<'_>,
) -> Result<Vec<String>> {
    let mut values = vec![room_id.into(), parents.into()];
    let mut text = "SELECT DISTINCT r.parent_id FROM relations r \
                    WHERE r.room_id = $1 AND r.parent_id = ANY($2)"
        .to_owned();
    for (column, list) in [("rel_type", by.rel_types), ("sender", by.senders)] {
        if let Some(list) = list {
            values.push(list.into());
            text.push_str(&format!(" AND r.{column} = ANY(${})", values.len()));
        }
    }
    composed(text, values).map(conn, |row| row.get(0)).await
}

/// The events that relate directly to one and are not redacted, in one of these ways or in any, at most
/// `limit` of them.
///
/// # Errors
///
/// When the database fails.
pub async fn children(
    conn: &mut Conn,
    room_id: &str,
    parent_id: &str,
    rel_types: Option<&[String]>,
    limit: i64,
) -> Result<Vec<String>> {
    let mut values = vec![room_id.into(), parent_id.into(), limit.into()];
    let mut only = String::new();
    if let Some(rel_types) = rel_types {
        values.push(rel_types.into());
        only.push_str(" AND r.rel_type = ANY($4)");
    }
    let text = format!(
        "SELECT r.event_id FROM relations r WHERE r.room_id = $1 AND r.parent_id = $2{only} \
         ORDER BY r.event_id LIMIT $3"
    );
    composed(text, values).map(conn, |row| row.get(0)).await
}

/// For each parent those events that replace it by their form: of its sender and type, no state. The
/// newest by their own time come first.
///
/// # Errors
///
/// When the database fails.
pub async fn replacements(conn: &mut Conn, children: Children<'_>) -> Result<Vec<Child>> {
    let joined = "JOIN events e ON e.event_id = r.event_id AND e.room_id = r.room_id \
                  AND e.state_key IS NULL \
                  JOIN events p ON p.event_id = r.parent_id AND p.room_id = r.room_id \
                  AND p.sender = e.sender AND p.type = e.type AND p.state_key IS NULL";
    ranked(conn, children, "m.replace", joined, "e.origin_server_ts DESC, e.event_id DESC").await
}

/// For each parent the events that reference it, the oldest first.
///
/// # Errors
///
/// When the database fails.
pub async fn references(conn: &mut Conn, children: Children<'_>) -> Result<Vec<Child>> {
    ranked(conn, children, "m.reference", "", "t.depth, t.pos").await
}

/// For each parent the events in its thread, the newest first.
///
/// # Errors
///
/// When the database fails.
pub async fn newest_in_threads(conn: &mut Conn, children: Children<'_>) -> Result<Vec<Child>> {
    ranked(conn, children, "m.thread", "", "t.depth DESC, t.pos DESC").await
}

async fn ranked(
    conn: &mut Conn,
    children: Children<'_>,
    rel_type: &str,
    joined: &str,
    order: &str,
) -> Result<Vec<Child>> {
    let text = format!(
        "SELECT parent_id, event_id, pos FROM (SELECT r.parent_id, r.event_id, t.pos, \
           ROW_NUMBER() OVER (PARTITION BY r.parent_id ORDER BY {order}) AS place \
           FROM relations r JOIN timeline t ON t.event_id = r.event_id AND t.room_id = r.room_id \
           {joined} WHERE r.room_id = $1 AND r.parent_id = ANY($2) AND r.rel_type = $3 \
           AND r.sender <> ALL($4) AND t.pos <= $5) c \
         WHERE place <= $6 ORDER BY parent_id, place"
    );
    let values = vec![
        children.room_id.into(),
        children.parents.into(),
        rel_type.into(),
        children.ignored.into(),
        children.until.into(),
        children.limit.into(),
    ];
    let child =
        |row: &Row| Ok(Child { parent_id: row.get(0)?, event_id: row.get(1)?, pos: row.get(2)? });
    composed(text, values).map(conn, child).await
}

/// How much there is in a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadSize {
    /// The event that the thread begins with.
    pub root_id: String,
    /// How many events relate to it.
    pub count: i64,
    /// Whether the user who asks has sent one of them.
    pub participated: bool,
}

/// The sizes of the threads that begin with some events; the limit does not matter.
///
/// # Errors
///
/// When the database fails.
pub async fn thread_sizes(
    conn: &mut Conn,
    children: Children<'_>,
    user_id: &str,
) -> Result<Vec<ThreadSize>> {
    sql("SELECT r.parent_id, COUNT(*), SUM(CASE WHEN r.sender = $3 THEN 1 ELSE 0 END) \
         FROM relations r JOIN timeline t ON t.event_id = r.event_id AND t.room_id = r.room_id \
         WHERE r.room_id = $1 AND r.parent_id = ANY($2) AND r.rel_type = 'm.thread' \
         AND r.sender <> ALL($4) AND t.pos <= $5 GROUP BY r.parent_id")
    .bind(children.room_id)
    .bind(children.parents)
    .bind(user_id)
    .bind(children.ignored)
    .bind(children.until)
    .map(conn, |row| {
        let own: i64 = row.get(2)?;
        Ok(ThreadSize { root_id: row.get(0)?, count: row.get(1)?, participated: own > 0 })
    })
    .await
}

/// The events of a type by which a user relates to an event in a way.
///
/// # Errors
///
/// When the database fails.
pub async fn of_user(
    conn: &mut Conn,
    room_id: &str,
    related: Related<'_>,
    user_id: &str,
    limit: i64,
) -> Result<Vec<String>> {
    sql("SELECT event_id FROM relations WHERE room_id = $1 AND parent_id = $2 AND sender = $3 \
         AND rel_type = $4 AND type = $5 LIMIT $6")
    .bind(room_id)
    .bind(related.parent_id)
    .bind(user_id)
    .bind(related.rel_type.unwrap_or_default())
    .bind(related.kind.unwrap_or_default())
    .bind(limit)
    .map(conn, |row| row.get(0))
    .await
}

/// Which threads of a room are listed.
#[derive(Clone, Copy, Debug)]
pub struct Threads<'a> {
    /// The room.
    pub room_id: &'a str,
    /// Who asks.
    pub user_id: &'a str,
    /// Only those in which they take part.
    pub participated: bool,
    /// Events of these senders do not count.
    pub ignored: &'a [String],
    /// Nor do those with a greater position.
    pub until: i64,
    /// Only those whose newest event is before this `(depth, pos)`.
    pub before: (i64, i64),
    /// How many at most.
    pub limit: i64,
}

/// A thread of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadRow {
    /// The event that it begins with.
    pub root_id: String,
    /// The position of that.
    pub root_pos: i64,
    /// Depth and position of the newest event in the thread.
    pub latest: (i64, i64),
}

/// Threads of a room, those with the newest events first.
///
/// # Errors
///
/// When the database fails.
pub async fn threads(conn: &mut Conn, threads: Threads<'_>) -> Result<Vec<ThreadRow>> {
    let only = if threads.participated { "AND (c.own = 1 OR p.sender = $2)" } else { "" };
    let text = format!(
        "SELECT c.parent_id, root.pos, c.depth, c.pos FROM (SELECT r.parent_id, t.depth, t.pos, \
           ROW_NUMBER() OVER (PARTITION BY r.parent_id ORDER BY t.depth DESC, t.pos DESC) AS place, \
           MAX(CASE WHEN r.sender = $2 THEN 1 ELSE 0 END) OVER (PARTITION BY r.parent_id) AS own \
           FROM relations r JOIN timeline t ON t.event_id = r.event_id AND t.room_id = r.room_id \
           WHERE r.room_id = $1 AND r.rel_type = 'm.thread' AND r.sender <> ALL($3) \
           AND t.pos <= $4) c \
         JOIN events p ON p.event_id = c.parent_id AND p.room_id = $1 \
         JOIN timeline root ON root.event_id = c.parent_id AND root.room_id = $1 \
         WHERE c.place = 1 AND (c.depth, c.pos) < ($5, $6) {only} \
         ORDER BY c.depth DESC, c.pos DESC LIMIT $7"
    );
    let values = vec![
        threads.room_id.into(),
        threads.user_id.into(),
        threads.ignored.into(),
        threads.until.into(),
        threads.before.0.into(),
        threads.before.1.into(),
        threads.limit.into(),
    ];
    let thread = |row: &Row| {
        let latest = (row.get(2)?, row.get(3)?);
        Ok(ThreadRow { root_id: row.get(0)?, root_pos: row.get(1)?, latest })
    };
    composed(text, values).map(conn, thread).await
}
