//! Rooms, their extremities and aliases, and which servers are in them.

pub mod partial;

use std::collections::BTreeMap;

use crate::{
    bulk,
    change::{At, RoomClaim},
    db::{Conn, Result, Row, Value, sql},
};

/// Bits of [`RoomRow::flags`].
pub mod flags {
    /// Joined without its full state, which is being fetched.
    pub const PARTIAL_STATE: i16 = 1;
}

/// A room that this deployment takes or took part in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRow {
    /// The room.
    pub room_id: String,
    /// Its room version.
    pub room_version: String,
    /// Raised by each change of the room: what a change compares.
    pub version: i64,
    /// Root of the current state's trie.
    pub current_state: i64,
    /// See [`flags`].
    pub flags: i16,
    /// Whether the directory lists it.
    pub published: bool,
    /// Members that are joined.
    pub joined_members: i64,
    /// Members that are invited.
    pub invited_members: i64,
    /// The greatest depth of its events.
    pub max_depth: i64,
}

/// A room that is new to this deployment.
#[derive(Clone, Debug)]
pub struct NewRoom {
    /// The room.
    pub room_id: String,
    /// Its room version.
    pub room_version: String,
}

/// An alias of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasRow {
    /// The alias.
    pub alias: String,
    /// The room it names.
    pub room_id: String,
    /// Who made it.
    pub creator: String,
    /// When.
    pub created_ts: i64,
}

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// What changed about a room, beside its version.
    Update(RoomUpdate),
    /// Adds (`true`) or removes an event at the end of the graph.
    Forward {
        /// The room.
        room_id: String,
        /// The event.
        event_id: String,
        /// Whether it is one now.
        add: bool,
    },
    /// Adds (`Some(depth)` of the event that names it) or removes an unknown predecessor.
    Backward {
        /// The room.
        room_id: String,
        /// The unknown event.
        event_id: String,
        /// The depth of the event that names it.
        add: Option<i64>,
    },
    /// Removes an alias.
    RemoveAlias {
        /// The alias.
        alias: String,
    },
    /// Gives the aliases of a room to another.
    MoveAliases {
        /// The room that has them.
        from: String,
        /// The room that gets them; `None`: they go.
        to: Option<String>,
    },
    /// Lists the room in the directory, or not.
    Published {
        /// The room.
        room_id: String,
        /// Whether it is listed.
        published: bool,
    },
    /// The members of a server in a room changed.
    Server(ServerUpdate),
    /// What is known of the room's state, and what is assumed as long as it is not known wholly.
    Partial(partial::Write),
}

/// The columns of a room that its events change.
#[derive(Clone, Debug)]
pub struct RoomUpdate {
    /// The room.
    pub room_id: String,
    /// Root of the current state's trie.
    pub current_state: i64,
    /// See [`flags`].
    pub flags: i16,
    /// Members that are joined.
    pub joined_members: i64,
    /// Members that are invited.
    pub invited_members: i64,
    /// The greatest depth of its events.
    pub max_depth: i64,
}

/// How many members of a server are joined to a room, when that changed.
#[derive(Clone, Debug)]
pub struct ServerUpdate {
    /// The room.
    pub room_id: String,
    /// The server.
    pub server: String,
    /// Its joined members; 0: it left.
    pub joined_members: i64,
    /// The fact of the event that changed it.
    pub at: At,
}

/// Writes the rows of a batch that need no position.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<Write>) -> Result<Vec<Write>> {
    let (mut forward, mut backward, mut placed) = (vec![], vec![], vec![]);
    let mut updates = vec![];
    for row in rows {
        match row {
            Write::Forward { room_id, event_id, add } => forward.push((room_id, event_id, add)),
            Write::Backward { room_id, event_id, add } => backward.push((room_id, event_id, add)),
            Write::Server(_) | Write::Partial(_) => placed.push(row),
            Write::Update(update) => updates.push(update),
            Write::RemoveAlias { alias } => {
                sql("DELETE FROM aliases WHERE alias = $1").bind(alias).execute(conn).await?;
            }
            Write::MoveAliases { from, to: None } => {
                sql("DELETE FROM aliases WHERE room_id = $1").bind(from).execute(conn).await?;
            }
            Write::MoveAliases { from, to: Some(to) } => {
                sql("UPDATE aliases SET room_id = $2 WHERE room_id = $1")
                    .bind(from)
                    .bind(to)
                    .execute(conn)
                    .await?;
            }
            Write::Published { room_id, published } => {
                sql("UPDATE rooms SET published = $2 WHERE room_id = $1")
                    .bind(room_id)
                    .bind(published)
                    .execute(conn)
                    .await?;
            }
        }
    }
    for update in bulk::last_by_key(updates, |update| update.room_id.clone()) {
        put_update(conn, update).await?;
    }
    put_forward(conn, forward).await?;
    put_backward(conn, backward).await?;
    Ok(placed)
}

