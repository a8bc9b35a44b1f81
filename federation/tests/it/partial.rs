//! Rooms that are joined without their members, which come later.

use std::sync::{Arc, atomic::Ordering};

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId};
use serde_json::{Map, Value, json};
use starling_engine::{
    accounts::devices::rename,
    ask,
    events::store,
    reading::{access::Asking, filter::Filter, state::joined_members, token::SyncToken},
    rooms::{
        membership::{
            join::{Join, join},
            leave::leave,
        },
        partial,
    },
    sync::{Request, sync},
};
use tokio::sync::watch;

use crate::{
    network::{Network, Server, ask as ask_router},
    outbound::Inbox,
    peer::{Peer, value},
};

const LAZY: &str = r#"{"room":{"state":{"lazy_load_members":true}}}"#;

/// Bob of `b.org` joins a room of Alice's, in which Mallory of `peer.org` is too; `a.org` tells its
/// state when the gate is opened.
struct World {
    a: Server,
    b: Server,
    peer: Peer,
    gate: watch::Sender<bool>,
    alice: OwnedUserId,
    bob: OwnedUserId,
    mallory: OwnedUserId,
    room: OwnedRoomId,
    version: RoomVersionId,
}

impl World {
    async fn new(version: RoomVersionId) -> Self {
        Self::with(version, &[]).await
    }

    async fn with(version: RoomVersionId, initial_state: &[(&str, Value)]) -> Self {
        let network = Arc::new(Network::default());
        let a = Server::new(&network, "a.org").await;
        let b = Server::new(&network, "b.org").await;
        let peer = Peer::new(&network, "peer.org").await;
        let (alice, bob) = (a.user("alice").await, b.user("bob").await);
        let mallory = peer.user("mallory");
        peer.answer("/_matrix/federation/v1/send/", |_| (200, json!({ "pdus": {} })));
        let room = a.room(&alice, version.clone(), initial_state).await;
        assert_eq!(peer.join(&a, &room, &mallory, &version).await.0, 200);
        let gate = watch::Sender::new(false);
        a.plug_behind(&gate.subscribe());
        Self { a, b, peer, gate, alice, bob, mallory, room, version }
    }

    async fn join(&self, user_id: &OwnedUserId) {
        let (room_id, via) = (&*self.room, vec![self.a.name().to_owned()]);
        let wanted = Join { user_id, room_id, via, reason: None, more: Map::new() };
        join(self.b.engine(), wanted).await.unwrap();
    }

    async fn is_partial(&self) -> bool {
        partial::is_partial(self.b.engine(), &self.room).await.unwrap()
    }

    async fn complete(&self) {
        self.gate.send_replace(true);
        self.b.until_whole(&self.room).await;
    }

    /// What a user of `b.org` is shown.
    async fn sync(&self, user_id: &OwnedUserId, filter: &str, since: Option<&Value>) -> Value {
        let asking = Asking { user_id, device_id: Some("DEVICE".into()) };
        let since = since.map(|it| SyncToken::parse(it["next_batch"].as_str().unwrap()).unwrap());
        let filter = Filter::parse(filter).unwrap();
        let request = Request { filter: filter.into(), since, ..Request::default() };
        serde_json::to_value(sync(self.b.engine(), asking, request).await.unwrap()).unwrap()
    }

    /// The room as a user of `b.org` is shown it.
    async fn shown(&self, user_id: &OwnedUserId, filter: &str) -> Value {
        self.sync(user_id, filter, None).await["rooms"]["join"][self.room.as_str()].clone()
    }

    /// An event of the peer after others.
    fn event(&self, after: &[OwnedEventId], auth: &[String], more: &Value) -> Value {
        let after: Vec<_> = after.iter().map(|id| &**id).collect();
        let event = self.peer.event(&self.mallory, &self.room, &after, 100, auth, more);
        value(&self.peer.sign(event, &self.version))
    }

