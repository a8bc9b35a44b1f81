//! A room as it is now, held while one of this process works on it.
//!
//! The lock only keeps the tasks of this process from doing work in vain. What makes a change right
//! is the room's version, which the commit compares: so a lock that is lost does no harm.
//!
//! Many may say something in a room at once. So who sends a mere message lets the room go before it is on
//! disk, and the next builds upon it; all others wait until what is on the way has landed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    sync::Arc,
};

use moka::sync::Cache;
use ruma::{
    OwnedEventId, OwnedRoomId, RoomId, RoomVersionId, room_version_rules::RoomVersionRules,
};
use starling_storage::{
    rooms::{self as rows, RoomRow},
    unread::Numbers,
};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use crate::{
    Engine,
    events::{StoredEvent, store},
    internal::Internal,
    measures::Size,
};

/// How many rooms are kept at hand.
const MAX_ROOMS: u64 = 20_000;

/// A room as it is after a certain change.
#[derive(Clone, Debug)]
pub struct Room {
    /// The room.
    pub id: OwnedRoomId,
    /// Its version and what holds in it.
    pub version: Arc<(RoomVersionId, RoomVersionRules)>,
    /// The row; `row.version` is what a commit compares.
    pub row: RoomRow,
    /// The events that no accepted event follows yet.
    pub extremities: BTreeSet<OwnedEventId>,
    /// The running numbers of some of its threads.
    pub(super) threads: BTreeMap<String, Numbers>,
    /// The last event, if it may be on its way to the disk.
    pub(super) last: Option<Arc<StoredEvent>>,
}

impl Room {
    /// A room that has no event yet.
    #[must_use]
    pub fn new(id: OwnedRoomId, version: RoomVersionId, rules: RoomVersionRules) -> Self {
        let row = RoomRow {
            room_id: id.to_string(),
            room_version: version.to_string(),
            version: 1,
            current_state: 0,
            flags: 0,
            published: false,
            joined_members: 0,
            invited_members: 0,
            max_depth: 0,
        };
        Self {
            id,
            version: Arc::new((version, rules)),
            row,
            extremities: BTreeSet::new(),
            threads: BTreeMap::new(),
            last: None,
        }
    }

    /// Whether only a part of its state is known.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.row.flags & rows::flags::PARTIAL_STATE != 0
    }

    /// What holds in its version.
    #[must_use]
    pub fn rules(&self) -> &RoomVersionRules {
        &self.version.1
    }
}

/// The rooms at hand. One that is worked on is taken out of its place.
#[derive(Clone, Debug)]
pub struct Rooms(Cache<OwnedRoomId, Arc<Mutex<Option<Standing>>>>);

/// A room with the last change of it that may be on the way.
#[derive(Debug)]
struct Standing {
    room: Room,
    landing: Option<Landing>,
}

/// Where it is heard whether a change was written. Those before it were, if it was.
type Landing = watch::Receiver<Option<bool>>;

/// A change that is on the way to the disk. One that is dropped was not written, for all that is known.
#[derive(Debug)]
pub(super) struct Flight(watch::Sender<Option<bool>>);

impl Flight {
    /// Says whether the change was written.
    pub(super) fn land(self, written: bool) {
        self.0.send_replace(Some(written));
    }
}

impl Default for Rooms {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MAX_ROOMS).build())
    }
}

impl Rooms {
    /// How many are at hand.
    #[must_use]
    pub fn size(&self) -> Size {
        Size::of_counted(&self.0)
    }
}

/// A room that no other task of this process changes meanwhile.
#[derive(Debug)]
pub struct RoomGuard {
    room: Room,
    place: OwnedMutexGuard<Option<Standing>>,
    landing: Option<Landing>,
    /// Whether the room may be found here by whoever comes next.
    stands: bool,
}

impl Deref for RoomGuard {
    type Target = Room;

    fn deref(&self) -> &Room {
        &self.room
    }
}

impl Drop for RoomGuard {
    fn drop(&mut self) {
        let landing = self.landing.take();
        *self.place = self.stands.then(|| Standing { room: self.room.clone(), landing });
    }
}

impl RoomGuard {
    /// Reads the room again, after another process has changed it.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn reload(&mut self, engine: &Engine) -> Result<(), Internal> {
        if let Some(room) = load(engine, &self.room.id).await? {
            self.room = room;
            self.landing = None;
        }
        Ok(())
    }

    /// The room as it was committed stands here now.
    pub(super) fn committed(&mut self, room: Room) {
        self.room = Room { last: None, ..room };
        self.stands = true;
    }

    /// The room stands here as it will be once the change that is on the way is written.
    pub(super) fn go_ahead(mut self, room: Room) -> Flight {
        let (flight, landing) = watch::channel(None);
        self.room = room;
        self.landing = Some(landing);
        Flight(flight)
    }
}

