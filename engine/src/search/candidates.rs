//! From what the index proposes to what the user may see and meant.

use std::collections::{HashMap, HashSet};

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId};
use starling_storage::{memberships::MembershipRow, search as rows, timeline};

use super::{
    document::{Document, Key, edited},
    number,
    query::{Match, Query},
};
use crate::{
    Engine, Internal,
    events::{StoredEvent, store},
    reading::{
        access::{Asking, ignored_users},
        filter::EventFilter,
        reader::Reader,
        show::Seen,
    },
};

/// Up to where it is counted how often a word was said, to begin with the rarest.
const COUNTED: i64 = 10_000;

/// At how many places of its rarest word a search looks in one room at most.
const LOOKED_AT: i64 = 20_000;

/// In how many rooms a search looks at most: those whose membership changed last.
const MOST_ROOMS: usize = 10_000;

/// A result.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub(super) room_id: OwnedRoomId,
    /// The event to show: for an edit the message that was edited.
    pub(super) seen: Seen,
    /// The place of the event that has the words; what results are ordered by.
    pub(super) pos: i64,
    pub(super) found: Match,
}

/// One search of one user.
pub(super) struct Searcher<'a> {
    engine: &'a Engine,
    asking: Asking<'a>,
    query: &'a Query,
    filter: &'a EventFilter,
    keys: &'a [Key],
    pub(super) ignored: HashSet<OwnedUserId>,
    memberships: HashMap<String, MembershipRow>,
    pub(super) readers: HashMap<OwnedRoomId, Option<Reader>>,
}

impl<'a> Searcher<'a> {
    pub(super) async fn new(
        engine: &'a Engine,
        asking: Asking<'a>,
        query: &'a Query,
        filter: &'a EventFilter,
        keys: &'a [Key],
    ) -> Result<Self, Internal> {
        let mut conn = engine.storage.read().await?;
        let ignored = ignored_users(&mut conn, asking.user_id).await?;
        let memberships = rows::rooms_of(&mut conn, asking.user_id.as_str()).await?;
        let wanted = memberships.into_iter().filter(|row| filter.wants_room(&row.room_id));
        let memberships = wanted.take(MOST_ROOMS).map(|row| (row.room_id.clone(), row)).collect();
        let readers = HashMap::new();
        Ok(Self { engine, asking, query, filter, keys, ignored, memberships, readers })
    }

    /// The positions before `before` that the index proposes, the newest first.
    pub(super) async fn positions(&self, before: i64, limit: usize) -> Result<Vec<i64>, Internal> {
        let rooms: Vec<i64> = self.memberships.keys().map(|room_id| number(room_id)).collect();
        let keys: Vec<i16> = self.keys.iter().map(|key| key.number()).collect();
        let terms = self.rarest_first().await?;
        if rooms.is_empty() || keys.is_empty() || terms.is_empty() {
            return Ok(vec![]);
        }
        let (terms, rooms, keys) = (&*terms, &*rooms, &*keys);
        let wanted = rows::Wanted { terms, rooms, keys, before, limit, looked_at: LOOKED_AT };
        let mut conn = self.engine.storage.read().await?;
        Ok(rows::newest(&mut conn, wanted).await?)
    }

    async fn rarest_first(&self) -> Result<Vec<i64>, Internal> {
        let mut conn = self.engine.storage.read().await?;
        let mut counted = vec![];
        for term in self.query.terms() {
            counted.push((rows::frequency(&mut conn, term, COUNTED).await?, term));
        }
        counted.sort_unstable();
        Ok(counted.into_iter().map(|(_, term)| term).collect())
    }

    /// Which of the events at some positions are results, in the order of the positions.
    pub(super) async fn hits(&mut self, positions: &[i64]) -> Result<Vec<Hit>, Internal> {
        let mut conn = self.engine.storage.read().await?;
        let places = rows::events_at(&mut conn, positions).await?;
        drop(conn);
        let mut by_room: HashMap<String, Vec<(OwnedEventId, i64)>> = HashMap::new();
        for (pos, room_id, event_id) in places {
            by_room.entry(room_id).or_default().push((event_id.try_into()?, pos));
        }
        let mut hits = vec![];
        for (room_id, events) in by_room {
            // A room whose number is that of another one.
            if !self.memberships.contains_key(&room_id) {
                continue;
            }
            hits.extend(self.hits_in(&OwnedRoomId::try_from(room_id)?, &events).await?);
        }
        hits.sort_unstable_by_key(|hit| std::cmp::Reverse(hit.pos));
        Ok(hits)
    }

