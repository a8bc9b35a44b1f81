//! What a server may read, and what it may not.

use std::sync::Arc;

use http::Method;
use ruma::RoomVersionId;
use serde_json::{Value, json};

use crate::{
    network::{Network, Server},
    peer::Peer,
};

#[tokio::test]
async fn who_is_not_in_the_room_reads_nothing() {
    let network = Arc::new(Network::default());
    let home = Server::new(&network, "home.org").await;
    let peer = Peer::new(&network, "peer.org").await;
    let alice = home.user("alice").await;
    let secret = home.room(&alice, RoomVersionId::V11, &[]).await;
    let open = home.room(&alice, RoomVersionId::V11, &[]).await;
    let event = home.say(&secret, &alice, "secret").await;
    let mallory = peer.user("mallory");
    assert_eq!(peer.join(&home, &open, &mallory, &RoomVersionId::V11).await.0, 200);

    let questions = |room: &str| {
        [
            format!("/_matrix/federation/v1/event/{event}"),
            format!("/_matrix/federation/v1/state/{room}?event_id={event}"),
            format!("/_matrix/federation/v1/state_ids/{room}?event_id={event}"),
            format!("/_matrix/federation/v1/event_auth/{room}/{event}"),
            format!("/_matrix/federation/v1/backfill/{room}?v={event}&limit=10"),
        ]
    };
    for path in questions(secret.as_str()) {
        let (status, answer) = peer.get(&home, &path).await;
        assert!(matches!(status, 403 | 404), "{path}: {status} {answer}");
        assert!(!answer.to_string().contains("m.room.message"));
    }
    // Nor by the name of a room that it is in.
    for path in questions(open.as_str()) {
        let (status, answer) = peer.get(&home, &path).await;
        let empty = status == 200 && answer["pdus"] == json!([]);
        assert!(empty || matches!(status, 403 | 404), "{path}: {status} {answer}");
    }
    for room in [&secret, &open] {
        let path = format!("/_matrix/federation/v1/get_missing_events/{room}");
        let body = json!({ "earliest_events": [], "latest_events": [event], "limit": 10 });
        let (status, answer) = peer.request(&home, Method::POST, &path, Some(&body)).await;
        assert!(status == 403 || answer["events"] == json!([]), "{status} {answer}");
    }
}

#[tokio::test]
async fn a_member_reads_state_and_history() {
    let network = Arc::new(Network::default());
    let home = Server::new(&network, "home.org").await;
    let peer = Peer::new(&network, "peer.org").await;
    let (alice, mallory) = (home.user("alice").await, peer.user("mallory"));
    let room = home.room(&alice, RoomVersionId::V12, &[]).await;
    assert_eq!(peer.join(&home, &room, &mallory, &RoomVersionId::V12).await.0, 200);
    let first = home.say(&room, &alice, "first").await;
    let last = home.say(&room, &alice, "last").await;

    let get = async |path: String| {
        let (status, answer) = peer.get(&home, &path).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    };
    let event = get(format!("/_matrix/federation/v1/event/{last}")).await;
    assert_eq!(event["pdus"][0]["content"]["body"], "last");
    let state = get(format!("/_matrix/federation/v1/state/{room}?event_id={last}")).await;
    let ids = get(format!("/_matrix/federation/v1/state_ids/{room}?event_id={last}")).await;
    assert_eq!(state["pdus"].as_array().unwrap().len(), home.state(&room).await.len());
    assert_eq!(ids["pdu_ids"].as_array().unwrap().len(), home.state(&room).await.len());
    assert!(!ids["auth_chain_ids"].as_array().unwrap().is_empty());
    let chain = get(format!("/_matrix/federation/v1/event_auth/{room}/{last}")).await;
    let is_create = |event: &Value| event["type"] == "m.room.create";
    assert!(chain["auth_chain"].as_array().unwrap().iter().any(is_create));
    let page = get(format!("/_matrix/federation/v1/backfill/{room}?v={last}&limit=2")).await;
    let bodies: Vec<_> =
        page["pdus"].as_array().unwrap().iter().map(|it| it["content"]["body"].clone()).collect();
    assert_eq!(bodies, [json!("last"), json!("first")]);

    let path = format!("/_matrix/federation/v1/get_missing_events/{room}");
    let body = json!({ "earliest_events": [], "latest_events": [last], "limit": 1_000_000 });
    let (status, answer) = peer.request(&home, Method::POST, &path, Some(&body)).await;
    assert_eq!(status, 200);
    let events = answer["events"].as_array().unwrap();
    assert!(events.len() <= 20);
    assert_eq!(events.last().unwrap()["content"]["body"], "first");
    let body = json!({ "earliest_events": [first], "latest_events": [last], "limit": 10 });
    let (_, answer) = peer.request(&home, Method::POST, &path, Some(&body)).await;
    assert_eq!(answer["events"], json!([]));
}

