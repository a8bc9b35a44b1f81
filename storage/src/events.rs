//! Events, their edges and relations, redactions, and the transaction ids of clients.

mod of_sender;
mod ranks;
pub mod transactions;

use crate::{
    bulk,
    db::{Conn, Result, Row, Value, sql},
};

pub use of_sender::{SentRow, of_sender};
pub use ranks::{RankRow, ranks};
pub use transactions::{ClientRequest, ClientTransaction, SentBy};

/// Bits of [`EventRow::flags`].
pub mod flags {
    /// Known without its place in the room's graph; has no `state_before`.
    pub const OUTLIER: i16 = 1;
    /// Failed authorisation by its auth events or by the state before it.
    pub const REJECTED: i16 = 2;
    /// Failed authorisation by the current state when it arrived: in the graph, not shown.
    pub const SOFT_FAILED: i16 = 4;
    /// Its `state_before` was computed while the room's state was only partially known.
    pub const PARTIAL_STATE: i16 = 8;
    /// Its `state_before` is known in part only, and the room was left before the rest came.
    pub const ABANDONED: i16 = 16;
}

/// A stored event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The room.
    pub room_id: String,
    /// The event.
    pub event_id: String,
    /// The event type.
    pub kind: String,
    /// Present on state events.
    pub state_key: Option<String>,
    /// The sender.
    pub sender: String,
    /// Depth in the graph.
    pub depth: i64,
    /// The origin's time.
    pub origin_server_ts: i64,
    /// Our time when it was stored.
    pub received_ts: i64,
    /// Root of the state trie before the event; `None` for outliers.
    pub state_before: Option<i64>,
    /// See [`flags`].
    pub flags: i16,
    /// The redaction that was applied to `json`.
    pub redacted_by: Option<String>,
    /// The PDU as it is relayed.
    pub json: String,
    /// By whom it was sent, if it was made here under a transaction.
    pub sent_by: Option<SentBy>,
}

impl EventRow {
    /// Whether a bit of [`flags`] is set.
    #[must_use]
    pub fn has(&self, flag: i16) -> bool {
        self.flags & flag != 0
    }
}

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// Stores an event; of one that is known already, state and flags are replaced.
    Put(Box<EventRow>),
    /// Notes that `event_id` follows `prev_id`.
    Edge {
        /// The room.
        room_id: String,
        /// The earlier event, known or not.
        prev_id: String,
        /// The later event.
        event_id: String,
    },
    /// Replaces the JSON of an event by its redacted form.
    Redact {
        /// The room.
        room_id: String,
        /// The redacted event.
        event_id: String,
        /// The redaction.
        redacted_by: String,
        /// The redacted PDU.
        json: String,
    },
    /// Notes a redaction whose target is not known yet.
    PendingRedaction {
        /// The room.
        room_id: String,
        /// The event to be redacted.
        target_id: String,
        /// The redaction.
        redaction_id: String,
    },
    /// Forgets the pending redactions of a target.
    RedactionsDone {
        /// The room.
        room_id: String,
        /// The event that arrived.
        target_id: String,
    },
    /// Forgets the transaction ids that clients used before a time.
    ForgetTransactions {
        /// The time.
        before: i64,
    },
    /// Notes how a state event ranks; it stays so.
    Rank(RankRow),
    /// Notes that an event relates to another.
    Relation(RelationRow),
    /// Forgets what an event relates to.
    Unrelate {
        /// The room.
        room_id: String,
        /// The event, which was redacted.
        event_id: String,
    },
}

/// An event's relation to another (`m.relates_to`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationRow {
    /// The room.
    pub room_id: String,
    /// The event that is related to.
    pub parent_id: String,
    /// The relating event.
    pub event_id: String,
    /// `rel_type`.
    pub rel_type: String,
    /// The relating event's type.
    pub kind: String,
    /// The relating event's sender.
    pub sender: String,
    /// The relating event's depth.
    pub depth: i64,
    /// The relating event's own time, in milliseconds since the epoch.
    pub origin_server_ts: i64,
}

