//! What an examination of a whole database reads. It opens the database beside whoever works on it, applies no
//! migration, takes no lock and writes nothing.

use std::path::Path;

use crate::{
    db::{Conn, Db, DbError, Result, Row, composed, sql},
    events::{self, EventRow, RelationRow},
    migrations,
};

/// Opens a database (`sqlite:PATH` or `postgres://…`) to look at it.
///
/// # Errors
///
/// When it is not there, or has another schema than that of this version.
pub async fn open(url: &str) -> Result<Db> {
    let db = match url.strip_prefix("sqlite:") {
        Some(path) => Db::open_file(Path::new(path), false)?,
        None => Db::open(url, 2).await?,
    };
    let mut conn = db.read().await?;
    if db.is_sqlite() {
        sql("PRAGMA query_only = 1").execute(&mut conn).await?;
    }
    let row = sql("SELECT MAX(version) FROM _sqlx_migrations").optional(&mut conn).await?;
    let schema = row.map_or(Ok(None), |row| row.get::<Option<i64>>(0))?;
    if schema != Some(migrations::newest()) {
        let has = schema.map_or("none".to_owned(), |schema| schema.to_string());
        return Err(DbError::Unavailable(format!(
            "the schema of the database is {has} and that of this version {}: let the server start on it first",
            migrations::newest()
        )));
    }
    drop(conn);
    Ok(db)
}

/// What the database itself says is wrong with its file: pages, tables and indexes that do not fit together.
/// PostgreSQL looks at a page when it reads it.
///
/// # Errors
///
/// When the database fails.
pub async fn file(db: &Db) -> Result<Vec<String>> {
    if !db.is_sqlite() {
        return Ok(vec![]);
    }
    let check = sql("PRAGMA integrity_check(1000)").long();
    let mut found = check.map(&mut db.read().await?, |row| row.get::<String>(0)).await?;
    found.retain(|line| line != "ok");
    Ok(found)
}

/// A value that the deployment made once.
///
/// # Errors
///
/// When the database fails.
pub async fn meta(conn: &mut Conn, key: &str) -> Result<Option<String>> {
    let row = sql("SELECT value FROM meta WHERE key = $1").bind(key).optional(conn).await?;
    row.map(|row| row.get(0)).transpose()
}

/// A room with what its row says about its state and members.
#[derive(Clone, Debug)]
pub struct Room {
    /// The room.
    pub room_id: String,
    /// Its version.
    pub room_version: String,
    /// Root of the current state's trie.
    pub current_state: i64,
    /// Members that are joined.
    pub joined_members: i64,
    /// Members that are invited.
    pub invited_members: i64,
}

/// All rooms.
///
/// # Errors
///
/// When the database fails.
pub async fn rooms(conn: &mut Conn) -> Result<Vec<Room>> {
    let text = format!("{ROOM} ORDER BY room_id");
    composed(text, vec![]).map(conn, room_row).await
}

/// One room.
///
/// # Errors
///
/// When the database fails.
pub async fn room(conn: &mut Conn, room_id: &str) -> Result<Option<Room>> {
    let text = format!("{ROOM} WHERE room_id = $1");
    Ok(composed(text, vec![room_id.into()]).map(conn, room_row).await?.into_iter().next())
}

const ROOM: &str =
    "SELECT room_id, room_version, current_state, joined_members, invited_members FROM rooms";

fn room_row(row: &Row) -> Result<Room> {
    Ok(Room {
        room_id: row.get(0)?,
        room_version: row.get(1)?,
        current_state: row.get(2)?,
        joined_members: row.get(3)?,
        invited_members: row.get(4)?,
    })
}

/// The names of events, as `(event_id, room_id)`, that come after one in their order.
///
/// # Errors
///
/// When the database fails.
pub async fn event_names(
    conn: &mut Conn,
    (event_id, room_id): (&str, &str),
    limit: i64,
) -> Result<Vec<(String, String)>> {
    sql("SELECT event_id, room_id FROM events WHERE (event_id, room_id) > ($1, $2) \
         ORDER BY event_id, room_id LIMIT $3")
    .bind(event_id)
    .bind(room_id)
    .bind(limit)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}

/// What tables beside `events` say about some events of a room.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// `(prev_id, event_id)`.
    pub edges: Vec<(String, String)>,
    /// What they relate to.
    pub relations: Vec<RelationRow>,
}