    /// What authorises events of a user, as `a.org` has it.
    async fn auth(&self, user_id: &OwnedUserId) -> Vec<String> {
        let state = self.a.state(&self.room).await;
        let id = |kind: &str, key: &str| state.get(&(kind.to_owned(), key.to_owned())).cloned();
        let create = id("m.room.create", "").filter(|_| self.version != RoomVersionId::V12);
        let levels = id("m.room.power_levels", "");
        create.into_iter().chain(levels).chain(id("m.room.member", user_id.as_str())).collect()
    }

    /// Lets the peer tell what authorises its events.
    async fn tell_auth(&self) {
        let mut chain = Vec::new();
        for id in self.a.state(&self.room).await.into_values().chain(self.auth(&self.mallory).await)
        {
            let id = OwnedEventId::try_from(id).unwrap();
            let event = store::get(self.a.engine(), &self.room, &id).await.unwrap().unwrap();
            chain.push(value(&event.pdu));
        }
        let answer = json!({ "auth_chain": chain });
        self.peer.answer("/_matrix/federation/v1/event_auth/", move |_| (200, answer.clone()));
    }

    async fn own_join(&self) -> OwnedEventId {
        let key = ("m.room.member".to_owned(), self.bob.to_string());
        self.b.state(&self.room).await[&key].clone().try_into().unwrap()
    }

    /// Waits until both servers have the same state.
    async fn agree(&self) {
        let agreed = async || self.a.state(&self.room).await == self.b.state(&self.room).await;
        self.b.until("agreement", agreed).await;
    }
}

fn members(state: &std::collections::BTreeMap<(String, String), String>) -> Vec<String> {
    let members = state.keys().filter(|(kind, _)| kind == "m.room.member");
    members.map(|(_, user_id)| user_id.clone()).collect()
}

#[tokio::test]
async fn an_answer_without_members_has_the_rest_of_the_state_and_says_which_servers_there_are() {
    for named in [true, false] {
        let world = World::new(RoomVersionId::V11).await;
        let World { a, peer, room, version, .. } = &world;
        if !named {
            a.set(room, &world.alice, "m.room.name", json!({ "name": "" })).await;
        }
        let carol = peer.user("carol");
        let path = format!("/_matrix/federation/v1/make_join/{room}/{carol}?ver={version}");
        let made = peer.get(a, &path).await.1;
        let signed = peer.sign(made["event"].clone(), version);
        let path = ask::path("v2/send_join", &[room.as_str(), signed.event_id.as_str()]);
        let path = ask::query(path, &[("omit_members", "true")]);
        let (status, joined) = peer.put(a, &path, &value(&signed)).await;
        assert_eq!((status, &joined["members_omitted"]), (200, &json!(true)), "{joined}");
        let list = |field: &str| joined[field].as_array().cloned().unwrap();
        let mut servers = list("servers_in_room");
        servers.sort_by_key(ToString::to_string);
        assert_eq!(servers, [json!("a.org"), json!("peer.org")]);
        let kinds: Vec<String> =
            list("state").iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
        for kind in ["m.room.create", "m.room.power_levels", "m.room.join_rules", "m.room.name"] {
            assert!(kinds.iter().any(|it| it == kind), "{kind}");
        }
        // Without a name the room is called by its members.
        let given = kinds.iter().filter(|kind| *kind == "m.room.member").count();
        assert_eq!(given, if named { 0 } else { 2 });
        let id = |event: &Value| event["hashes"]["sha256"].clone();
        let state: Vec<Value> = list("state").iter().map(id).collect();
        assert!(list("auth_chain").iter().all(|event| !state.contains(&id(event))), "given twice");
    }
}

