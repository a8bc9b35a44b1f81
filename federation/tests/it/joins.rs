//! `make_*` and `send_*`: coming and going of other servers' users.

use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedUserId, RoomVersionId};
use serde_json::{Value, json};
use starling_engine::ask::path;

use crate::{
    network::{Network, Server},
    peer::{Peer, value},
};

struct World {
    home: Server,
    peer: Peer,
    alice: OwnedUserId,
    mallory: OwnedUserId,
    version: RoomVersionId,
}

impl World {
    async fn new(version: RoomVersionId) -> Self {
        let network = Arc::new(Network::default());
        let home = Server::new(&network, "home.org").await;
        let peer = Peer::new(&network, "peer.org").await;
        let (alice, mallory) = (home.user("alice").await, peer.user("mallory"));
        Self { home, peer, alice, mallory, version }
    }

    async fn room(&self, state: &[(&str, Value)]) -> OwnedRoomId {
        self.home.room(&self.alice, self.version.clone(), state).await
    }

    async fn made(&self, room_id: &OwnedRoomId) -> Value {
        let Self { mallory, version, .. } = self;
        let path = format!("/_matrix/federation/v1/make_join/{room_id}/{mallory}?ver={version}");
        let (status, made) = self.peer.get(&self.home, &path).await;
        assert_eq!(status, 200, "{made}");
        made["event"].clone()
    }
}

#[tokio::test]
async fn a_join_is_taken_and_answered_with_the_state() {
    for version in [RoomVersionId::V1, RoomVersionId::V3, RoomVersionId::V10, RoomVersionId::V12] {
        let world = World::new(version.clone()).await;
        let room_id = world.room(&[]).await;
        let mut made = world.made(&room_id).await;
        if version == RoomVersionId::V1 {
            made["event_id"] = json!("$mine:peer.org");
        }
        let join = world.peer.sign(made, &version);
        // Event IDs of version 3 may hold a slash.
        let path = path("v2/send_join", &[room_id.as_str(), join.event_id.as_str()]);
        let (status, joined) = world.peer.put(&world.home, &path, &value(&join)).await;
        assert_eq!(status, 200, "{version}: {joined}");
        let types = |list: &Value| -> Vec<String> {
            let list = list.as_array().unwrap();
            list.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
        };
        let state = types(&joined["state"]);
        for kind in ["m.room.create", "m.room.power_levels", "m.room.join_rules", "m.room.name"] {
            assert!(state.iter().any(|it| it == kind), "{version}: {kind}");
        }
        assert!(types(&joined["auth_chain"]).iter().any(|it| it == "m.room.create"));
        assert_eq!(state.iter().filter(|kind| *kind == "m.room.member").count(), 1, "before it");
        let key = ("m.room.member".to_owned(), world.mallory.to_string());
        assert_eq!(world.home.state(&room_id).await.get(&key).unwrap(), join.event_id.as_str());
        // The answer may get lost: the same again gives the same.
        let again = world.peer.put(&world.home, &path, &value(&join)).await;
        assert_eq!((again.0, &again.1["event"]), (200, &joined["event"]));
    }
}

#[tokio::test]
async fn what_was_not_asked_for_is_not_taken() {
    let world = World::new(RoomVersionId::V11).await;
    let room_id = world.room(&[]).await;
    let other_room = world.room(&[]).await;
    let made = world.made(&room_id).await;
    let with = |field: &str, value: Value| {
        let mut event = made.clone();
        event[field] = value;
        event
    };
    let before = world.home.state(&room_id).await;
    let content = |membership: &str| json!({ "membership": membership });
    for (event, reason) in [
        (with("content", content("leave")), "another membership"),
        (with("content", content("ban")), "another membership"),
        (with("type", json!("m.room.name")), "another type"),
        (with("state_key", json!("@bob:home.org")), "another state key"),
        (with("room_id", json!(other_room)), "another room"),
        (with("prev_events", json!(["$unknown"])), "unknown predecessors"),
        (with("auth_events", json!(["$unknown"])), "unknown auth events"),
        (with("auth_events", json!([])), "no auth events"),
    ] {
        let event = world.peer.sign(event, &world.version);
        let path = format!("/_matrix/federation/v2/send_join/{room_id}/{}", event.event_id);
        let (status, answer) = world.peer.put(&world.home, &path, &value(&event)).await;
        assert!(matches!(status, 400 | 403), "{reason}: {status} {answer}");
    }

    let join = world.peer.sign(made.clone(), &world.version);
    let path = format!("/_matrix/federation/v2/send_join/{room_id}/{}", join.event_id);
    let mut tampered = value(&join);
    tampered["content"]["displayname"] = json!("Alice");
    let mut unsigned = value(&join);
    unsigned["signatures"] = json!({});
    let mut foreign = value(&join);
    foreign["signatures"] = json!({ "peer.org": { "ed25519:x": "AAAA" } });
    for body in [tampered, unsigned, foreign, json!({})] {
        let (status, answer) = world.peer.put(&world.home, &path, &body).await;
        assert!(matches!(status, 400 | 403), "{body}: {status} {answer}");
        assert!(answer["errcode"].is_string());
    }
    let wrong_id = format!("/_matrix/federation/v2/send_join/{room_id}/$other");
    assert_eq!(world.peer.put(&world.home, &wrong_id, &value(&join)).await.0, 400);
    assert_eq!(world.home.state(&room_id).await, before);
}

