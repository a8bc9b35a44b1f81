//! What this deployment owes other servers: its events, in order, and ephemeral messages.
//!
//! A server holds a cursor over the events that this deployment made ([`transaction`]). One task at
//! a time sends to a server ([`destination`]); it runs only while there is something to send and the
//! server takes it ([`turns`]), so that a server that is gone for good costs a row and a timer. Commits wake
//! ([`starling_storage::Fact`]), at the start every server that is behind is looked at, and a server
//! that asks us something is tried again at once.

mod backoff;
mod destination;
mod dispatch;
mod durable;
mod edus;
mod transaction;
mod turns;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use ruma::{OwnedServerName, ServerName};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::Engine;
use dispatch::{Command, Dispatcher};

/// How many commands may wait for the dispatcher.
const COMMANDS: usize = 4096;

/// The queues towards other servers, as the rest of the engine sees them.
#[derive(Debug)]
pub struct Outbound {
    commands: mpsc::Sender<Command>,
    received: Mutex<Option<mpsc::Receiver<Command>>>,
    paused: Paused,
}

/// The servers that did not take a transaction and wait for their next try.
#[derive(Clone, Debug, Default)]
struct Paused(Arc<Mutex<HashSet<OwnedServerName>>>);

impl Paused {
    fn insert(&self, server: OwnedServerName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(server);
    }

    fn remove(&self, server: &ServerName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(server);
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn contains(&self, server: &ServerName) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(server)
    }
}

impl Default for Outbound {
    fn default() -> Self {
        let (commands, received) = mpsc::channel(COMMANDS);
        Self { commands, received: Mutex::new(Some(received)), paused: Paused::default() }
    }
}

/// Starts sending, once per engine. The task ends when the engine shuts down.
pub fn start(engine: &Engine) -> Option<JoinHandle<()>> {
    let outbound = &engine.outbound;
    let received = outbound.received.lock().unwrap_or_else(PoisonError::into_inner).take()?;
    let own = outbound.commands.downgrade();
    let dispatcher = Dispatcher::new(engine.clone(), received, own, outbound.paused.clone());
    Some(tokio::spawn(dispatcher.run()))
}

/// Sends a server what it is owed, at once and whatever became of earlier attempts, for tests that decide
/// themselves when something is sent; whether the server has everything now.
#[cfg(any(test, feature = "test-support"))]
pub async fn send_now(engine: &Engine, server: &ServerName) -> bool {
    let turn = turns::Turns::default().wait(false).await;
    let edus = Arc::default();
    let end = destination::run(engine.clone(), server.to_owned(), edus, turn).await;
    matches!(end, destination::End::Drained)
}

/// How long a server is left alone after this many failures in a row, about, in milliseconds.
#[must_use]
pub fn pause_ms(failures: i64) -> i64 {
    match failures {
        0 => 0,
        _ => i64::try_from(backoff::pause(failures, 127).as_millis()).unwrap_or(i64::MAX),
    }
}

impl Outbound {
    /// A server is there: it signed a request to us, or answered one of ours. If it was paused, it is tried
    /// again now.
    pub fn spoke(&self, server: &ServerName) {
        if self.paused.contains(server) {
            // If the line is full, its next request tells us again.
            let _ = self.commands.try_send(Command::Retry(server.to_owned()));
        }
    }
}
