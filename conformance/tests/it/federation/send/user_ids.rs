//! Users whose names no server would give out today.
//!
//! "Servers MUST be tolerant of" them: <https://spec.matrix.org/v1.19/appendices/#historical-user-ids>

use serde_json::json;
use starling_conformance::client::{PASSWORD, path};

use crate::{
    scene::{Scene, VERSIONS},
    support,
};

const ODD: [&str; 6] = ["", "s p a c e", "UPPER", "\u{fc}n\u{ef}\u{1f408}", "a/b", "100%25"];

#[tokio::test]
async fn they_take_part_in_rooms() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        for name in ODD {
            let user = scene.peer.user(name);
            scene.put_out(&scene.room.member(&user, &user, "join").unwrap()).await;
            let said = scene.put_out(&scene.room.message(&user, "odd but legal").unwrap()).await;
            let shown = scene.sees(&said).await;
            assert_eq!(shown["sender"], user.as_str(), "version {version}");
            let typing = json!({ "room_id": scene.room.id, "user_id": user, "typing": true });
            let receipt = json!({ &scene.room.id: { "m.read": { &user: {
                "event_ids": [said.id], "data": { "ts": 1_700_000_000_000_i64 },
            } } } });
            let edus = json!([
                { "edu_type": "m.typing", "content": typing },
                { "edu_type": "m.receipt", "content": receipt },
            ]);
            scene.peer.send_edus(scene.server, edus).await.unwrap();
        }
        let members = path("/_matrix/client/v3/rooms/{}/joined_members", &[&scene.room.id]);
        let members = scene.alice.api.get(&members).await.unwrap().ok().unwrap();
        for name in ODD {
            assert!(members["joined"][scene.peer.user(name)].is_object(), "{name:?}: {members}");
        }
        scene.goes_on_without(&[]).await;
    }
}

#[tokio::test]
async fn they_are_invited_and_given_power() {
    for version in ["1", "12"] {
        let mut scene = Scene::set(version).await;
        for name in ODD {
            let user = scene.peer.user(name);
            scene.alice.invite(&scene.room.id, &user).await.unwrap();
            let invited = |pdu: &serde_json::Value| pdu["state_key"] == user.as_str();
            let request = scene.peer.received("the invitation", |request| {
                request.pieces.contains(&"invite".to_owned()) && invited(&request.body["event"])
            });
            request.await.unwrap();
            // Taken up from the list of what the peer has seen, so that its join follows.
            let joined = scene.peer.join(scene.server, &scene.room.id, &user).await.unwrap();
            scene.sync.membership(&joined.id, &user, "join").await.unwrap();
        }
        let mut power = scene.state("m.room.power_levels", "").await;
        for name in ODD {
            power["users"][scene.peer.user(name)] = json!(50);
        }
        let id = scene.alice.set_state(&scene.room.id, "m.room.power_levels", "", power).await;
        let id = id.unwrap();
        scene
            .peer
            .received_pdu("the power", |pdu| pdu["type"] == "m.room.power_levels")
            .await
            .unwrap();
        assert_eq!(scene.room.extremities().last(), Some(&id));
        for name in ODD {
            let user = scene.peer.user(name);
            let content = json!({ "topic": name });
            let draft = scene.room.state_draft(&user, "m.room.topic", "", content).unwrap();
            scene.put_out(&draft).await;
            assert_eq!(scene.state("m.room.topic", "").await["topic"], name);
        }
        scene.goes_on_without(&[]).await;
    }
}

#[tokio::test]
async fn they_are_not_registered_here() {
    for name in ["s p a c e", "UPPER", "\u{fc}n\u{ef}\u{1f408}", "100%25", "a:b"] {
        let body = json!({ "username": name, "password": PASSWORD });
        let answer = support::anonymous().await.register(body).await.unwrap();
        if name == "UPPER" && answer.status == 200 {
            // A server may make it lower case.
            assert!(answer.body["user_id"].as_str().unwrap().starts_with("@upper:"));
            continue;
        }
        answer.expect_error(400, "M_INVALID_USERNAME").unwrap();
    }
}
