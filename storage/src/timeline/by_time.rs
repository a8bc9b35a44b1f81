//! The timeline in the order of the times that events say they were sent at.

use super::{Direction, ENTRY, EVENT, Entry, event_and_entry};
use crate::{
    db::{Conn, Result, composed},
    events::EventRow,
};

/// The events of a room's timeline from a moment on into a direction, the closest first. Of events of
/// the same time those come first that the history has first in that direction. The first `skip` are
/// left out.
///
/// # Errors
///
/// When the database fails.
pub async fn closest(
    conn: &mut Conn,
    room_id: &str,
    ts: i64,
    direction: Direction,
    skip: i64,
    limit: i64,
) -> Result<Vec<(EventRow, Entry)>> {
    let (compare, order) = direction.comparison();
    let text = format!(
        "SELECT {EVENT}, {ENTRY} FROM events e \
         JOIN timeline t ON t.event_id = e.event_id AND t.room_id = e.room_id \
         WHERE e.room_id = $1 AND e.origin_server_ts {compare}= $2 \
         ORDER BY e.origin_server_ts {order}, t.depth {order}, t.pos {order} LIMIT $3 OFFSET $4"
    );
    let values = vec![room_id.into(), ts.into(), limit.into(), skip.into()];
    composed(text, values).map(conn, event_and_entry).await
}
