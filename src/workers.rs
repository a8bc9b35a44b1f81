//! Tasks that run beside the requests, as long as the server does.

use std::time::Duration;

use starling_engine::{
    Engine, Internal,
    accounts::{directory, follow, guests, upkeep},
    admin::{retention, tasks},
    deliveries,
    encryption::remote_lists,
    media::sweep,
    outbound, presence, pushers,
    rooms::{completing, delayed, receive::transaction},
    search::index,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use crate::config::Config;

/// All workers, with what they are for.
pub(crate) struct Workers(Vec<(&'static str, JoinHandle<()>)>);

impl Workers {
    /// Starts them, before anybody is answered. Each ends by itself when the engine shuts down.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn start(
        engine: &Engine,
        config: &Config,
        held: tasks::Held,
    ) -> Result<Self, Internal> {
        let mut workers = vec![
            ("accounts", tokio::spawn(upkeep::run(engine.clone()))),
            ("memberships", tokio::spawn(follow::run(engine.clone()))),
            ("delayed events", tokio::spawn(delayed::run(engine.clone()))),
            ("guests", tokio::spawn(guests::run(engine.clone()))),
            ("presence", tokio::spawn(presence::run(engine.clone()))),
            ("user directory", tokio::spawn(directory::follow::run(engine.clone()))),
            ("search", tokio::spawn(index::run(engine.clone()))),
            ("media", tokio::spawn(sweep::run(engine.clone()))),
        ];
        workers.push(("push", pushers::start(engine)));
        workers.push(("tasks", tokio::spawn(tasks::run(engine.clone(), held))));
        let couriers = deliveries::start(engine).await?.into_iter();
        workers.extend(couriers.map(|task| ("application services", task)));
        if config.retention.enabled {
            workers.push(("retention", tokio::spawn(retention::run(engine.clone()))));
        }
        if config.federation.enabled {
            workers.extend(outbound::start(engine).map(|task| ("federation", task)));
            workers.push(("rooms", tokio::spawn(completing::run(engine.clone()))));
            workers.push(("transactions", tokio::spawn(transaction::upkeep(engine.clone()))));
            workers.push(("device lists", tokio::spawn(remote_lists::run(engine.clone()))));
        }
        Ok(Self(workers))
    }

    /// Waits until all have ended, for `limit` at most.
    pub(crate) async fn end(self, limit: Duration) {
        let limit = Instant::now() + limit;
        for (worker, task) in self.0 {
            match timeout_at(limit, task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(worker, %error, "a worker broke"),
                Err(_) => tracing::warn!(worker, "a worker did not end in time"),
            }
        }
    }
}