/// The right to change what is known of a room ID, whether the room is known or not.
#[derive(Debug)]
pub struct RoomPlace {
    id: OwnedRoomId,
    place: OwnedMutexGuard<Option<Standing>>,
}

impl RoomPlace {
    /// The room that stands here, if it is known. Nothing of it is on the way.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn room(mut self, engine: &Engine) -> Result<Result<RoomGuard, Self>, Internal> {
        if let Some(landing) = self.place.as_mut().and_then(|standing| standing.landing.as_mut()) {
            // Whether it was written or the sender is gone is looked at below.
            let _ = landing.wait_for(Option::is_some).await;
        }
        self.room_ahead(engine).await
    }

    /// The room that stands here, if it is known, as it will be when what is on the way has landed.
    async fn room_ahead(mut self, engine: &Engine) -> Result<Result<RoomGuard, Self>, Internal> {
        let at_hand = self.place.take();
        let is_hit = at_hand.is_some();
        engine.measures.caches.rooms.note(usize::from(is_hit), usize::from(!is_hit));
        let (room, landing) = match at_hand {
            Some(Standing { room, landing: None }) => (Some(room), None),
            Some(Standing { room, landing: Some(landing) }) => match whether_landed(&landing) {
                None => (Some(room), Some(landing)),
                Some(true) => (Some(Room { last: None, ..room }), None),
                Some(false) => (load(engine, &self.id).await?, None),
            },
            None => (load(engine, &self.id).await?, None),
        };
        Ok(match room {
            Some(room) => Ok(RoomGuard { room, place: self.place, landing, stands: true }),
            None => Err(self),
        })
    }

    /// Forgets the room that stands here, which is there no more.
    pub fn clear(&mut self) {
        *self.place = None;
    }

    /// Puts a new room here; it stays only if its first change is committed.
    #[must_use]
    pub fn put(self, room: Room) -> RoomGuard {
        RoomGuard { room, place: self.place, landing: None, stands: false }
    }
}

/// Whether a change was written; `None` while that is open.
fn whether_landed(landing: &Landing) -> Option<bool> {
    let known = *landing.borrow();
    known.or(landing.has_changed().is_err().then_some(false))
}

/// Forgets all that this process remembers of a room that is there no more.
pub fn forget(engine: &Engine, room_id: &RoomId) {
    engine.events.forget_room(room_id);
    engine.state_nodes.forget_room(room_id);
    engine.listed.forget_room(room_id);
    engine.spaces.own.forget_room(room_id);
}

/// Waits for the room and holds it; `None` when it is not known here.
///
/// # Errors
///
/// When the database fails.
pub async fn lock(engine: &Engine, room_id: &RoomId) -> Result<Option<RoomGuard>, Internal> {
    Ok(place(engine, room_id).await.room(engine).await?.ok())
}

/// Waits for the room and holds it as it will be when what is on the way has landed; `None` when it is not
/// known here. For events that do not depend on what the database says of earlier ones.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn lock_ahead(
    engine: &Engine,
    room_id: &RoomId,
) -> Result<Option<RoomGuard>, Internal> {
    Ok(place(engine, room_id).await.room_ahead(engine).await?.ok())
}

/// Waits for the place of a room and holds it, also when there is no such room yet.
pub async fn place(engine: &Engine, room_id: &RoomId) -> RoomPlace {
    let place = engine.rooms.0.get_with(room_id.to_owned(), Arc::default);
    RoomPlace { id: room_id.to_owned(), place: place.lock_owned().await }
}

/// The room as it is now, to look at.
///
/// # Errors
///
/// When the database fails.
pub async fn load(engine: &Engine, room_id: &RoomId) -> Result<Option<Room>, Internal> {
    let Some(version) = store::room_version(engine, room_id).await? else { return Ok(None) };
    let mut conn = engine.storage.snapshot().await?;
    let Some(row) = rows::get(&mut conn, room_id.as_str()).await? else { return Ok(None) };
    let extremities = rows::forward_extremities(&mut conn, room_id.as_str()).await?;
    let extremities = extremities.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
    let id = room_id.to_owned();
    Ok(Some(Room { id, version, row, extremities, threads: BTreeMap::new(), last: None }))
}

/// Whether this server knows the room and nobody is in it, so that no other server has a say in who
/// goes.
///
/// # Errors
///
/// When the database fails.
pub async fn is_deserted(engine: &Engine, room_id: &RoomId) -> Result<bool, Internal> {
    let mut conn = engine.storage.read().await?;
    let room = rows::get(&mut conn, room_id.as_str()).await?;
    drop(conn);
    Ok(room.is_some_and(|room| room.joined_members == 0))
}
