//! Spaces and rooms of which another server knows.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::Response;
use ruma::{OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, UserId};
use serde_json::{Value, json, value::to_raw_value};
use starling_engine::{
    rooms::{
        create::{CreateRoom, InitialState, Preset, create},
        membership::{
            content::Member,
            invite::{Invite, invite},
            join::{Join, join},
        },
        send::{SetState, state},
    },
    spaces::{
        hierarchy::{self, HierarchyError, Page, Wanted},
        overview,
    },
};

use crate::{
    network::{Network, Server},
    peer::Peer,
};

async fn room(server: &Server, creator: &OwnedUserId, kind: &str, rules: Value) -> OwnedRoomId {
    server.network.clock.advance(1);
    let mut creation_content = serde_json::Map::new();
    if !kind.is_empty() {
        creation_content.insert("type".to_owned(), kind.into());
    }
    let wanted = CreateRoom {
        creator: creator.clone(),
        version: Some(RoomVersionId::V11),
        preset: Preset::PublicChat,
        published: false,
        alias: None,
        name: Some("Room".to_owned()),
        topic: None,
        invite: vec![],
        is_direct: false,
        creation_content,
        initial_state: vec![InitialState {
            kind: "m.room.join_rules".into(),
            state_key: String::new(),
            content: to_raw_value(&rules).unwrap(),
        }],
        power_level_content_override: serde_json::Map::new(),
    };
    create(server.engine(), &wanted).await.unwrap()
}

async fn space(server: &Server, creator: &OwnedUserId) -> OwnedRoomId {
    room(server, creator, "m.space", public()).await
}

fn public() -> Value {
    json!({ "join_rule": "public" })
}

async fn link(server: &Server, sender: &OwnedUserId, parent: &RoomId, child: &RoomId, via: &str) {
    server.network.clock.advance(1);
    let wanted = SetState {
        room_id: parent.to_owned(),
        sender: sender.clone(),
        kind: "m.space.child".into(),
        state_key: child.to_string(),
        content: to_raw_value(&json!({ "via": [via] })).unwrap(),
        ts: None,
    };
    state(server.engine(), wanted).await.unwrap();
}

async fn page(server: &Server, who: &UserId, room: &RoomId) -> Page {
    hierarchy::page(server.engine(), who, room, &Wanted::default()).await.unwrap()
}

fn ids(page: &Page) -> Vec<OwnedRoomId> {
    page.rooms.iter().map(|room| room.summary.listed.room_id.clone()).collect()
}

async fn enter(server: &Server, user: &OwnedUserId, room: &OwnedRoomId, via: &Server) {
    let (via, more) = (vec![via.name().to_owned()], serde_json::Map::new());
    let wish = Join { user_id: user, room_id: room, via, reason: None, more };
    join(server.engine(), wish).await.unwrap();
}

#[tokio::test]
async fn a_walk_goes_on_in_rooms_of_another_server() {
    let network = Arc::new(Network::default());
    let (a, b) = (Server::new(&network, "a.org").await, Server::new(&network, "b.org").await);
    let (alice, bob) = (a.user("alice").await, b.user("bob").await);
    let root = space(&a, &alice).await;
    let there = space(&b, &bob).await;
    let deeper = space(&b, &bob).await;
    let leaf = room(&b, &bob, "", public()).await;
    let hidden = room(&b, &bob, "", json!({ "join_rule": "invite" })).await;
    let back = room(&a, &alice, "", json!({ "join_rule": "invite" })).await;
    link(&a, &alice, &root, &there, "b.org").await;
    for child in [&deeper, &hidden, &back] {
        link(&b, &bob, &there, child, "b.org").await;
    }
    link(&b, &bob, &deeper, &leaf, "b.org").await;

    // What this server knows itself counts, whatever the other says of its own rooms.
    let all = page(&a, &alice, &root).await;
    assert_eq!(ids(&all), [&root, &there, &deeper, &leaf, &back].map(Clone::clone));
    assert_eq!(all.rooms[1].children_state.len(), 3);
    assert_eq!(all.rooms[2].summary.room_version.as_deref(), Some("11"));
    let carol = a.user("carol").await;
    assert_eq!(
        ids(&page(&a, &carol, &root).await),
        [&root, &there, &deeper, &leaf].map(Clone::clone)
    );

    let wanted = Wanted { max_depth: Some(2), ..Wanted::default() };
    let shallow = hierarchy::page(a.engine(), &carol, &root, &wanted).await.unwrap();
    assert_eq!(ids(&shallow), [&root, &there, &deeper].map(Clone::clone));

    // The answers count for a while; a server that is gone holds nobody up.
    network.unplug("b.org");
    assert_eq!(ids(&page(&a, &carol, &root).await).len(), 4);
    let late = room(&b, &bob, "", public()).await;
    link(&a, &alice, &root, &late, "b.org").await;
    assert_eq!(ids(&page(&a, &carol, &root).await).len(), 4);
}

