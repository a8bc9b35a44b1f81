//! The state of a room that is sent: what is wanted of it and is new to the client.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedEventId, OwnedUserId, events::StateEventType};

use super::{answer::StateItem, required::RoomConfig};
use crate::{
    Internal,
    events::{StoredEvent, store},
    reading::{reader::Reader, show::Form},
    state::{Changed, EMPTY_ROOT, StateKey},
};

/// From which state to which it is told, and what is wanted.
pub(super) struct Wanted<'a> {
    /// The state that the client has; [`EMPTY_ROOT`]: none.
    pub(super) base: i64,
    /// The state as it is.
    pub(super) end: i64,
    /// What is wanted of it.
    pub(super) config: &'a RoomConfig,
    /// What was wanted of the state that the client has.
    pub(super) before: Option<&'a RoomConfig>,
    /// What stands in the state at the types that are wanted as a whole, if that is at hand.
    pub(super) of_types: Option<&'a [(String, String, String)]>,
    /// Whether the client misses events, so that it has to ask for members.
    pub(super) limited: bool,
    /// Members that other events need.
    pub(super) needed: BTreeSet<OwnedUserId>,
}

/// What is sent.
pub(super) struct StateNews {
    /// What differs between the two states, wanted or not; everything is new to who has nothing.
    pub(super) changed: Vec<Changed>,
    events: Vec<Arc<StoredEvent>>,
    gone: Vec<StateKey>,
}

impl StateNews {
    /// Compares, and chooses what is sent.
    pub(super) async fn read(reader: &Reader, wanted: Wanted<'_>) -> Result<Self, Internal> {
        let (mut chosen, mut gone) = (BTreeMap::<StateKey, OwnedEventId>::new(), vec![]);
        let mut changed = vec![];
        let is_lazy = wanted.config.is_lazy();
        if wanted.base == EMPTY_ROOT {
            chosen.extend(standing(reader, &wanted).await?);
        } else {
            changed = reader.snapshots.diff(wanted.base, wanted.end).await?;
            let is_told = |key: &StateKey| {
                // Who misses nothing keeps its list of members by these.
                let lazily = is_lazy && !wanted.limited && key.0 == StateEventType::RoomMember;
                lazily || wanted.config.wants(&key.0.to_string(), &key.1)
            };
            for Changed { key, new, .. } in changed.iter().filter(|changed| is_told(&changed.key)) {
                match new {
                    Some(event_id) => {
                        chosen.insert(key.clone(), event_id.clone());
                    }
                    None => gone.push(key.clone()),
                }
            }
            if let Some(before) = wanted.before.filter(|before| *before != wanted.config) {
                let all = standing(reader, &wanted).await?.into_iter();
                chosen.extend(all.filter(|(key, _)| !before.wants(&key.0.to_string(), &key.1)));
            }
        }
        let mut ids: BTreeSet<OwnedEventId> = chosen.into_values().collect();
        if is_lazy {
            let members = reader.members_in(wanted.end, &wanted.needed).await?;
            ids.extend(members.iter().map(|member| member.pdu.event_id.clone()));
        }
        let ids: Vec<OwnedEventId> = ids.into_iter().collect();
        let found = store::get_many(&reader.engine, &reader.room_id, &ids).await?;
        let mut events: Vec<_> = found.into_values().collect();
        events.sort_by(|a, b| (a.pdu.depth, &a.pdu.event_id).cmp(&(b.pdu.depth, &b.pdu.event_id)));
        Ok(Self { changed, events, gone })
    }

    /// Whether nothing is sent.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.gone.is_empty()
    }

    /// Whether something changed at places of a type.
    pub(super) fn touches(&self, kind: &StateEventType) -> bool {
        self.changed.iter().any(|changed| changed.key.0 == *kind)
    }

    /// The members that are sent.
    pub(super) fn members(&self) -> impl Iterator<Item = &String> {
        let members =
            self.events.iter().filter(|event| event.pdu.kind.to_string() == "m.room.member");
        members.filter_map(|event| event.pdu.state_key.as_ref())
    }

    /// As it is answered.
    pub(super) async fn show(
        &self,
        reader: &Reader,
        form: &Form,
    ) -> Result<Vec<StateItem>, Internal> {
        let events = reader.show_state(&self.events, form).await?;
        let gone = self.gone.iter().map(|(kind, state_key)| StateItem::Gone {
            kind: kind.to_string(),
            state_key: state_key.clone(),
        });
        Ok(events.into_iter().map(StateItem::Event).chain(gone).collect())
    }
}

/// Everything that is wanted of the state as it is. All of it is read only when it has to be.
async fn standing(
    reader: &Reader,
    wanted: &Wanted<'_>,
) -> Result<Vec<(StateKey, OwnedEventId)>, Internal> {
    let places = wanted.config.places();
    let is_at_hand = wanted.of_types.is_some() || places.kinds.is_empty();
    let wants = |key: &StateKey| wanted.config.wants(&key.0.to_string(), &key.1);
    if places.all || !is_at_hand {
        let all = reader.snapshots.entries(wanted.end).await?;
        return Ok(all.into_iter().filter(|(key, _)| wants(key)).collect());
    }
    let keys = places.keys.into_iter().map(|(kind, key)| (StateEventType::from(kind), key));
    let keys: Vec<StateKey> = keys.filter(|key| wants(key)).collect();
    let ids = reader.snapshots.get_many(wanted.end, &keys).await?;
    let mut standing: Vec<_> =
        keys.into_iter().zip(ids).filter_map(|(key, id)| Some((key, id?))).collect();
    for (kind, state_key, event_id) in wanted.of_types.into_iter().flatten() {
        let key = (StateEventType::from(kind.as_str()), state_key.clone());
        if wants(&key) {
            standing.push((key, OwnedEventId::try_from(event_id.as_str())?));
        }
    }
    Ok(standing)
}
