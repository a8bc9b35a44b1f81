//! Results as they are answered: the events, what stands around them, the state of their rooms.

use std::collections::{BTreeMap, HashMap};

use ruma::{OwnedRoomId, RoomId};
use serde::Serialize;
use serde_json::value::RawValue;
use starling_storage::timeline::{self, Direction, Entry};

use super::{
    candidates::{Hit, Searcher},
    find::{Around, LARGEST_CONTEXT},
};
use crate::{
    Internal,
    reading::{
        filter::EventFilter,
        reader::Reader,
        scan::{Found, Path, Wanted},
        show::{Form, Seen},
        token::{Bound, PageToken},
    },
};

/// A result.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// How well it answers.
    pub rank: f64,
    /// The event.
    pub result: Box<RawValue>,
    /// What stands around it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
}

/// What stands around a result.
#[derive(Debug, Serialize)]
pub struct Context {
    /// Where paging back continues.
    pub start: String,
    /// Where paging forwards continues.
    pub end: String,
    /// The events before, the newest first.
    pub events_before: Vec<Box<RawValue>>,
    /// The events after, the oldest first.
    pub events_after: Vec<Box<RawValue>>,
    /// The profiles that the senders had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile_info: Option<BTreeMap<String, Profile>>,
}

/// A profile at the time of a result.
#[derive(Debug, Serialize)]
pub struct Profile {
    /// The display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub displayname: Option<String>,
    /// The avatar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
}

/// A result with the events around it.
struct Scene {
    seen: Seen,
    rank: f64,
    around: Option<(Vec<Seen>, Vec<Seen>, Context)>,
}

impl Searcher<'_> {
    /// Shows results, in their order.
    pub(super) async fn show(
        &mut self,
        hits: &[Hit],
        around: Option<Around>,
    ) -> Result<Vec<Shown>, Internal> {
        let mut by_room: HashMap<OwnedRoomId, Vec<usize>> = HashMap::new();
        for (index, hit) in hits.iter().enumerate() {
            by_room.entry(hit.room_id.clone()).or_default().push(index);
        }
        let mut shown: BTreeMap<usize, Shown> = BTreeMap::new();
        for (room_id, indexes) in by_room {
            let Some(mut reader) = self.readers.remove(&room_id).flatten() else { continue };
            let mut scenes = vec![];
            for hit in indexes.iter().filter_map(|index| hits.get(*index)) {
                scenes.push(self.scene(&mut reader, hit, around).await?);
            }
            let results = self.show_scenes(&mut reader, scenes).await?;
            shown.extend(indexes.into_iter().zip(results));
            self.readers.insert(room_id, Some(reader));
        }
        Ok(shown.into_values().collect())
    }

    /// The current state of the results' rooms, or how it was when the user left them.
    pub(super) async fn states(
        &self,
        hits: &[Hit],
    ) -> Result<BTreeMap<String, Vec<Box<RawValue>>>, Internal> {
        let mut states = BTreeMap::new();
        for hit in hits {
            let room_id: &RoomId = &hit.room_id;
            if states.contains_key(room_id.as_str()) {
                continue;
            }
            let Some(Some(reader)) = self.readers.get(room_id) else { continue };
            let root = reader.current_root().await?;
            let events = reader.state(root).await?;
            let shown = reader.show_state(&events, &Form::whole()).await?;
            states.insert(room_id.to_string(), shown);
        }
        Ok(states)
    }

    async fn scene(
        &self,
        reader: &mut Reader,
        hit: &Hit,
        around: Option<Around>,
    ) -> Result<Scene, Internal> {
        let (seen, rank) = (hit.seen.clone(), hit.found.rank());
        let around = match around {
            Some(around) => self.around(reader, hit, around).await?,
            None => None,
        };
        Ok(Scene { seen, rank, around })
    }

    async fn around(
        &self,
        reader: &mut Reader,
        hit: &Hit,
        around: Around,
    ) -> Result<Option<(Vec<Seen>, Vec<Seen>, Context)>, Internal> {
        let Some(Entry { depth, pos, .. }) = entry(reader, &hit.seen).await? else {
            return Ok(None);
        };
        let at = PageToken::Place { depth, pos, bound: Bound::None };
        // The place before the event, from which the page back does not show it again.
        let before = PageToken::Place { depth, pos: pos.saturating_sub(1), bound: Bound::None };
        let earlier = self.look(reader, before, Direction::Backward, around.before).await?;
        let later = self.look(reader, at, Direction::Forward, around.after).await?;
        let profile_info = match around.profiles {
            true => Some(profiles(reader, &hit.seen, &earlier.events, &later.events).await?),
            false => None,
        };
        let context = Context {
            start: end(before, Direction::Backward, &earlier).to_string(),
            end: end(at, Direction::Forward, &later).to_string(),
            events_before: vec![],
            events_after: vec![],
            profile_info,
        };
        Ok(Some((earlier.events, later.events, context)))
    }

    async fn look(
        &self,
        reader: &mut Reader,
        from: PageToken,
        direction: Direction,
        limit: u64,
    ) -> Result<Found, Internal> {
        let limit = usize::try_from(limit.min(LARGEST_CONTEXT)).unwrap_or(usize::MAX);
        let everything = EventFilter::default();
        let wanted = Wanted { filter: &everything, ignored: &self.ignored, limit };
        reader.scan(Path::History { range: from.range(direction), to: None }, wanted).await
    }

    /// Shows the results of one room, all with one look at what relates to them.
    async fn show_scenes(
        &self,
        reader: &mut Reader,
        scenes: Vec<Scene>,
    ) -> Result<Vec<Shown>, Internal> {
        let mut all = vec![];
        for scene in &scenes {
            all.push(scene.seen.clone());
            if let Some((before, after, _)) = &scene.around {
                all.extend(before.iter().chain(after).cloned());
            }
        }
        let shown = reader.show_bundled(&all, &Form::whole(), &self.ignored).await?;
        let mut shown = shown.into_iter();
        let mut results = vec![];
        for Scene { rank, around, .. } in scenes {
            let Some(result) = shown.next() else { break };
            let context = around.map(|(before, after, context)| Context {
                events_before: shown.by_ref().take(before.len()).collect(),
                events_after: shown.by_ref().take(after.len()).collect(),
                ..context
            });
            results.push(Shown { rank, result, context });
        }
        Ok(results)
    }
}

async fn entry(reader: &Reader, seen: &Seen) -> Result<Option<Entry>, Internal> {
    let mut conn = reader.engine.storage.read().await?;
    let event_id = seen.event.pdu.event_id.as_str();
    Ok(timeline::find(&mut conn, reader.room_id.as_str(), event_id).await?)
}

fn end(from: PageToken, direction: Direction, found: &Found) -> PageToken {
    found.last.map_or(from, |last| PageToken::end_of(from.range(direction), last))
}

/// What the senders were called when the result was sent.
async fn profiles(
    reader: &Reader,
    seen: &Seen,
    before: &[Seen],
    after: &[Seen],
) -> Result<BTreeMap<String, Profile>, Internal> {
    let Some(root) = seen.event.state_before else { return Ok(BTreeMap::new()) };
    let all = before.iter().chain(after).chain([seen]);
    let senders = all.map(|seen| &seen.event.pdu.sender);
    let members = reader.members_in(root, senders).await?;
    let profiles = members.into_iter().filter_map(|member| {
        let pdu = &member.pdu;
        let displayname = pdu.content_str("displayname");
        let avatar_url = pdu.content_str("avatar_url");
        Some((pdu.state_key.clone()?, Profile { displayname, avatar_url }))
    });
    Ok(profiles.collect())
}
