//! Joining rooms of other servers that have many members.

use starling_conformance::{
    bench::large_join::{
        lazily,
        room::{LargeRoom, Size},
        wait_for_members,
    },
    client::{Sync, User, path},
    servers::Server,
};

use crate::support;

const SIZE: Size = Size { members: 600, servers: 40 };

async fn large_room(omit: bool) -> (LargeRoom, Server, User) {
    let room = LargeRoom::make(support::ca(), SIZE).await.unwrap();
    let mut spec = support::spec();
    spec.peers.extend(room.names.clone());
    let server = support::start(spec).await;
    let alice = User::register(&server, "alice").await.unwrap();
    room.serve(omit);
    (room, server, alice)
}

#[tokio::test]
async fn a_room_is_joined_with_all_its_members() {
    let (room, _server, alice) = large_room(false).await;
    alice.join(&room.id, &[&room.peer.name]).await.unwrap();
    assert_eq!(wait_for_members(&alice, &room.id).await.unwrap(), SIZE.members + 2);
}

#[tokio::test]
async fn a_room_is_joined_without_its_members_who_come_after_a_restart() {
    let (room, server, alice) = large_room(true).await;
    let mut lazy = Sync::start_with(&alice, &lazily()).await.unwrap();
    let mut eager = Sync::start(&alice).await.unwrap();
    alice.join(&room.id, &[&room.peer.name]).await.unwrap();
    lazy.section("join", &room.id).await.unwrap();
    room.peer.received("the question", |it| it.path.contains("/state_ids/")).await.unwrap();
    let first = alice.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
    assert!(first["rooms"]["join"].get(&room.id).is_none(), "{first}");
    server.stop().unwrap();
    server.resume().await.unwrap();
    room.tell.notify_waiters();
    room.tell.notify_one();
    let shown = eager.section("join", &room.id).await.unwrap();
    let state = shown["state"]["events"].as_array().unwrap();
    let members = state.iter().filter(|event| event["type"] == "m.room.member").count();
    assert!(members > SIZE.members, "{members}");
    assert_eq!(wait_for_members(&alice, &room.id).await.unwrap(), SIZE.members + 2);
    let levels = path("/_matrix/client/v3/rooms/{}/state/m.room.power_levels", &[&room.id]);
    alice.api.get(&levels).await.unwrap().ok().unwrap();
}