    async fn hits_in(
        &mut self,
        room_id: &RoomId,
        places: &[(OwnedEventId, i64)],
    ) -> Result<Vec<Hit>, Internal> {
        let Some(mut reader) = self.reader(room_id).await? else { return Ok(vec![]) };
        let ids: Vec<OwnedEventId> = places.iter().map(|(id, _)| id.clone()).collect();
        let events = store::get_many(self.engine, room_id, &ids).await?;
        let mut hits = vec![];
        for (id, pos) in places {
            let Some(event) = events.get(id) else { continue };
            let Some(found) = self.answers(event) else { continue };
            if reader.joined_until().is_none_or(|until| *pos > until) {
                continue;
            }
            if let Some(membership) = reader.sees(event, *pos).await? {
                let seen = Seen { event: event.clone(), pos: *pos, membership };
                hits.push(Hit { room_id: room_id.to_owned(), seen, pos: *pos, found });
            }
        }
        // What somebody may read only without its words is not found by them either.
        let emptied = reader.emptied(hits.iter().map(|hit| &hit.seen)).await?;
        hits.retain(|hit| !emptied.contains(&hit.seen.event.pdu.event_id));
        let hits = current(&mut reader, hits, &self.ignored).await?;
        self.readers.insert(room_id.to_owned(), Some(reader));
        Ok(hits)
    }

    /// How an event answers, if it is one that the user wants.
    fn answers(&self, event: &StoredEvent) -> Option<Match> {
        let pdu = &event.pdu;
        let ignored = pdu.state_key.is_none() && self.ignored.contains(&pdu.sender);
        if ignored || event.redacted_by.is_some() || !self.filter.wants(pdu) {
            return None;
        }
        let document = Document::of(pdu)?;
        if !self.keys.contains(&document.key) {
            return None;
        }
        self.query.matches(&document.text)
    }

    /// Takes out the reader of a room, to be put back.
    async fn reader(&mut self, room_id: &RoomId) -> Result<Option<Reader>, Internal> {
        if let Some(reader) = self.readers.remove(room_id) {
            return Ok(reader);
        }
        let row = self.memberships.get(room_id.as_str());
        let Asking { user_id, device_id } = self.asking;
        let reader = Reader::new(self.engine, room_id, user_id, device_id, row).await?;
        Ok(reader.filter(|reader| reader.joined_until().is_some()))
    }
}

/// Leaves out what has been replaced by a newer text, and lets the message that was edited stand for its
/// edit: that is what clients show, with the edit beside it.
async fn current(
    reader: &mut Reader,
    hits: Vec<Hit>,
    ignored: &HashSet<OwnedUserId>,
) -> Result<Vec<Hit>, Internal> {
    let mut originals: HashMap<OwnedEventId, Seen> = HashMap::new();
    for hit in &hits {
        let original = match edited(&hit.seen.event.pdu) {
            Some(id) => original(reader, &id, hit).await?,
            None => Some(hit.seen.clone()),
        };
        originals.extend(original.map(|seen| (seen.event.pdu.event_id.clone(), seen)));
    }
    let all: Vec<Seen> = originals.values().cloned().collect();
    let newest = reader.newest_replacements(&all, ignored).await?;
    let mut current = vec![];
    for hit in hits {
        let own_id = &hit.seen.event.pdu.event_id;
        let edited = edited(&hit.seen.event.pdu).and_then(|id| OwnedEventId::try_from(id).ok());
        let original = originals.get(edited.as_ref().unwrap_or(own_id));
        // Who may not see the message sees its edit for what it is.
        let Some(original) = original.cloned() else {
            current.push(hit);
            continue;
        };
        let newest = newest.get(&original.event.pdu.event_id);
        let stands = newest.unwrap_or(&original.event.pdu.event_id);
        if stands == own_id {
            current.push(Hit { seen: original, ..hit });
        }
    }
    Ok(current)
}

/// The message that an edit is of, if it is a sound edit and the user may see that message.
async fn original(reader: &mut Reader, id: &str, edit: &Hit) -> Result<Option<Seen>, Internal> {
    let Ok(id) = OwnedEventId::try_from(id) else { return Ok(None) };
    let Some(event) = store::get(&reader.engine, &reader.room_id, &id).await? else {
        return Ok(None);
    };
    let (pdu, by) = (&event.pdu, &edit.seen.event.pdu);
    let is_sound = pdu.sender == by.sender
        && pdu.kind == by.kind
        && pdu.state_key.is_none()
        && event.redacted_by.is_none()
        && edited(pdu).is_none();
    if !is_sound {
        return Ok(None);
    }
    let mut conn = reader.engine.storage.read().await?;
    let entry = timeline::find(&mut conn, reader.room_id.as_str(), id.as_str()).await?;
    drop(conn);
    let Some(entry) = entry else { return Ok(None) };
    let membership = reader.sees(&event, entry.pos).await?;
    Ok(membership.map(|membership| Seen { event, pos: entry.pos, membership }))
}
