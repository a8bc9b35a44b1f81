//! Which events of a room a server may see.

use std::{collections::HashMap, sync::Arc};

use ruma::{
    OwnedUserId, RoomId, ServerName, UserId,
    events::{StateEventType, TimelineEventType, room::history_visibility::HistoryVisibility},
};
use starling_storage::{events::flags, memberships};

use crate::{
    Engine,
    accounts::erasure,
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
    /// Of which senders it is known whether they asked that what they said be erased.
    erased: HashMap<OwnedUserId, bool>,
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
        let snapshots = Snapshots::of(engine, room_id);
        Ok(Self { engine, room_id, users, snapshots, erased: HashMap::new() })
    }

    /// Whether the server may see an event: by what its users were before the event, or by what the
    /// event makes of them.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn may_see(&self, event: &StoredEvent) -> Result<bool, Internal> {
        let Some(state_before) = event.state_before else { return Ok(false) };
        // Who was in the room then is not known yet.
        if event.has(flags::PARTIAL_STATE | flags::ABANDONED) {
            return Ok(false);
        }
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
    async fn is_erased(&mut self, event: &StoredEvent) -> Result<bool, Internal> {
        let (pdu, own) = (&event.pdu, &self.engine.config.server_name);
        let Some(state_before) = event.state_before else { return Ok(false) };
        if pdu.state_key.is_some() || pdu.sender.server_name() != own {
            return Ok(false);
        }
        // Mostly it had somebody there, which the states say that were looked at already.
        if self.sees(&HistoryVisibility::Joined, state_before, pdu).await? {
            return Ok(false);
        }
        self.has_erased(&pdu.sender).await
    }

    /// Whether a user of ours asked that what they said be erased; each is asked for once.
    async fn has_erased(&mut self, sender: &UserId) -> Result<bool, Internal> {
        if let Some(known) = self.erased.get(sender) {
            return Ok(*known);
        }
        let found = erasure::erased(self.engine, std::iter::once(sender)).await?;
        let erased = found.contains(sender);
        self.erased.insert(sender.to_owned(), erased);
        Ok(erased)
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
    pub async fn show(&mut self, event: &StoredEvent) -> Result<Option<Arc<Pdu>>, Internal> {
        let unknown = flags::PARTIAL_STATE | flags::ABANDONED;
        if event.has(flags::OUTLIER | flags::REJECTED | unknown) {
            return Ok(None);
        }
        match self.seen(event).await? {
            Some(pdu) => Ok(Some(pdu)),
            None => self.redacted(event).await,
        }
    }

    /// An event of the graph that the server may see: whole, or without the content that its sender
    /// asked to be erased. `None` when it may not see it.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn seen(&mut self, event: &StoredEvent) -> Result<Option<Arc<Pdu>>, Internal> {
        if !self.may_see(event).await? {
            return Ok(None);
        }
        match self.is_erased(event).await? {
            true => self.redacted(event).await,
            false => Ok(Some(event.pdu.clone())),
        }
    }

    async fn redacted(&self, event: &StoredEvent) -> Result<Option<Arc<Pdu>>, Internal> {
        let Some(version) = store::room_version(self.engine, self.room_id).await? else {
            return Ok(None);
        };
        Ok(redact::redact(&event.pdu, &version.1).ok().map(Arc::new))
    }
}
