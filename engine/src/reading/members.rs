//! Member events that a client needs to show other events when it loads members lazily.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members>

use std::{collections::BTreeMap, collections::HashSet, sync::Arc};

use ruma::{OwnedEventId, OwnedUserId, events::StateEventType};

use super::{reader::Reader, show::Seen};
use crate::{
    Internal,
    events::{StoredEvent, store},
};

impl Reader {
    /// The member events of the senders of some events, as of the first event of each that is given.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn members_for(&self, events: &[Seen]) -> Result<Vec<Arc<StoredEvent>>, Internal> {
        let mut roots: BTreeMap<&OwnedUserId, Option<i64>> = BTreeMap::new();
        for seen in events {
            roots.entry(&seen.event.pdu.sender).or_insert(seen.event.state_before);
        }
        let mut members = Vec::with_capacity(roots.len());
        for (user_id, root) in roots {
            let Some(root) = root else { continue };
            members.extend(self.member(root, user_id).await?);
        }
        Ok(members)
    }

    /// The member events of some users in a snapshot of the room's state.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn members_in(
        &self,
        root: i64,
        users: impl IntoIterator<Item = &OwnedUserId>,
    ) -> Result<Vec<Arc<StoredEvent>>, Internal> {
        let users: HashSet<_> = users.into_iter().collect();
        let key = |user_id: &&OwnedUserId| (StateEventType::RoomMember, user_id.to_string());
        let keys: Vec<_> = users.iter().map(key).collect();
        let ids = self.snapshots.get_many(root, &keys).await?;
        let ids: Vec<OwnedEventId> = ids.into_iter().flatten().collect();
        Ok(store::get_many(&self.engine, &self.room_id, &ids).await?.into_values().collect())
    }

    /// The events of a snapshot of the room's state.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn state(&self, root: i64) -> Result<Vec<Arc<StoredEvent>>, Internal> {
        let ids = self.snapshots.entries(root).await?.into_iter().map(|(_, id)| id);
        let ids: Vec<OwnedEventId> = ids.collect();
        Ok(store::get_many(&self.engine, &self.room_id, &ids).await?.into_values().collect())
    }
}
