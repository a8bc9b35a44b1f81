//! Nodes of the state tries, and the current state of each room as a plain table.

use crate::{
    bulk,
    change::At,
    db::{Conn, Result, Value, sql},
};

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// A node of a room's state trie; known ones are left alone.
    Node {
        /// The room.
        room_id: String,
        /// The node's id, which its content determines.
        node_id: i64,
        /// Its content.
        data: Vec<u8>,
    },
    /// Sets or removes an entry of the current state.
    Current {
        /// The room.
        room_id: String,
        /// The event type.
        kind: String,
        /// The state key.
        state_key: String,
        /// The event, or `None` to remove the entry.
        event_id: Option<String>,
    },
    /// Notes the root of the current state from a position on: written with each fact that changes
    /// the current state, so that the state at any position can be told later.
    Root {
        /// The room.
        room_id: String,
        /// Root of the current state's trie after the fact.
        root: i64,
        /// The fact that changed the state.
        at: At,
    },
}

/// Writes the rows of a batch that need no position.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<Write>) -> Result<()> {
    let (mut nodes, mut current) = (vec![], vec![]);
    for row in rows {
        match row {
            Write::Node { room_id, node_id, data } => nodes.push((room_id, node_id, data)),
            Write::Current { room_id, kind, state_key, event_id } => {
                current.push((room_id, kind, state_key, event_id));
            }
            Write::Root { .. } => {}
        }
    }
    let nodes = bulk::last_by_key(nodes, |(room, id, _)| (room.clone(), *id));
    let nodes = nodes
        .into_iter()
        .map(|(room, id, data)| -> Vec<Value> { vec![room.into(), id.into(), data.into()] });
    bulk::insert(
        conn,
        "INSERT INTO state_nodes (room_id, node_id, data)",
        "ON CONFLICT DO NOTHING",
        nodes,
    )
    .await?;
    put_current(conn, current).await
}

/// Writes the rows of a batch that carry a position; `base` is that before each change's facts.
pub(crate) async fn apply_placed(conn: &mut Conn, rows: Vec<(i64, Write)>) -> Result<()> {
    let roots = rows.into_iter().filter_map(|(base, row)| match row {
        Write::Root { room_id, root, at } => Some((room_id, at.after(base), root)),
        Write::Node { .. } | Write::Current { .. } => None,
    });
    let roots = bulk::last_by_key(roots, |(room_id, pos, _)| (room_id.clone(), *pos));
    let values = roots.into_iter().map(|(room_id, pos, root)| -> Vec<Value> {
        vec![room_id.into(), pos.into(), root.into()]
    });
    bulk::insert(conn, "INSERT INTO room_states (room_id, pos, root)", "", values).await
}

async fn put_current(
    conn: &mut Conn,
    rows: Vec<(String, String, String, Option<String>)>,
) -> Result<()> {
    let rows =
        bulk::last_by_key(rows, |(room, kind, key, _)| (room.clone(), kind.clone(), key.clone()));
    let mut puts = vec![];
    for (room_id, kind, state_key, event_id) in rows {
        if let Some(event_id) = event_id {
            puts.push([room_id, kind, state_key, event_id]);
        } else {
            sql("DELETE FROM current_state WHERE room_id = $1 AND type = $2 AND state_key = $3")
                .bind(room_id)
                .bind(kind)
                .bind(state_key)
                .execute(conn)
                .await?;
        }
    }
    bulk::insert(
        conn,
        "INSERT INTO current_state (room_id, type, state_key, event_id)",
        "ON CONFLICT (room_id, type, state_key) DO UPDATE SET event_id = excluded.event_id",
        puts.into_iter().map(|texts| texts.map(Value::from).into()),
    )
    .await
}

/// Those of `node_ids` that exist, as `(node_id, data)`.
///
/// # Errors
///
/// When the database fails.
pub async fn nodes(
    conn: &mut Conn,
    room_id: &str,
    node_ids: &[i64],
) -> Result<Vec<(i64, Vec<u8>)>> {
    sql("SELECT node_id, data FROM state_nodes WHERE room_id = $1 AND node_id = ANY($2)")
        .bind(room_id)
        .bind(node_ids)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
        .await
}

