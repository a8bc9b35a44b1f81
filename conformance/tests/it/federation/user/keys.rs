//! POST /_matrix/federation/v1/user/keys/claim
//! POST /_matrix/federation/v1/user/keys/query

use serde_json::{Value, json};
use starling_conformance::{
    client::path,
    evil::{Peer, Reply},
};

use crate::{
    client::keys::{device_keys, fallback_key, one_time_keys, query, upload},
    scene::Scene,
    support,
};

const QUERY: &str = "/_matrix/federation/v1/user/keys/query";
const CLAIM: &str = "/_matrix/federation/v1/user/keys/claim";

#[tokio::test]
async fn other_servers_ask_for_keys_of_users_here_only() {
    let alice = support::user("alice").await;
    let (server, peer) = (support::server().await, support::peer().await);
    let keys = device_keys(&alice, "a");
    upload(&alice, json!({ "device_keys": keys })).await;
    let third = "@carol:elsewhere.example";
    let body = json!({ "device_keys": { &alice.id: [], third: [], peer.user("own"): [] } });
    let answer = peer.post(server, QUERY, &body).await.unwrap().ok().unwrap();
    assert_eq!(answer, json!({ "device_keys": { &alice.id: { &alice.device: keys } } }));
    let wrong = json!({ "device_keys": { &alice.id: { "X": true } } });
    for (body, errcode) in [(json!({}), "M_MISSING_PARAM"), (wrong, "M_BAD_JSON")] {
        let answer = peer.post(server, QUERY, &body).await.unwrap();
        answer.expect_error(400, errcode).unwrap();
    }
}

#[tokio::test]
async fn other_servers_claim_each_key_once() {
    let alice = support::user("alice").await;
    let (server, peer) = (support::server().await, support::peer().await);
    let keys = one_time_keys(&["A"]);
    let fallback = fallback_key("F");
    upload(&alice, json!({ "one_time_keys": keys, "fallback_keys": fallback })).await;
    let wanted = json!({ &alice.device: "signed_curve25519" });
    let body = json!({ "one_time_keys": { &alice.id: wanted, "@x:elsewhere.example": wanted } });
    for key in [&keys, &fallback, &fallback] {
        let answer = peer.post(server, CLAIM, &body).await.unwrap().ok().unwrap();
        assert_eq!(answer, json!({ "one_time_keys": { &alice.id: { &alice.device: key } } }));
    }
    let answer = peer.post(server, CLAIM, &json!({})).await.unwrap();
    answer.expect_error(400, "M_MISSING_PARAM").unwrap();
}

/// A device of a peer's user.
pub(crate) fn device_of(user: &str, device: &str, seed: &str) -> Value {
    let name = format!("ed25519:{device}");
    json!({
        "user_id": user, "device_id": device, "algorithms": ["m.megolm.v1.aes-sha2"],
        "keys": { &name: seed }, "signatures": { user: { &name: "c2ln" } },
    })
}

/// The peer answers questions about a user's devices so.
pub(crate) fn tells(peer: &Peer, user: &str, stream_id: i64, devices: &[Value]) {
    let of_list =
        devices.iter().map(|keys| json!({ "device_id": keys["device_id"], "keys": keys }));
    let list = json!({
        "user_id": user, "stream_id": stream_id, "devices": of_list.collect::<Vec<_>>(),
    });
    let by_name = devices.iter().map(|keys| (keys["device_id"].as_str().unwrap().to_owned(), keys));
    let by_name: std::collections::BTreeMap<_, _> = by_name.collect();
    let keys = json!({ "device_keys": { user: by_name } });
    peer.script(move |request| {
        let has = |piece: &str| request.pieces.iter().any(|it| it == piece);
        match (has("user"), has("devices"), has("query")) {
            (true, true, _) => Some(Reply::ok(list.clone())),
            (true, _, true) => Some(Reply::ok(keys.clone())),
            _ => None,
        }
    });
}

#[tokio::test]
async fn the_list_of_who_shares_a_room_is_asked_for_once() {
    let scene = Scene::set("12").await;
    let (mallory, peer) = (&scene.mallory, &scene.peer);
    let device = device_of(mallory, "ONE", "1");
    let foreign = device_of("@alice:elsewhere.example", "TWO", "2");
    tells(peer, mallory, 5, &[device.clone(), foreign]);
    for _ in 0..2 {
        let found = query(&scene.alice, mallory).await;
        assert_eq!(found["device_keys"][mallory], json!({ "ONE": device }), "{found}");
        assert_eq!(found["failures"], json!({}));
    }
    assert_eq!(peer.seen("devices").len(), 1);
    let stranger = peer.user("stranger");
    peer.be_honest();
    tells(peer, &stranger, 1, &[device_of(&stranger, "X", "3")]);
    for _ in 0..2 {
        let found = query(&scene.alice, &stranger).await;
        assert!(found["device_keys"][&stranger]["X"].is_object(), "{found}");
    }
    assert_eq!(peer.seen("devices").len(), 1);
    assert_eq!(peer.seen("query").len(), 2, "strangers are asked for each time");
}

#[tokio::test]
async fn a_server_speaks_for_those_who_were_asked_for() {
    let alice = support::user("alice").await;
    let peer = support::peer().await;
    let (own, other) = (peer.user("own"), peer.user("other"));
    let (keys, lies) = (device_of(&own, "X", "1"), device_of(&alice.id, &alice.device, "lie"));
    let answer = json!({
        "device_keys": {
            &own: { "X": keys, "Y": keys }, &other: { "X": keys },
            &alice.id: { &alice.device: lies },
        },
        "master_keys": { &alice.id: { "user_id": alice.id, "usage": ["master"], "keys": {} } },
        "user_signing_keys": { &own: {} },
    });
    peer.answer("query", Reply::ok(answer));
    let found = query(&alice, &own).await;
    assert_eq!(found["device_keys"], json!({ &own: { "X": keys } }));
    assert!(found.get("master_keys").is_none() && found.get("user_signing_keys").is_none());
    let claimed = json!({ "one_time_keys": {
        &own: { "X": { "signed_curve25519:A": { "key": "a" } }, "Y": {} },
        &alice.id: { &alice.device: { "signed_curve25519:A": { "key": "lie" } } },
    } });
    peer.answer("claim", Reply::ok(claimed));
    let body = json!({ "one_time_keys": { &own: { "X": "signed_curve25519" } } });
    let found = alice.api.post("/_matrix/client/v3/keys/claim", body).await.unwrap().ok().unwrap();
    let wanted = json!({ &own: { "X": { "signed_curve25519:A": { "key": "a" } } } });
    assert_eq!(found, json!({ "one_time_keys": wanted, "failures": {} }));
}

/// Clients log out when they are told so.
#[tokio::test]
async fn nothing_of_a_refusal_reaches_a_client() {
    let alice = support::user("alice").await;
    let peer = support::peer().await;
    let own = peer.user("own");
    for piece in ["query", "claim", "devices"] {
        peer.answer(piece, Reply::error(401, "M_UNKNOWN_TOKEN"));
    }
    let found = query(&alice, &own).await;
    assert!(found["failures"].get(&peer.name).is_some(), "{found}");
    assert!(!found.to_string().contains("M_UNKNOWN_TOKEN"), "{found}");
    let whoami = path("/_matrix/client/v3/account/whoami", &[]);
    alice.api.get(&whoami).await.unwrap().ok().unwrap();
}
