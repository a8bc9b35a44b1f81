//! A change of one room that is being put together: the room as it will be, the events and states
//! that are on the way, and the rows and facts of all that follows from them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ruma::{EventId, OwnedEventId, events::StateEventType};
use serde_json::value::RawValue;
use starling_storage::{
    Change, Claim, CommitError, Committed, DbError,
    events::{ClientTransaction, SentBy, flags},
    rooms::{self as rows, NewRoom, RoomUpdate},
};

use super::{
    append::{self, Disposition, NewEvent},
    room::{Room, RoomGuard},
};
use crate::{
    Engine,
    events::{Pdu, StoredEvent, store},
    internal::Internal,
    measures::Events,
    rng,
    state::{Snapshots, StateKey},
};

/// How often a change is made anew because another process changed the room meanwhile.
pub const MAX_ATTEMPTS: usize = 8;

/// The events of a state by their keys.
pub type State = HashMap<StateKey, Arc<Pdu>>;

/// The content of the event of a type with an empty state key.
#[must_use]
pub fn content(state: &State, kind: StateEventType) -> Option<&RawValue> {
    state.get(&(kind, String::new())).map(|event| &*event.content)
}

/// Why a batch was not written. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The room changed meanwhile and was read again: authorise again, try again.
    #[error("the room changed meanwhile")]
    Conflict,
    /// The client's transaction was done before, by this event.
    #[error("the transaction was done before, as {0}")]
    TransactionTaken(OwnedEventId),
    /// The room or an alias exists.
    #[error("the name is taken")]
    NameTaken,
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<DbError> for BatchError {
    fn from(error: DbError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<CommitError> for BatchError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict => Self::Conflict,
            CommitError::TransactionTaken(event_id) => match event_id.try_into() {
                Ok(event_id) => Self::TransactionTaken(event_id),
                Err(error) => Self::Internal(Internal::from(error)),
            },
            CommitError::NameTaken => Self::NameTaken,
            error => Self::Internal(error.into()),
        }
    }
}

/// A change of one room that is being put together.
#[derive(Debug)]
pub struct Batch {
    /// The engine.
    pub engine: Engine,
    /// The room as it will be.
    pub room: Room,
    /// Its states, those on the way included.
    pub snapshots: Snapshots,
    /// Rows, claims and facts so far; more may be added.
    pub change: Change,
    before: Room,
    events: HashMap<OwnedEventId, Arc<StoredEvent>>,
    pub(super) servers: HashMap<String, i64>,
    pub(super) wakes_guests: bool,
    /// A join whose state before it is known in part only.
    pub(super) joined_in_part: Option<OwnedEventId>,
    /// How many large conflicts about the state were decided.
    pub(super) large_conflicts: usize,
    /// Whether the current state is still to be merged out of the ends of the graph.
    pub(super) unsettled: bool,
    pub(super) waiting: Waiting,
    /// What is counted once it is written.
    pub(super) added: Added,
    /// By whom the next event that is made here is sent.
    pub(super) sent_by: Option<Box<SentBy>>,
    /// Whether new outliers are as many as would take the place of what is kept in memory of other rooms.
    pub(super) in_bulk: bool,
}

/// Redactions whose target is not known.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Whether any are stored for the room, once that was looked up.
    pub(super) any_stored: Option<bool>,
    /// Those that are stored, by their targets, for as many targets as were looked up together.
    pub(super) stored: HashMap<OwnedEventId, Vec<OwnedEventId>>,
    /// Those that are on the way, by their targets.
    pub(super) new: HashMap<OwnedEventId, Vec<OwnedEventId>>,
}

/// How many events of which fate were added.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Added {
    local: usize,
    accepted: usize,
    soft_failed: usize,
    rejected: usize,
    outliers: usize,
}

impl Added {
    pub(super) fn note(&mut self, new: &NewEvent) {
        let number = match new.disposition {
            Disposition::Accepted if new.local => &mut self.local,
            Disposition::Accepted => &mut self.accepted,
            Disposition::SoftFailed => &mut self.soft_failed,
            Disposition::Rejected => &mut self.rejected,
            Disposition::Outlier => &mut self.outliers,
        };
        *number += 1;
    }

    fn count(self, events: &Events) {
        events.local.add(self.local);
        events.accepted.add(self.accepted);
        events.soft_failed.add(self.soft_failed);
        events.rejected.add(self.rejected);
        events.outliers.add(self.outliers);
    }
}

/// What a change that goes on in another room has done in this one, for the caches.
#[derive(Debug)]
pub struct Begun {
    room: Room,
    snapshots: Snapshots,
    events: Vec<Arc<StoredEvent>>,
}

impl Batch {
    /// A change of a room that is known.
    #[must_use]
    pub fn new(engine: &Engine, room: &Room) -> Self {
        Self::over(engine, room, Change::new())
    }