#[tokio::test]
async fn a_first_room_that_is_elsewhere() {
    let network = Arc::new(Network::default());
    let (a, b) = (Server::new(&network, "a.org").await, Server::new(&network, "b.org").await);
    let (alice, bob) = (a.user("alice").await, b.user("bob").await);
    let open = space(&b, &bob).await;
    let closed = room(&b, &bob, "m.space", json!({ "join_rule": "invite" })).await;
    assert_eq!(ids(&page(&a, &alice, &open).await), [open]);
    let refused = hierarchy::page(a.engine(), &alice, &closed, &Wanted::default()).await;
    assert!(matches!(refused, Err(HierarchyError::Forbidden)));
    let seen = overview::for_user(a.engine(), &alice, &closed, vec![]).await.unwrap();
    assert!(seen.is_none());

    let wanted =
        Invite { room_id: &closed, sender: &bob, target: &alice, member: Member::default() };
    invite(b.engine(), wanted).await.unwrap();
    assert_eq!(ids(&page(&a, &alice, &closed).await), std::slice::from_ref(&closed));
    let seen = overview::for_user(a.engine(), &alice, &closed, vec![]).await.unwrap().unwrap();
    assert_eq!(seen.membership.as_deref(), Some("invite"));
    // When its server is gone, what came with the invite has to do.
    network.unplug("b.org");
    let late = overview::for_user(a.engine(), &alice, &closed, vec![]).await.unwrap().unwrap();
    assert_eq!(late.summary.listed.name.as_deref(), Some("Room"));
    assert_eq!(late.summary.listed.room_type.as_deref(), Some("m.space"));
    // An invite to one is none to the other.
    let carol = a.user("carol").await;
    let refused = hierarchy::page(a.engine(), &carol, &closed, &Wanted::default()).await;
    assert!(matches!(refused, Err(HierarchyError::Forbidden)));
}

#[tokio::test]
async fn members_of_a_space_know_of_its_restricted_rooms() {
    let network = Arc::new(Network::default());
    let (a, b) = (Server::new(&network, "a.org").await, Server::new(&network, "b.org").await);
    let (alice, bob) = (a.user("alice").await, b.user("bob").await);
    let stranger = a.user("stranger").await;
    let root = space(&a, &alice).await;
    let allow = json!([{ "type": "m.room_membership", "room_id": root }]);
    let rules = json!({ "join_rule": "restricted", "allow": allow });
    let members = room(&b, &bob, "", rules).await;
    link(&a, &alice, &root, &members, "b.org").await;
    // The other server cannot know that Alice is in the space.
    assert_eq!(ids(&page(&a, &alice, &root).await), std::slice::from_ref(&root));
    enter(&b, &bob, &root, &a).await;
    b.until_whole(&root).await;
    assert_eq!(ids(&page(&a, &alice, &root).await), [root.clone(), members.clone()]);
    assert_eq!(ids(&page(&a, &stranger, &root).await), std::slice::from_ref(&root));
    let seen = async |who: &UserId| {
        let via = vec![b.name().to_owned()];
        overview::for_user(a.engine(), who, &members, via).await.unwrap()
    };
    let summary = seen(&alice).await.unwrap().summary;
    assert_eq!(summary.allowed_room_ids, [root]);
    assert!(seen(&stranger).await.is_none());
}

