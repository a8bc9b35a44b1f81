//! Messages to devices, and changes of devices and keys, from server to server.

use std::time::Duration;

use serde_json::{Value, json};
use starling_conformance::{
    client::{Sync, User, path},
    evil::{Peer, Received, Reply},
};

use crate::{
    client::keys::{device_keys, query, upload},
    federation::user::keys::{device_of, tells},
    scene::Scene,
    support,
};

/// Waits for an EDU of that type that `test` accepts.
async fn edu(peer: &Peer, kind: &str, test: impl Fn(&Value) -> bool) -> Value {
    let find = |request: &Received| {
        let found = request.edus().find(|edu| edu["edu_type"] == kind && test(&edu["content"]));
        found.map(|edu| edu["content"].clone())
    };
    let request = peer.received(kind, |request| find(request).is_some()).await.unwrap();
    find(&request).unwrap()
}

/// All EDUs of that type that came.
fn edus(peer: &Peer, kind: &str) -> Vec<Value> {
    let requests = peer.seen("send");
    let edus = requests.iter().flat_map(Received::edus);
    edus.filter(|edu| edu["edu_type"] == kind).map(|edu| edu["content"].clone()).collect()
}

fn direct(sender: &str, id: &str, to: &User, number: i64) -> Value {
    json!({ "edu_type": "m.direct_to_device", "content": {
        "sender": sender, "type": "m.test", "message_id": id,
        "messages": { &to.id: { &to.device: { "n": number } } },
    } })
}

fn update(user: &str, device: &str, (stream_id, prev_id): (i64, &[i64]), keys: Value) -> Value {
    json!({ "edu_type": "m.device_list_update", "content": {
        "user_id": user, "device_id": device, "stream_id": stream_id, "prev_id": prev_id,
        "keys": keys,
    } })
}

#[tokio::test]
async fn a_message_is_taken_once() {
    let (server, peer) = (support::server().await, support::peer().await);
    let alice = support::user("alice").await;
    let mut sync = Sync::start(&alice).await.unwrap();
    let sender = peer.user("mallory");
    for id in ["1", "1", "2"] {
        peer.send_edus(server, json!([direct(&sender, id, &alice, 7)])).await.unwrap();
    }
    let answer = sync.poll(Duration::ZERO).await.unwrap();
    let message = json!({ "type": "m.test", "sender": sender, "content": { "n": 7 } });
    assert_eq!(answer["to_device"]["events"], json!([message, message]));
    let all = json!([
        { "edu_type": "m.direct_to_device", "content": {
            "sender": sender, "type": "m.test", "message_id": "3",
            "messages": { &alice.id: { "*": { "n": 8 } }, "@x:elsewhere.example": { "*": {} } },
        } },
        { "edu_type": "m.direct_to_device", "content": {
            "sender": sender, "type": "m.test", "message_id": "4",
            "messages": { &alice.id: { "*": 7 } },
        } },
        { "edu_type": "m.direct_to_device", "content": { "sender": sender } },
    ]);
    peer.send_edus(server, all).await.unwrap();
    let answer = sync.poll(Duration::ZERO).await.unwrap();
    assert_eq!(answer["to_device"]["events"].as_array().unwrap().len(), 1, "{answer}");
}

#[tokio::test]
async fn messages_wait_for_a_server_that_is_away() {
    let server = support::start(support::spec()).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let peer = support::peer().await;
    let bob = peer.user("bob");
    peer.answer("send", Reply::error(503, "M_UNKNOWN"));
    let send = async |number: i64| {
        let id = number.to_string();
        let target = path("/_matrix/client/v3/sendToDevice/{}/{}", &["m.test", &id]);
        let body = json!({ "messages": { &bob: { "DEVICE": { "n": number } } } });
        alice.api.put(&target, body).await.unwrap().ok().unwrap();
    };
    send(1).await;
    send(1).await;
    peer.received("a try", |request| request.edus().next().is_some()).await.unwrap();
    server.kill().unwrap();
    server.resume().await.unwrap();
    peer.be_honest();
    // A server that speaks is there again.
    peer.get(&server, &path("/_matrix/federation/v1/user/devices/{}", &[&alice.id])).await.unwrap();
    send(2).await;
    let second = |edu: &Value| edu["messages"][&bob]["DEVICE"]["n"] == 2;
    edu(&peer, "m.direct_to_device", second).await;
    let mut all = edus(&peer, "m.direct_to_device");
    all.retain(|edu| !second(edu));
    let first = &all[0];
    assert_eq!(first["sender"], alice.id.as_str());
    assert_eq!(first["type"], "m.test");
    assert_eq!(first["messages"], json!({ &bob: { "DEVICE": { "n": 1 } } }));
    assert!(all.len() > 1, "it was sent again after the restart");
    assert!(all.iter().all(|edu| edu["message_id"] == first["message_id"]), "{all:?}");
}

