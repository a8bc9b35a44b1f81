//! Which events of a room a server may see.

use std::sync::Arc;

use ruma::{
    OwnedUserId, RoomId, ServerName,
    events::{StateEventType, TimelineEventType, room::history_visibility::HistoryVisibility},
};
use starling_storage::{accounts, events::flags, memberships};

use crate::{
    Engine,
    events::{
        Pdu, redact,
        store::{self, StoredEvent},
    },
    internal::Internal,
    rooms::visibility::{membership_of, server_may_see, visibility_of},
    state::{StateKey, store::Snapshots},
};

/// Looks at events of one room with the eyes of one server.
pub struct Eyes<'a> {
    engine: &'a Engine,
    room_id: &'a RoomId,
    /// Every user of the server that ever was something in the room.
    users: Vec<OwnedUserId>,
    snapshots: Snapshots,
}

impl<'a> Eyes<'a> {
    /// The eyes of a server.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn of(
        engine: &'a Engine,
        server: &ServerName,
        room_id: &'a RoomId,
    ) -> Result<Self, Internal> {
        let mut conn = engine.storage.read().await?;
        let users = memberships::of_server(&mut conn, room_id.as_str(), server.as_str()).await?;
        // A name that is none of ours to judge is not in the state either.
        let users = users.into_iter().filter_map(|user| user.try_into().ok()).collect();
        Ok(Self { engine, room_id, users, snapshots: Snapshots::of(engine, room_id) })
    }

    /// Whether the server may see an event: by what its users were before the event, or by what the
    /// event makes of them.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn may_see(&self, event: &StoredEvent) -> Result<bool, Internal> {
        let Some(state_before) = event.state_before else { return Ok(false) };
        let pdu = &event.pdu;
        let key = (StateEventType::RoomHistoryVisibility, String::new());
        let before = self.at(state_before, &[key]).await?;
        let before = visibility_of(before.first().and_then(Option::as_deref));
        let after = (pdu.kind == TimelineEventType::RoomHistoryVisibility
            && pdu.state_key.as_deref() == Some(""))
        .then(|| visibility_of(Some(pdu)));
        let visibilities = std::iter::once(before).chain(after);
        for visibility in visibilities {
            if self.sees(&visibility, state_before, pdu).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a message of a user of ours who asked that it be erased is hidden from the server: it had
    /// nobody in the room then. State stays whole, which the room is made of.
    async fn is_erased(&self, event: &StoredEvent) -> Result<bool, Internal> {
        let (pdu, own) = (&event.pdu, &self.engine.config.server_name);
        let Some(state_before) = event.state_before else { return Ok(false) };
        if pdu.state_key.is_some() || pdu.sender.server_name() != own {
            return Ok(false);
        }
        let mut conn = self.engine.storage.read().await?;
        let erased = accounts::erased(&mut conn, &[pdu.sender.to_string()]).await?;
        drop(conn);
        if erased.is_empty() {
            return Ok(false);
        }
        Ok(!self.sees(&HistoryVisibility::Joined, state_before, pdu).await?)
    }

    async fn sees(
        &self,
        visibility: &HistoryVisibility,
        state_before: i64,
        pdu: &Pdu,
    ) -> Result<bool, Internal> {
        if server_may_see(visibility, []) {
            return Ok(true);
        }
        let keys: Vec<StateKey> =
            self.users.iter().map(|user| (StateEventType::RoomMember, user.to_string())).collect();
        let before = self.at(state_before, &keys).await?;
        let before = before.iter().map(|member| membership_of(member.as_deref()));
        let own = pdu.kind == TimelineEventType::RoomMember
            && self.users.iter().any(|user| pdu.state_key.as_deref() == Some(user.as_str()));
        let after = own.then(|| membership_of(Some(pdu)));
        Ok(server_may_see(visibility, before.chain(after)))
    }

    async fn at(&self, root: i64, keys: &[StateKey]) -> Result<Vec<Option<Arc<Pdu>>>, Internal> {
        let ids = self.snapshots.get_many(root, keys).await?;
        let wanted: Vec<_> = ids.iter().flatten().cloned().collect();
        let events = store::get_many(self.engine, self.room_id, &wanted).await?;
        let event = |id: &Option<_>| Some(events.get(id.as_ref()?)?.pdu.clone());
        Ok(ids.iter().map(event).collect())
    }

    /// An event as the server may see it: whole, or redacted. `None` when it is none that we pass
    /// on: one outside the graph, or a rejected one.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn show(&self, event: &StoredEvent) -> Result<Option<Arc<Pdu>>, Internal> {
        if event.has(flags::OUTLIER | flags::REJECTED) {
            return Ok(None);
        }
        if self.may_see(event).await? && !self.is_erased(event).await? {
            return Ok(Some(event.pdu.clone()));
        }
        let Some(version) = store::room_version(self.engine, self.room_id).await? else {
            return Ok(None);
        };
        Ok(redact::redact(&event.pdu, &version.1).ok().map(Arc::new))
    }
}
