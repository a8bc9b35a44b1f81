//! What is said beside an event about those that relate to it: bundled aggregations.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events>

use std::collections::{HashMap, HashSet};

use ruma::{OwnedEventId, OwnedUserId, events::TimelineEventType};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use starling_storage::relations::{self, Child, Children, ThreadSize};

use super::{
    reader::Reader,
    show::{Form, Seen},
};
use crate::{
    Internal,
    events::{Pdu, StoredEvent, store},
    rooms::append::relations::of,
};

/// Of how many events at the head of a list the first one is taken that the reader may see and that
/// is sound.
const CANDIDATES: i64 = 5;

/// How many references to an event are listed.
const MOST_REFERENCES: i64 = 50;

const REPLACE: &str = "m.replace";
const REFERENCE: &str = "m.reference";
const THREAD: &str = "m.thread";

/// The `m.relations` of events.
pub(super) type Bundles = HashMap<OwnedEventId, Box<RawValue>>;

#[derive(Clone, Debug, Default, Serialize)]
struct Bundle {
    #[serde(rename = "m.replace", skip_serializing_if = "Option::is_none")]
    replace: Option<Box<RawValue>>,
    #[serde(rename = "m.reference", skip_serializing_if = "Option::is_none")]
    reference: Option<References>,
    #[serde(rename = "m.thread", skip_serializing_if = "Option::is_none")]
    thread: Option<Thread>,
}

#[derive(Clone, Debug, Serialize)]
struct References {
    chunk: Vec<Reference>,
}

#[derive(Clone, Debug, Serialize)]
struct Reference {
    event_id: OwnedEventId,
}

#[derive(Clone, Debug, Serialize)]
struct Thread {
    latest_event: Box<RawValue>,
    count: i64,
    current_user_participated: bool,
}

/// The events of one request that others may relate to, and those relations that there are.
struct Parents<'a> {
    events: HashMap<&'a str, &'a StoredEvent>,
    ignored: Vec<String>,
    rel_types: HashSet<(String, String)>,
}

