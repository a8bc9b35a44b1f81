//! Which events relate to which (`m.relates_to`).

use crate::{
    db::{Conn, Result, Value, composed},
    events::EventRow,
    timeline::{ENTRY, EVENT, Entry, Range, event_and_entry},
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
) -> Result<Vec<(EventRow, Entry)>> {
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
         SELECT {EVENT}, {ENTRY} FROM (SELECT DISTINCT event_id FROM related) c \
         CROSS JOIN timeline t JOIN events e ON e.event_id = t.event_id AND e.room_id = t.room_id \
         WHERE t.room_id = $1 AND t.event_id = c.event_id AND t.event_id <> $7 \
         AND (t.depth, t.pos) {compare} ($2, $3) \
         AND t.pos > $4 AND t.pos <= $5 ORDER BY t.depth {order}, t.pos {order} LIMIT $6"
    );
    composed(text, values).map(conn, event_and_entry).await
}
