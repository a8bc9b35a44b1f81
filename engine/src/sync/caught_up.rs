//! Devices that were told everything: as long as nothing happens that concerns them, they are answered
//! without reading, which is what most requests of most clients come to.
//!
//! What wakes a waiting /sync is all that can be new to it, so whoever was told everything stays
//! registered with the notifier when the answer is sent, for the request that continues there.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use ruma::{OwnedDeviceId, OwnedUserId};
use tokio::time::Instant;

use super::{Answer, Request, StateWanted, moment::Moment};
use crate::{
    Engine, Internal,
    encryption::news,
    notifier::Registration,
    reading::{access::Asking, filter::Filter, token::SyncToken},
};

/// In how many rooms those who are remembered may be together: the notifier keeps a list of each.
const MOST_ROOMS: u64 = 500_000;

/// How long a device is remembered that does not ask.
const REMEMBERED: Duration = Duration::from_secs(180);

/// A device that was told everything up to a token.
#[derive(Debug)]
pub(super) struct CaughtUp {
    token: SyncToken,
    filter: Filter,
    state: StateWanted,
    to_device: bool,
    rooms: usize,
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
        Self {
            token: moment.token.clone(),
            filter: request.filter.clone(),
            state: request.state,
            to_device: request.to_device,
            rooms,
            registration,
        }
    }

    /// The device that asks, if it was told everything up to where the request continues.
    pub(super) fn get(engine: &Engine, asking: Asking<'_>, request: &Request) -> Option<Arc<Self>> {
        let since = request.since.as_ref().filter(|_| !request.full_state)?;
        let device = engine.caught_up.0.get(&key(asking)?)?;
        let continues = device.token == *since
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

    /// Waits for news until a time; whether there were none. What is only known to be committed, and
    /// not yet whom it concerns, may be news.
    pub(super) async fn hears_nothing(&self, engine: &Engine, until: Instant) -> bool {
        let committed = engine.storage.feed().head();
        if engine.notifier.told() < committed || self.registration.was_woken() {
            return false;
        }
        self.stays(engine, until).await
    }

    /// As [`CaughtUp::hears_nothing`], of a device for which was just read.
    pub(super) async fn stays(&self, engine: &Engine, until: Instant) -> bool {
        let _waiting = engine.measures.sync.waiting.enter();
        tokio::select! {
            biased;
            () = self.registration.woken() => false,
            () = tokio::time::sleep_until(until) => true,
            () = engine.shutdown.cancelled() => true,
        }
    }

    /// What a device is told of which nothing is new. How many keys it has left changes without waking
    /// anybody.
    pub(super) async fn answer(
        &self,
        engine: &Engine,
        asking: Asking<'_>,
    ) -> Result<Answer, Internal> {
        let mut answer = Answer { next_batch: self.token.to_string(), ..Answer::default() };
        if let Some(device) = asking.device_id {
            let mut conn = engine.storage.snapshot().await?;
            let supply = news::supply(&mut conn, asking.user_id, device).await?;
            answer.device_one_time_keys_count = supply.one_time_keys;
            answer.device_unused_fallback_key_types = supply.fallback;
        }
        Ok(answer)
    }
}
