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
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
};

use tokio::{sync::Notify, task::JoinHandle};

use self::courier::Courier;
use crate::{Engine, Internal, appservices::ApplicationServices};

/// Which application services wait for their next try.
#[derive(Debug, Default)]
pub struct Memory(HashMap<String, Pause>);

/// Whether an application service is left alone for a while.
#[derive(Debug, Default)]
struct Pause {
    is_on: AtomicBool,
    end: Notify,
    /// Up to where the application service was told, for whoever wants to know.
    told: AtomicI64,
}

/// How telling an application service goes.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Its id.
    pub id: String,
    /// Up to which position it was told; 0 when nobody has looked yet.
    pub told: i64,
    /// Whether it is left alone for a while, as it did not take what it was told.
    pub is_paused: bool,
}

impl Memory {
    pub(crate) fn new(services: &ApplicationServices) -> Self {
        Self(services.iter().map(|service| (service.id.clone(), Pause::default())).collect())
    }

    /// How telling each goes.
    #[must_use]
    pub fn progress(&self) -> Vec<Progress> {
        let progress = |(id, pause): (&String, &Pause)| Progress {
            id: id.clone(),
            told: pause.told.load(Ordering::Relaxed),
            is_paused: pause.is_on.load(Ordering::Relaxed),
        };
        self.0.iter().map(progress).collect()
    }

    /// An application service was told up to a position.
    fn is_at(&self, id: &str, pos: i64) {
        if let Some(pause) = self.0.get(id) {
            pause.told.store(pos, Ordering::Relaxed);
        }
    }

    /// An application service is there: it asked something. If it is left alone, that ends soon.
    pub fn spoke(&self, id: &str) {
        if let Some(pause) = self.0.get(id).filter(|pause| pause.is_on.load(Ordering::Relaxed)) {
            pause.end.notify_one();
        }
    }
}

/// Starts telling all application services that listen. The tasks end when the engine shuts down.
///
/// To be called before anybody is answered: who was never told anything is told what happens from here on.
///
/// # Errors
///
/// When the database fails.
pub async fn start(engine: &Engine) -> Result<Vec<JoinHandle<()>>, Internal> {
    let services = engine.config.appservices.iter().filter(|service| service.url.is_some());
    let couriers = Courier::of_all(engine, services).await?;
    Ok(couriers.into_iter().map(|courier| tokio::spawn(courier::run(courier))).collect())
}
