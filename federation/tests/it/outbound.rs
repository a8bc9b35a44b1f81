//! What we owe other servers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ruma::RoomVersionId;
use serde_json::json;
use tokio::sync::Notify;

use crate::{
    network::{Network, Server},
    peer::Peer,
};

/// Lets a test wait for the transactions that a peer receives.
pub(crate) struct Inbox {
    arrived: Arc<Notify>,
}

impl Inbox {
    /// Answers the first `failing` transactions with 500.
    pub(crate) fn of(peer: &Peer, failing: usize) -> Self {
        let arrived = Arc::new(Notify::new());
        let (notify, count) = (arrived.clone(), AtomicUsize::new(0));
        peer.answer("/_matrix/federation/v1/send/", move |_| {
            notify.notify_one();
            match count.fetch_add(1, Ordering::SeqCst) < failing {
                true => (500, json!({ "errcode": "M_UNKNOWN", "error": "not now" })),
                false => (200, json!({ "pdus": {} })),
            }
        });
        Self { arrived }
    }

    /// Waits until something holds, looking again whenever a transaction arrives.
    pub(crate) async fn until(&self, peer: &Peer, holds: impl Fn(&[String]) -> bool) {
        let waiting = async {
            while !holds(&bodies(peer)) {
                self.arrived.notified().await;
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await;
        assert!(waited.is_ok(), "{:?}", bodies(peer));
    }
}

/// The bodies of all messages that the peer received.
fn bodies(peer: &Peer) -> Vec<String> {
    let transactions = peer.received("/_matrix/federation/v1/send/");
    let pdus = transactions.iter().flat_map(|(_, body)| body["pdus"].as_array().unwrap());
    pdus.filter_map(|pdu| pdu["content"]["body"].as_str().map(ToOwned::to_owned)).collect()
}

#[tokio::test]
async fn members_servers_get_what_we_say_in_order() {
    let network = Arc::new(Network::default());
    let home = Server::new(&network, "home.org").await;
    let peer = Peer::new(&network, "peer.org").await;
    let third = Peer::new(&network, "third.org").await;
    let inbox = Inbox::of(&peer, 0);
    Inbox::of(&third, 0);
    let (alice, mallory) = (home.user("alice").await, peer.user("mallory"));
    let room = home.room(&alice, RoomVersionId::V12, &[]).await;
    home.say(&room, &alice, "before").await;
    assert_eq!(peer.join(&home, &room, &mallory, &RoomVersionId::V12).await.0, 200);
    for number in 0..5 {
        home.say(&room, &alice, &number.to_string()).await;
    }
    let expected: Vec<_> = (0..5).map(|number| number.to_string()).collect();
    inbox.until(&peer, |bodies| bodies == expected).await;
    // The join is passed on to others, not to who made it.
    assert_eq!(third.join(&home, &room, &third.user("x"), &RoomVersionId::V12).await.0, 200);
    let has_join = |peer: &Peer, user: &str| {
        let transactions = peer.received("/_matrix/federation/v1/send/");
        let mut pdus = transactions.iter().flat_map(|(_, body)| body["pdus"].as_array().unwrap());
        pdus.any(|pdu| pdu["state_key"] == user)
    };
    inbox.until(&peer, |_| has_join(&peer, "@x:third.org")).await;
    assert!(!has_join(&peer, "@mallory:peer.org"));
    assert!(third.received("/_matrix/federation/v1/send/").is_empty());
}

#[tokio::test]
async fn a_repetition_is_identical() {
    let network = Arc::new(Network::default());
    let home = Server::new(&network, "home.org").await;
    let peer = Peer::new(&network, "peer.org").await;
    let inbox = Inbox::of(&peer, 1);
    let (alice, mallory) = (home.user("alice").await, peer.user("mallory"));
    let room = home.room(&alice, RoomVersionId::V11, &[]).await;
    assert_eq!(peer.join(&home, &room, &mallory, &RoomVersionId::V11).await.0, 200);
    home.say(&room, &alice, "A").await;
    inbox.until(&peer, |bodies| bodies.len() >= 2).await;
    let transactions = peer.received("/_matrix/federation/v1/send/");
    assert_eq!(transactions[0], transactions[1]);
    assert_eq!(bodies(&peer)[..2], ["A", "A"]);
}

#[tokio::test]
async fn who_was_away_is_told_when_it_speaks_again() {
    let network = Arc::new(Network::default());
    let home = Server::new(&network, "home.org").await;
    let peer = Peer::new(&network, "peer.org").await;
    let inbox = Inbox::of(&peer, 0);
    let (alice, mallory) = (home.user("alice").await, peer.user("mallory"));
    let room = home.room(&alice, RoomVersionId::V11, &[]).await;
    assert_eq!(peer.join(&home, &room, &mallory, &RoomVersionId::V11).await.0, 200);
    network.unplug("peer.org");
    for number in 0..120 {
        home.say(&room, &alice, &number.to_string()).await;
    }
    peer.plug();
    assert_eq!(peer.get(&home, "/_matrix/federation/v1/event/$x").await.0, 404);
    let expected: Vec<_> = (0..120).map(|number| number.to_string()).collect();
    inbox.until(&peer, |bodies| bodies == expected).await;
    let largest = peer
        .received("/_matrix/federation/v1/send/")
        .iter()
        .map(|(_, body)| body["pdus"].as_array().unwrap().len())
        .max();
    assert!(largest <= Some(50));
}

#[tokio::test]
async fn typing_is_told() {
    let network = Arc::new(Network::default());
    let home = Server::new(&network, "home.org").await;
    let peer = Peer::new(&network, "peer.org").await;
    let inbox = Inbox::of(&peer, 0);
    let (alice, mallory) = (home.user("alice").await, peer.user("mallory"));
    let room = home.room(&alice, RoomVersionId::V11, &[]).await;
    assert_eq!(peer.join(&home, &room, &mallory, &RoomVersionId::V11).await.0, 200);
    let minute = std::time::Duration::from_secs(60);
    starling_engine::rooms::typing::set(home.engine(), &room, &alice, Some(minute)).await.unwrap();
    let told = |peer: &Peer| {
        let transactions = peer.received("/_matrix/federation/v1/send/");
        transactions.iter().any(|(_, body)| {
            body["edus"][0]["edu_type"] == "m.typing"
                && body["edus"][0]["content"]["user_id"] == alice.as_str()
        })
    };
    inbox.until(&peer, |_| told(&peer)).await;
}
