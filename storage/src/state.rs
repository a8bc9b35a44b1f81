//! Nodes of the state tries, and the current state of each room as a plain table.

use crate::{
    bulk,
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
}

/// Writes the rows of a batch.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<Write>) -> Result<()> {
    let (mut nodes, mut current) = (vec![], vec![]);
    for row in rows {
        match row {
            Write::Node { room_id, node_id, data } => nodes.push((room_id, node_id, data)),
            Write::Current { room_id, kind, state_key, event_id } => {
                current.push((room_id, kind, state_key, event_id));
            }
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
        nodes.collect(),
    )
    .await?;
    put_current(conn, current).await
}

async fn put_current(
    conn: &mut Conn,
    rows: Vec<(String, String, String, Option<String>)>,
) -> Result<()> {
    let rows =
        bulk::last_by_key(rows, |(room, kind, key, _)| (room.clone(), kind.clone(), key.clone()));
    let mut puts: Vec<Vec<Value>> = vec![];
    for (room_id, kind, state_key, event_id) in rows {
        if let Some(event_id) = event_id {
            puts.push(vec![room_id.into(), kind.into(), state_key.into(), event_id.into()]);
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
        puts,
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