#[tokio::test]
async fn servers_in_the_users_rooms_are_told_of_each_change() {
    let scene = Scene::set("12").await;
    let (alice, peer) = (&scene.alice, &scene.peer);
    let keys = device_keys(alice, "a");
    upload(alice, json!({ "device_keys": keys })).await;
    let first = edu(peer, "m.device_list_update", |edu| edu["keys"] == keys).await;
    assert_eq!(first["device_id"], alice.device.as_str());
    let second = alice.login().await.unwrap();
    let came = edu(peer, "m.device_list_update", |edu| edu["device_id"] == *second.device).await;
    assert_eq!(came["prev_id"], json!([first["stream_id"]]));
    assert!(came.get("keys").is_none(), "{came}");
    second.api.post("/_matrix/client/v3/logout", json!({})).await.unwrap().ok().unwrap();
    let gone = edu(peer, "m.device_list_update", |edu| edu["deleted"] == true).await;
    assert_eq!(gone["device_id"], second.device.as_str());
    assert_eq!(gone["prev_id"], json!([came["stream_id"]]));
    let devices = path("/_matrix/federation/v1/user/devices/{}", &[&alice.id]);
    let list = scene.peer.get(scene.server, &devices).await.unwrap().ok().unwrap();
    assert_eq!(list["stream_id"], gone["stream_id"]);
}

#[tokio::test]
async fn servers_that_share_no_room_are_told_nothing() {
    let scene = Scene::set("12").await;
    let other = support::peer().await;
    let stranger = support::user("stranger").await;
    upload(&stranger, json!({ "device_keys": device_keys(&stranger, "s") })).await;
    upload(&scene.alice, json!({ "device_keys": device_keys(&scene.alice, "a") })).await;
    edu(&scene.peer, "m.device_list_update", |edu| edu["user_id"] == *scene.alice.id).await;
    let of_stranger = |edu: &Value| edu["user_id"] == stranger.id.as_str();
    assert!(!edus(&scene.peer, "m.device_list_update").iter().any(of_stranger));
    assert_eq!(edus(&other, "m.device_list_update"), [Value::Null; 0]);
}

#[tokio::test]
async fn who_comes_into_a_room_introduces_their_devices() {
    let scene = Scene::set_by_peer("12").await;
    let alice = &scene.alice;
    let told = edu(&scene.peer, "m.device_list_update", |edu| edu["user_id"] == *alice.id).await;
    assert_eq!(told["device_id"], alice.device.as_str());
    assert_eq!(told["prev_id"], json!([told["stream_id"]]));
}

#[tokio::test]
async fn what_follows_is_taken_and_what_does_not_is_asked_for() {
    let mut scene = Scene::set("12").await;
    let mallory = scene.mallory.clone();
    let (one, two) = (device_of(&mallory, "ONE", "1"), device_of(&mallory, "TWO", "2"));
    tells(&scene.peer, &mallory, 5, std::slice::from_ref(&one));
    query(&scene.alice, &mallory).await;
    let follows = update(&mallory, "TWO", (6, &[5]), two.clone());
    scene.peer.send_edus(scene.server, json!([follows, follows])).await.unwrap();
    let told = |answer: &Value| answer["device_lists"]["changed"] == json!([&scene.mallory]);
    scene.sync.until("a change", told).await.unwrap();
    let found = query(&scene.alice, &mallory).await;
    assert_eq!(found["device_keys"][&mallory], json!({ "ONE": one, "TWO": two }));
    assert_eq!(scene.peer.seen("devices").len(), 1, "nothing was missed");
    let answer = scene.sync.poll(Duration::ZERO).await.unwrap();
    assert_eq!(answer["device_lists"]["changed"], json!([]), "the same again is no change");

    scene.peer.be_honest();
    let three = device_of(&mallory, "THREE", "3");
    tells(&scene.peer, &mallory, 9, std::slice::from_ref(&three));
    let gap = update(&mallory, "THREE", (9, &[8]), three.clone());
    scene.peer.send_edus(scene.server, json!([gap])).await.unwrap();
    scene.sync.until("a change", told).await.unwrap();
    let found = query(&scene.alice, &mallory).await;
    assert_eq!(found["device_keys"][&mallory], json!({ "THREE": three }));
    let deleted = json!({ "edu_type": "m.device_list_update", "content": {
        "user_id": mallory, "device_id": "THREE", "stream_id": 10, "prev_id": [9], "deleted": true,
    } });
    scene.peer.send_edus(scene.server, json!([deleted])).await.unwrap();
    let found = query(&scene.alice, &mallory).await;
    assert_eq!(found["device_keys"][&mallory], json!({}));
}

#[tokio::test]
async fn a_list_from_before_is_not_believed_after_coming_back() {
    let mut scene = Scene::set("12").await;
    let mallory = scene.mallory.clone();
    let (old, new) = (device_of(&mallory, "OLD", "1"), device_of(&mallory, "NEW", "2"));
    tells(&scene.peer, &mallory, 5, std::slice::from_ref(&old));
    query(&scene.alice, &mallory).await;
    let leave = scene.room.member(&mallory, &mallory, "leave").unwrap();
    scene.put_out(&leave).await;
    scene.peer.be_honest();
    tells(&scene.peer, &mallory, 7, std::slice::from_ref(&new));
    let found = query(&scene.alice, &mallory).await;
    assert_eq!(found["device_keys"][&mallory], json!({ "NEW": new }), "no room is shared");
    let join = scene.room.member(&mallory, &mallory, "join").unwrap();
    scene.put_out(&join).await;
    let found = query(&scene.alice, &mallory).await;
    assert_eq!(found["device_keys"][&mallory], json!({ "NEW": new }));
}