async fn put_update(conn: &mut Conn, update: RoomUpdate) -> Result<()> {
    sql("UPDATE rooms SET current_state = $2, flags = $3, joined_members = $4, \
         invited_members = $5, max_depth = $6 WHERE room_id = $1")
    .bind(update.room_id)
    .bind(update.current_state)
    .bind(update.flags)
    .bind(update.joined_members)
    .bind(update.invited_members)
    .bind(update.max_depth)
    .execute(conn)
    .await?;
    Ok(())
}

async fn put_forward(conn: &mut Conn, rows: Vec<(String, String, bool)>) -> Result<()> {
    // An end that another event of the batch follows comes and goes: it was never written.
    let mut first_and_last = BTreeMap::new();
    for (room_id, event_id, add) in rows {
        first_and_last.entry((room_id, event_id)).or_insert((add, add)).1 = add;
    }
    let mut adds: Vec<Vec<Value>> = vec![];
    for ((room_id, event_id), change) in first_and_last {
        match change {
            (true, false) => {}
            (_, true) => adds.push(vec![room_id.into(), event_id.into()]),
            (false, false) => {
                sql("DELETE FROM forward_extremities WHERE room_id = $1 AND event_id = $2")
                    .bind(room_id)
                    .bind(event_id)
                    .execute(conn)
                    .await?;
            }
        }
    }
    bulk::insert(
        conn,
        "INSERT INTO forward_extremities (room_id, event_id)",
        "ON CONFLICT DO NOTHING",
        adds,
    )
    .await
}

async fn put_backward(conn: &mut Conn, rows: Vec<(String, String, Option<i64>)>) -> Result<()> {
    let rows = bulk::last_by_key(rows, |(room, event, _)| (room.clone(), event.clone()));
    let mut adds: Vec<Vec<Value>> = vec![];
    for (room_id, event_id, add) in rows {
        if let Some(depth) = add {
            adds.push(vec![room_id.into(), event_id.into(), depth.into()]);
        } else {
            sql("DELETE FROM backward_extremities WHERE room_id = $1 AND event_id = $2")
                .bind(room_id)
                .bind(event_id)
                .execute(conn)
                .await?;
        }
    }
    bulk::insert(
        conn,
        "INSERT INTO backward_extremities (room_id, event_id, depth)",
        "ON CONFLICT DO NOTHING",
        adds,
    )
    .await
}

/// Writes the rows of a batch that carry a position; `base` is that before each change's facts.
pub(crate) async fn apply_placed(conn: &mut Conn, rows: Vec<(i64, Write)>) -> Result<()> {
    for (base, row) in rows {
        match row {
            Write::Server(update) => put_server(conn, base, update).await?,
            Write::Partial(row) => partial::apply_placed(conn, base, row).await?,
            _ => {}
        }
    }
    Ok(())
}