impl Reader {
    /// Shows events of the timeline, each with what relates to it.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn show_bundled(
        &mut self,
        events: &[Seen],
        form: &Form,
        ignored: &HashSet<OwnedUserId>,
    ) -> Result<Vec<Box<RawValue>>, Internal> {
        let bundles = self.bundles(events, form, ignored).await?;
        self.show_with(events, form, &bundles).await
    }

    async fn bundles(
        &mut self,
        events: &[Seen],
        form: &Form,
        ignored: &HashSet<OwnedUserId>,
    ) -> Result<Bundles, Internal> {
        let parents = Parents::read(self, events, ignored).await?;
        if parents.rel_types.is_empty() {
            return Ok(Bundles::new());
        }
        let form = form.without_fields();
        let threads = self.threads(&parents).await?;
        let latest: Vec<Seen> = threads.iter().map(|(_, latest)| latest.clone()).collect();
        // The latest events of threads are themselves shown with what relates to them. They begin no
        // threads, so this ends here.
        let inner = Parents::read(self, &latest, ignored).await?;
        let inner = encode(self.flat(&inner, &form).await?)?;
        let latest = self.show_with(&latest, &form, &inner).await?;
        let mut bundles = self.flat(&parents, &form).await?;
        for ((size, _), latest_event) in threads.into_iter().zip(latest) {
            let root = parents.events.get(size.root_id.as_str());
            let own = root.is_some_and(|root| root.pdu.sender == self.user_id);
            let current_user_participated = own || size.participated;
            let thread = Thread { latest_event, count: size.count, current_user_participated };
            bundles.entry(size.root_id.try_into()?).or_default().thread = Some(thread);
        }
        encode(bundles)
    }

    /// Replacements and references.
    async fn flat(
        &mut self,
        parents: &Parents<'_>,
        form: &Form,
    ) -> Result<HashMap<OwnedEventId, Bundle>, Internal> {
        let mut bundles: HashMap<OwnedEventId, Bundle> = HashMap::new();
        for (parent_id, chunk) in self.references(parents).await? {
            bundles.entry(parent_id).or_default().reference = Some(References { chunk });
        }
        let (parent_ids, replacements) = self.replacements(parents).await?;
        let shown = self.show(&replacements, form).await?;
        for (parent_id, replacement) in parent_ids.into_iter().zip(shown) {
            bundles.entry(parent_id).or_default().replace = Some(replacement);
        }
        Ok(bundles)
    }

    /// The threads, each with the newest event that the user may see.
    async fn threads(
        &mut self,
        parents: &Parents<'_>,
    ) -> Result<Vec<(ThreadSize, Seen)>, Internal> {
        // It is not possible to begin a thread with an event that relates to another one.
        let roots = parents.with(THREAD, |event| of(&event.pdu).is_none());
        if roots.is_empty() {
            return Ok(vec![]);
        }
        let (room_id, user_id) = (self.room_id.clone(), self.user_id.clone());
        let children = Children { limit: CANDIDATES, ..self.children(&room_id, &roots, parents) };
        let mut conn = self.engine.storage.read().await?;
        let newest = relations::newest_in_threads(&mut conn, children).await?;
        let sizes = relations::thread_sizes(&mut conn, children, user_id.as_str()).await?;
        drop(conn);
        let mut sizes: HashMap<_, _> =
            sizes.into_iter().map(|size| (size.root_id.clone(), size)).collect();
        let newest = self.visible(newest).await?.into_iter();
        Ok(newest.filter_map(|(root, seen)| Some((sizes.remove(&root)?, seen))).collect())
    }

    async fn references(
        &mut self,
        parents: &Parents<'_>,
    ) -> Result<HashMap<OwnedEventId, Vec<Reference>>, Internal> {
        let targets = parents.with(REFERENCE, |_| true);
        if targets.is_empty() {
            return Ok(HashMap::new());
        }
        let room_id = self.room_id.clone();
        let children = self.children(&room_id, &targets, parents);
        let children = Children { limit: MOST_REFERENCES, ..children };
        let mut conn = self.engine.storage.read().await?;
        let found = relations::references(&mut conn, children).await?;
        drop(conn);
        let mut references: HashMap<OwnedEventId, Vec<Reference>> = HashMap::new();
        for (parent_id, seen) in self.visible(found).await? {
            let event_id = seen.event.pdu.event_id.clone();
            references.entry(parent_id.try_into()?).or_default().push(Reference { event_id });
        }
        Ok(references)
    }

    /// Which of the events were replaced, and by which event at last, as far as the user may see.
    pub(crate) async fn newest_replacements(
        &mut self,
        events: &[Seen],
        ignored: &HashSet<OwnedUserId>,
    ) -> Result<HashMap<OwnedEventId, OwnedEventId>, Internal> {
        let parents = Parents::read(self, events, ignored).await?;
        let (ids, newest) = self.replacements(&parents).await?;
        Ok(ids
            .into_iter()
            .zip(newest.into_iter().map(|by| by.event.pdu.event_id.clone()))
            .collect())
    }

    /// Events that were replaced, and beside them the newest replacements.
    async fn replacements(
        &mut self,
        parents: &Parents<'_>,
    ) -> Result<(Vec<OwnedEventId>, Vec<Seen>), Internal> {
        let originals = parents.with(REPLACE, may_be_replaced);
        if originals.is_empty() {
            return Ok((vec![], vec![]));
        }
        let room_id = self.room_id.clone();
        let children =
            Children { limit: CANDIDATES, ..self.children(&room_id, &originals, parents) };
        let mut conn = self.engine.storage.read().await?;
        let found = relations::replacements(&mut conn, children).await?;
        drop(conn);
        let (mut ids, mut newest) = (Vec::<OwnedEventId>::new(), vec![]);
        for (parent_id, seen) in self.visible(found).await? {
            let parent_id = OwnedEventId::try_from(parent_id)?;
            if !ids.contains(&parent_id) && has_new_content(&seen.event.pdu) {
                ids.push(parent_id);
                newest.push(seen);
            }
        }
        Ok((ids, newest))
    }

    fn children<'a>(
        &self,
        room_id: &'a ruma::RoomId,
        of: &'a [String],
        parents: &'a Parents<'_>,
    ) -> Children<'a> {
        Children {
            room_id: room_id.as_str(),
            parents: of,
            ignored: &parents.ignored,
            until: self.joined_until().unwrap_or(i64::MAX),
            limit: 1,
        }
    }

    /// Those of the events that the user may see, in the same order.
    async fn visible(&mut self, children: Vec<Child>) -> Result<Vec<(String, Seen)>, Internal> {
        let ids = children.iter().map(|child| child.event_id.as_str().try_into());
        let ids = ids.collect::<Result<Vec<OwnedEventId>, _>>()?;
        let events = store::get_many(&self.engine, &self.room_id, &ids).await?;
        let mut visible = Vec::with_capacity(children.len());
        for (Child { parent_id, pos, .. }, id) in children.into_iter().zip(&ids) {
            let Some(event) = events.get(id).cloned() else { continue };
            if let Some(membership) = self.sees(&event, pos).await? {
                visible.push((parent_id, Seen { event, pos, membership }));
            }
        }
        Ok(visible)
    }
}

