//! A homeserver of a world: an engine on files of its own, with a clock of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use ruma::{OwnedUserId, RoomId, ServerName};
use starling_engine::{
    Engine,
    remote::Transport,
    rooms::completing,
    testing::{TestClock, TestEngine, config},
};
use starling_federation::{Door, Options, router};
use starling_storage::{memberships, test_support::TempDatabase};

use crate::network::{Link, Network};

/// A homeserver.
pub(crate) struct Server {
    network: Arc<Network>,
    test: Option<TestEngine>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) users: Vec<OwnedUserId>,
}

impl Server {
    pub(crate) async fn new(network: &Arc<Network>, name: &str, users: &[&str]) -> Self {
        let server_name = <&ServerName>::try_from(name).unwrap();
        let link = |keys: &Arc<_>| -> Arc<dyn Transport> {
            let (network, name) = (network.clone(), server_name.to_owned());
            Arc::new(Link { network, name, keys: Arc::clone(keys) })
        };
        let database = TempDatabase::sqlite().unwrap();
        let clock: Arc<TestClock> = Arc::default();
        let test = TestEngine::connected(database, config(server_name), clock.clone(), link);
        let test = Some(test.await.unwrap());
        let mut server = Self { network: network.clone(), test, clock, users: vec![] };
        for user in users {
            let (user_id, _) = server.test.as_ref().unwrap().user(user).await.unwrap();
            server.users.push(user_id);
        }
        server.open();
        server
    }

    fn open(&self) {
        self.engine().partial.impatient.store(true, Ordering::Relaxed);
        let router = router(Door::new(self.engine().clone(), Options::default()));
        self.network.serve(self.name(), router);
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.test.as_ref().unwrap().engine
    }

    pub(crate) fn name(&self) -> &ServerName {
        &self.engine().config.server_name
    }

    /// Ends the engine and begins one on the same files: nothing is in memory.
    pub(crate) async fn restart(&mut self) {
        self.network.unplug(self.name());
        let test = self.test.take().unwrap();
        self.test = Some(test.restarted().await.unwrap());
        self.open();
    }

    /// Asks for what is missing of rooms that were joined in part; whether nothing is.
    pub(crate) async fn complete(&self, round: u32) -> bool {
        completing::round_now(self.engine(), round).await.unwrap()
    }

    /// The users of this server that are joined to a room, for all that it knows.
    pub(crate) async fn joined(&self, room_id: &RoomId) -> BTreeSet<String> {
        let mut conn = self.engine().storage.read().await.unwrap();
        memberships::local_joined(&mut conn, room_id.as_str()).await.unwrap().into_iter().collect()
    }

    /// What users are in a room, in the table of members.
    pub(crate) async fn members(&self, room_id: &RoomId) -> BTreeMap<String, String> {
        let mut conn = self.engine().storage.read().await.unwrap();
        let all = ["join", "invite", "knock", "leave", "ban"].map(ToOwned::to_owned);
        let rows = memberships::of_room(&mut conn, room_id.as_str(), &all).await.unwrap();
        rows.into_iter().map(|row| (row.user_id, row.membership)).collect()
    }
}