#[tokio::test]
async fn a_room_is_there_at_once_and_its_members_later() {
    for version in [RoomVersionId::V4, RoomVersionId::V10, RoomVersionId::V12] {
        let world = World::new(version).await;
        let World { a, b, room, bob, .. } = &world;
        world.join(bob).await;
        assert!(world.is_partial().await);
        assert_eq!(members(&b.state(room).await), [bob.to_string()]);
        assert!(world.shown(bob, LAZY).await.is_object());
        assert!(world.shown(bob, "{}").await.is_null(), "not before its members are known");

        // Those who are said to be in the room are sent what is said there.
        b.say(room, bob, "hello").await;
        a.until("the message", async || a.messages(room).await == ["hello"]).await;

        // Who authorises an event is believed to be there.
        world.tell_auth().await;
        let derek =
            world.event(&[world.own_join().await], &world.auth(&world.mallory).await, &json!({}));
        let (status, answer) =
            world.peer.transaction(b, "t1", std::slice::from_ref(&derek), &[]).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(b.messages(room).await, ["hello", "100"]);
        assert!(members(&b.state(room).await).contains(&world.mallory.to_string()));
        let lazily = world.shown(bob, LAZY).await;
        let state = lazily["state"]["events"].as_array().unwrap();
        assert!(state.iter().any(|event| event["state_key"] == world.mallory.as_str()));

        world.peer.transaction(a, "t1", &[derek], &[]).await;
        world.complete().await;
        world.agree().await;
        let whole = world.shown(bob, "{}").await;
        let shown = whole["state"]["events"].as_array().unwrap();
        let is_alice = |event: &Value| event["state_key"] == world.alice.as_str();
        assert!(shown.iter().any(is_alice));
        assert_eq!(b.messages(room).await, ["hello", "100"]);
    }
}

#[tokio::test]
async fn what_needs_all_members_waits_for_them() {
    let world = World::new(RoomVersionId::V11).await;
    let World { a, b, room, bob, version, .. } = &world;
    world.join(bob).await;
    let asking = Asking { user_id: bob, device_id: None };
    let mut waiting = Box::pin(joined_members(b.engine(), asking, room));
    assert!(futures_util::poll!(&mut waiting).is_pending());

    // Another server is not helped by who does not know the room.
    let carol = world.peer.user("carol");
    for wish in ["join", "knock"] {
        let path = format!("/_matrix/federation/v1/make_{wish}/{room}/{carol}?ver={version}");
        let (status, answer) = world.peer.get(b, &path).await;
        assert_eq!((status, &answer["errcode"]), (404, &json!("M_NOT_FOUND")), "{wish}");
    }
    let path =
        format!("/_matrix/federation/v1/state_ids/{room}?event_id={}", world.own_join().await);
    assert_eq!(world.peer.get(b, &path).await.0, 403, "it is not known to be in the room");

    world.complete().await;
    let members = waiting.await.unwrap();
    assert_eq!(members.len(), 3);
    world.agree().await;
    let (status, answer) = world.peer.get(b, &path).await;
    assert_eq!(status, 200, "{answer}");
    let state = a.state(room).await;
    assert_eq!(answer["pdu_ids"].as_array().unwrap().len(), state.len() - 1, "before the join");
}

#[tokio::test]
async fn what_was_believed_wrongly_is_taken_back() {
    let world = World::new(RoomVersionId::V11).await;
    let World { a, b, peer, room, bob, mallory, .. } = &world;
    let joined = world.auth(mallory).await;
    world.tell_auth().await;
    // Mallory leaves before Bob comes.
    let path = format!("/_matrix/federation/v1/make_leave/{room}/{mallory}");
    let made = peer.get(a, &path).await.1;
    let left = peer.sign(made["event"].clone(), &world.version);
    let path = format!("/_matrix/federation/v2/send_leave/{room}/{}", left.event_id);
    assert_eq!(peer.put(a, &path, &value(&left)).await.0, 200);
    world.join(bob).await;

    // Whoever shows a join is believed, as long as nothing says otherwise.
    let wrong = world.event(&[world.own_join().await], &joined, &json!({}));
    let (status, answer) = peer.transaction(b, "t1", &[wrong], &[]).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(b.messages(room).await, ["100"]);
    let said = b.say(room, bob, "after it").await;

    world.complete().await;
    let lazily = world.shown(bob, LAZY).await;
    let timeline = lazily["timeline"]["events"].as_array().unwrap();
    assert!(timeline.iter().all(|event| event["content"]["body"] != "100"), "{timeline:?}");
    assert!(timeline.iter().any(|event| event["event_id"] == said.as_str()));
    let key = ("m.room.member".to_owned(), mallory.to_string());
    assert_eq!(b.state(room).await[&key], left.event_id.as_str());
}

