//! What push gateways are told.
//!
//! <https://spec.matrix.org/v1.19/push-gateway-api/>

mod badge;
mod gateway;
mod mail;
mod notify;
mod outage;

use starling_conformance::{client::User, gateway::Gateway, servers::Server};

use crate::support;

/// Alice and Bob in a room of three, and a gateway that tells Bob.
pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    pub(crate) alice: User,
    pub(crate) bob: User,
    pub(crate) room: String,
    pub(crate) pushkey: String,
}

impl Scene {
    pub(crate) async fn set() -> Self {
        Self::on(support::server().await).await
    }

    pub(crate) async fn on(server: &Server) -> Self {
        let gateway = Gateway::start().await.unwrap();
        let user = async |name| User::register(server, name).await.unwrap();
        let (alice, bob) = (user("alice").await, user("bob").await);
        let room = alice.create_public_room().await.unwrap();
        bob.join(&room, &[]).await.unwrap();
        user("carol").await.join(&room, &[]).await.unwrap();
        let pushkey = gateway.tells(&bob).await.unwrap();
        Self { gateway, alice, bob, room, pushkey }
    }

    /// Alice says something, of which Bob is told.
    pub(crate) async fn say(&self, body: &str) -> String {
        let event_id = self.alice.say(&self.room, body).await.unwrap();
        self.gateway.wait_for(&self.pushkey, &event_id).await.unwrap();
        event_id
    }

    /// Everything that the gateway was told was well formed.
    pub(crate) fn all_was_well(&self) {
        assert_eq!(self.gateway.wrong(), [] as [&str; 0]);
    }
}
