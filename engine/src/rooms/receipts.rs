//! Receipts and the read marker: how far somebody has read.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#receipts>

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use ruma::{EventId, OwnedEventId, RoomId, UserId};
use serde_json::json;
use starling_storage::{
    Change, Conn, Fact, account_data, memberships,
    receipts::{self, ReceiptRow, Write},
    rooms::partial,
    timeline::{self, Entry},
};
use tokio::sync::{Mutex, MutexGuard};

use super::{
    append::{relations, unread::thread_root},
    unread::{self, MAIN},
};
use crate::{Engine, Internal, ephemeral::Edu, events::store};

/// Into how many lines the users stand.
const TURNS: u64 = 256;

/// The account data that holds the read marker.
pub const FULLY_READ: &str = "m.fully_read";

/// What is said by a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `m.read`: everybody may know.
    Read,
    /// `m.read.private`: nobody else is told.
    Private,
    /// `m.fully_read`: the marker, which only the user sees.
    FullyRead,
}

/// A receipt that a user of this deployment sends.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// What it says.
    pub kind: Kind,
    /// The event up to which the user has read.
    pub event_id: OwnedEventId,
    /// `main` or a thread's root; `None`: all of the room.
    pub thread_id: Option<String>,
}

/// A receipt that another server sends for one of its users.
#[derive(Clone, Debug)]
pub struct RemoteReceipt<'a> {
    /// The room.
    pub room_id: &'a RoomId,
    /// Who has read; the caller has made sure that they are of that server.
    pub user_id: &'a UserId,
    /// The event up to which they have read.
    pub event_id: &'a str,
    /// When, in milliseconds since the epoch.
    pub ts: i64,
    /// `main` or a thread's root; `None`: all of the room.
    pub thread_id: Option<&'a str>,
}

/// Why a receipt is refused.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The user is not joined to the room.
    #[error("the user is not joined to the room")]
    NotJoined,
    /// The room has no such event.
    #[error("the room has no such event")]
    UnknownEvent,
    /// The thread does not go with the event, or with this kind of receipt.
    #[error("the thread is not one for this receipt: {0}")]
    BadThread(&'static str),
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<starling_storage::DbError> for ReceiptError {
    fn from(error: starling_storage::DbError) -> Self {
        Self::Internal(error.into())
    }
}

/// Receipts of a user are stored one after the other: of two that come at once, the later event stays,
/// whichever is committed last.
#[derive(Debug)]
pub struct Turns(Vec<Mutex<()>>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..TURNS).map(|_| Mutex::default()).collect())
    }
}

impl Turns {
    async fn of(&self, room_id: &RoomId, user_id: &UserId) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        (room_id.as_str(), user_id.as_str()).hash(&mut hasher);
        let turn = self.0.get(usize::try_from(hasher.finish() % TURNS).ok()?)?;
        Some(turn.lock().await)
    }
}

/// Stores receipts of a user of this deployment, all or none. A receipt for an earlier event than the
/// last one of its kind and thread is accepted and changes nothing.
///
/// # Errors
///
/// [`ReceiptError`].
pub async fn send(
    engine: &Engine,
    room_id: &RoomId,
    user_id: &UserId,
    wanted: &[Receipt],
) -> Result<(), ReceiptError> {
    let _turn = engine.receipts.of(room_id, user_id).await;
    let mut conn = engine.storage.read().await?;
    if !is_joined(&mut conn, room_id, user_id).await? {
        return Err(ReceiptError::NotJoined);
    }
    let mut plan = Plan { change: Change::new(), edus: vec![], ts: engine.clock.now_ms() };
    for receipt in wanted {
        let event = timeline::find(&mut conn, room_id.as_str(), receipt.event_id.as_str()).await?;
        let event = event.ok_or(ReceiptError::UnknownEvent)?;
        if receipt.kind == Kind::FullyRead {
            plan.move_marker(&mut conn, user_id, &event, receipt).await?;
        } else {
            check_thread(engine, room_id, &event, receipt).await?;
            plan.add(&mut conn, room_id, user_id, &event, receipt).await?;
        }
    }
    drop(conn);
    if plan.change.is_empty() {
        return Ok(());
    }
    engine.storage.commit(plan.change).await.map_err(Internal::from)?;
    plan.edus.into_iter().for_each(|edu| engine.ephemeral.publish(edu));
    Ok(())
}

/// What receipts come to.
struct Plan {
    change: Change,
    edus: Vec<Edu>,
    ts: i64,
}

impl Plan {
    async fn move_marker(
        &mut self,
        conn: &mut Conn,
        user_id: &UserId,
        event: &Entry,
        receipt: &Receipt,
    ) -> Result<(), ReceiptError> {
        if receipt.thread_id.is_some() {
            return Err(ReceiptError::BadThread("m.fully_read is not about a thread"));
        }
        let (user_id, room_id) = (user_id.to_string(), event.room_id.clone());
        let content = json!({ "event_id": receipt.event_id }).to_string();
        let old = account_data::get(conn, &user_id, &room_id, FULLY_READ).await?;
        if old.as_ref() != Some(&content) {
            let kind = FULLY_READ.to_owned();
            let fact = Fact::AccountData {
                user_id: user_id.clone(),
                room_id: room_id.clone(),
                kind: kind.clone(),
            };
            let at = self.change.fact(fact);
            self.change.write(account_data::Write::Put { user_id, room_id, kind, content, at });
        }
        Ok(())
    }

