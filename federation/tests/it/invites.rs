//! Invites of our users by other servers: what is signed, and what is not.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedRoomId, OwnedUserId, RoomVersionId};
use serde_json::{Value, json};
use starling_engine::allowance::Allowance;
use starling_engine::{ask::path, rooms::room};
use starling_storage::{Change, Fact, account_data, memberships};

use crate::{
    network::{Network, Server},
    peer::{Peer, value},
};

struct World {
    network: Arc<Network>,
    home: Server,
    peer: Peer,
    bob: OwnedUserId,
    mallory: OwnedUserId,
    version: RoomVersionId,
    room: OwnedRoomId,
    create: Value,
}

impl World {
    /// A room of the peer's, of which nobody else knows.
    async fn new(version: RoomVersionId) -> Self {
        let network = Arc::new(Network::default());
        let home = Server::new(&network, "home.org").await;
        let peer = Peer::new(&network, "peer.org").await;
        let (bob, mallory) = (home.user("bob").await, peer.user("mallory"));
        let mut create = json!({
            "type": "m.room.create", "state_key": "", "sender": mallory, "depth": 1,
            "content": { "room_version": version, "creator": mallory },
            "origin_server_ts": 1, "prev_events": [], "auth_events": [],
        });
        if version != RoomVersionId::V12 {
            create["room_id"] = json!("!room:peer.org");
        }
        let create = peer.sign(create, &version);
        let room = create.room_id.clone();
        Self { network, home, peer, bob, mallory, version, room, create: value(&create) }
    }

    fn event(&self, more: &Value) -> Value {
        let mut event = json!({
            "type": "m.room.member", "state_key": self.bob,
            "content": { "membership": "invite" },
        });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let before = "$before".try_into().unwrap();
        self.peer.event(&self.mallory, &self.room, &[before], 5, &[], &event)
    }

    async fn invite(&self, event: Value, state: &Value) -> (u16, Value) {
        let pdu = self.peer.sign(event, &self.version);
        let path = path("v2/invite", &[self.room.as_str(), pdu.event_id.as_str()]);
        let mut body = json!({ "room_version": self.version, "event": value(&pdu) });
        if !state.is_null() {
            body["invite_room_state"] = state.clone();
        }
        self.peer.put(&self.home, &path, &body).await
    }

    async fn commit(&self, change: Change) {
        self.home.engine().storage.commit(change).await.unwrap();
    }

    async fn stripped(&self) -> Option<String> {
        let mut conn = self.home.engine().storage.read().await.unwrap();
        let row = memberships::get(&mut conn, self.bob.as_str(), self.room.as_str()).await.unwrap();
        row.and_then(|row| row.stripped_state)
    }
}

#[tokio::test]
async fn an_invite_is_signed_and_kept_with_what_the_user_may_know() {
    for version in [RoomVersionId::V6, RoomVersionId::V11, RoomVersionId::V12] {
        let world = World::new(version.clone()).await;
        let state = json!([world.create]);
        let (status, answer) = world.invite(world.event(&json!({})), &state).await;
        assert_eq!(status, 200, "{version}: {answer}");
        let signatures = &answer["event"]["signatures"];
        assert!(signatures["home.org"].is_object() && signatures["peer.org"].is_object());
        let kept: Value = serde_json::from_str(&world.stripped().await.unwrap()).unwrap();
        let kept = kept.as_array().unwrap();
        assert_eq!(kept[0]["type"], "m.room.create");
        assert_eq!(kept[1]["content"]["membership"], "invite");
        for event in kept {
            let mut fields: Vec<_> = event.as_object().unwrap().keys().cloned().collect();
            fields.sort();
            assert_eq!(fields, ["content", "sender", "state_key", "type"]);
        }
    }
}

#[tokio::test]
async fn nothing_but_an_invite_is_signed() {
    let world = World::new(RoomVersionId::V11).await;
    let content = |membership: &str| json!({ "content": { "membership": membership } });
    for (event, reason) in [
        (content("leave"), "a leave"),
        (content("join"), "a join"),
        (content("ban"), "a ban"),
        (content("knock"), "a knock"),
        (json!({ "content": {} }), "nothing"),
        (json!({ "type": "m.room.power_levels" }), "another type"),
        (json!({ "state_key": world.mallory }), "their own user"),
        (json!({ "state_key": "@nobody:home.org" }), "nobody"),
        (json!({ "state_key": "@bob:third.org" }), "a third server's user"),
        (json!({ "state_key": "bob" }), "no user"),
        (json!({ "room_id": "!other:peer.org" }), "another room"),
    ] {
        let (status, answer) = world.invite(world.event(&event), &Value::Null).await;
        assert!(matches!(status, 400 | 403), "{reason}: {status} {answer}");
        assert!(!answer.to_string().contains("home.org\":{\"ed25519"), "{reason}");
    }
    // In the name of a user of ours, and with content that its server did not hash.
    let path = path("v2/invite", &[world.room.as_str(), "$x"]);
    let mut forged = value(&world.peer.sign(world.event(&json!({})), &world.version));
    forged["sender"] = json!("@bob:home.org");
    let body = json!({ "room_version": "11", "event": forged, "invite_room_state": [] });
    assert_eq!(world.peer.put(&world.home, &path, &body).await.0, 400);
    let pdu = world.peer.sign(world.event(&json!({})), &world.version);
    let mut tampered = value(&pdu);
    tampered["content"]["displayname"] = json!("Somebody else");
    let path =
        starling_engine::ask::path("v2/invite", &[world.room.as_str(), pdu.event_id.as_str()]);
    let body = json!({ "room_version": "11", "event": tampered, "invite_room_state": [] });
    assert_eq!(world.peer.put(&world.home, &path, &body).await.0, 400);
    for body in [
        json!({ "room_version": "org.example", "event": value(&pdu) }),
        json!({ "event": value(&pdu) }),
        json!({ "room_version": 11, "event": value(&pdu) }),
        json!({ "room_version": "11", "event": [] }),
    ] {
        assert_eq!(world.peer.put(&world.home, &path, &body).await.0, 400, "{body}");
    }
    assert_eq!(world.home.membership(world.room.as_str(), world.bob.as_str()).await, None);
}

