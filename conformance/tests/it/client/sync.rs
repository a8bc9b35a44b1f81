//! GET /_matrix/client/v3/sync

use std::time::Duration;

use starling_conformance::client::Sync;

use crate::support;

#[tokio::test]
async fn needs_an_access_token() {
    let answer = support::anonymous().await.get("/_matrix/client/v3/sync").await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn a_long_poll_wakes_up_for_a_message() {
    let alice = support::user("alice").await;
    let bob = support::user("bob").await;
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let mut sync = Sync::start(&bob).await.unwrap();
    let waiting = sync.poll(Duration::from_secs(60));
    let (answer, sent) = tokio::join!(waiting, alice.say(&room, "wake up"));
    let events = &answer.unwrap()["rooms"]["join"][&room]["timeline"]["events"];
    assert_eq!(events[0]["event_id"], sent.unwrap().as_str(), "{events}");
}

#[tokio::test]
async fn what_was_seen_does_not_come_again() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let mut sync = Sync::start(&alice).await.unwrap();
    let id = alice.say(&room, "once").await.unwrap();
    sync.event_with_id(&room, &id).await.unwrap();
    sync.poll(Duration::ZERO).await.unwrap();
    let times = sync.timeline(&room).iter().filter(|event| event["event_id"] == id.as_str());
    assert_eq!(times.count(), 1);
}

/// What was said before the token is not what follows what the client has.
#[tokio::test]
async fn the_timeline_of_a_newly_joined_room_is_no_continuation() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    alice.say(&room, "earlier").await.unwrap();
    let mut sync = Sync::start(&bob).await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let joined = sync.section("join", &room).await.unwrap();
    assert_eq!(joined["timeline"]["limited"], true, "{joined}");
}
