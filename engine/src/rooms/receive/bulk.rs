//! Taking in the events of a whole state: verified on all cores, stored as outliers in batches, each
//! after those that authorise it. How much memory that takes depends on the size of the answer, not on
//! that of the events once they are read.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ruma::{OwnedEventId, RoomId, RoomVersionId, ServerName, room_version_rules::RoomVersionRules};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use tracing::Span;

use super::{intake, outliers, texts::Texts};
use crate::{
    Engine,
    events::{Pdu, redact, verify},
    internal::Internal,
    keys::many::{self, KeyRing, Wanted},
    rooms::{
        batch::{Batch, BatchError, MAX_ATTEMPTS},
        checks,
        room::{self, Room},
    },
};

/// How many events are verified, and stored, at a time.
const AT_A_TIME: usize = 256;
/// How many such batches are verified at the same time at most.
const BATCHES: usize = 4;

/// A room whose events are taken in.
#[derive(Clone, Copy, Debug)]
pub struct Bulk<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// Who gave them.
    pub server: &'a ServerName,
    /// The room.
    pub room_id: &'a RoomId,
    /// Its version.
    pub version: &'a RoomVersionId,
    /// What holds in it.
    pub rules: &'a RoomVersionRules,
}

/// An event that passed the checks of its format, signatures and hash.
#[derive(Clone, Debug)]
struct Passed {
    event_id: OwnedEventId,
    auth_events: Vec<OwnedEventId>,
    is_create: bool,
    /// Whether its hash is wrong, so that only its redacted form is taken.
    redacted: bool,
}

impl Bulk<'_> {
    /// Verifies events and stores those that are not known yet. What came of each, in their order: its
    /// ID, or nothing. An event whose auth events are unknown is not stored, though it has an ID here.
    ///
    /// # Errors
    ///
    /// When our own database fails. What the events are cannot make it fail.
    pub async fn take(&self, texts: &Texts) -> Result<Vec<Option<OwnedEventId>>, Internal> {
        let wanted = wanted_keys(texts, self.rules.enforce_key_validity).await?;
        let keys = many::fetch(self.engine, wanted).await;
        let keys = keys.map_err(|error| Internal::Damaged(error.to_string()))?;
        let passed = self.verified(texts, &Arc::new(keys)).await?;
        let order = in_order(&passed);
        for some in order.chunks(AT_A_TIME) {
            self.store(texts, &passed, some).await?;
        }
        Ok(passed.into_iter().map(|passed| passed.map(|it| it.event_id)).collect())
    }

    async fn verified(
        &self,
        texts: &Texts,
        keys: &Arc<KeyRing>,
    ) -> Result<Vec<Option<Passed>>, Internal> {
        let starts = (0..texts.len()).step_by(AT_A_TIME);
        let batches = starts.map(|start| {
            let (this, texts, keys) = (Owned::of(self), texts.clone(), keys.clone());
            let end = start.saturating_add(AT_A_TIME).min(texts.len());
            async move {
                let task =
                    move || (start..end).map(|at| this.verify(texts.get(at), &keys)).collect();
                let batch: Vec<_> = blocking(task).await?;
                Ok::<_, Internal>(batch)
            }
        });
        let batches = stream::iter(batches).buffered(BATCHES.min(cores()));
        let batches: Vec<_> = batches.try_collect().await?;
        Ok(batches.into_iter().flatten().collect())
    }

    async fn store(
        &self,
        texts: &Texts,
        passed: &[Option<Passed>],
        some: &[usize],
    ) -> Result<(), Internal> {
        let (this, texts) = (Owned::of(self), texts.clone());
        let wanted: Vec<(usize, bool)> =
            some.iter().filter_map(|at| Some((*at, passed.get(*at)?.as_ref()?.redacted))).collect();
        let read = move || {
            let read = |(at, redacted): (usize, bool)| this.read(texts.get(at), redacted);
            wanted.into_iter().filter_map(read).collect()
        };
        let pdus: Vec<Arc<Pdu>> = blocking(read).await?;
        for _ in 0..MAX_ATTEMPTS {
            let place = room::place(self.engine, self.room_id).await;
            let (mut guard, is_new) = match place.room(self.engine).await? {
                Ok(guard) => (guard, false),
                Err(place) => {
                    let (version, rules) = (self.version.clone(), self.rules.clone());
                    (place.put(Room::new(self.room_id.to_owned(), version, rules)), true)
                }
            };
            let mut batch = match is_new {
                true => Batch::first(self.engine, &guard),
                false => Batch::new(self.engine, &guard),
            };
            batch.in_bulk = true;
            outliers::add_in_order(&mut batch, &pdus).await?;
            match batch.commit(&mut guard).await {
                Ok(_) => return Ok(()),
                Err(BatchError::Conflict | BatchError::NameTaken) => {}
                Err(BatchError::Internal(error)) => return Err(error),
                Err(error) => return Err(Internal::Damaged(error.to_string())),
            }
        }
        Err(Internal::Damaged(format!("{} changes too fast", self.room_id)))
    }
}

