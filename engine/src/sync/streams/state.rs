//! The state of a room: what changed of it since the last /sync, beside the timeline.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedEventId, OwnedUserId, events::StateEventType};
use starling_storage::state::roots_at;

use super::timeline::Stretch;
use crate::{
    Internal,
    events::{StoredEvent, store},
    reading::reader::Reader,
    state::{Changed, EMPTY_ROOT, StateKey},
    sync::{StateWanted, Sync, answer},
};

/// From where to where the state is told.
pub(super) struct Span {
    /// The state that the client has.
    pub(super) base: i64,
    /// The state at the start of the timeline.
    start: i64,
    /// The state at its end.
    pub(super) end: i64,
}

/// The state events that are sent.
pub(super) struct StateNews(Vec<Arc<StoredEvent>>);

impl Span {
    /// From a state to another, with a stretch of the timeline before the end.
    pub(super) async fn new(
        reader: &Reader,
        base: i64,
        stretch: &Stretch,
        end: i64,
    ) -> Result<Self, Internal> {
        let start = match stretch.events.first() {
            None => end,
            // What happened to the state in between, if anything, has been undone.
            Some(_) if base == end && !stretch.limited => end,
            Some(first) => {
                let mut conn = reader.engine.storage.read().await?;
                let room = [reader.room_id.to_string()];
                let roots = roots_at(&mut conn, &room, first.pos.saturating_sub(1)).await?;
                let known = roots.first().map(|(_, root)| *root);
                known.or(first.event.state_before).unwrap_or(EMPTY_ROOT)
            }
        };
        Ok(Self { base, start, end })
    }

    /// Whether the client has nothing of the state.
    pub(super) fn is_whole(&self) -> bool {
        self.base == EMPTY_ROOT
    }
}

impl StateNews {
    /// Compares, and chooses what is sent. `extra`: users whose member events are needed.
    pub(super) async fn read(
        sync: &Sync<'_>,
        reader: &Reader,
        span: &Span,
        stretch: &Stretch,
        extra: &BTreeSet<OwnedUserId>,
    ) -> Result<Self, Internal> {
        let chosen = match sync.request.state {
            StateWanted::Before => before_timeline(reader, span, stretch).await?,
            _ => new_events(reader.snapshots.diff(span.base, span.end).await?),
        };
        let mut ids: BTreeSet<OwnedEventId> = chosen.into_values().collect();
        let filter = &sync.request.filter.room.state;
        if filter.lazy_load_members {
            lazily(sync, reader, span, stretch, extra, &mut ids).await?;
        }
        let ids: Vec<OwnedEventId> = ids.into_iter().collect();
        let found = store::get_many(&reader.engine, &reader.room_id, &ids).await?;
        let mut events: Vec<_> =
            found.into_values().filter(|event| filter.wants(&event.pdu)).collect();
        events.sort_by(|a, b| (a.pdu.depth, &a.pdu.event_id).cmp(&(b.pdu.depth, &b.pdu.event_id)));
        Ok(Self(events))
    }

    /// Whether any state event is sent.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As it is answered.
    pub(super) async fn show(
        &self,
        sync: &Sync<'_>,
        reader: &Reader,
    ) -> Result<answer::State, Internal> {
        let events = reader.show_state(&self.0, &sync.form).await?;
        Ok(answer::State::new(sync.request.state, answer::Events { events }))
    }
}

fn new_events(changed: Vec<Changed>) -> BTreeMap<StateKey, OwnedEventId> {
    changed.into_iter().filter_map(|changed| Some((changed.key, changed.new?))).collect()
}

/// The state as it was before the timeline; and what changed during it that the timeline does not
/// show, because it was filtered out, or because two branches of the room were merged.
async fn before_timeline(
    reader: &Reader,
    span: &Span,
    stretch: &Stretch,
) -> Result<BTreeMap<StateKey, OwnedEventId>, Internal> {
    let mut chosen = new_events(reader.snapshots.diff(span.base, span.start).await?);
    let during = new_events(reader.snapshots.diff(span.start, span.end).await?);
    let shown: BTreeSet<&OwnedEventId> =
        stretch.events.iter().map(|seen| &seen.event.pdu.event_id).collect();
    chosen.extend(during.into_iter().filter(|(_, event_id)| !shown.contains(event_id)));
    chosen.retain(|_, event_id| !shown.contains(event_id));
    Ok(chosen)
}

/// Leaves out member events that nothing in the answer needs, and adds those that it does need. What
/// changed since the last /sync is always sent.
async fn lazily(
    sync: &Sync<'_>,
    reader: &Reader,
    span: &Span,
    stretch: &Stretch,
    extra: &BTreeSet<OwnedUserId>,
    ids: &mut BTreeSet<OwnedEventId>,
) -> Result<(), Internal> {
    let at = match sync.request.state {
        StateWanted::Before => span.start,
        _ => span.end,
    };
    if span.is_whole() {
        let all = reader.snapshots.entries(at).await?;
        for (key, event_id) in all {
            if key.0 == StateEventType::RoomMember {
                ids.remove(&event_id);
            }
        }
    }
    let senders = stretch.events.iter().map(|seen| &seen.event.pdu.sender);
    let members = reader.members_in(at, senders.chain(extra)).await?;
    ids.extend(members.iter().map(|member| member.pdu.event_id.clone()));
    Ok(())
}
