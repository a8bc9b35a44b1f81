//! Devices that were told everything: as long as nothing happens that concerns them, they are answered
//! without reading, which is what most requests of most clients come to; and when something does, only
//! that is read.
//!
//! What wakes a waiting /sync is all that can be new to it, so whoever was told everything stays
//! registered with the notifier when the answer is sent, for the request that continues there.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use moka::sync::Cache;
use ruma::{OwnedDeviceId, OwnedUserId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Answer, Request, StateWanted, moment::Moment, streams};
use crate::{
    Engine, Internal,
    encryption::news::Supply,
    notifier::{self, Heard, Registration},
    reading::{access::Asking, filter::Filter, token::SyncToken},
};

/// In how many rooms those who are remembered may be together: the notifier keeps a list of each.
const MOST_ROOMS: u64 = 500_000;

/// How long a device is remembered that does not ask.
const REMEMBERED: Duration = Duration::from_secs(180);

/// How long it may take until whom a commit concerns has heard of it.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// From where to where a device goes on, and what it heard in between.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) since: SyncToken,
    pub(super) token: SyncToken,
    pub(super) heard: Heard,
    /// How many keys the device has for others; `None` when that has to be looked for.
    pub(super) supply: Option<Arc<Supply>>,
    pub(super) ignored: HashSet<OwnedUserId>,
}

/// Up to where a device was told everything.
#[derive(Clone, Debug)]
struct Place {
    token: SyncToken,
    /// How many keys it has for others there, if that is known.
    supply: Option<Arc<Supply>>,
}

/// A device that was told everything up to a token.
#[derive(Debug)]
pub(super) struct CaughtUp {
    /// Up to where; `None` once there is more to look for than was heard of.
    place: Mutex<Option<Place>>,
    filter: Arc<Filter>,
    state: StateWanted,
    to_device: bool,
    rooms: usize,
    /// Users whose messages are not shown.
    ignored: HashSet<OwnedUserId>,
    registration: Registration,
}

type Key = (OwnedUserId, OwnedDeviceId);

/// Those who are remembered.
#[derive(Clone, Debug)]
pub(crate) struct CaughtUpDevices(Cache<Key, Arc<CaughtUp>>);

impl CaughtUpDevices {
    pub(crate) fn new() -> Self {
        let weight = |_: &Key, device: &Arc<CaughtUp>| {
            u32::try_from(device.rooms.saturating_add(1)).unwrap_or(u32::MAX)
        };
        let devices = Cache::builder().weigher(weight).max_capacity(MOST_ROOMS);
        Self(devices.time_to_idle(REMEMBERED).build())
    }
}

fn key(asking: Asking<'_>) -> Option<Key> {
    Some((asking.user_id.to_owned(), asking.device_id?.to_owned()))
}

impl CaughtUp {
    /// A device that is about to be told everything of a moment. Its registration is older than the
    /// moment.
    pub(super) fn at(moment: &Moment, request: &Request, registration: Registration) -> Self {
        let joined = moment.rooms_of(|row| row.membership == "join");
        let rooms = joined.len();
        registration.begin(joined, moment.head);
        let place =
            Place { token: moment.token.clone(), supply: Some(Arc::new(moment.supply.clone())) };
        Self {
            place: Mutex::new(Some(place)),
            filter: request.filter.clone(),
            state: request.state,
            to_device: request.to_device,
            rooms,
            ignored: moment.ignored.clone(),
            registration,
        }
    }

    /// The device that asks, if it was told everything up to where the request continues.
    pub(super) fn get(engine: &Engine, asking: Asking<'_>, request: &Request) -> Option<Arc<Self>> {
        let since = request.since.as_ref().filter(|_| !request.full_state)?;
        let device = engine.caught_up.0.get(&key(asking)?)?;
        let continues = device.is_at(since)
            && device.filter == request.filter
            && device.state == request.state
            && device.to_device == request.to_device;
        continues.then_some(device)
    }

    /// Remembers the device for when it asks again.
    pub(super) fn keep(self: Arc<Self>, engine: &Engine, asking: Asking<'_>) {
        if let Some(key) = key(asking) {
            engine.caught_up.0.insert(key, self);
        }
    }

