//! What clients send is no looser than what other servers take.

use http::Method;
use serde_json::{Value, json};
use starling_conformance::client::{Answer, User, path};

use crate::{
    scene::{Scene, VERSIONS, assert_others_are_served},
    support,
};

const LARGEST: i64 = 9_007_199_254_740_991;

async fn send_raw(user: &User, room: &str, txn: &str, body: String) -> Answer {
    let template = "/_matrix/client/v3/rooms/{}/send/m.room.message/{}";
    let target = path(template, &[room, txn]);
    user.api.raw(Method::PUT, &target, "application/json", body).await.unwrap()
}

/// What is taken comes to another implementation with a hash and a signature that hold; the rest is
/// refused before anybody is told.
#[tokio::test]
async fn numbers_and_texts_that_servers_read_differently_are_refused() {
    for version in VERSIONS {
        let scene = Scene::set(version).await;
        let (alice, room) = (&scene.alice, &scene.room.id);
        let largest = LARGEST.to_string();
        let good = [
            "0",
            "-1",
            &largest,
            "-9007199254740991",
            r#""\u0000\u007f""#,
            r#""\uD83D\uDE00""#,
            r#""\u00e9 e\u0301""#,
            "[[],{},null,true]",
        ];
        for (number, value) in good.iter().enumerate() {
            let body = format!(r#"{{"msgtype":"m.text","body":"good {number}","odd":{value}}}"#);
            send_raw(alice, room, &format!("good{number}"), body).await.ok().unwrap();
            let name = format!("good {number}");
            let pdu = scene.peer.received_pdu(&name, |pdu| pdu["content"]["body"] == *name);
            scene.peer.verify(scene.server, version, &pdu.await.unwrap()).await.unwrap();
        }
        let bad = [
            "1.5",
            "1e3",
            "1.0",
            "1E400",
            "-1E400",
            "9007199254740992",
            "-9007199254740992",
            "9223372036854775808",
            "NaN",
            "Infinity",
            "-Infinity",
            "01",
            "+1",
            "1.",
            ".5",
            "0x10",
            r#""\uD800""#,
            r#""\uDC00\uD800""#,
            r#"{"a":1,"a":1}"#,
            "'x'",
            "1,",
            "\u{feff}1",
            "/*x*/1",
            "\"\t\"",
            "tru",
            "",
        ];
        // Up to version 5 rooms may hold fractions.
        let lenient = !crate::federation::send::corpus::is_strict(version);
        for (number, value) in bad.iter().enumerate() {
            if lenient && matches!(*value, "1.5" | "1e3" | "1.0") {
                continue;
            }
            let body = format!(r#"{{"msgtype":"m.text","body":"bad","odd":{value}}}"#);
            let answer = send_raw(alice, room, &format!("bad{number}"), body).await;
            assert_eq!(answer.status, 400, "version {version}: {value}: {answer:?}");
            let errcode = answer.errcode();
            assert!(matches!(errcode, "M_BAD_JSON" | "M_NOT_JSON"), "{value}: {errcode}");
            let target = path("/_matrix/client/v3/rooms/{}/state/org.example.odd/", &[room]);
            let body = format!(r#"{{"odd":{value}}}"#);
            let answer =
                alice.api.raw(Method::PUT, &target, "application/json", body).await.unwrap();
            assert_eq!(answer.status, 400, "version {version}: state {value}: {answer:?}");
        }
        let deep = format!(r#"{{"odd":{}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
        assert_eq!(send_raw(alice, room, "deep", deep).await.status, 400);
        // Of what a client says twice one goes out, or none of it.
        let twice = r#"{"msgtype":"m.text","body":"first","body":"second"}"#.to_owned();
        if send_raw(alice, room, "twice", twice).await.status == 200 {
            let is_it = |pdu: &Value| pdu["content"]["body"] == "second";
            let pdu = scene.peer.received_pdu("it", is_it).await.unwrap();
            scene.peer.verify(scene.server, version, &pdu).await.unwrap();
        }
        alice.say(room, "the end").await.unwrap();
        scene
            .peer
            .received_pdu("the end", |pdu| pdu["content"]["body"] == "the end")
            .await
            .unwrap();
        assert!(
            !scene
                .peer
                .seen("send")
                .iter()
                .any(|request| request.body.to_string().contains(r#""bad""#))
        );
    }
    assert_others_are_served(support::server().await).await;
}

/// -0 is 0, and nothing else.
#[tokio::test]
async fn a_negative_nothing_is_nothing() {
    let scene = Scene::set("12").await;
    let body = r#"{"msgtype":"m.text","body":"zero","odd":-0}"#.to_owned();
    let answer = send_raw(&scene.alice, &scene.room.id, "zero", body).await;
    if answer.status == 200 {
        let pdu =
            scene.peer.received_pdu("it", |pdu| pdu["content"]["body"] == "zero").await.unwrap();
        assert_eq!(pdu["content"]["odd"].to_string(), "0");
        scene.peer.verify(scene.server, "12", &pdu).await.unwrap();
    } else {
        answer.expect_error(400, "M_BAD_JSON").unwrap();
    }
}

/// The same bound when sending as when receiving: what goes out, others take.
#[tokio::test]
async fn what_is_sent_is_no_larger_than_what_is_taken() {
    for version in VERSIONS {
        let scene = Scene::set(version).await;
        let (alice, room) = (&scene.alice, scene.room.id.as_str());
        // So that what was before would count, if it counted.
        let large = json!({ "x": "y".repeat(40_000) });
        alice.set_state(room, "org.example.large", "", large.clone()).await.unwrap();
        let set = async |length: usize| {
            let target = path("/_matrix/client/v3/rooms/{}/state/org.example.large/", &[room]);
            alice.api.put(&target, json!({ "x": "z".repeat(length) })).await.unwrap()
        };
        let mut fits = 60_000;
        let mut too_large = 66_000;
        while too_large - fits > 1 {
            let middle = fits + (too_large - fits) / 2;
            let answer = set(middle).await;
            match answer.status {
                200 => fits = middle,
                _ => {
                    answer.expect_error(413, "M_TOO_LARGE").unwrap();
                    too_large = middle;
                }
            }
        }
        let is_it = |pdu: &Value| pdu["content"]["x"].as_str().is_some_and(|x| x.len() == fits);
        let pdu = scene.peer.received_pdu("the largest", is_it).await.unwrap();
        scene.peer.verify(scene.server, version, &pdu).await.unwrap();
        let mut counted = pdu.clone();
        counted.as_object_mut().unwrap().remove("unsigned");
        let size = starling_conformance::evil::render(&counted).unwrap().len();
        // Times and depths have as many digits at one moment as at another, signatures as many bytes.
        assert!((65_530..=65_536).contains(&size), "version {version}: {size}");
        for (kind, key) in [
            ("\u{1f600}".repeat(64), String::new()),
            ("x".repeat(256), String::new()),
            ("org.example".to_owned(), "\u{1f600}".repeat(64)),
            ("org.example".to_owned(), "x".repeat(256)),
        ] {
            let target = path("/_matrix/client/v3/rooms/{}/state/{}/{}", &[room, &kind, &key]);
            let answer = alice.api.put(&target, json!({})).await.unwrap();
            assert!(matches!(answer.status, 400 | 413), "version {version}: {answer:?}");
        }
        let kind = "\u{1f600}".repeat(63) + "xyz";
        let target = path("/_matrix/client/v3/rooms/{}/state/{}/{}", &[room, &kind, &kind]);
        alice.api.put(&target, json!({})).await.unwrap().ok().unwrap();
    }
}

/// Clients fall over fields that are not of their type: what came from others is shown as an event says
/// it, but is no name, picture or level.
#[tokio::test]
async fn names_and_levels_of_the_wrong_type_break_no_client() {
    let mut scene = Scene::set_with(json!({
        "preset": "public_chat", "room_version": "11",
        "power_level_content_override": { "state_default": 0, "events": {} },
    }))
    .await;
    let (room, mallory) = (scene.room.id.clone(), scene.mallory.clone());
    for (kind, content) in [
        ("m.room.name", json!({ "name": 123 })),
        ("m.room.avatar", json!({ "url": {} })),
        ("m.room.topic", json!({ "topic": ["x"] })),
        ("m.room.canonical_alias", json!({ "alias": 5, "alt_aliases": "x" })),
        ("m.room.history_visibility", json!({ "history_visibility": 7 })),
        ("m.room.guest_access", json!({ "guest_access": [] })),
        ("m.room.encryption", json!({ "algorithm": 1 })),
        ("m.room.pinned_events", json!({ "pinned": "x" })),
        ("m.room.tombstone", json!({ "replacement_room": 1 })),
    ] {
        let draft = scene.room.state_draft(&mallory, kind, "", content).unwrap();
        scene.put_out(&draft).await;
    }
    let member = json!({ "membership": "join", "displayname": 123, "avatar_url": {} });
    let draft = scene.room.state_draft(&mallory, "m.room.member", &mallory, member).unwrap();
    scene.put_out(&draft).await;
    let bob = support::user("bob").await;
    bob.join(&room, &[]).await.unwrap();
    for user in [&scene.alice, &bob] {
        let sliding = user
            .api
            .post(
                crate::client::sync::connection::SIMPLIFIED,
                crate::client::sync::connection::all(20, &[("*", "*")]),
            )
            .await
            .unwrap()
            .ok()
            .unwrap();
        let shown = &sliding["rooms"][&room];
        for field in ["name", "avatar"] {
            assert!(shown[field].is_null() || shown[field].is_string(), "{field}: {shown}");
        }
        for hero in shown["heroes"].as_array().into_iter().flatten() {
            for field in ["displayname", "avatar_url"] {
                assert!(hero[field].is_null() || hero[field].is_string(), "{hero}");
            }
        }
        let members = path("/_matrix/client/v3/rooms/{}/joined_members", &[&room]);
        let members = user.api.get(&members).await.unwrap().ok().unwrap();
        for field in ["display_name", "avatar_url"] {
            let value = &members["joined"][&mallory][field];
            assert!(value.is_null() || value.is_string(), "{members}");
        }
        let summary = path("/_matrix/client/v1/room_summary/{}", &[&room]);
        let summary = user.api.get(&summary).await.unwrap().ok().unwrap();
        for field in ["name", "topic", "avatar_url", "canonical_alias", "encryption"] {
            assert!(summary[field].is_null() || summary[field].is_string(), "{field}: {summary}");
        }
        let hierarchy = path("/_matrix/client/v1/rooms/{}/hierarchy", &[&room]);
        let hierarchy = user.api.get(&hierarchy).await.unwrap().ok().unwrap();
        for field in ["name", "topic", "avatar_url", "canonical_alias"] {
            let value = &hierarchy["rooms"][0][field];
            assert!(value.is_null() || value.is_string(), "{field}: {hierarchy}");
        }
        let profile = path("/_matrix/client/v3/profile/{}", &[&mallory]);
        scene.peer.answer(
            "profile",
            starling_conformance::evil::Reply::ok(json!({ "displayname": 1, "avatar_url": {} })),
        );
        let profile = user.api.get(&profile).await.unwrap();
        for field in ["displayname", "avatar_url"] {
            assert!(
                profile.body[field].is_null() || profile.body[field].is_string(),
                "{profile:?}"
            );
        }
        user.api.get("/_matrix/client/v3/sync?full_state=true").await.unwrap().ok().unwrap();
    }
    scene.peer.be_honest();
    // What a client of this server says of itself is of its type.
    for (kind, content) in [
        ("m.room.power_levels", json!({ "users": { &scene.alice.id: 1.5 } })),
        ("m.room.power_levels", json!({ "users_default": i64::MIN })),
        ("m.room.power_levels", json!({ "events": [] })),
        ("m.room.power_levels", json!({ "ban": "50" })),
    ] {
        let target = path("/_matrix/client/v3/rooms/{}/state/{}/", &[&room, kind]);
        let answer = scene.alice.api.put(&target, content.clone()).await.unwrap();
        assert!(matches!(answer.status, 400 | 403), "{kind} {content}: {answer:?}");
    }
    scene.goes_on_without(&[]).await;
}