/// What reading and verifying an event needs, for another thread.
struct Owned {
    server: String,
    room_id: ruma::OwnedRoomId,
    rules: RoomVersionRules,
}

impl Owned {
    fn of(bulk: &Bulk<'_>) -> Self {
        Self {
            server: bulk.server.to_string(),
            room_id: bulk.room_id.to_owned(),
            rules: bulk.rules.clone(),
        }
    }

    fn verify(&self, text: &str, keys: &KeyRing) -> Option<Passed> {
        let passed = self.checked(text, keys).inspect_err(|reason| {
            tracing::info!(server.name = %self.server, room.id = %self.room_id, reason,
                "An event of a room's state is dropped");
        });
        passed.ok()
    }

    fn checked(&self, text: &str, keys: &KeyRing) -> Result<Passed, String> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let pdu = intake::parse(&self.room_id, &self.rules, raw).map_err(|it| it.reason)?;
        let signers = verify::signing_keys(&pdu, &self.rules).map_err(|error| error.to_string())?;
        // The text that came has `unsigned` too, and need not be canonical.
        let whole = pdu.json.clone();
        let checked = checks::check_integrity(pdu, &keys.of(signers), &self.rules);
        let checked = checked.map_err(|error| error.to_string())?;
        Ok(Passed {
            redacted: checked.json.get() != whole.get(),
            is_create: checked.kind == ruma::events::TimelineEventType::RoomCreate,
            event_id: checked.event_id,
            auth_events: checked.auth_events,
        })
    }

    /// Reads an event again that was verified.
    fn read(&self, text: &str, redacted: bool) -> Option<Arc<Pdu>> {
        let raw: &RawValue = serde_json::from_str(text).ok()?;
        let pdu = intake::parse(&self.room_id, &self.rules, raw).ok()?;
        let pdu = if redacted { redact::redact(&pdu, &self.rules).ok()? } else { pdu };
        Some(Arc::new(pdu))
    }
}

/// Runs what takes a core for a while where it keeps nobody waiting.
async fn blocking<T: Send + 'static>(
    task: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Internal> {
    let span = Span::current();
    let task = tokio::task::spawn_blocking(move || span.in_scope(task));
    task.await.map_err(|error| Internal::Damaged(error.to_string()))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// By which keys events are said to be signed, and when the latest of them was, if that matters.
async fn wanted_keys(texts: &Texts, when: bool) -> Result<Vec<Wanted>, Internal> {
    let texts = texts.clone();
    blocking(move || {
        let mut wanted: BTreeMap<(String, Vec<String>), i64> = BTreeMap::new();
        for at in 0..texts.len() {
            let Ok(signed) = serde_json::from_str::<Signed>(texts.get(at)) else { continue };
            let Some((_, sender)) = signed.sender.split_once(':') else { continue };
            for (server, keys) in signed.signatures {
                // Others may sign an event too, but only some have to: its sender's server, and in a
                // restricted room the one that let a user in.
                if server == sender || signed.kind == "m.room.member" {
                    let latest = wanted.entry((server, keys.into_keys().collect())).or_default();
                    let signed_ts = if when { signed.origin_server_ts } else { 0 };
                    *latest = signed_ts.max(*latest);
                }
            }
        }
        let wanted = wanted.into_iter().filter_map(|((server, key_ids), valid_at_ms)| {
            Some(Wanted { server: server.try_into().ok()?, key_ids, valid_at_ms })
        });
        wanted.collect()
    })
    .await
}

#[derive(Deserialize)]
struct Signed {
    #[serde(rename = "type")]
    kind: String,
    sender: String,
    origin_server_ts: i64,
    signatures: BTreeMap<String, BTreeMap<String, IgnoredAny>>,
}

/// Every event after those that authorise it, each once; the create event, which since room version 12
/// none names, first.
fn in_order(passed: &[Option<Passed>]) -> Vec<usize> {
    let ids = passed.iter().enumerate().filter_map(|(at, it)| Some((&it.as_ref()?.event_id, at)));
    let places: HashMap<&OwnedEventId, usize> = ids.collect();
    let (mut ordered, mut entered) = (Vec::with_capacity(places.len()), vec![false; passed.len()]);
    let mut roots: Vec<usize> = places.values().copied().collect();
    // The last is taken first.
    roots.sort_by_key(|at| passed.get(*at).and_then(Option::as_ref).is_some_and(|it| it.is_create));
    let mut stack: Vec<(usize, bool)> = roots.into_iter().map(|at| (at, false)).collect();
    while let Some((at, left)) = stack.pop() {
        let Some(event) = passed.get(at).and_then(Option::as_ref) else { continue };
        if left {
            ordered.push(at);
            continue;
        }
        let Some(entered) = entered.get_mut(at).filter(|entered| !**entered) else { continue };
        *entered = true;
        stack.push((at, true));
        let before = event.auth_events.iter().filter_map(|id| places.get(id));
        stack.extend(before.map(|at| (*at, false)));
    }
    ordered
}