    fn place(&self) -> MutexGuard<'_, Option<Place>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_at(&self, token: &SyncToken) -> bool {
        self.place().as_ref().is_some_and(|place| place.token == *token)
    }

    /// Waits until there are news for a request that continues where the device is, and tells of them; at
    /// `until`, that there are none. `None`: it has to be looked for what is new.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(super) async fn follow(
        &self,
        engine: &Engine,
        asking: Asking<'_>,
        request: &Request,
        until: Instant,
    ) -> Result<Option<Answer>, Internal> {
        let Some(mut since) = request.since.clone() else { return Ok(None) };
        while self.has_heard_all(engine).await {
            // Whoever takes the news of this token from here on cancels this, too.
            let wake = self.registration.wake();
            if !self.is_at(&since) {
                return Ok(None);
            }
            if self.hears_nothing(engine, &wake, until).await {
                let answer = self.nothing_new(&since);
                return Ok(answer.inspect(|_| engine.measures.sync.remembered.count()));
            }
            let Some(step) = self.step(since) else { return Ok(None) };
            since = step.token.clone();
            let heard = Box::pin(Moment::heard(engine, asking, request, step)).await?;
            let Some(moment) = heard.map(|moment| self.noting_supply(moment)) else {
                *self.place() = None;
                return Ok(None);
            };
            let answer = streams::all(engine, asking, request, moment).await?;
            if !answer.is_empty() || engine.shutdown.is_cancelled() {
                engine.measures.sync.followed.count();
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Waits for the device to hear of what is committed already, and of which it is not known yet whom it
    /// concerns; `false` when that takes too long.
    async fn has_heard_all(&self, engine: &Engine) -> bool {
        let committed = engine.storage.feed().head();
        let mut telling = engine.notifier.telling();
        let told = telling.wait_for(|told| *told >= committed);
        tokio::time::timeout(HEARD_WITHIN, told).await.is_ok_and(|told| told.is_ok())
    }

    /// Waits for news until a time; whether there were none.
    async fn hears_nothing(
        &self,
        engine: &Engine,
        wake: &CancellationToken,
        until: Instant,
    ) -> bool {
        if self.registration.was_woken() {
            return false;
        }
        let _waiting = engine.measures.sync.waiting.enter();
        tokio::select! {
            biased;
            () = wake.cancelled() => false,
            () = notifier::until(until) => true,
            () = engine.shutdown.cancelled() => true,
        }
    }

    /// Goes on from a token to what was heard; `None` when the device is elsewhere, because another request
    /// of it went on meanwhile, or when more may be new than was heard of.
    fn step(&self, since: SyncToken) -> Option<Step> {
        let mut place = self.place();
        let supply = place.take_if(|place| place.token == since)?.supply;
        let (heard, told) = self.registration.take();
        if heard.more {
            return None;
        }
        let pos = told.max(since.pos);
        let to_device = if self.to_device { pos } else { since.to_device };
        // Who types and who is there was not looked at: that stays to be told.
        let token = SyncToken { pos, to_device, ..since.clone() };
        let supply = supply.filter(|_| !heard.supply);
        *place = Some(Place { token: token.clone(), supply: supply.clone() });
        Some(Step { since, token, heard, supply, ignored: self.ignored.clone() })
    }

    /// Remembers how many keys the device has for others at a moment. (Whoever waits would carry a moment that was
    /// lent, so it is handed over and back.)
    fn noting_supply(&self, moment: Moment) -> Moment {
        if let Some(Place { token, supply: supply @ None }) = self.place().as_mut()
            && *token == moment.token
        {
            *supply = Some(Arc::new(moment.supply.clone()));
        }
        moment
    }

    /// What a device is told of which nothing is new; `None` when another request of it went on meanwhile.
    fn nothing_new(&self, since: &SyncToken) -> Option<Answer> {
        let place = self.place();
        let supply = place.as_ref().filter(|place| place.token == *since)?.supply.clone()?;
        Some(Answer {
            next_batch: since.to_string(),
            device_one_time_keys_count: supply.one_time_keys.clone(),
            device_unused_fallback_key_types: supply.fallback.clone(),
            ..Answer::default()
        })
    }
}
