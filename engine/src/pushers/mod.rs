//! Telling users who are not there of what notifies them: by a push gateway, which knows their devices, or by
//! letters ([`mail`]).
//!
//! A pusher ([`set`]) holds a cursor over what happens here, as other servers and application services
//! do; nothing is copied for it. Commits wake ([`dispatch`]): whoever is joined where something notifies
//! and has a pusher is looked up once and remembered, so a message costs nothing for members without.
//! One task at a time tells a pusher ([`courier`]); it runs only while there is something to tell and the
//! gateway takes it. Whom an event notifies was decided when it was appended; what the rules say beside
//! that, a sound for one, is asked when it is told.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#push-notifications> and
//! <https://spec.matrix.org/v1.19/push-gateway-api/>

mod backoff;
mod badge;
mod courier;
mod dispatch;
mod due;
mod gateway;
mod letter;
mod mail;
mod notification;
mod pending;
mod round;
pub mod set;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};

use crate::Engine;

pub use letter::UNSUBSCRIBE_PATH;

/// How many pushers look for what there is to tell at a time.
const LOOKING: usize = 16;

/// How many requests to one gateway are open at a time. A gateway that does not answer holds up those
/// who use it, and nobody else.
const PER_GATEWAY: usize = 64;

/// How many gateways are remembered before those that nobody uses are forgotten.
const MOST_GATEWAYS: usize = 1_000;

/// The places that couriers share.
#[derive(Debug)]
pub struct Memory {
    looking: Arc<Semaphore>,
    gateways: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { looking: Arc::new(Semaphore::new(LOOKING)), gateways: Mutex::default() }
    }
}

impl Memory {
    /// Waits for a place to look. It is never closed.
    async fn look(&self) -> Option<OwnedSemaphorePermit> {
        self.looking.clone().acquire_owned().await.ok()
    }

    /// Waits for a place at a gateway.
    async fn ask(&self, gateway: &str) -> Option<OwnedSemaphorePermit> {
        let places = {
            let mut gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
            if gateways.len() >= MOST_GATEWAYS {
                gateways.retain(|_, places| Arc::strong_count(places) > 1);
            }
            let places = gateways.entry(gateway.to_owned());
            places.or_insert_with(|| Arc::new(Semaphore::new(PER_GATEWAY))).clone()
        };
        places.acquire_owned().await.ok()
    }
}

/// Starts telling, once per engine. The task ends when the engine shuts down.
#[must_use]
pub fn start(engine: &Engine) -> JoinHandle<()> {
    tokio::spawn(dispatch::run(engine.clone()))
}