    /// A change of a room that continues one of another room.
    fn over(engine: &Engine, room: &Room, mut change: Change) -> Self {
        let version = u64::from_le_bytes(rng::bytes()) >> 1;
        let version = i64::try_from(version).unwrap_or(i64::MAX);
        change.require_room(room.id.as_str(), room.row.version, version);
        let before = room.clone();
        let mut room = room.clone();
        room.row.version = version;
        Self {
            engine: engine.clone(),
            room,
            snapshots: Snapshots::of(engine, &before.id),
            change,
            before,
            events: HashMap::new(),
            servers: HashMap::new(),
            wakes_guests: false,
            joined_in_part: None,
            large_conflicts: 0,
            unsettled: false,
            waiting: Waiting::default(),
            added: Added::default(),
            sent_by: None,
            in_bulk: false,
        }
    }

    /// The first change of a room that is not known yet.
    #[must_use]
    pub fn first(engine: &Engine, room: &Room) -> Self {
        let mut batch = Self::new(engine, room);
        batch.claim_room();
        batch
    }

    fn claim_room(&mut self) {
        self.change.claim(Claim::NewRoom(NewRoom {
            room_id: self.room.row.room_id.clone(),
            room_version: self.room.row.room_version.clone(),
        }));
    }

    /// Goes on with the first change of another room, so that both are written or none of them.
    #[must_use]
    pub fn go_on_with_new(mut self, room: &Room) -> (Begun, Self) {
        self.write_room();
        let mut next = Self::over(&self.engine, room, self.change);
        next.claim_room();
        next.added = self.added;
        let events = self.events.into_values().collect();
        (Begun { room: self.room, snapshots: self.snapshots, events }, next)
    }

    /// Requires that a client's transaction was not done before, and notes that it is done now.
    pub fn claim_transaction(&mut self, transaction: ClientTransaction) {
        self.change.claim(Claim::Transaction(transaction));
    }

    /// Adds an event, or a new form of one that is stored.
    pub(super) fn put_event(&mut self, event: Arc<StoredEvent>) {
        self.events.insert(event.pdu.event_id.clone(), event);
    }

    /// An event that is on the way.
    pub(super) fn on_the_way(&self, event_id: &EventId) -> Option<&Arc<StoredEvent>> {
        self.events.get(event_id)
    }