    async fn add(
        &mut self,
        conn: &mut Conn,
        room_id: &RoomId,
        user_id: &UserId,
        event: &Entry,
        receipt: &Receipt,
    ) -> Result<(), ReceiptError> {
        let private = receipt.kind == Kind::Private;
        let row = ReceiptRow {
            room_id: room_id.to_string(),
            user_id: user_id.to_string(),
            receipt_type: if private { "m.read.private" } else { "m.read" }.to_owned(),
            thread_id: receipt.thread_id.clone().unwrap_or_default(),
            event_id: receipt.event_id.to_string(),
            ts: self.ts,
            pos: 0,
        };
        if !advances(conn, &row, Some(event)).await? {
            return Ok(());
        }
        let mark = unread::mark(user_id, event, receipt.thread_id.as_deref());
        self.change.write(starling_storage::unread::Write::Mark(mark));
        put(&mut self.change, row, private);
        if !private {
            self.edus.push(Edu::Receipt {
                room_id: room_id.to_owned(),
                user_id: user_id.to_owned(),
                event_id: receipt.event_id.clone(),
                ts: self.ts,
                thread_id: receipt.thread_id.clone(),
            });
        }
        Ok(())
    }
}

/// Stores a receipt of another server's user. It is ignored when they are not in the room, or when it
/// names a thread that is not known.
///
/// # Errors
///
/// When the database fails.
pub async fn receive(engine: &Engine, receipt: RemoteReceipt<'_>) -> Result<(), Internal> {
    let RemoteReceipt { room_id, user_id, event_id, ts, thread_id } = receipt;
    let _turn = engine.receipts.of(room_id, user_id).await;
    let mut conn = engine.storage.read().await?;
    let server = user_id.server_name().as_str();
    if !is_joined(&mut conn, room_id, user_id).await?
        && !partial::is_assumed(&mut conn, room_id.as_str(), server).await?
    {
        return Ok(());
    }
    // Each thread makes a row, so strangers cannot be let invent them.
    if let Some(root) = thread_id.filter(|thread| *thread != MAIN)
        && timeline::find(&mut conn, room_id.as_str(), root).await?.is_none()
    {
        return Ok(());
    }
    let row = ReceiptRow {
        room_id: room_id.to_string(),
        user_id: user_id.to_string(),
        receipt_type: "m.read".to_owned(),
        thread_id: thread_id.unwrap_or_default().to_owned(),
        event_id: event_id.to_string(),
        ts: ts.max(0),
        pos: 0,
    };
    let event = timeline::find(&mut conn, room_id.as_str(), event_id).await?;
    if advances(&mut conn, &row, event.as_ref()).await? {
        drop(conn);
        let mut change = Change::new();
        put(&mut change, row, false);
        engine.storage.commit(change).await?;
    }
    Ok(())
}

fn put(change: &mut Change, row: ReceiptRow, private: bool) {
    let (room_id, user_id) = (row.room_id.clone(), row.user_id.clone());
    let at = change.fact(Fact::Receipt { room_id, user_id, private });
    change.write(Write::Put { row, at });
}

async fn is_joined(conn: &mut Conn, room_id: &RoomId, user_id: &UserId) -> Result<bool, Internal> {
    let row = memberships::get(conn, user_id.as_str(), room_id.as_str()).await?;
    Ok(row.is_some_and(|row| row.membership == "join"))
}

/// Whether a receipt is for a later event than the stored one of its kind and thread. Where one of
/// the events is not known here, any other event counts as later.
async fn advances(
    conn: &mut Conn,
    row: &ReceiptRow,
    event: Option<&Entry>,
) -> Result<bool, Internal> {
    let all = receipts::of_user(conn, &row.room_id, &row.user_id).await?;
    let same =
        |old: &&ReceiptRow| old.receipt_type == row.receipt_type && old.thread_id == row.thread_id;
    let Some(old) = all.iter().find(same) else { return Ok(true) };
    if old.event_id == row.event_id {
        return Ok(false);
    }
    let old = timeline::find(conn, &row.room_id, &old.event_id).await?;
    Ok(match (old, event) {
        (Some(old), Some(new)) => old.pos < new.pos,
        _ => true,
    })
}

/// Whether the event is of the thread that the receipt names, or what the thread is about.
async fn check_thread(
    engine: &Engine,
    room_id: &RoomId,
    event: &Entry,
    receipt: &Receipt,
) -> Result<(), ReceiptError> {
    let fits = match receipt.thread_id.as_deref() {
        None => true,
        Some("") => return Err(ReceiptError::BadThread("it is empty")),
        Some(MAIN) => event.thread_root.is_none(),
        Some(root) => {
            event.thread_root.as_deref() == Some(root)
                || root == event.event_id
                || relates_to(engine, room_id, &receipt.event_id, root).await?
        }
    };
    let mismatch = ReceiptError::BadThread("the event does not belong to it");
    if fits { Ok(()) } else { Err(mismatch) }
}

/// Whether an event relates to another, or to an event of that one's thread.
async fn relates_to(
    engine: &Engine,
    room_id: &RoomId,
    event_id: &EventId,
    root: &str,
) -> Result<bool, Internal> {
    let Some(event) = store::get(engine, room_id, event_id).await? else { return Ok(false) };
    let Some(relation) = relations::of(&event.pdu) else { return Ok(false) };
    if relation.event_id == root {
        return Ok(true);
    }
    let Ok(parent) = OwnedEventId::try_from(relation.event_id) else { return Ok(false) };
    let parent = store::get(engine, room_id, &parent).await?;
    Ok(parent.and_then(|parent| thread_root(&parent.pdu)).is_some_and(|thread| thread == root))
}
