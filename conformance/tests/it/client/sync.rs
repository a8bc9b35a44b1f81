//! GET /_matrix/client/v3/sync

use std::time::Duration;

use starling_conformance::client::{Sync, path};

use crate::support;

pub(crate) mod connection;
mod extensions;
mod sliding;
mod v4;

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

/// matrix-js-sdk asks for the state after the timeline by the name of the proposal, and reads it so.
#[tokio::test]
async fn the_state_after_the_timeline_is_named_as_it_was_asked_for() {
    const STABLE: &str = "state_after";
    const UNSTABLE: &str = "org.matrix.msc4222.state_after";
    const SYNC: &str = "/_matrix/client/v3/sync";
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let here = alice.create_public_room().await.unwrap();
    let left = alice.create_public_room().await.unwrap();
    let before = bob.api.get(SYNC).await.unwrap().ok().unwrap();
    let since = before["next_batch"].as_str().unwrap();
    for room in [&here, &left] {
        bob.join(room, &[]).await.unwrap();
    }
    bob.leave(&left).await.unwrap();
    for (query, name) in [
        ("use_state_after=true", STABLE),
        ("org.matrix.msc4222.use_state_after=true", UNSTABLE),
        ("use_state_after=true&org.matrix.msc4222.use_state_after=true", STABLE),
        ("use_state_after=false&org.matrix.msc4222.use_state_after=false", "state"),
        ("timeout=0", "state"),
    ] {
        let address = path(&format!("{SYNC}?since={{}}&{query}"), &[since]);
        let answer = bob.api.get(&address).await.unwrap().ok().unwrap();
        for (section, room) in [("join", &here), ("leave", &left)] {
            let room = &answer["rooms"][section][room];
            let mut names = vec!["state", STABLE, UNSTABLE];
            names.retain(|name| !room[name].is_null());
            assert_eq!(names, [name], "{query}: {room}");
        }
        // What the timeline shows too is in the state after it, and not in that before it.
        let state = answer["rooms"]["join"][&here][name]["events"].as_array().unwrap();
        assert_eq!(state.is_empty(), name == "state", "{query}: {state:?}");
    }
    let wrong = format!("{SYNC}?org.matrix.msc4222.use_state_after=yes");
    bob.api.get(&wrong).await.unwrap().expect_error(400, "M_INVALID_PARAM").unwrap();
}