#[tokio::test]
async fn a_server_is_told_what_its_users_may_know() {
    let network = Arc::new(Network::default());
    let home = Server::new(&network, "home.org").await;
    let peer = Peer::new(&network, "peer.org").await;
    let (alice, mallory) = (home.user("alice").await, peer.user("mallory"));
    let root = space(&home, &alice).await;
    let open = room(&home, &alice, "", public()).await;
    let closed = room(&home, &alice, "", json!({ "join_rule": "invite" })).await;
    let allow = json!([{ "type": "m.room_membership", "room_id": open }]);
    let members =
        room(&home, &alice, "", json!({ "join_rule": "restricted", "allow": allow })).await;
    let elsewhere = OwnedRoomId::try_from("!else:where.org").unwrap();
    for child in [&open, &closed, &members, &elsewhere] {
        link(&home, &alice, &root, child, "home.org").await;
    }
    let path = format!("/_matrix/federation/v1/hierarchy/{root}");
    let told = async || {
        let (status, answer) = peer.get(&home, &path).await;
        assert_eq!(status, 200, "{answer}");
        let children = answer["children"].as_array().unwrap().iter();
        let children: Vec<Value> = children.map(|child| child["room_id"].clone()).collect();
        (answer["room"].clone(), json!(children), answer["inaccessible_children"].clone())
    };
    let (room, children, closed_to_peer) = told().await;
    assert_eq!(room["children_state"].as_array().unwrap().len(), 4);
    assert_eq!(room["room_type"], "m.space");
    assert_eq!((children, closed_to_peer), (json!([open]), json!([closed, members])));
    let wanted =
        Invite { room_id: &closed, sender: &alice, target: &mallory, member: Member::default() };
    drop(invite(home.engine(), wanted).await);
    assert_eq!(peer.join(&home, &open, &mallory, &RoomVersionId::V11).await.0, 200);
    let (_, children, _) = told().await;
    assert!(children.as_array().unwrap().contains(&json!(members)));

    let suggested = peer.get(&home, &format!("{path}?suggested_only=true")).await.1;
    assert_eq!(suggested["room"]["children_state"], json!([]));
    assert_eq!(suggested["children"], json!([]));
    for room in ["!nowhere:home.org", elsewhere.as_str()] {
        let path = format!("/_matrix/federation/v1/hierarchy/{room}");
        let (status, answer) = peer.get(&home, &path).await;
        assert_eq!((status, &answer["errcode"]), (404, &json!("M_NOT_FOUND")));
    }
    let stranger = Peer::new(&network, "stranger.org").await;
    let path = format!("/_matrix/federation/v1/hierarchy/{closed}");
    assert_eq!(stranger.get(&home, &path).await.0, 404);
    let bad = peer.get(&home, "/_matrix/federation/v1/hierarchy/nothing").await;
    assert_eq!(bad.0, 400);
}

#[tokio::test]
async fn what_a_liar_says_reaches_only_those_who_name_it() {
    let network = Arc::new(Network::default());
    let a = Server::new(&network, "a.org").await;
    let b = Server::new(&network, "b.org").await;
    let (alice, bob) = (a.user("alice").await, b.user("bob").await);
    let honest = room(&b, &bob, "", public()).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, lie) = (asked.clone(), honest.clone());
    network.serve("evil.org", move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        let room = json!({ "room_id": lie, "name": "Lie", "num_joined_members": 1,
            "guest_can_join": false, "world_readable": true, "join_rule": "public" });
        let answer = json!({ "room": room, "children": [], "inaccessible_children": [] });
        Box::pin(async move { Response::new(Bytes::from(answer.to_string())) })
    });
    let (mine, other) = (space(&a, &alice).await, space(&a, &alice).await);
    link(&a, &alice, &mine, &honest, "evil.org").await;
    link(&a, &alice, &other, &honest, "b.org").await;
    let name =
        async |root: &RoomId| page(&a, &alice, root).await.rooms[1].summary.listed.name.clone();
    assert_eq!(name(&mine).await.as_deref(), Some("Lie"));
    assert_eq!(name(&other).await.as_deref(), Some("Room"));
    assert_eq!(name(&mine).await.as_deref(), Some("Lie"));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the answer is kept");
}