/// Writes the rows of a batch, each table at once and sorted by key.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<Write>) -> Result<()> {
    let (mut events, mut edges, mut relations, mut rest) = (vec![], vec![], vec![], vec![]);
    let mut ranked = vec![];
    for row in rows {
        match row {
            Write::Put(event) => events.push(*event),
            Write::Edge { room_id, prev_id, event_id } => edges.push((room_id, prev_id, event_id)),
            Write::Relation(relation) => relations.push(relation),
            Write::Rank(row) => ranked.push(row),
            other => rest.push(other),
        }
    }
    put_events(conn, events).await?;
    put_edges(conn, edges).await?;
    put_relations(conn, relations).await?;
    ranks::put(conn, ranked).await?;
    for row in rest {
        apply_one(conn, row).await?;
    }
    Ok(())
}

async fn put_events(conn: &mut Conn, events: Vec<EventRow>) -> Result<()> {
    let rows = bulk::last_by_key(events, |e| (e.event_id.clone(), e.room_id.clone()));
    let values = rows.into_iter().map(|e| -> Vec<Value> {
        let (device_id, txn_id) = e.sent_by.map(|by| (by.device_id, by.txn_id)).unzip();
        vec![
            e.room_id.into(),
            e.event_id.into(),
            e.kind.into(),
            e.state_key.into(),
            e.sender.into(),
            e.depth.into(),
            e.origin_server_ts.into(),
            e.received_ts.into(),
            e.state_before.into(),
            e.flags.into(),
            e.redacted_by.into(),
            e.json.into(),
            device_id.into(),
            txn_id.into(),
        ]
    });
    bulk::insert(
        conn,
        "INSERT INTO events (room_id, event_id, type, state_key, sender, depth, origin_server_ts, \
         received_ts, state_before, flags, redacted_by, json, device_id, txn_id)",
        // An event that has its place keeps it when it comes once more without one.
        "ON CONFLICT (event_id, room_id) DO UPDATE SET \
         state_before = COALESCE(excluded.state_before, events.state_before), \
         flags = CASE WHEN excluded.state_before IS NULL AND events.state_before IS NOT NULL \
           THEN events.flags ELSE excluded.flags END",
        values,
    )
    .await
}

async fn put_edges(conn: &mut Conn, mut edges: Vec<(String, String, String)>) -> Result<()> {
    edges.sort();
    let values = edges
        .into_iter()
        .map(|(room, prev, event)| -> Vec<Value> { vec![room.into(), prev.into(), event.into()] });
    bulk::insert(
        conn,
        "INSERT INTO event_edges (room_id, prev_id, event_id)",
        "ON CONFLICT DO NOTHING",
        values,
    )
    .await
}

async fn put_relations(conn: &mut Conn, rows: Vec<RelationRow>) -> Result<()> {
    let values = rows.into_iter().map(|r| -> Vec<Value> {
        vec![
            r.room_id.into(),
            r.parent_id.into(),
            r.event_id.into(),
            r.rel_type.into(),
            r.kind.into(),
            r.sender.into(),
            r.depth.into(),
            r.origin_server_ts.into(),
        ]
    });
    bulk::insert(
        conn,
        "INSERT INTO relations \
         (room_id, parent_id, event_id, rel_type, type, sender, depth, origin_server_ts)",
        "ON CONFLICT DO NOTHING",
        values,
    )
    .await
}

async fn apply_one(conn: &mut Conn, row: Write) -> Result<()> {
    let statement = match row {
        Write::Redact { room_id, event_id, redacted_by, json } => sql(
            "UPDATE events SET redacted_by = $3, json = $4 WHERE event_id = $2 AND room_id = $1",
        )
        .bind(room_id)
        .bind(event_id)
        .bind(redacted_by)
        .bind(json),
        Write::PendingRedaction { room_id, target_id, redaction_id } => {
            sql("INSERT INTO pending_redactions (room_id, target_id, redaction_id) \
                 VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(room_id)
            .bind(target_id)
            .bind(redaction_id)
        }
        Write::RedactionsDone { room_id, target_id } => {
            sql("DELETE FROM pending_redactions WHERE room_id = $1 AND target_id = $2")
                .bind(room_id)
                .bind(target_id)
        }
        Write::ForgetTransactions { before } => return transactions::forget(conn, before).await,
        Write::Unrelate { room_id, event_id } => {
            sql("DELETE FROM relations WHERE room_id = $1 AND event_id = $2")
                .bind(room_id)
                .bind(event_id)
        }
        Write::Put(_) | Write::Edge { .. } | Write::Relation(_) | Write::Rank(_) => {
            return Ok(());
        }
    };
    statement.execute(conn).await?;
    Ok(())
}

const COLUMNS: &str = "room_id, event_id, type, state_key, sender, depth, origin_server_ts, \
                       received_ts, state_before, flags, redacted_by, json, device_id, txn_id";

/// How many columns an event has.
pub(crate) const EVENT_COLUMNS: usize = 14;

pub(crate) fn event_row(row: &Row) -> Result<EventRow> {
    let sent_by = |(device_id, txn_id)| SentBy { device_id, txn_id };
    let (device_id, txn_id): (Option<String>, Option<String>) = (row.get(12)?, row.get(13)?);
    Ok(EventRow {
        room_id: row.get(0)?,
        event_id: row.get(1)?,
        kind: row.get(2)?,
        state_key: row.get(3)?,
        sender: row.get(4)?,
        depth: row.get(5)?,
        origin_server_ts: row.get(6)?,
        received_ts: row.get(7)?,
        state_before: row.get(8)?,
        flags: row.get(9)?,
        redacted_by: row.get(10)?,
        json: row.get(11)?,
        sent_by: device_id.zip(txn_id).map(sent_by),
    })
}

/// One event of a room.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, room_id: &str, event_id: &str) -> Result<Option<EventRow>> {
    Ok(get_many(conn, room_id, &[event_id.to_owned()]).await?.into_iter().next())
}

