//! What is counted while the engine works. Whoever does something counts it where it is decided;
//! `GET /metrics` reads the counts.

use std::hash::Hash;

use moka::sync::Cache;
pub use starling_storage::measure::{Counter, Entered, Gauge, Histogram, Spread};

/// All counts of an engine.
#[derive(Debug, Default)]
pub struct Measures {
    /// Who waits for news.
    pub sync: Polls,
    /// The events of rooms.
    pub events: Events,
    /// What is asked of other servers.
    pub requests: Requests,
    /// What is sent to other servers.
    pub sent: Sent,
    /// What other servers send.
    pub received: Received,
    /// Requests for the keys of other servers.
    pub keys: Keys,
    /// What push gateways are told.
    pub push: Push,
    /// What application services are told.
    pub appservices: Deliveries,
    /// How often caches helped.
    pub caches: Caches,
}

/// Who waits for news.
#[derive(Debug, Default)]
pub struct Polls {
    /// Requests that wait now.
    pub waiting: Gauge,
    /// Answers to devices that nothing concerned since they were told everything, without reading.
    pub remembered: Counter,
    /// Answers for which only that was read of which such a device had heard.
    pub followed: Counter,
    /// Answers for which all that may be new was looked up.
    pub read: Counter,
}

/// Events that were added to rooms, by their fate.
#[derive(Debug, Default)]
pub struct Events {
    /// Made here.
    pub local: Counter,
    /// Of other servers, a part of their room.
    pub accepted: Counter,
    /// Kept, and not shown.
    pub soft_failed: Counter,
    /// Kept to judge others by them.
    pub rejected: Counter,
    /// Known without their place.
    pub outliers: Counter,
}

/// Requests to other servers, whatever they are for.
#[derive(Debug)]
pub struct Requests {
    /// The other server did what it was asked.
    pub answered: Counter,
    /// It answered with another status.
    pub refused: Counter,
    /// It was not found.
    pub not_found: Counter,
    /// It could not be reached, or broke off.
    pub unreachable: Counter,
    /// It did not answer in time.
    pub timed_out: Counter,
    /// Its answer was too large.
    pub too_large: Counter,
    /// How long a request took, the search for the server included.
    pub time: Histogram,
    /// Requests without an answer yet, those included that wait for their turn.
    pub open: Gauge,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            answered: Counter::default(),
            refused: Counter::default(),
            not_found: Counter::default(),
            unreachable: Counter::default(),
            timed_out: Counter::default(),
            too_large: Counter::default(),
            time: Histogram::of_times(),
            open: Gauge::default(),
        }
    }
}

/// What is sent to other servers.
#[derive(Debug)]
pub struct Sent {
    /// Transactions that were taken.
    pub taken: Counter,
    /// Attempts that are made again later.
    pub failed: Counter,
    /// Transactions that a server will never take.
    pub refused: Counter,
    /// Events that were put into transactions.
    pub pdus: Counter,
    /// Ephemeral messages that were put into transactions.
    pub edus: Counter,
    /// How long a transaction took, whatever became of it.
    pub time: Histogram,
    /// Servers that wait for a place to be sent to.
    pub waiting: Gauge,
    /// Servers that are being sent to, those included that are slow.
    pub sending: Gauge,
    /// Servers that are being sent to for longer than a moment.
    pub slow: Gauge,
    /// Servers that are left alone for a while.
    pub paused: Gauge,
}

impl Default for Sent {
    fn default() -> Self {
        Self {
            taken: Counter::default(),
            failed: Counter::default(),
            refused: Counter::default(),
            pdus: Counter::default(),
            edus: Counter::default(),
            time: Histogram::of_times(),
            waiting: Gauge::default(),
            sending: Gauge::default(),
            slow: Gauge::default(),
            paused: Gauge::default(),
        }
    }
}

/// What other servers send in transactions.
#[derive(Debug)]
pub struct Received {
    /// Transactions that were worked on.
    pub worked: Counter,
    /// Transactions that were answered as before.
    pub repeated: Counter,
    /// Transactions that are to be sent again because this server failed.
    pub failed: Counter,
    /// Transactions with more in them than they may have.
    pub too_many: Counter,
    /// Events that were judged, or were known.
    pub judged: Counter,
    /// Events that were refused: malformed, not signed, not allowed by the room's server ACL, or
    /// nobody says what comes before them.
    pub refused: Counter,
    /// Ephemeral messages.
    pub edus: Counter,
    /// How long working on a transaction took.
    pub time: Histogram,
}

impl Default for Received {
    fn default() -> Self {
        Self {
            worked: Counter::default(),
            repeated: Counter::default(),
            failed: Counter::default(),
            too_many: Counter::default(),
            judged: Counter::default(),
            refused: Counter::default(),
            edus: Counter::default(),
            time: Histogram::of_times(),
        }
    }
}

/// Requests for the keys of other servers.
#[derive(Debug, Default)]
pub struct Keys {
    /// A server gave its keys.
    pub given: Counter,
    /// A server did not.
    pub not_given: Counter,
    /// A notary answered.
    pub notarised: Counter,
    /// A notary did not.
    pub not_notarised: Counter,
}

/// What push gateways are told.
#[derive(Debug, Default)]
pub struct Push {
    /// Notifications that were taken.
    pub taken: Counter,
    /// Notifications for which the gateway knows nobody any more.
    pub rejected: Counter,
    /// Attempts that are made again later.
    pub failed: Counter,
    /// Pushers that are being told something.
    pub telling: Gauge,
    /// Pushers that are left alone for a while.
    pub paused: Gauge,
}

/// What application services are told.
#[derive(Debug, Default)]
pub struct Deliveries {
    /// Transactions that were taken.
    pub taken: Counter,
    /// Attempts that are made again later.
    pub failed: Counter,
}

/// How often caches helped.
#[derive(Debug, Default)]
pub struct Caches {
    /// That of events.
    pub events: Hits,
    /// That of the nodes of states.
    pub state_nodes: Hits,
    /// The rooms at hand.
    pub rooms: Hits,
}

/// How often a cache helped.
#[derive(Debug, Default)]
pub struct Hits {
    /// It had what was asked for.
    pub hits: Counter,
    /// It had not.
    pub misses: Counter,
}

impl Hits {
    /// So many that were asked for were there, and so many were not.
    pub fn note(&self, hits: usize, misses: usize) {
        self.hits.add(hits);
        self.misses.add(misses);
    }
}

/// How large a cache is, about: what was just put there may not be counted yet.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How many things are in it.
    pub entries: u64,
    /// What they take by estimate, in bytes, of a cache that is bounded by them.
    pub bytes: Option<u64>,
}

impl Size {
    /// Of a cache that is bounded by the bytes in it.
    pub(crate) fn of_weighed<K, V>(cache: &Cache<K, V>) -> Self
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
    {
        Self { bytes: Some(cache.weighted_size()), ..Self::of_counted(cache) }
    }

    /// Of a cache that is bounded by the number of things in it.
    pub(crate) fn of_counted<K, V>(cache: &Cache<K, V>) -> Self
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
    {
        Self { entries: cache.entry_count(), bytes: None }
    }
}