#[tokio::test]
async fn hidden_history_is_redacted() {
    let network = Arc::new(Network::default());
    let home = Server::new(&network, "home.org").await;
    let peer = Peer::new(&network, "peer.org").await;
    let (alice, mallory) = (home.user("alice").await, peer.user("mallory"));
    let hidden = json!({ "history_visibility": "joined" });
    let room =
        home.room(&alice, RoomVersionId::V11, &[("m.room.history_visibility", hidden)]).await;
    let before = home.say(&room, &alice, "before").await;
    assert_eq!(peer.join(&home, &room, &mallory, &RoomVersionId::V11).await.0, 200);
    let after = home.say(&room, &alice, "after").await;
    assert_eq!(peer.get(&home, &format!("/_matrix/federation/v1/event/{before}")).await.0, 404);
    assert_eq!(peer.get(&home, &format!("/_matrix/federation/v1/event/{after}")).await.0, 200);
    let path = format!("/_matrix/federation/v1/backfill/{room}?v={after}&limit=10");
    let (_, page) = peer.get(&home, &path).await;
    let text = page.to_string();
    assert!(text.contains("after") && !text.contains("before"), "{text}");
}

#[tokio::test]
async fn addresses_are_exact() {
    let network = Arc::new(Network::default());
    let home = Server::new(&network, "home.org").await;
    let peer = Peer::new(&network, "peer.org").await;
    for path in [
        "/_matrix/federation/v1/version/",
        "/_matrix/federation/v1/version/extra",
        "/_matrix/federation/v1",
        "/_matrix//federation/v1/version",
        "/_matrix/federation/v2/version",
        "/_matrix/key/v2/server/ed25519:a",
        "/",
    ] {
        let (status, answer) = peer.get(&home, path).await;
        assert_eq!((status, &answer["errcode"]), (404, &json!("M_UNRECOGNIZED")), "{path}");
    }
    let (status, answer) =
        peer.request(&home, Method::POST, "/_matrix/federation/v1/version", None).await;
    assert_eq!((status, &answer["errcode"]), (405, &json!("M_UNRECOGNIZED")));
    let (status, answer) = peer.get(&home, "/_matrix/federation/v1/version").await;
    assert_eq!((status, &answer["server"]["name"]), (200, &json!("Starling")));
}

#[tokio::test]
async fn nobody_asks_without_a_signature() {
    let network = Arc::new(Network::default());
    let home = Server::new(&network, "home.org").await;
    for path in [
        "/_matrix/federation/v1/event/$x",
        "/_matrix/federation/v1/query/profile?user_id=@a:home.org",
    ] {
        let request = http::Request::get(path).body(bytes::Bytes::new()).unwrap();
        let response = network.send(home.name(), request).await.unwrap();
        assert_eq!(response.status(), 401);
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["errcode"], "M_UNAUTHORIZED");
    }
}

#[tokio::test]
async fn the_directory_is_closed_unless_it_is_opened() {
    let network = Arc::new(Network::default());
    let home = Server::new(&network, "home.org").await;
    let peer = Peer::new(&network, "peer.org").await;
    let path = "/_matrix/federation/v1/publicRooms";
    let (status, answer) = peer.get(&home, path).await;
    assert_eq!((status, &answer["errcode"]), (403, &json!("M_FORBIDDEN")));
    home.open_directory();
    let (status, answer) = peer.get(&home, path).await;
    assert_eq!((status, &answer["chunk"]), (200, &json!([])), "{answer}");
    let search = json!({ "limit": 5, "filter": { "room_types": [null, "m.space"] } });
    let (status, answer) = peer.request(&home, Method::POST, path, Some(&search)).await;
    assert_eq!((status, &answer["chunk"]), (200, &json!([])), "{answer}");
    assert_eq!(peer.get(&home, &format!("{path}?since=zzz")).await.0, 400);
}
