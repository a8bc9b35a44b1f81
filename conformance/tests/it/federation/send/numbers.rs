//! Numbers and texts at the edge of what canonical JSON holds.

use serde_json::{Value, json};
use starling_conformance::{evil::raw, servers::Kind};

use crate::scene::{Scene, VERSIONS};

const LARGEST: i64 = 9_007_199_254_740_991;

#[tokio::test]
async fn what_canonical_json_holds_comes_through_unchanged() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let odd = json!({
            "largest": LARGEST,
            "smallest": -LARGEST,
            "nul": "a\u{0}b",
            "delete": "\u{7f}",
            "surrogates": "\u{1f600}",
            "composed": "\u{e9}",
            "decomposed": "e\u{301}",
            "escapes": "\\\"/\u{8}\u{c}\n\r\t\u{1f}",
            "empty": { "": [[], {}, null, true, false, ""] },
            "\u{1f600}": "key",
            "\u{ffff}": "key",
        });
        let content = json!({ "msgtype": "m.text", "body": "odd", "odd": odd });
        let draft = scene.room.draft(&scene.mallory, "m.room.message", content).unwrap();
        let event = scene.put_out(&draft).await;
        let shown = scene.sees(&event).await;
        assert_eq!(shown["content"]["odd"], odd, "version {version}");
        scene.goes_on_without(&[]).await;
    }
}

/// What a client says with such values is verified by the peer, which shares no code with the server.
#[tokio::test]
async fn what_a_client_sends_is_hashed_and_signed_as_others_do() {
    for version in VERSIONS {
        let scene = Scene::set(version).await;
        let body = "a\u{0}b\u{7f}\u{1f600}\u{e9}e\u{301}\\\"/\u{8}\u{c}\n";
        let content =
            json!({ "body": body, "n": [LARGEST, -LARGEST, 0], "\u{ffff}": 1, "\u{1f600}": 2 });
        scene.alice.send(&scene.room.id, "org.example.odd", content.clone()).await.unwrap();
        let pdu =
            scene.peer.received_pdu("it", |pdu| pdu["type"] == "org.example.odd").await.unwrap();
        assert_eq!(pdu["content"], content);
        let verified = scene.peer.verify(scene.server, version, &pdu).await;
        verified.unwrap_or_else(|error| panic!("version {version}: {error:#}"));
    }
}

#[tokio::test]
async fn a_depth_at_the_limit_does_not_end_the_room() {
    for version in VERSIONS {
        let mut scene = Scene::set(version).await;
        let mut deepest = scene.room.message(&scene.mallory, "as deep as can be").unwrap();
        deepest["depth"] = json!(LARGEST);
        scene.put_out(&deepest).await;
        for body in ["first", "second"] {
            scene.alice.say(&scene.room.id, body).await.unwrap();
            let pdu = scene.peer.received_pdu(body, |pdu| pdu["content"]["body"] == body);
            assert_eq!(pdu.await.unwrap()["depth"], LARGEST, "version {version}");
        }
        let mut shallow = scene.room.message(&scene.mallory, "from above").unwrap();
        shallow["depth"] = json!(1);
        scene.put_out(&shallow).await;
        let history = scene.alice.history(&scene.room.id).await.unwrap();
        let bodies = history.iter().filter_map(|event| event["content"]["body"].as_str());
        assert_eq!(bodies.count(), 4, "version {version}");
    }
}

/// Up to room version 5 such numbers are legal, but a client could not read them.
#[tokio::test]
async fn an_old_room_takes_fractions_but_no_number_that_is_too_large() {
    for version in ["1", "5"] {
        let mut scene = Scene::set(version).await;
        let mut numbers = vec![("a fraction", "1.5")];
        if scene.server.kind() == Kind::Starling {
            // Synapse writes these in other digits before it looks at the signature.
            numbers.extend([("a zero behind the point", "1.0"), ("an exponent", "1e-7")]);
        }
        for (name, number) in numbers {
            let draft = with_number(&scene, name, raw(number));
            let event = scene.put_out(&draft).await;
            let shown = scene.sees(&event).await;
            let wanted: f64 = number.parse().unwrap();
            assert_eq!(shown["content"]["n"].as_f64(), Some(wanted), "version {version}: {shown}");
        }
        if scene.server.kind() == Kind::Synapse {
            continue; // It passes them on.
        }
        let mut corpus = Vec::new();
        for number in ["9007199254740992", "-9007199254740992", "9223372036854775807", "1E400"] {
            corpus.push((number, scene.sealed(&with_number(&scene, "large", raw(number)))));
        }
        for depth in ["9007199254740992", "9223372036854775807"] {
            let mut draft = scene.room.message(&scene.mallory, "deep").unwrap();
            draft["depth"] = raw(depth);
            corpus.push((depth, scene.sealed(&draft)));
        }
        for (_, event) in &corpus {
            scene.deliver(&[event]).await;
        }
        scene.goes_on_without(&corpus).await;
    }
}

fn with_number(scene: &Scene, body: &str, number: Value) -> Value {
    let content = json!({ "msgtype": "m.text", "body": body, "n": number });
    scene.room.draft(&scene.mallory, "m.room.message", content).unwrap()
}