/// Those of `event_ids` that are events of the room, in no particular order.
///
/// # Errors
///
/// When the database fails.
pub async fn get_many(
    conn: &mut Conn,
    room_id: &str,
    event_ids: &[String],
) -> Result<Vec<EventRow>> {
    let text = format!("SELECT {COLUMNS} FROM events WHERE event_id = ANY($2) AND room_id = $1");
    crate::db::composed(text, vec![room_id.into(), event_ids.into()]).map(conn, event_row).await
}

/// What an event is in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// The event.
    pub event_id: String,
    /// Its type.
    pub kind: String,
    /// Its state key; `None`: it is no state event.
    pub state_key: Option<String>,
    /// See [`flags`].
    pub flags: i16,
}

/// The keys of those of `event_ids` that are events of the room, in no particular order. The events
/// themselves are not read.
///
/// # Errors
///
/// When the database fails.
pub async fn keys(conn: &mut Conn, room_id: &str, event_ids: &[String]) -> Result<Vec<KeyRow>> {
    sql("SELECT event_id, type, state_key, flags FROM events \
         WHERE event_id = ANY($2) AND room_id = $1")
    .bind(room_id)
    .bind(event_ids)
    .map(conn, |row| {
        Ok(KeyRow {
            event_id: row.get(0)?,
            kind: row.get(1)?,
            state_key: row.get(2)?,
            flags: row.get(3)?,
        })
    })
    .await
}

/// The rooms that have an event of this ID: one, unless a room of version 1 or 2 reused an ID.
///
/// # Errors
///
/// When the database fails.
pub async fn rooms_of(conn: &mut Conn, event_id: &str) -> Result<Vec<String>> {
    sql("SELECT room_id FROM events WHERE event_id = $1 ORDER BY room_id")
        .bind(event_id)
        .map(conn, |row| row.get(0))
        .await
}

/// Events of the room that name one of `prev_ids` as their predecessor, as `(prev_id, event_id)`.
///
/// # Errors
///
/// When the database fails.
pub async fn successors(
    conn: &mut Conn,
    room_id: &str,
    prev_ids: &[String],
) -> Result<Vec<(String, String)>> {
    sql("SELECT prev_id, event_id FROM event_edges WHERE room_id = $1 AND prev_id = ANY($2)")
        .bind(room_id)
        .bind(prev_ids)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
        .await
}

/// Whether any redaction in a room waits for its target.
///
/// # Errors
///
/// When the database fails.
pub async fn has_pending_redactions(conn: &mut Conn, room_id: &str) -> Result<bool> {
    let row = sql("SELECT 1 FROM pending_redactions WHERE room_id = $1 LIMIT 1").bind(room_id);
    Ok(row.optional(conn).await?.is_some())
}

/// The redactions that wait for one of `target_ids`, as `(target_id, redaction_id)`.
///
/// # Errors
///
/// When the database fails.
pub async fn pending_redactions(
    conn: &mut Conn,
    room_id: &str,
    target_ids: &[String],
) -> Result<Vec<(String, String)>> {
    sql("SELECT target_id, redaction_id FROM pending_redactions \
         WHERE room_id = $1 AND target_id = ANY($2)")
    .bind(room_id)
    .bind(target_ids)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}
