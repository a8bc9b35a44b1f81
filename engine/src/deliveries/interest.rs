//! Whether an application service is interested in what happens in a room.
//!
//! <https://spec.matrix.org/v1.19/application-service-api/#registration>

use std::{collections::HashMap, sync::Arc};

use ruma::{
    RoomAliasId, RoomId, UserId,
    events::{StateEventType, TimelineEventType},
};
use starling_storage::{Fact, Positioned, memberships, rooms};

use crate::{
    Engine, Internal,
    appservices::ApplicationService,
    events::{StoredEvent, store},
    state::{Snapshots, StateKey},
};

/// Of how many rooms it is remembered which users of an application service are in them.
const MOST_ROOMS: usize = 10_000;

/// For how many users it is looked up what they were at an event.
const MOST_LOOKED_UP: usize = 500;

/// A user of an application service in a room.
#[derive(Debug)]
struct Member {
    user_id: String,
    is_joined: bool,
    /// Since where they are what they are.
    pos: i64,
}

/// What is remembered of rooms for one application service.
pub(super) struct Interests {
    engine: Engine,
    service: Arc<ApplicationService>,
    members: HashMap<String, Arc<Vec<Member>>>,
}

impl Interests {
    pub(super) fn new(engine: &Engine, service: &Arc<ApplicationService>) -> Self {
        Self { engine: engine.clone(), service: service.clone(), members: HashMap::new() }
    }

    /// Forgets what these facts made another. To be called before anything is asked about what happened
    /// since.
    pub(super) fn hear(&mut self, facts: &[Positioned]) {
        for Positioned { fact, .. } in facts {
            match fact {
                Fact::Event { room_id, member: Some(_), .. }
                | Fact::State { room_id }
                | Fact::Membership { room_id, .. } => drop(self.members.remove(room_id)),
                _ => {}
            }
        }
    }

    /// Whether the application service is interested in an event at a position.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(super) async fn in_event(
        &mut self,
        event: &StoredEvent,
        pos: i64,
    ) -> Result<bool, Internal> {
        let (room_id, service) = (&event.pdu.room_id, self.service.clone());
        if service.has_room(room_id) || service.has_user(&event.pdu.sender) || self.is_target(event)
        {
            return Ok(true);
        }
        if self.in_alias_of(room_id).await? {
            return Ok(true);
        }
        let members = self.members(room_id).await?;
        if members.iter().any(|member| member.is_joined && member.pos <= pos) {
            return Ok(true);
        }
        // Who became something else since may have been in the room then.
        let changed = members.iter().filter(|member| member.pos > pos).take(MOST_LOOKED_UP);
        let users: Vec<&str> = changed.map(|member| &*member.user_id).collect();
        self.was_joined(event, &users).await
    }

    /// Whether it is interested in a room as it is now.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(super) async fn in_room(&mut self, room_id: &RoomId) -> Result<bool, Internal> {
        Ok(self.service.has_room(room_id)
            || self.members(room_id).await?.iter().any(|member| member.is_joined)
            || self.in_alias_of(room_id).await?)
    }

    /// Whether it is interested in somebody: one of its users, or somebody in a room of interest.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(super) async fn in_user(
        &mut self,
        user_id: &UserId,
        most_rooms: usize,
    ) -> Result<bool, Internal> {
        if self.service.has_user(user_id) {
            return Ok(true);
        }
        let mut conn = self.engine.storage.read().await?;
        let rooms = memberships::joined_rooms(&mut conn, user_id.as_str()).await?;
        drop(conn);
        for room_id in rooms.iter().take(most_rooms) {
            if self.in_room(<&RoomId>::try_from(room_id.as_str())?).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether somebody is the only one of the application service's users who is joined to a room.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(super) async fn is_only_one(
        &mut self,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<bool, Internal> {
        let members = self.members(room_id).await?;
        let mut joined = members.iter().filter(|member| member.is_joined);
        Ok(joined.next().is_some_and(|it| user_id.as_str() == it.user_id)
            && joined.next().is_none())
    }

    fn is_target(&self, event: &StoredEvent) -> bool {
        let target = event.pdu.state_key.as_deref().and_then(|key| <&UserId>::try_from(key).ok());
        event.pdu.kind == TimelineEventType::RoomMember
            && target.is_some_and(|target| self.service.has_user(target))
    }

    async fn in_alias_of(&self, room_id: &RoomId) -> Result<bool, Internal> {
        if !self.service.has_aliases() {
            return Ok(false);
        }
        let mut conn = self.engine.storage.read().await?;
        let aliases = rooms::aliases_of(&mut conn, room_id.as_str()).await?;
        let mut aliases =
            aliases.iter().filter_map(|row| <&RoomAliasId>::try_from(&*row.alias).ok());
        Ok(aliases.any(|alias| self.service.has_alias(alias)))
    }

    /// The users of the application service that are or were something in a room.
    async fn members(&mut self, room_id: &RoomId) -> Result<Arc<Vec<Member>>, Internal> {
        if let Some(members) = self.members.get(room_id.as_str()) {
            return Ok(members.clone());
        }
        let mut conn = self.engine.storage.read().await?;
        let rows = memberships::local(&mut conn, room_id.as_str()).await?;
        let is_its = |user_id: &str| {
            <&UserId>::try_from(user_id).is_ok_and(|user_id| self.service.has_user(user_id))
        };
        let rows = rows.into_iter().filter(|(user_id, ..)| is_its(user_id));
        let member = |(user_id, membership, pos): (String, String, i64)| {
            let is_joined = membership == "join";
            Member { user_id, is_joined, pos }
        };
        let members = Arc::new(rows.map(member).collect::<Vec<_>>());
        if self.members.len() >= MOST_ROOMS {
            self.members.clear();
        }
        self.members.insert(room_id.to_string(), members.clone());
        Ok(members)
    }

    /// Whether any of the users was joined when an event happened.
    async fn was_joined(&self, event: &StoredEvent, users: &[&str]) -> Result<bool, Internal> {
        let Some(root) = event.state_before.filter(|_| !users.is_empty()) else { return Ok(false) };
        let key = |user_id: &&str| (StateEventType::RoomMember, (*user_id).to_owned());
        let keys: Vec<StateKey> = users.iter().map(key).collect();
        let room_id = &event.pdu.room_id;
        let ids = Snapshots::of(&self.engine, room_id).get_many(root, &keys).await?;
        let ids: Vec<_> = ids.into_iter().flatten().collect();
        let events = store::get_many(&self.engine, room_id, &ids).await?;
        let is_join = |event: &Arc<StoredEvent>| {
            event.pdu.content_str("membership").as_deref() == Some("join")
        };
        Ok(events.values().any(is_join))
    }
}