impl<'a> Parents<'a> {
    async fn read(
        reader: &Reader,
        events: &'a [Seen],
        ignored: &HashSet<OwnedUserId>,
    ) -> Result<Self, Internal> {
        let events: HashMap<&str, &StoredEvent> = events
            .iter()
            // State events have no aggregations.
            .filter(|seen| seen.event.pdu.state_key.is_none())
            .map(|seen| (seen.event.pdu.event_id.as_str(), &*seen.event))
            .collect();
        let ignored = ignored.iter().map(ToString::to_string).collect();
        if events.is_empty() {
            return Ok(Self { events, ignored, rel_types: HashSet::new() });
        }
        let ids: Vec<String> = events.keys().map(|&id| id.to_owned()).collect();
        let mut conn = reader.engine.storage.read().await?;
        let rel_types = relations::rel_types(&mut conn, reader.room_id.as_str(), &ids).await?;
        Ok(Self { events, ignored, rel_types: rel_types.into_iter().collect() })
    }

    /// The parents to which others relate in a way, if they are such that this counts.
    fn with(&self, rel_type: &str, counts: impl Fn(&StoredEvent) -> bool) -> Vec<String> {
        let related = self.rel_types.iter().filter(|(_, by)| by == rel_type);
        let ids = related.map(|(id, _)| id.clone());
        ids.filter(|id| self.events.get(id.as_str()).is_some_and(|event| counts(event))).collect()
    }
}

/// Redacted events have no replacements, and there are none of replacements.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#validity-of-replacement-events>
fn may_be_replaced(event: &StoredEvent) -> bool {
    event.redacted_by.is_none()
        && of(&event.pdu).is_none_or(|relation| relation.rel_type != REPLACE)
}

/// Whether a replacement says by what. Where it is encrypted, only clients can tell.
fn has_new_content(pdu: &Pdu) -> bool {
    pdu.kind == TimelineEventType::RoomEncrypted || {
        #[derive(serde::Deserialize)]
        struct Content {
            #[serde(rename = "m.new_content")]
            _new: serde_json::Map<String, serde_json::Value>,
        }
        serde_json::from_str::<Content>(pdu.content.get()).is_ok()
    }
}

fn encode(bundles: HashMap<OwnedEventId, Bundle>) -> Result<Bundles, Internal> {
    let encoded = bundles.into_iter().map(|(id, bundle)| Ok((id, to_raw_value(&bundle)?)));
    encoded.collect()
}

#[cfg(test)]
mod tests;