async fn put_server(conn: &mut Conn, base: i64, update: ServerUpdate) -> Result<()> {
    let pos = update.at.after(base);
    let left = (update.joined_members == 0).then_some(pos);
    // A server that comes back is sent what happens from then on; one that stays keeps its start. While
    // only a part of the members is known, there may be more of them than those that left.
    sql("INSERT INTO room_servers (room_id, server, joined_members, joined_pos, left_pos) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (server, room_id) DO UPDATE SET \
         joined_members = excluded.joined_members, \
         left_pos = CASE WHEN room_servers.assumed = 1 THEN NULL ELSE excluded.left_pos END, \
         joined_pos = CASE WHEN room_servers.left_pos IS NULL \
           THEN room_servers.joined_pos ELSE excluded.joined_pos END")
    .bind(update.room_id)
    .bind(update.server)
    .bind(update.joined_members)
    .bind(pos)
    .bind(left)
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes the row of a new room at version 1; `false` when the room exists.
pub(crate) async fn claim_new(conn: &mut Conn, room: &NewRoom) -> Result<bool> {
    let changed = sql("INSERT INTO rooms (room_id, room_version, version, current_state, flags, \
         published, joined_members, invited_members, max_depth) \
         VALUES ($1, $2, 1, 0, CAST(0 AS SMALLINT), CAST(0 AS SMALLINT), 0, 0, 0) ON CONFLICT DO NOTHING")
    .bind(&room.room_id)
    .bind(&room.room_version)
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

/// Writes an alias; `false` when it is taken.
pub(crate) async fn claim_alias(conn: &mut Conn, row: &AliasRow) -> Result<bool> {
    let changed = sql("INSERT INTO aliases (alias, room_id, creator, created_ts) \
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING")
    .bind(&row.alias)
    .bind(&row.room_id)
    .bind(&row.creator)
    .bind(row.created_ts)
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

/// Brings the room to its next version if it is at the expected one; `false` when it is at another.
pub(crate) async fn claim_version(conn: &mut Conn, claim: &RoomClaim) -> Result<bool> {
    let changed = sql("UPDATE rooms SET version = $3 WHERE room_id = $1 AND version = $2")
        .bind(&claim.room_id)
        .bind(claim.expected)
        .bind(claim.next)
        .execute(conn)
        .await?;
    Ok(changed == 1)
}

pub(crate) const COLUMNS: &str = "room_id, room_version, version, current_state, flags, published, \
                       joined_members, invited_members, max_depth";

pub(crate) fn room_row(row: &Row) -> Result<RoomRow> {
    Ok(RoomRow {
        room_id: row.get(0)?,
        room_version: row.get(1)?,
        version: row.get(2)?,
        current_state: row.get(3)?,
        flags: row.get(4)?,
        published: row.get(5)?,
        joined_members: row.get(6)?,
        invited_members: row.get(7)?,
        max_depth: row.get(8)?,
    })
}

/// A room.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, room_id: &str) -> Result<Option<RoomRow>> {
    Ok(get_many(conn, &[room_id.to_owned()]).await?.into_iter().next())
}

/// Those of `room_ids` that exist.
///
/// # Errors
///
/// When the database fails.
pub async fn get_many(conn: &mut Conn, room_ids: &[String]) -> Result<Vec<RoomRow>> {
    let text = format!("SELECT {COLUMNS} FROM rooms WHERE room_id = ANY($1)");
    crate::db::composed(text, vec![room_ids.into()]).map(conn, room_row).await
}

/// The rooms that the directory lists.
///
/// # Errors
///
/// When the database fails.
pub async fn published(conn: &mut Conn) -> Result<Vec<RoomRow>> {
    let text = format!(
        "SELECT {COLUMNS} FROM rooms WHERE published = 1 ORDER BY joined_members DESC, room_id"
    );
    crate::db::composed(text, vec![]).long().map(conn, room_row).await
}

/// The events at the end of a room's graph.
///
/// # Errors
///
/// When the database fails.
pub async fn forward_extremities(conn: &mut Conn, room_id: &str) -> Result<Vec<String>> {
    sql("SELECT event_id FROM forward_extremities WHERE room_id = $1 ORDER BY event_id")
        .bind(room_id)
        .map(conn, |row| row.get(0))
        .await
}

/// Unknown predecessors of a room's events, with the depth of an event that names them, deepest
/// first.
///
/// # Errors
///
/// When the database fails.
pub async fn backward_extremities(
    conn: &mut Conn,
    room_id: &str,
    limit: i64,
) -> Result<Vec<(String, i64)>> {
    sql("SELECT event_id, depth FROM backward_extremities WHERE room_id = $1 \
         ORDER BY depth DESC, event_id LIMIT $2")
    .bind(room_id)
    .bind(limit)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}

/// Of `event_ids`, those that are unknown predecessors of the room's events.
///
/// # Errors
///
/// When the database fails.
pub async fn are_backward_extremities(
    conn: &mut Conn,
    room_id: &str,
    event_ids: &[String],
) -> Result<Vec<String>> {
    // Many rooms have none, which is cheaper to see than that it is none of so many.
    if backward_extremities(conn, room_id, 1).await?.is_empty() {
        return Ok(vec![]);
    }
    sql("SELECT event_id FROM backward_extremities WHERE room_id = $1 AND event_id = ANY($2)")
        .bind(room_id)
        .bind(event_ids)
        .map(conn, |row| row.get(0))
        .await
}

/// The room that an alias names.
///
/// # Errors
///
/// When the database fails.
pub async fn alias(conn: &mut Conn, alias: &str) -> Result<Option<AliasRow>> {
    let row = sql("SELECT alias, room_id, creator, created_ts FROM aliases WHERE alias = $1")
        .bind(alias)
        .optional(conn)
        .await?;
    row.map(|row| alias_row(&row.row())).transpose()
}

fn alias_row(row: &Row) -> Result<AliasRow> {
    Ok(AliasRow {
        alias: row.get(0)?,
        room_id: row.get(1)?,
        creator: row.get(2)?,
        created_ts: row.get(3)?,
    })
}

/// The aliases of a room on this deployment.
///
/// # Errors
///
/// When the database fails.
pub async fn aliases_of(conn: &mut Conn, room_id: &str) -> Result<Vec<AliasRow>> {
    sql("SELECT alias, room_id, creator, created_ts FROM aliases WHERE room_id = $1 ORDER BY alias")
        .bind(room_id)
        .map(conn, alias_row)
        .await
}

/// The servers that have joined members in a room, those with most members first.
///
/// # Errors
///
/// When the database fails.
pub async fn servers_in(conn: &mut Conn, room_id: &str) -> Result<Vec<String>> {
    sql("SELECT server FROM room_servers WHERE room_id = $1 AND left_pos IS NULL \
         ORDER BY joined_members DESC, server")
    .bind(room_id)
    .map(conn, |row| row.get(0))
    .await
}

/// How many joined members each of the given servers has in a room.
///
/// # Errors
///
/// When the database fails.
pub async fn server_members(
    conn: &mut Conn,
    room_id: &str,
    servers: &[String],
) -> Result<Vec<(String, i64)>> {
    sql("SELECT server, joined_members FROM room_servers WHERE server = ANY($2) AND room_id = $1")
        .bind(room_id)
        .bind(servers)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
        .await
}

/// The rooms that a server has joined members in.
///
/// # Errors
///
/// When the database fails.
pub async fn rooms_of_server(conn: &mut Conn, server: &str) -> Result<Vec<String>> {
    sql("SELECT room_id FROM room_servers WHERE server = $1 AND left_pos IS NULL")
        .bind(server)
        .map(conn, |row| row.get(0))
        .await
}

/// The servers that are owed an event of a room at position `pos`: those that were in it then, or
/// that this very event removed.
///
/// # Errors
///
/// When the database fails.
pub async fn servers_owed(conn: &mut Conn, room_id: &str, pos: i64) -> Result<Vec<String>> {
    sql("SELECT server FROM room_servers WHERE room_id = $1 AND joined_pos <= $2 \
         AND (left_pos IS NULL OR left_pos >= $2)")
    .bind(room_id)
    .bind(pos)
    .map(conn, |row| row.get(0))
    .await
}

/// The position at which a server first came into a room with us, of those rooms that it was in
/// last; `None` when it never was in any.
///
/// # Errors
///
/// When the database fails.
pub async fn first_joined_pos(conn: &mut Conn, server: &str) -> Result<Option<i64>> {
    let row = sql("SELECT joined_pos FROM room_servers WHERE server = $1 \
         ORDER BY joined_pos LIMIT 1")
    .bind(server)
    .optional(conn)
    .await?;
    row.map(|row| row.get(0)).transpose()
}
