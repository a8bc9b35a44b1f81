//! What another server answers is not handed on to clients as if it were this server's word: a client
//! that reads `M_UNKNOWN_TOKEN` logs out and destroys its keys.

use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, User, path},
    evil::{Peer, Reply},
};

use crate::{scene::assert_others_are_served, support};

/// Answers that are about the session between two others.
fn replies() -> Vec<(&'static str, Reply)> {
    let soft = json!({ "errcode": "M_UNKNOWN_TOKEN", "error": "x", "soft_logout": true });
    vec![
        ("M_UNKNOWN_TOKEN", Reply::error(401, "M_UNKNOWN_TOKEN")),
        ("a soft log-out", Reply::Json(401, soft)),
        ("M_MISSING_TOKEN", Reply::error(401, "M_MISSING_TOKEN")),
        ("M_USER_DEACTIVATED", Reply::error(403, "M_USER_DEACTIVATED")),
        ("M_USER_LOCKED", Reply::error(401, "M_USER_LOCKED")),
        ("M_USER_SUSPENDED", Reply::error(403, "M_USER_SUSPENDED")),
        ("M_CONSENT_NOT_GIVEN", Reply::error(403, "M_CONSENT_NOT_GIVEN")),
        ("an unknown error", Reply::error(418, "M_TEAPOT")),
        ("an internal error", Reply::error(500, "M_UNKNOWN")),
        ("text", Reply::Bytes(401, "text/html", "<b>M_UNKNOWN_TOKEN</b>".into())),
        (
            "a flow of stages",
            Reply::Json(
                401,
                json!({ "flows": [{ "stages": ["m.login.password"] }], "session": "x" }),
            ),
        ),
        ("a success that is none", Reply::ok(json!({ "errcode": "M_UNKNOWN_TOKEN" }))),
    ]
}

/// Everything that this server asks another one because a client asked it.
async fn proxied(alice: &User, peer: &Peer, own_room: &str) -> Vec<(&'static str, Answer)> {
    let room = format!("!elsewhere:{}", peer.name);
    let alias = format!("#elsewhere:{}", peer.name);
    let user = peer.user("mallory");
    let post = async |target: String, body: Value| alice.api.post(&target, body).await.unwrap();
    let get = async |target: String| alice.api.get(&target).await.unwrap();
    let mut answers = Vec::new();
    let via = [&room, &peer.name].map(String::as_str);
    answers.push(("join", alice.try_join(&room, &[&peer.name]).await.unwrap()));
    answers.push(("join by alias", alice.try_join(&alias, &[]).await.unwrap()));
    answers
        .push(("knock", post(path("/_matrix/client/v3/knock/{}?via={}", &via), json!({})).await));
    let invite = path("/_matrix/client/v3/rooms/{}/invite", &[own_room]);
    answers.push(("invite", post(invite, json!({ "user_id": user })).await));
    answers.push(("profile", get(path("/_matrix/client/v3/profile/{}", &[&user])).await));
    answers.push(("directory", get(path("/_matrix/client/v3/directory/room/{}", &[&alias])).await));
    let rooms = path("/_matrix/client/v3/publicRooms?server={}", &[&peer.name]);
    answers.push(("public rooms", get(rooms.clone()).await));
    answers.push(("public rooms by search", post(rooms, json!({})).await));
    answers
}

#[tokio::test]
async fn no_answer_of_another_server_logs_a_client_out() {
    let server = support::server().await;
    let (peer, alice) = (support::peer().await, support::user("alice").await);
    let own_room = alice.create_public_room().await.unwrap();
    for (name, reply) in replies() {
        let reply = move || reply.clone();
        peer.be_honest();
        peer.script(move |request| request.path.contains("/federation/").then(&reply));
        let before = peer.seen("make_join").len();
        for (what, answer) in proxied(&alice, &peer, &own_room).await {
            assert_neutral(&answer, &format!("{what}, {name}"));
        }
        assert!(peer.seen("make_join").len() > before, "{name}: the peer was not asked");
    }
    for piece in ["make_join", "make_knock", "invite", "profile", "directory", "publicRooms"] {
        assert!(!peer.seen(piece).is_empty(), "the peer was never asked for {piece}");
    }
    alice.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
    assert_others_are_served(server).await;
}

fn assert_neutral(answer: &Answer, name: &str) {
    assert!(!matches!(answer.status, 401 | 418 | 500), "{name}: {answer:?}");
    let foreign = [
        "M_UNKNOWN_TOKEN",
        "M_MISSING_TOKEN",
        "M_USER_DEACTIVATED",
        "M_USER_LOCKED",
        "M_USER_SUSPENDED",
        "M_CONSENT_NOT_GIVEN",
        "M_TEAPOT",
    ];
    assert!(!foreign.contains(&answer.errcode()), "{name}: {answer:?}");
    for field in ["soft_logout", "flows", "session"] {
        assert!(answer.body.get(field).is_none(), "{name}: {answer:?}");
    }
}

/// Answers that are well-formed and mean nothing.
#[tokio::test]
async fn odd_successes_are_not_taken_for_answers() {
    let server = support::server().await;
    let (peer, alice) = (support::peer().await, support::user("alice").await);
    let own_room = alice.create_public_room().await.unwrap();
    for body in [
        Value::Null,
        json!([]),
        json!({}),
        json!(5),
        json!({ "displayname": 5, "avatar_url": [] }),
        json!({ "displayname": "x".repeat(200_000) }),
        json!({ "room_id": 5, "servers": "x", "event": [], "room_version": {}, "chunk": {} }),
        json!({ "room_id": "no room", "servers": [1], "event": {}, "room_version": "11", "chunk": [1] }),
        json!({ "room_id": "!a:b", "servers": [], "event": null, "chunk": [{ "room_id": [] }] }),
    ] {
        let name = body.to_string().chars().take(80).collect::<String>();
        let reply = Reply::ok(body);
        peer.be_honest();
        peer.script(move |request| request.path.contains("/federation/").then(|| reply.clone()));
        for (what, answer) in proxied(&alice, &peer, &own_room).await {
            assert_neutral(&answer, &format!("{what}, {name}"));
        }
    }
    for (name, reply) in [
        ("no end", Reply::Endless),
        ("a redirection", Reply::Redirect("https://localhost:1/elsewhere".to_owned())),
        ("not UTF-8", Reply::Bytes(200, "application/json", vec![b'{', b'"', 0xff].into())),
        ("deep", Reply::Bytes(200, "application/json", "[".repeat(100_000).into())),
    ] {
        peer.be_honest();
        peer.script(move |request| request.path.contains("/federation/").then(|| reply.clone()));
        for (what, answer) in proxied(&alice, &peer, &own_room).await {
            assert_neutral(&answer, &format!("{what}, {name}"));
        }
        assert_others_are_served(server).await;
    }
    alice.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
}
