//! What application services are told: the events that they are interested in, in order, typing, receipts
//! and presence, and what their users' encryption needs.
//!
//! An application service holds a cursor over what happens here ([`gather`]), as other servers do; nothing
//! is copied for it. One task for each sends to it ([`courier`]), one transaction after the other, until it
//! has everything or does not take it. The transaction in flight is stored, so that its repetition is
//! identical, also after a restart.
//!
//! <https://spec.matrix.org/v1.19/application-service-api/#pushing-events>

mod backoff;
mod courier;
mod encryption;
mod gather;
mod interest;
mod passing;
#[cfg(test)]
mod tests;
mod transaction;

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::{sync::Notify, task::JoinHandle};

use crate::{Engine, appservices::ApplicationServices};

/// Which application services wait for their next try.
#[derive(Debug, Default)]
pub struct Memory(HashMap<String, Pause>);

/// Whether an application service is left alone for a while.
#[derive(Debug, Default)]
struct Pause {
    is_on: AtomicBool,
    end: Notify,
}

impl Memory {
    pub(crate) fn new(services: &ApplicationServices) -> Self {
        Self(services.iter().map(|service| (service.id.clone(), Pause::default())).collect())
    }

    /// An application service is there: it asked something. If it is left alone, that ends soon.
    pub fn spoke(&self, id: &str) {
        if let Some(pause) = self.0.get(id).filter(|pause| pause.is_on.load(Ordering::Relaxed)) {
            pause.end.notify_one();
        }
    }
}

/// Starts telling all application services that listen. The tasks end when the engine shuts down.
#[must_use]
pub fn start(engine: &Engine) -> Vec<JoinHandle<()>> {
    let services = engine.config.appservices.iter().filter(|service| service.url.is_some());
    services.map(|service| tokio::spawn(courier::run(engine.clone(), service.clone()))).collect()
}
