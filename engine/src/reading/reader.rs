//! Somebody who reads a room: what they may see of it, and how it is shown to them.

use std::{collections::HashMap, sync::Arc};

use ruma::{
    DeviceId, OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, UserId,
    events::{StateEventType, room::member::MembershipState},
    room_version_rules::RoomVersionRules,
};
use starling_storage::{memberships::MembershipRow, timeline};

use crate::{
    Engine, Internal,
    events::{StoredEvent, store},
    rooms::{
        versions,
        visibility::{self, View},
    },
    state::Snapshots,
};

/// How many changes of a membership are looked at to find when somebody was joined last.
const MAX_CHANGES: usize = 50;

/// A user who reads a room.
#[derive(Debug)]
pub struct Reader {
    /// The engine.
    pub engine: Engine,
    /// The room.
    pub room_id: OwnedRoomId,
    /// The user.
    pub user_id: OwnedUserId,
    /// The user's device, by which own events are recognised.
    pub device_id: Option<OwnedDeviceId>,
    /// The states of the room.
    pub snapshots: Snapshots,
    version: Arc<(RoomVersionId, RoomVersionRules)>,
    joined_until: Option<i64>,
    sees_all: bool,
    views: HashMap<i64, View>,
}

impl Reader {
    /// A user who reads a room, given what the table of memberships says of them; `None` when not
    /// even the room's version is known here.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn new(
        engine: &Engine,
        room_id: &RoomId,
        user_id: &UserId,
        device_id: Option<&DeviceId>,
        membership: Option<&MembershipRow>,
    ) -> Result<Option<Self>, Internal> {
        let known = store::room_version(engine, room_id).await?;
        let Some(version) = known.or_else(|| version_outside(membership?)) else {
            return Ok(None);
        };
        let mut reader = Self {
            engine: engine.clone(),
            room_id: room_id.to_owned(),
            user_id: user_id.to_owned(),
            device_id: device_id.map(ToOwned::to_owned),
            snapshots: Snapshots::of(engine, room_id),
            version,
            joined_until: None,
            sees_all: false,
            views: HashMap::new(),
        };
        reader.joined_until = match membership {
            None => None,
            Some(row) if row.membership == "join" => Some(i64::MAX),
            Some(row) => reader.left_at(row).await?,
        };
        Ok(Some(reader))
    }

    /// The same as somebody who sees everything that was accepted, as administrators do.
    #[must_use]
    pub fn overseeing(self) -> Self {
        Self { joined_until: Some(i64::MAX), sees_all: true, ..self }
    }

    /// The rules of the room's version.
    #[must_use]
    pub fn rules(&self) -> &RoomVersionRules {
        &self.version.1
    }

    /// The position of the event by which the user left the room the last time: the greatest position
    /// when they are joined, `None` when they never were.
    #[must_use]
    pub fn joined_until(&self) -> Option<i64> {
        self.joined_until
    }

    /// Follows the user's memberships back to where one of them ended a join.
    async fn left_at(&self, row: &MembershipRow) -> Result<Option<i64>, Internal> {
        let mut event_id = OwnedEventId::try_from(row.event_id.as_str())?;
        for _ in 0..MAX_CHANGES {
            let Some(event) = store::get(&self.engine, &self.room_id, &event_id).await? else {
                return Ok(None);
            };
            let Some(before) = event.state_before else { return Ok(None) };
            let Some(previous) = self.member(before, &self.user_id).await? else { return Ok(None) };
            if visibility::membership_of(Some(&previous.pdu)) == MembershipState::Join {
                let mut conn = self.engine.storage.read().await?;
                let room_id = self.room_id.as_str();
                let entry = timeline::find(&mut conn, room_id, event_id.as_str()).await?;
                return Ok(Some(entry.map_or(row.pos, |entry| entry.pos)));
            }
            event_id = previous.pdu.event_id.clone();
        }
        Ok(None)
    }

    /// The event that made the user what they are, which may be all that is known of the room.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn own_event(
        &self,
        row: &MembershipRow,
    ) -> Result<Option<Arc<StoredEvent>>, Internal> {
        let event_id = OwnedEventId::try_from(&*row.event_id)?;
        store::get_outside(&self.engine, &self.room_id, &event_id, self.rules()).await
    }

    /// The member event of somebody in a snapshot of the room's state.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn member(
        &self,
        root: i64,
        user_id: &UserId,
    ) -> Result<Option<Arc<StoredEvent>>, Internal> {
        self.state_event(root, StateEventType::RoomMember, user_id.as_str()).await
    }

    /// A state event in a snapshot of the room's state.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn state_event(
        &self,
        root: i64,
        kind: StateEventType,
        state_key: &str,
    ) -> Result<Option<Arc<StoredEvent>>, Internal> {
        let Some(event_id) = self.snapshots.get(root, kind, state_key).await? else {
            return Ok(None);
        };
        store::get(&self.engine, &self.room_id, &event_id).await
    }

    /// Whether the user may see an event that stands at `pos`, and what they were in the room when it
    /// happened; `None`: they may not.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn sees(
        &mut self,
        event: &StoredEvent,
        pos: i64,
    ) -> Result<Option<MembershipState>, Internal> {
        let Some(root) = event.state_before.filter(|_| event.is_visible()) else {
            return Ok(None);
        };
        let before = self.view(root).await?;
        if self.sees_all {
            return Ok(Some(before.membership));
        }
        let after = before.after(&event.pdu, &self.user_id);
        let joined_later = self.joined_until.is_some_and(|until| pos <= until);
        let sees = visibility::may_see(&before, after.as_ref(), joined_later);
        Ok(sees.then(|| after.unwrap_or(before).membership))
    }

    /// Whether the user may know the room's state at a position, given its root.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn sees_state(&mut self, root: i64, pos: i64) -> Result<bool, Internal> {
        let joined_later = self.joined_until.is_some_and(|until| pos <= until);
        Ok(self.view(root).await?.allows(joined_later))
    }

    /// What decides about events that have this state before them.
    async fn view(&mut self, root: i64) -> Result<View, Internal> {
        if let Some(view) = self.views.get(&root) {
            return Ok(view.clone());
        }
        let keys = visibility::state_keys(&self.user_id);
        let ids: Vec<_> = self.snapshots.get_many(root, &keys).await?;
        let known: Vec<OwnedEventId> = ids.iter().flatten().cloned().collect();
        let events = store::get_many(&self.engine, &self.room_id, &known).await?;
        let pdu = |index: usize| {
            let id = ids.get(index).and_then(Option::as_ref)?;
            events.get(id).map(|event| &*event.pdu)
        };
        let view = View::new(pdu(0), pdu(1));
        self.views.insert(root, view.clone());
        Ok(view)
    }
}

/// The version of a room that this server is not in, as was said with the invite or the knock.
fn version_outside(row: &MembershipRow) -> Option<Arc<(RoomVersionId, RoomVersionRules)>> {
    let version = RoomVersionId::try_from(row.room_version.as_deref()?).ok()?;
    let rules = versions::rules(&version)?;
    Some(Arc::new((version, rules)))
}