/// The rows of some events, with what is said of them elsewhere. `prev_ids` tells what an event says it follows.
///
/// # Errors
///
/// When the database fails.
pub async fn events(
    conn: &mut Conn,
    room_id: &str,
    event_ids: &[String],
    prev_ids: impl Fn(&EventRow) -> Vec<String>,
) -> Result<(Vec<EventRow>, Beside)> {
    let rows = events::get_many(conn, room_id, event_ids).await?;
    let previous: Vec<String> = rows.iter().flat_map(prev_ids).collect();
    let edges = events::successors(conn, room_id, &previous).await?;
    let relations = sql(RELATIONS)
        .bind(room_id)
        .bind(event_ids)
        .map(conn, |row| {
            Ok(RelationRow {
                room_id: room_id.to_owned(),
                parent_id: row.get(0)?,
                event_id: row.get(1)?,
                rel_type: row.get(2)?,
                kind: row.get(3)?,
                sender: row.get(4)?,
                depth: row.get(5)?,
                origin_server_ts: row.get(6)?,
            })
        })
        .await?;
    Ok((rows, Beside { edges, relations }))
}

/// What some events of a room relate to. A cross join is what SQLite makes in the order of its text; it would look at all
/// relations of the room for each page of events.
const RELATIONS: &str = "SELECT r.parent_id, r.event_id, r.rel_type, r.type, r.sender, r.depth, \
       r.origin_server_ts \
     FROM events e CROSS JOIN relations r WHERE e.room_id = $1 AND e.event_id = ANY($2) \
       AND r.room_id = e.room_id AND r.event_id = e.event_id";

/// State nodes of a room after one of them, as `(node_id, data)`, by their names.
///
/// # Errors
///
/// When the database fails.
pub async fn nodes(
    conn: &mut Conn,
    room_id: &str,
    after: Option<i64>,
    limit: i64,
) -> Result<Vec<(i64, Vec<u8>)>> {
    sql("SELECT node_id, data FROM state_nodes WHERE room_id = $1 AND ($2 = 1 OR node_id > $3) \
         ORDER BY node_id LIMIT $4")
    .bind(room_id)
    .bind(i64::from(after.is_none()))
    .bind(after.unwrap_or_default())
    .bind(limit)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}

/// Those of some ids that are events of a room.
///
/// # Errors
///
/// When the database fails.
pub async fn known_events(
    conn: &mut Conn,
    room_id: &str,
    event_ids: &[String],
) -> Result<Vec<String>> {
    sql("SELECT event_id FROM events WHERE event_id = ANY($2) AND room_id = $1")
        .bind(room_id)
        .bind(event_ids)
        .map(conn, |row| row.get(0))
        .await
}

/// The current state of a room, as `(type, state_key, event_id)`.
///
/// # Errors
///
/// When the database fails.
pub async fn current_state(
    conn: &mut Conn,
    room_id: &str,
) -> Result<Vec<(String, String, String)>> {
    sql("SELECT type, state_key, event_id FROM current_state WHERE room_id = $1")
        .bind(room_id)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .await
}

/// What a member's event says, and what the table of memberships says.
#[derive(Clone, Debug)]
pub struct Member {
    /// The state key.
    pub user_id: String,
    /// The event of the current state.
    pub event_id: String,
    /// Its JSON.
    pub json: String,
    /// Event and membership of the table, if the member is there.
    pub noted: Option<(String, String)>,
}