#[tokio::test]
async fn a_server_hands_in_its_own_users_only() {
    let world = World::new(RoomVersionId::V11).await;
    let third = Peer::new(&world.home.network, "third.org").await;
    let room_id = world.room(&[]).await;
    let foreign = format!("/_matrix/federation/v1/make_join/{room_id}/@x:third.org?ver=11");
    assert_eq!(world.peer.get(&world.home, &foreign).await.0, 403);
    // A join that is well signed by its own server, handed in by another.
    let own = format!("/_matrix/federation/v1/make_join/{room_id}/@x:third.org?ver=11");
    let made = third.get(&world.home, &own).await.1;
    let join = third.sign(made["event"].clone(), &world.version);
    let path = format!("/_matrix/federation/v2/send_join/{room_id}/{}", join.event_id);
    let (status, answer) = world.peer.put(&world.home, &path, &value(&join)).await;
    assert_eq!((status, &answer["errcode"]), (403, &json!("M_FORBIDDEN")));
}

#[tokio::test]
async fn room_versions_must_match() {
    let world = World::new(RoomVersionId::V12).await;
    let room_id = world.room(&[]).await;
    let mallory = &world.mallory;
    for query in ["", "?ver=1&ver=11"] {
        let path = format!("/_matrix/federation/v1/make_join/{room_id}/{mallory}{query}");
        let (status, answer) = world.peer.get(&world.home, &path).await;
        assert_eq!(status, 400);
        assert_eq!(answer["errcode"], "M_INCOMPATIBLE_ROOM_VERSION");
        assert_eq!(answer["room_version"], "12");
    }
    let unknown = format!("/_matrix/federation/v1/make_join/!nowhere/{mallory}?ver=12");
    assert_eq!(world.peer.get(&world.home, &unknown).await.0, 404);
}

#[tokio::test]
async fn members_of_another_room_are_let_in_with_our_signature() {
    let world = World::new(RoomVersionId::V11).await;
    let club = world.room(&[]).await;
    let allow = json!([{ "type": "m.room_membership", "room_id": club }]);
    let rules = json!({ "join_rule": "restricted", "allow": allow });
    let room_id = world.room(&[("m.room.join_rules", rules)]).await;
    let refused = world.peer.join(&world.home, &room_id, &world.mallory, &world.version).await;
    assert_eq!(refused.0, 403, "{}", refused.1);
    let joined = world.peer.join(&world.home, &club, &world.mallory, &world.version).await;
    assert_eq!(joined.0, 200);
    let (status, joined) =
        world.peer.join(&world.home, &room_id, &world.mallory, &world.version).await;
    assert_eq!(status, 200, "{joined}");
    let event = &joined["event"];
    let by = event["content"]["join_authorised_via_users_server"].as_str();
    assert_eq!(by, Some(world.alice.as_str()));
    assert!(
        event["signatures"]["home.org"].is_object() && event["signatures"]["peer.org"].is_object()
    );
}

#[tokio::test]
async fn who_claims_to_be_let_in_is_not_signed_for() {
    let world = World::new(RoomVersionId::V11).await;
    let club = world.room(&[]).await;
    let allow = json!([{ "type": "m.room_membership", "room_id": club }]);
    let rules = json!({ "join_rule": "restricted", "allow": allow });
    let room_id = world.room(&[("m.room.join_rules", rules)]).await;
    // The outline of a room that lets everybody in, made into a join of this one.
    let mut event = world.made(&club).await;
    let state = world.home.state(&room_id).await;
    let id = |kind: &str, key: &str| state[&(kind.to_owned(), key.to_owned())].clone();
    let name = id("m.room.name", "");
    event["room_id"] = json!(room_id);
    event["prev_events"] = json!([name]);
    event["auth_events"] = json!([
        id("m.room.create", ""),
        id("m.room.power_levels", ""),
        id("m.room.join_rules", ""),
        id("m.room.member", world.alice.as_str()),
    ]);
    event["content"] = json!({
        "membership": "join", "join_authorised_via_users_server": world.alice,
    });
    let join = world.peer.sign(event, &world.version);
    let path = format!("/_matrix/federation/v2/send_join/{room_id}/{}", join.event_id);
    let (status, answer) = world.peer.put(&world.home, &path, &value(&join)).await;
    assert_eq!(status, 403, "{answer}");
    assert_eq!(world.home.membership(room_id.as_str(), world.mallory.as_str()).await, None);
}

#[tokio::test]
async fn leaving_and_knocking() {
    let world = World::new(RoomVersionId::V12).await;
    let room_id = world.room(&[("m.room.join_rules", json!({ "join_rule": "knock" }))]).await;
    let (mallory, version) = (&world.mallory, &world.version);
    for (wish, version_of_send, query) in
        [("knock", "v1", "?ver=12"), ("leave", "v2", ""), ("knock", "v1", "?ver=12")]
    {
        let path = format!("/_matrix/federation/v1/make_{wish}/{room_id}/{mallory}{query}");
        let (status, made) = world.peer.get(&world.home, &path).await;
        assert_eq!(status, 200, "{made}");
        let event = world.peer.sign(made["event"].clone(), version);
        let path = format!(
            "/_matrix/federation/{version_of_send}/send_{wish}/{room_id}/{}",
            event.event_id
        );
        let (status, answer) = world.peer.put(&world.home, &path, &value(&event)).await;
        assert_eq!(status, 200, "{answer}");
        let now = world.home.membership(room_id.as_str(), mallory.as_str()).await;
        assert_eq!(now.as_deref(), Some(wish));
        if wish == "knock" {
            let state = answer["knock_room_state"].as_array().unwrap();
            assert!(state.iter().any(|event| event["type"] == "m.room.create"));
            assert!(state.iter().all(|event| event["signatures"].is_object()), "whole events");
            assert!(state.iter().all(|event| event["type"] != "m.room.member"));
        }
    }
}