    /// An event of the room, be it stored or on the way.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn event(&self, event_id: &EventId) -> Result<Option<Arc<StoredEvent>>, Internal> {
        match self.at_hand(event_id) {
            Some(event) => Ok(Some(event.clone())),
            None => store::get(&self.engine, &self.room.id, event_id).await,
        }
    }

    /// An event of this change, or the last one of the change before, which may not be stored yet.
    fn at_hand(&self, event_id: &EventId) -> Option<&Arc<StoredEvent>> {
        let last = || self.before.last.as_ref().filter(|last| last.pdu.event_id == event_id);
        self.events.get(event_id).or_else(last)
    }

    /// Those of the IDs that are events of the room, be they stored or on the way.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn events(
        &self,
        ids: &[OwnedEventId],
    ) -> Result<HashMap<OwnedEventId, Arc<StoredEvent>>, Internal> {
        let (here, stored) = self.parted(ids);
        let found = store::get_many(&self.engine, &self.room.id, &stored).await?;
        Ok(self.with_those_at_hand(found, here))
    }

    /// As [`Batch::events`], of so many that they are not to take the place of what is kept in memory.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn events_in_passing(
        &self,
        ids: &[OwnedEventId],
    ) -> Result<HashMap<OwnedEventId, Arc<StoredEvent>>, Internal> {
        let (here, stored) = self.parted(ids);
        let found = store::get_in_passing(&self.engine, &self.room.id, &stored).await?;
        Ok(self.with_those_at_hand(found, here))
    }

    /// Those of the events that are at hand, and the others.
    fn parted(&self, ids: &[OwnedEventId]) -> (Vec<OwnedEventId>, Vec<OwnedEventId>) {
        ids.iter().cloned().partition(|id| self.at_hand(id).is_some())
    }

    fn with_those_at_hand(
        &self,
        mut found: HashMap<OwnedEventId, Arc<StoredEvent>>,
        here: Vec<OwnedEventId>,
    ) -> HashMap<OwnedEventId, Arc<StoredEvent>> {
        let here = here.into_iter().filter_map(|id| Some((id.clone(), self.at_hand(&id)?.clone())));
        found.extend(here);
        found
    }

    /// The events at some keys of a state.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn state(&self, root: i64, keys: &[StateKey]) -> Result<State, Internal> {
        let ids = self.snapshots.get_many(root, keys).await?;
        let by_key: Vec<_> =
            keys.iter().zip(ids).filter_map(|(key, id)| Some((key.clone(), id?))).collect();
        let wanted: Vec<OwnedEventId> = by_key.iter().map(|(_, id)| id.clone()).collect();
        let events = self.events(&wanted).await?;
        let event = |id: &OwnedEventId| {
            let missing = || Internal::Damaged(format!("state event {id} is missing"));
            events.get(id).map(|event| event.pdu.clone()).ok_or_else(missing)
        };
        by_key.into_iter().map(|(key, id)| Ok((key, event(&id)?))).collect()
    }

    /// Writes all of it. On success the guarded room is the one after the change.
    ///
    /// # Errors
    ///
    /// See [`BatchError`]; after [`BatchError::Conflict`] the guarded room was read again.
    pub async fn commit(self, guard: &mut RoomGuard) -> Result<Committed, BatchError> {
        self.commit_all(vec![], vec![guard]).await
    }

    /// Writes all of it, with what was begun in another room, whose guard is `other`.
    ///
    /// # Errors
    ///
    /// As [`Batch::commit`].
    pub async fn commit_with(
        self,
        guard: &mut RoomGuard,
        begun: Begun,
        other: &mut RoomGuard,
    ) -> Result<Committed, BatchError> {
        self.commit_all(vec![begun], vec![other, guard]).await
    }

    /// Hands a change to the writer that changes no state, and lets the room go to whoever comes next, who
    /// builds upon it. Gives back the event's outcome when it is written.
    ///
    /// What follows is void if this is not written, since its version of the room is none then.
    ///
    /// # Errors
    ///
    /// See [`BatchError`].
    pub async fn commit_ahead(
        mut self,
        guard: RoomGuard,
        event_id: &EventId,
    ) -> Result<(), BatchError> {
        self.write_room();
        let mut room = self.room.clone();
        room.last = self.events.get(event_id).cloned();
        let (change, storage) = (std::mem::take(&mut self.change), self.engine.storage.clone());
        let submitted = storage.submit_and(change, move || self.written(vec![])).await;
        let submitted = submitted.map_err(|error| BatchError::Internal(error.into()))?;
        let flight = guard.go_ahead(room);
        // A caller who goes away must not keep the room from hearing of the commit.
        let landing = tokio::spawn(async move {
            let outcome = submitted.outcome().await;
            flight.land(outcome.is_ok());
            outcome
        });
        let outcome = landing.await.map_err(|error| Internal::Damaged(error.to_string()))?;
        outcome.map(|_| ()).map_err(BatchError::from)
    }

    async fn commit_all(
        mut self,
        begun: Vec<Begun>,
        guards: Vec<&mut RoomGuard>,
    ) -> Result<Committed, BatchError> {
        append::settle(&mut self).await?;
        self.write_room();
        let engine = self.engine.clone();
        let mut rooms: Vec<Room> = begun.iter().map(|begun| begun.room.clone()).collect();
        rooms.push(self.room.clone());
        match self.write(begun).await {
            Ok(committed) => {
                for (guard, room) in guards.into_iter().zip(rooms) {
                    guard.committed(room);
                }
                Ok(committed)
            }
            Err(error) => {
                if matches!(error, CommitError::Conflict) {
                    for guard in guards {
                        guard.reload(&engine).await?;
                    }
                }
                Err(error.into())
            }
        }
    }

    async fn write(mut self, begun: Vec<Begun>) -> Result<Committed, CommitError> {
        let (change, storage) = (std::mem::take(&mut self.change), self.engine.storage.clone());
        storage.submit_and(change, move || self.written(begun)).await?.outcome().await
    }

    /// Tells the caches, before anybody hears of the change.
    fn written(mut self, begun: Vec<Begun>) {
        self.added.count(&self.engine.measures.events);
        for mut begun in begun {
            begun.snapshots.committed();
            self.engine.events.replace(begun.events);
        }
        self.snapshots.committed();
        let in_bulk = self.in_bulk;
        let remembered = |event: &Arc<StoredEvent>| !(in_bulk && event.has(flags::OUTLIER));
        self.engine.events.replace(self.events.into_values().filter(remembered));
        if self.wakes_guests {
            self.engine.guests.0.notify_one();
        }
    }

    /// The rows in which the room as it will be differs from the one before.
    fn write_room(&mut self) {
        let room = &self.room;
        for row in self.snapshots.writes() {
            self.change.write(row);
        }
        let (new, old): (HashSet<_>, HashSet<_>) =
            (room.extremities.iter().collect(), self.before.extremities.iter().collect());
        for event_id in new.symmetric_difference(&old) {
            self.change.write(rows::Write::Forward {
                room_id: room.id.to_string(),
                event_id: event_id.to_string(),
                add: new.contains(event_id),
            });
        }
        self.change.write(rows::Write::Update(RoomUpdate {
            room_id: room.id.to_string(),
            current_state: room.row.current_state,
            flags: room.row.flags,
            joined_members: room.row.joined_members,
            invited_members: room.row.invited_members,
            max_depth: room.row.max_depth,
        }));
    }
}