#[tokio::test]
async fn the_state_that_comes_with_an_invite_is_pruned_or_refused() {
    let name = |content: Value| {
        json!({ "type": "m.room.name", "state_key": "", "sender": "@mallory:peer.org",
            "content": content, "secret": "x", "unsigned": { "y": 1 } })
    };
    let world = World::new(RoomVersionId::V11).await;
    let many = vec![name(json!({ "name": "x".repeat(3000) })); 200];
    for state in [
        json!([name(json!({ "name": "Room" }))]),
        json!([7, null, "x", [], {}, name(json!("no object")), name(json!({}))]),
        json!(many),
    ] {
        let (status, answer) = world.invite(world.event(&json!({})), &state).await;
        assert_eq!(status, 200, "{answer}");
        let kept = world.stripped().await.unwrap();
        assert!(kept.len() < 70_000 && !kept.contains("secret"));
    }
    for state in [json!({}), json!("x"), json!(7)] {
        assert_eq!(world.invite(world.event(&json!({})), &state).await.0, 400, "{state}");
    }

    // A room that is named by its create event: no invite without it.
    let world = World::new(RoomVersionId::V12).await;
    let mut other = world.create.clone();
    other["origin_server_ts"] = json!(2);
    let mut unsigned = world.create.clone();
    unsigned["signatures"] = json!({});
    for state in [
        Value::Null,
        json!([]),
        json!([name(json!({}))]),
        json!([other]),
        json!([unsigned]),
        json!([world.create, name(json!({}))]),
    ] {
        assert_eq!(world.invite(world.event(&json!({})), &state).await.0, 400, "{state}");
    }
    assert_eq!(world.stripped().await, None);
}

#[tokio::test]
async fn an_invite_waits_for_who_is_about_to_take_the_room_over() {
    let world = World::new(RoomVersionId::V11).await;
    let place = room::place(world.home.engine(), &world.room).await;
    let nothing = Value::Null;
    let mut invite = Box::pin(world.invite(world.event(&json!({})), &nothing));
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut invite).await.is_err());
    assert_eq!(world.stripped().await, None);
    drop(place);
    assert_eq!(invite.await.0, 200);
    assert!(world.stripped().await.is_some());
}

#[tokio::test]
async fn who_wants_no_invites_gets_none() {
    let world = World::new(RoomVersionId::V11).await;
    let (user_id, room_id) = (world.bob.to_string(), String::new());
    let kind = "m.invite_permission_config".to_owned();
    let content = r#"{"default_action":"block"}"#.to_owned();
    let mut change = Change::new();
    let (user, room) = (user_id.clone(), room_id.clone());
    let at = change.fact(Fact::AccountData { user_id: user, room_id: room, kind: kind.clone() });
    change.write(account_data::Write::Put { user_id, room_id, kind, content, at });
    world.commit(change).await;
    let (status, answer) = world.invite(world.event(&json!({})), &Value::Null).await;
    assert_eq!((status, &answer["errcode"]), (403, &json!("M_INVITE_BLOCKED")), "{answer}");
    assert_eq!(world.stripped().await, None);
}

#[tokio::test]
async fn strangers_can_leave_so_many_invites_open_and_no_more() {
    let world = World::new(RoomVersionId::V11).await;
    let mut change = Change::new();
    for number in 0..1000 {
        let (user_id, room_id) = (world.bob.to_string(), format!("!{number}:peer.org"));
        let at =
            change.fact(Fact::Membership { user_id: user_id.clone(), room_id: room_id.clone() });
        let membership = "invite".to_owned();
        let row = memberships::MembershipRow { user_id, room_id, membership, ..Default::default() };
        change.write(memberships::Write::Put { row, at });
    }
    world.commit(change).await;
    assert_eq!(world.invite(world.event(&json!({})), &Value::Null).await.0, 403);
    assert_eq!(world.stripped().await, None);
}

#[tokio::test]
async fn a_server_that_sends_too_many_invites_has_to_wait() {
    let world = World::new(RoomVersionId::V11).await;
    let bob = &world.bob;
    world.home.limit_invites(Allowance::new(3, 1));
    let invite = async || world.invite(world.event(&json!({})), &Value::Null).await;
    for _ in 0..3 {
        assert_eq!(invite().await.0, 200);
    }
    let (status, answer) = invite().await;
    assert_eq!((status, &answer["errcode"]), (429, &json!("M_LIMIT_EXCEEDED")), "{answer}");
    assert!(answer["retry_after_ms"].as_u64().is_some_and(|ms| (1..=1000).contains(&ms)));
    // Other servers, and other requests of this one, are not held up.
    let third = Peer::new(&world.network, "third.org").await;
    let path = path("v2/invite", &["!r:third.org", "$e"]);
    assert_eq!(third.put(&world.home, &path, &json!({})).await.0, 400);
    let profile = format!("/_matrix/federation/v1/query/profile?user_id={bob}");
    assert_eq!(world.peer.get(&world.home, &profile).await.0, 200);
    world.network.clock.advance(1_000);
    assert_eq!(invite().await.0, 200);
    assert_eq!(invite().await.0, 429);
}
