//! Matrix itself: rooms, sync, accounts, devices, keys. No HTTP server, no SQL.
//!
//! Modules of functions that take [`Engine`] first. One public function is one effect that a user
//! could name; it makes one [`starling_storage::Change`], which the writer applies wholly or not at
//! all. Modules are listed in reading order and call upwards in that list only.

use std::{fmt, ops::Deref, sync::Arc};

use starling_storage::{Storage, blobs::Blobs};
use tokio_util::sync::CancellationToken;

pub mod allowance;
pub mod appservices;
pub mod clock;
pub mod config;
pub mod measures;
pub mod outside;
pub mod remote;
pub mod rng;

pub mod internal;

pub mod events;

pub mod outbound;

pub mod keys;
pub mod state;

pub mod ephemeral;
pub mod notifier;

pub mod presence;
pub mod push;

pub mod ask;

pub mod at_most;

pub mod behind;

pub mod words;

pub mod rooms;

pub mod spaces;

pub mod accounts;

pub mod calls;
pub mod media;

pub mod encryption;

pub mod backups;

pub mod reading;
pub mod search;
pub mod sync;

pub mod pushers;

pub mod deliveries;

pub mod admin;

pub mod examine;

#[cfg(test)]
pub(crate) mod test_support;
#[cfg(any(test, feature = "test-support"))]
pub mod testing;

pub use config::Config;
pub use internal::Internal;

/// A homeserver's engine. Cheap to clone; all clones are the same engine.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

/// What an [`Engine`] holds.
pub struct Inner {
    /// The settings.
    pub config: Config,
    /// The database.
    pub storage: Storage,
    /// The bytes of files.
    pub blobs: Blobs,
    /// The time.
    pub clock: Arc<dyn clock::Clock>,
    /// What is counted.
    pub measures: Arc<measures::Measures>,
    /// The way to other servers.
    pub transport: Arc<dyn remote::Transport>,
    /// The way to the world beside them.
    pub outside: Arc<dyn outside::Outside>,
    /// What events and requests are signed with.
    pub signing_keys: Arc<keys::SigningKeys>,
    /// The keys of other servers.
    pub remote_keys: keys::RemoteKeys,
    /// What is known of application services.
    pub appservices: appservices::Memory,
    /// What keys the state snapshots.
    pub trie_secret: state::store::Secret,
    /// State nodes that were used last.
    pub state_nodes: state::store::NodeCache,
    /// Events that were used last.
    pub events: events::store::EventCache,
    /// The transactions of other servers that are in work.
    pub transactions: rooms::receive::transaction::InWork,
    /// The queues towards other servers.
    pub outbound: outbound::Outbound,
    /// What this process remembers about accounts.
    pub accounts: accounts::Memory,
    /// How state events rank.
    pub auth_ranks: rooms::auth_ranks::Ranks,
    /// Events that no other server has.
    pub unserved: rooms::backfill::Unserved,
    /// The rooms of the directory, as it shows them.
    pub listed: rooms::per_version::PerVersion<rooms::directory::Listed>,
    /// Rooms whose state is known in part.
    pub partial: rooms::partial::Memory,
    /// Guests who have to leave.
    pub guests: rooms::append::guests::Wake,
    /// What is known of rooms in spaces, and who is looking at which.
    pub spaces: spaces::Memory,
    /// The rooms at hand.
    pub rooms: rooms::room::Rooms,
    /// Who waits for news.
    pub notifier: notifier::Notifier,
    /// The push rules at hand.
    pub push: push::Memory,
    /// Who is there.
    pub presence: presence::Memory,
    /// How far the search index is.
    pub search: search::index::Memory,
    /// Who sends receipts.
    pub receipts: rooms::receipts::Turns,
    /// Who waits to learn that something was sent.
    pub answering: rooms::send::answering::Answering,
    /// Events that wait to be sent.
    pub delayed: rooms::delayed::Delayed,
    /// What is remembered of sliding sync.
    pub sliding: sync::sliding::Memory,
    /// Devices that /sync told everything.
    pub(crate) caught_up: sync::CaughtUpDevices,
    /// What is new in rooms, for all who follow them.
    pub(crate) stretches: sync::Stretches,
    /// Who is typing.
    pub typing: rooms::typing::Typing,
    /// What other servers are told and nobody stores.
    pub ephemeral: ephemeral::Ephemeral,
    /// Whose turn it is to change keys.
    pub encryption: encryption::Memory,
    /// Which application services are left alone for a while.
    pub deliveries: deliveries::Memory,
    /// The places that those share who tell push gateways.
    pub pushers: pushers::Memory,
    /// What administrators have going.
    pub admin: admin::Memory,
    /// Who fetches files, and works on pictures.
    pub media: media::Memory,
    /// Cancelled when the process shuts down: long polls answer, workers end.
    pub shutdown: CancellationToken,
}