/// One entry of the current state.
///
/// # Errors
///
/// When the database fails.
pub async fn current(
    conn: &mut Conn,
    room_id: &str,
    kind: &str,
    state_key: &str,
) -> Result<Option<String>> {
    let row = sql("SELECT event_id FROM current_state \
         WHERE room_id = $1 AND type = $2 AND state_key = $3")
    .bind(room_id)
    .bind(kind)
    .bind(state_key)
    .optional(conn)
    .await?;
    row.map(|row| row.get(0)).transpose()
}

/// The first `limit` entries of one type in the current state, as `(state_key, event_id)`.
///
/// # Errors
///
/// When the database fails.
pub async fn current_of_type(
    conn: &mut Conn,
    room_id: &str,
    kind: &str,
    limit: i64,
) -> Result<Vec<(String, String)>> {
    sql("SELECT state_key, event_id FROM current_state WHERE room_id = $1 AND type = $2 \
         ORDER BY state_key LIMIT $3")
    .bind(room_id)
    .bind(kind)
    .bind(limit)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}

/// The whole current state, as `(type, state_key, event_id)`.
///
/// # Errors
///
/// When the database fails.
pub async fn all_current(conn: &mut Conn, room_id: &str) -> Result<Vec<(String, String, String)>> {
    sql("SELECT type, state_key, event_id FROM current_state WHERE room_id = $1")
        .bind(room_id)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .await
}

/// The entries of some types in the current state of some rooms, as `(room_id, type, state_key,
/// event_id)`.
///
/// # Errors
///
/// When the database fails.
pub async fn current_of_types(
    conn: &mut Conn,
    room_ids: &[String],
    kinds: &[String],
) -> Result<Vec<(String, String, String, String)>> {
    sql("SELECT room_id, type, state_key, event_id FROM current_state \
         WHERE room_id = ANY($1) AND type = ANY($2)")
    .bind(room_ids)
    .bind(kinds)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
    .await
}

/// The events of one type in the current state of some rooms, as `(room_id, state_key, JSON)`.
///
/// # Errors
///
/// When the database fails.
pub async fn current_events(
    conn: &mut Conn,
    room_ids: &[String],
    kind: &str,
) -> Result<Vec<(String, String, String)>> {
    sql("SELECT c.room_id, c.state_key, e.json FROM current_state c \
         JOIN events e ON e.event_id = c.event_id AND e.room_id = c.room_id \
         WHERE c.room_id = ANY($1) AND c.type = $2")
    .bind(room_ids)
    .bind(kind)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
    .await
}

/// The root of each room's current state as it was at position `pos`, as `(room_id, root)`; rooms
/// that had no state then are left out.
///
/// # Errors
///
/// When the database fails.
pub async fn roots_at(
    conn: &mut Conn,
    room_ids: &[String],
    pos: i64,
) -> Result<Vec<(String, i64)>> {
    // One look into the index for each room, however often it changed.
    sql("SELECT s.room_id, s.root FROM rooms r JOIN room_states s ON s.room_id = r.room_id AND s.pos = \
         (SELECT MAX(l.pos) FROM room_states l WHERE l.room_id = r.room_id AND l.pos <= $2) \
         WHERE r.room_id = ANY($1)")
    .bind(room_ids)
    .bind(pos)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}

/// The roots of a room's first states, in their order.
///
/// # Errors
///
/// When the database fails.
pub async fn first_roots(conn: &mut Conn, room_id: &str, limit: i64) -> Result<Vec<i64>> {
    sql("SELECT root FROM room_states WHERE room_id = $1 ORDER BY pos LIMIT $2")
        .bind(room_id)
        .bind(limit)
        .map(conn, |row| row.get(0))
        .await
}

/// Those of `room_ids` whose current state changed with `after < pos <= until`.
///
/// # Errors
///
/// When the database fails.
pub async fn changed(
    conn: &mut Conn,
    room_ids: &[String],
    after: i64,
    until: i64,
) -> Result<Vec<String>> {
    // One look into the index for each room, however often it changed.
    sql("SELECT r.room_id FROM rooms r WHERE r.room_id = ANY($1) AND EXISTS \
         (SELECT 1 FROM room_states s WHERE s.room_id = r.room_id AND s.pos > $2 AND s.pos <= $3)")
    .bind(room_ids)
    .bind(after)
    .bind(until)
    .map(conn, |row| row.get(0))
    .await
}
