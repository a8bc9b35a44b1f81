//! The threads of rooms.

use super::{Children, of_each};
use crate::db::{Conn, Result, Row, composed};

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
    let mut sizes = Vec::new();
    let Children { room_id, parents, ignored, until, .. } = children;
    let more = [user_id.into(), ignored.into(), until.into()];
    for (each, values) in of_each(SIZE, room_id, parents, &more) {
        let size = |row: &Row| {
            let own: i64 = row.get(2)?;
            Ok(ThreadSize { root_id: row.get(0)?, count: row.get(1)?, participated: own > 0 })
        };
        sizes.extend(composed(each, values).map(conn, size).await?);
    }
    sizes.retain(|size| size.count > 0);
    Ok(sizes)
}

/// How many events a thread has, and how many of them are a user's: those in the index but for those that stand after a
/// position, which are seldom any.
const SIZE: &str = "SELECT CAST($2 AS TEXT) AS root_id, \
       CAST(SUM(c.events) AS BIGINT) AS events, CAST(SUM(c.own) AS BIGINT) AS own FROM \
     (SELECT COUNT(*) AS events, COALESCE(SUM(CASE WHEN r.sender = $3 THEN 1 ELSE 0 END), 0) AS own \
      FROM relations r WHERE r.room_id = $1 AND r.rel_type = 'm.thread' AND r.parent_id = $2 \
      AND r.sender <> ALL($4) \
      UNION ALL \
      SELECT -COUNT(*), -COALESCE(SUM(CASE WHEN r.sender = $3 THEN 1 ELSE 0 END), 0) \
      FROM timeline t JOIN relations r ON r.room_id = t.room_id AND r.parent_id = t.thread_root \
        AND r.event_id = t.event_id \
      WHERE t.room_id = $1 AND t.thread_root = $2 AND t.pos > $5 AND r.rel_type = 'm.thread' \
      AND r.sender <> ALL($4)) c";

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

/// Began the thread, or sent something in it.
const PARTICIPATED: &str = "AND (p.sender = $2 OR EXISTS \
     (SELECT 1 FROM relations r CROSS JOIN timeline t \
      WHERE r.room_id = $1 AND r.rel_type = 'm.thread' AND r.parent_id = c.root_id AND r.sender = $2 \
      AND t.event_id = r.event_id AND t.room_id = r.room_id AND t.pos <= $4))";

/// Threads of a room, those with the newest events first.
///
/// # Errors
///
/// When the database fails.
pub async fn threads(conn: &mut Conn, threads: Threads<'_>) -> Result<Vec<ThreadRow>> {
    let only = if threads.participated { PARTICIPATED } else { "" };
    // From root to root, and of each its newest event: nobody looks at the others. A cross join is what SQLite makes
    // in the order of its text.
    let text = format!(
        "WITH RECURSIVE roots (root_id) AS ( \
           SELECT MIN(r.parent_id) FROM relations r WHERE r.room_id = $1 AND r.rel_type = 'm.thread' \
           UNION ALL SELECT (SELECT MIN(r.parent_id) FROM relations r WHERE r.room_id = $1 \
             AND r.rel_type = 'm.thread' AND r.parent_id > roots.root_id) \
           FROM roots WHERE roots.root_id IS NOT NULL), \
         threads (root_id, newest) AS (SELECT roots.root_id, \
           (SELECT t.pos FROM relations r CROSS JOIN timeline t WHERE r.room_id = $1 \
             AND r.rel_type = 'm.thread' AND r.parent_id = roots.root_id AND r.sender <> ALL($3) \
             AND t.event_id = r.event_id AND t.room_id = r.room_id AND t.pos <= $4 \
             ORDER BY r.depth DESC, t.pos DESC LIMIT 1) \
           FROM roots WHERE roots.root_id IS NOT NULL) \
         SELECT c.root_id, root.pos, newest.depth, newest.pos FROM threads c \
         CROSS JOIN timeline newest CROSS JOIN events p CROSS JOIN timeline root \
         WHERE newest.pos = c.newest AND p.event_id = c.root_id AND p.room_id = $1 \
         AND root.event_id = c.root_id AND root.room_id = $1 \
         AND (newest.depth, newest.pos) < ($5, $6) {only} \
         ORDER BY newest.depth DESC, newest.pos DESC LIMIT $7"
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