/// The members of a room that come after a state key.
///
/// # Errors
///
/// When the database fails.
pub async fn members(
    conn: &mut Conn,
    room_id: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<Member>> {
    sql("SELECT c.state_key, c.event_id, e.json, m.event_id, m.membership FROM current_state c \
         JOIN events e ON e.event_id = c.event_id AND e.room_id = c.room_id \
         LEFT JOIN memberships m ON m.user_id = c.state_key AND m.room_id = c.room_id \
         WHERE c.room_id = $1 AND c.type = 'm.room.member' AND c.state_key > $2 \
         ORDER BY c.state_key LIMIT $3")
    .bind(room_id)
    .bind(after)
    .bind(limit)
    .map(conn, |row| {
        let noted: (Option<String>, Option<String>) = (row.get(3)?, row.get(4)?);
        Ok(Member {
            user_id: row.get(0)?,
            event_id: row.get(1)?,
            json: row.get(2)?,
            noted: noted.0.zip(noted.1),
        })
    })
    .await
}

/// The servers in a room, each with how many joined members it is noted to have.
///
/// # Errors
///
/// When the database fails.
pub async fn servers(conn: &mut Conn, room_id: &str) -> Result<Vec<(String, i64)>> {
    sql("SELECT server, joined_members FROM room_servers WHERE room_id = $1 AND joined_members > 0")
        .bind(room_id)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
        .await
}

/// The names of bytes that rows need after one of them, with their size: of files and of smaller pictures.
///
/// # Errors
///
/// When the database fails.
pub async fn files(conn: &mut Conn, after: &str, limit: i64) -> Result<Vec<(String, i64)>> {
    sql("SELECT hash, size FROM (SELECT hash, size FROM media WHERE hash IS NOT NULL \
           UNION SELECT thumbnail_hash, size FROM media_thumbnails) f \
         WHERE hash > $1 ORDER BY hash, size LIMIT $2")
    .bind(after)
    .bind(limit)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}

/// Whether a row still needs some bytes.
///
/// # Errors
///
/// When the database fails.
pub async fn is_needed(conn: &mut Conn, hash: &str) -> Result<bool> {
    let row = sql("SELECT 1 WHERE EXISTS (SELECT 1 FROM media WHERE hash = $1) \
         OR EXISTS (SELECT 1 FROM media_thumbnails WHERE thumbnail_hash = $1)")
    .bind(hash)
    .optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Something that tables may not say of each other.
#[derive(Clone, Copy, Debug)]
pub struct Contradiction {
    /// What is wrong where a row is found.
    pub says: &'static str,
    text: &'static str,
}

/// Where a contradiction was found, at most `limit` times.
///
/// # Errors
///
/// When the database fails.
pub async fn find(conn: &mut Conn, what: &Contradiction, limit: i64) -> Result<Vec<String>> {
    let text = format!("{} LIMIT $1", what.text);
    composed(text, vec![limit.into()]).map(conn, |row| row.get(0)).await
}

/// What order and graph may not say. Each statement gives one text for each place.
pub const OF_ORDER: [Contradiction; 12] = [
    Contradiction {
        says: "positions are missing",
        text: "SELECT CAST(c.value - p.there AS TEXT) || ' of ' || CAST(c.value AS TEXT) FROM counters c, \
               (SELECT COUNT(*) AS there, COALESCE(MIN(pos), 1) AS first, COALESCE(MAX(pos), 0) AS last \
                FROM positions) p \
               WHERE c.name = 'stream' AND (p.there <> c.value OR p.last <> c.value OR p.first <> 1)",
    },
    Contradiction {
        says: "an event has a place beyond the counter",
        text: "SELECT t.event_id || ' in ' || t.room_id FROM timeline t, counters c \
               WHERE c.name = 'backfill' AND t.pos <= c.value",
    },
    Contradiction {
        says: "a place has no event",
        text: "SELECT t.event_id || ' in ' || t.room_id FROM timeline t \
               LEFT JOIN events e ON e.event_id = t.event_id AND e.room_id = t.room_id \
               WHERE e.event_id IS NULL AND t.event_id NOT LIKE '-%'",
    },
    Contradiction {
        says: "an event that was not accepted, or is of another depth, has this place",
        text: "SELECT t.event_id || ' in ' || t.room_id FROM timeline t \
               JOIN events e ON e.event_id = t.event_id AND e.room_id = t.room_id \
               WHERE (e.flags & 7) <> 0 OR e.depth <> t.depth",
    },
    // A redaction waits for its target, and is not shown until it has come.
    Contradiction {
        says: "an accepted event has no place",
        text: "SELECT e.event_id || ' in ' || e.room_id FROM events e \
               JOIN rooms r ON r.room_id = e.room_id \
               WHERE (e.flags & 7) = 0 AND NOT EXISTS (SELECT 1 FROM timeline t \
                 WHERE t.event_id = e.event_id AND t.room_id = e.room_id) \
               AND (e.type <> 'm.room.redaction' OR EXISTS (SELECT 1 FROM events d \
                 WHERE d.room_id = e.room_id AND d.redacted_by = e.event_id AND (d.flags & 7) = 0))",
    },
    Contradiction {
        says: "place and position of an event differ",
        text: "SELECT t.event_id || ' in ' || t.room_id FROM timeline t \
               LEFT JOIN positions p ON p.pos = t.pos WHERE t.pos > 0 AND (p.pos IS NULL \
               OR p.kind <> 1 OR p.subject <> t.room_id \
               OR (p.object <> t.event_id AND t.event_id NOT LIKE '-%') \
               OR (CASE WHEN p.detail LIKE 'l%' THEN 1 ELSE 0 END) <> t.local)",
    },
    Contradiction {
        says: "the position of an event names another member",
        text: "SELECT e.event_id || ' in ' || e.room_id FROM positions p \
               JOIN events e ON e.event_id = p.object AND e.room_id = p.subject WHERE p.kind = 1 \
               AND SUBSTR(p.detail, 2) <> (CASE WHEN e.type = 'm.room.member' \
                 THEN COALESCE(e.state_key, '') ELSE '' END)",
    },
    Contradiction {
        says: "an edge leads to no event",
        text: "SELECT g.event_id || ' in ' || g.room_id FROM event_edges g \
               LEFT JOIN events e ON e.event_id = g.event_id AND e.room_id = g.room_id \
               WHERE e.event_id IS NULL OR (e.flags & 1) <> 0",
    },
    Contradiction {
        says: "an end of the graph is no accepted event",
        text: "SELECT f.event_id || ' in ' || f.room_id FROM forward_extremities f \
               LEFT JOIN events e ON e.event_id = f.event_id AND e.room_id = f.room_id \
               WHERE e.event_id IS NULL OR (e.flags & 7) <> 0",
    },
    Contradiction {
        says: "the newest event of a room is not an end of its graph, and nothing follows it",
        text: "SELECT t.event_id || ' in ' || t.room_id FROM timeline t \
               JOIN rooms r ON r.room_id = t.room_id \
               WHERE t.pos = (SELECT MAX(n.pos) FROM timeline n WHERE n.room_id = t.room_id) \
               AND t.pos > 0 AND t.event_id NOT LIKE '-%' \
               AND NOT EXISTS (SELECT 1 FROM forward_extremities f \
                 WHERE f.room_id = t.room_id AND f.event_id = t.event_id) \
               AND NOT EXISTS (SELECT 1 FROM event_edges g \
                 WHERE g.room_id = t.room_id AND g.prev_id = t.event_id)",
    },
    Contradiction {
        says: "a room has events deeper than it knows",
        text: "SELECT r.room_id FROM rooms r WHERE r.max_depth < \
               (SELECT MAX(t.depth) FROM timeline t WHERE t.room_id = r.room_id AND t.pos > 0)",
    },
    Contradiction {
        says: "a place is in no room",
        text: "SELECT t.event_id || ' in ' || t.room_id FROM timeline t \
               WHERE NOT EXISTS (SELECT 1 FROM rooms r WHERE r.room_id = t.room_id) \
               AND NOT EXISTS (SELECT 1 FROM admin_tasks a WHERE a.subject = t.room_id \
                 AND a.status IN ('scheduled', 'active'))",
    },
];

/// What may not be said of states.
pub const OF_STATES: [Contradiction; 4] = [
    Contradiction {
        says: "the state before an event is not there",
        text: "SELECT e.event_id || ' in ' || e.room_id FROM events e WHERE e.state_before <> 0 \
               AND EXISTS (SELECT 1 FROM rooms r WHERE r.room_id = e.room_id) \
               AND NOT EXISTS (SELECT 1 FROM state_nodes n \
                 WHERE n.room_id = e.room_id AND n.node_id = e.state_before)",
    },
    Contradiction {
        says: "an accepted event has no state before it",
        text: "SELECT e.event_id || ' in ' || e.room_id FROM events e \
               JOIN rooms r ON r.room_id = e.room_id \
               WHERE e.state_before IS NULL AND (e.flags & 1) = 0",
    },
    Contradiction {
        says: "a former state is not there",
        text: "SELECT 'position ' || CAST(s.pos AS TEXT) || ' of ' || s.room_id FROM room_states s \
               WHERE s.root <> 0 AND EXISTS (SELECT 1 FROM rooms r WHERE r.room_id = s.room_id) \
               AND NOT EXISTS (SELECT 1 FROM state_nodes n \
                 WHERE n.room_id = s.room_id AND n.node_id = s.root)",
    },
    Contradiction {
        says: "the current state is not the last of the states of a room",
        text: "SELECT r.room_id FROM rooms r LEFT JOIN room_states s ON s.room_id = r.room_id \
               AND s.pos = (SELECT MAX(n.pos) FROM room_states n WHERE n.room_id = r.room_id) \
               WHERE r.current_state <> COALESCE(s.root, 0)",
    },
];

#[cfg(all(test, feature = "test-support"))]
mod tests {
    use super::*;
    use crate::test_support::plan;

    #[tokio::test]
    async fn not_all_relations_of_a_room_are_looked_through() {
        let plan = plan(RELATIONS, vec![]).await.unwrap();
        let wanted = "SEARCH r USING INDEX relations_event (room_id=? AND event_id=?)";
        assert!(plan.contains(&wanted.to_owned()), "{plan:?}");
    }
}