/// What an engine is made of.
pub struct Parts {
    /// The settings.
    pub config: Config,
    /// The database, opened.
    pub storage: Storage,
    /// The bytes of files.
    pub blobs: Blobs,
    /// The time.
    pub clock: Arc<dyn clock::Clock>,
    /// The way to other servers.
    pub transport: Arc<dyn remote::Transport>,
    /// The way to the world beside them.
    pub outside: Arc<dyn outside::Outside>,
    /// What events and requests are signed with; the transport has them too.
    pub signing_keys: Arc<keys::SigningKeys>,
    /// What keys the state snapshots ([`state::store::Secret::load`]).
    pub trie_secret: state::store::Secret,
}

impl Engine {
    /// Puts an engine together. Needs a Tokio runtime.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { config, storage, blobs, clock, transport, outside, signing_keys, trie_secret } =
            parts;
        let (cache_bytes, push) = (config.cache_bytes, config.push);
        let shutdown = CancellationToken::new();
        let deliveries = deliveries::Memory::new(&config.appservices);
        let measures = Arc::<measures::Measures>::default();
        let transport = remote::measured(transport, &measures);
        Self(Arc::new(Inner {
            deliveries,
            config,
            clock,
            measures,
            transport,
            outside,
            signing_keys,
            remote_keys: keys::RemoteKeys::default(),
            appservices: appservices::Memory::default(),
            trie_secret,
            state_nodes: state::store::NodeCache::new(cache_bytes / 2),
            events: events::store::EventCache::new(cache_bytes / 2),
            transactions: rooms::receive::transaction::InWork::default(),
            outbound: outbound::Outbound::default(),
            accounts: accounts::Memory::default(),
            auth_ranks: rooms::auth_ranks::Ranks::default(),
            unserved: rooms::backfill::Unserved::default(),
            listed: rooms::directory::memory(),
            partial: rooms::partial::Memory::default(),
            guests: rooms::append::guests::Wake::default(),
            spaces: spaces::Memory::default(),
            rooms: rooms::room::Rooms::default(),
            notifier: notifier::Notifier::start(&storage, &shutdown),
            push: push::Memory::new(push),
            presence: presence::Memory::default(),
            search: search::index::Memory::default(),
            receipts: rooms::receipts::Turns::default(),
            answering: rooms::send::answering::Answering::default(),
            delayed: rooms::delayed::Delayed::default(),
            sliding: sync::sliding::Memory::default(),
            caught_up: sync::CaughtUpDevices::new(),
            stretches: sync::Stretches::new(),
            typing: rooms::typing::Typing::default(),
            ephemeral: ephemeral::Ephemeral::default(),
            encryption: encryption::Memory::default(),
            pushers: pushers::Memory::default(),
            admin: admin::Memory::default(),
            media: media::Memory::default(),
            blobs,
            shutdown,
            storage,
        }))
    }
}

impl Deref for Engine {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("server_name", &self.config.server_name).finish()
    }
}