#[tokio::test]
async fn others_are_asked_when_the_first_server_does_not_know() {
    let world = World::new(RoomVersionId::V11).await;
    let World { a, b, peer, room, bob, .. } = &world;
    // The peer answers nonsense to all questions; it is asked when the other one is away.
    peer.answer("/_matrix/federation/v1/state_ids/", |_| (200, json!({})));
    world.join(bob).await;
    let third = Server::new(&a.network, "c.org").await;
    let carol = third.user("carol").await;
    world.gate.send_replace(true);
    world.b.until_whole(room).await;
    let (room_id, via) = (&**room, vec![b.name().to_owned()]);
    let wanted = Join { user_id: &carol, room_id, via, reason: None, more: Map::new() };
    join(third.engine(), wanted).await.unwrap();
    third.until_whole(room).await;
    let all = members(&third.state(room).await);
    assert_eq!(all.len(), 4, "{all:?}");
}

#[tokio::test]
async fn a_room_becomes_whole_though_what_the_join_follows_is_withheld() {
    let world = World::new(RoomVersionId::V11).await;
    let World { a, b, room, alice, bob, .. } = &world;
    let secret = a.say(room, alice, "before Bob came").await;
    let withheld = a.plug_withholding(&secret);
    world.join(bob).await;
    b.until_whole(room).await;
    assert!(withheld.load(Ordering::Relaxed) > 0, "it was joined in part");
    world.agree().await;
    assert_eq!(members(&b.state(room).await).len(), 3);
}

#[tokio::test]
async fn users_come_and_go_before_the_members_are_known() {
    let world = World::new(RoomVersionId::V11).await;
    let World { a, b, room, bob, .. } = &world;
    let carol = b.user("carol").await;
    world.join(bob).await;
    world.join(&carol).await;
    leave(b.engine(), bob, room, None).await.unwrap();
    let is_out =
        async || a.membership(room.as_str(), bob.as_str()).await.as_deref() == Some("leave");
    a.until("the leave", is_out).await;
    world.join(bob).await;
    assert!(world.is_partial().await);
    world.complete().await;
    world.agree().await;
    assert_eq!(members(&b.state(room).await).len(), 4);
}

#[tokio::test]
async fn a_room_that_all_left_is_not_asked_about_for_ever() {
    let world = World::new(RoomVersionId::V11).await;
    let World { a, b, room, bob, .. } = &world;
    world.join(bob).await;
    leave(b.engine(), bob, room, None).await.unwrap();
    a.network.unplug("a.org");
    world.gate.send_replace(true);
    world.b.until("an end", async || !world.is_partial().await).await;
    assert_eq!(b.membership(room.as_str(), bob.as_str()).await.as_deref(), Some("leave"));
}

#[tokio::test]
async fn devices_that_changed_unnoticed_are_told_of_with_the_members() {
    let encryption = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
    for initial_state in [vec![], vec![("m.room.encryption", encryption)]] {
        let world = World::with(RoomVersionId::V11, &initial_state).await;
        let World { b, peer, bob, alice, mallory, .. } = &world;
        world.join(bob).await;
        let before = world.sync(bob, LAZY, None).await;
        let update = json!({
            "edu_type": "m.device_list_update",
            "content": { "user_id": mallory, "device_id": "ONE", "stream_id": 1, "deleted": true },
        });
        assert_eq!(peer.transaction(b, "t1", &[], &[update]).await.0, 200);
        let meanwhile = world.sync(bob, LAZY, Some(&before)).await;
        assert_eq!(meanwhile["device_lists"]["changed"], json!([]), "who that is, is not known");

        world.complete().await;
        let after = world.sync(bob, LAZY, Some(&meanwhile)).await;
        // With whom one shares an encrypted room, of those one is told; else of those who changed.
        let told =
            if initial_state.is_empty() { json!([mallory]) } else { json!([alice, mallory]) };
        assert_eq!(after["device_lists"]["changed"], told);
    }
}

#[tokio::test]
async fn who_may_not_see_what_came_before_gets_the_whole_state_at_once() {
    let hidden = [("m.room.history_visibility", json!({ "history_visibility": "joined" }))];
    let world = World::with(RoomVersionId::V11, &hidden).await;
    let World { a, b, bob, alice, .. } = &world;
    a.say(&world.room, alice, "not for later guests").await;
    world.join(bob).await;
    assert!(!world.is_partial().await);
    assert_eq!(a.state(&world.room).await, b.state(&world.room).await);
}

#[tokio::test]
async fn what_servers_add_to_what_they_signed_takes_nothing_away() {
    let topic = [("m.room.topic", json!({ "topic": "unabridged" }))];
    let world = World::with(RoomVersionId::V11, &topic).await;
    let World { a, b, bob, .. } = &world;
    let router = a.router();
    a.network.serve("a.org", move |request| {
        let router = router.clone();
        Box::pin(async move {
            let is_join = request.uri().path().starts_with("/_matrix/federation/v2/send_join/");
            let answer = ask_router(router, request).await;
            if !is_join {
                return answer;
            }
            let mut joined: Value = serde_json::from_slice(answer.body()).unwrap();
            for event in joined["state"].as_array_mut().unwrap() {
                event["unsigned"] = json!({ "age": 7 });
            }
            answer.map(|_| serde_json::to_vec_pretty(&joined).unwrap().into())
        })
    });
    world.join(bob).await;
    let key = ("m.room.topic".to_owned(), String::new());
    let id = OwnedEventId::try_from(b.state(&world.room).await[&key].clone()).unwrap();
    let event = store::get(b.engine(), &world.room, &id).await.unwrap().unwrap();
    assert!(event.pdu.json.get().contains("unabridged"), "{}", event.pdu.json);
    assert!(!event.pdu.json.get().contains("unsigned"), "{}", event.pdu.json);
}

#[tokio::test]
async fn a_server_that_was_in_the_room_unnoticed_is_told_what_it_missed() {
    let world = World::new(RoomVersionId::V11).await;
    let World { a, b, peer, bob, .. } = &world;
    // The server that helps conceals the other one.
    let (router, gate) = (a.router(), world.gate.subscribe());
    a.network.serve("a.org", move |request| {
        let (router, mut gate) = (router.clone(), gate.clone());
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            if path.starts_with("/_matrix/federation/v1/state") {
                gate.wait_for(|open| *open).await.unwrap();
            }
            let answer = ask_router(router, request).await;
            if !path.starts_with("/_matrix/federation/v2/send_join/") {
                return answer;
            }
            let mut joined: Value = serde_json::from_slice(answer.body()).unwrap();
            joined["servers_in_room"] = json!(["a.org"]);
            answer.map(|_| joined.to_string().into())
        })
    });
    let inbox = Inbox::of(peer, 0);
    world.join(bob).await;
    let devices = |peer: &Peer| -> Vec<Value> {
        let sent = peer.received("/_matrix/federation/v1/send/").into_iter();
        let edus = sent.flat_map(|(_, body)| body["edus"].as_array().cloned().unwrap_or_default());
        edus.filter(|edu| edu["edu_type"] == "m.device_list_update").collect()
    };
    rename(b.engine(), bob, "DEVICE".into(), Some("Telephone".to_owned())).await.unwrap();
    b.say(&world.room, bob, "hello").await;
    a.until("the message", async || a.messages(&world.room).await == ["hello"]).await;
    assert!(devices(peer).is_empty(), "it is not known to be there");

    world.complete().await;
    inbox.until(peer, |_| !devices(peer).is_empty()).await;
    let told = devices(peer);
    assert_eq!(told[0]["content"]["user_id"], bob.as_str());
    assert_eq!(told[0]["content"]["device_id"], "DEVICE");
}
