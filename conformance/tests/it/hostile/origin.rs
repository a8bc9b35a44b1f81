//! A server speaks for its own users, where the room lets it.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, path},
    evil::{Event, Received, Reply},
};
use tokio::sync::Notify;

use crate::{
    federation::reading::ask_all,
    scene::{Scene, VERSIONS},
    support,
};

/// What the peer asks of a room, or hands in, over each of the endpoints that name one.
async fn ask_everything(scene: &Scene, event: &Event) -> Vec<(&'static str, Answer)> {
    let (room, id) = (scene.room.id.as_str(), event.id.as_str());
    let newcomer = scene.peer.user("newcomer");
    let join = scene.sealed(&scene.room.member(&newcomer, &newcomer, "join").unwrap());
    let leave = scene.sealed(&scene.room.member(&scene.mallory, &scene.mallory, "leave").unwrap());
    let knock = scene.sealed(&scene.room.member(&newcomer, &newcomer, "knock").unwrap());
    let ver = format!("?ver={}", scene.room.version);
    let make = |verb: &str, user: &str| {
        path(&format!("/_matrix/federation/v1/{verb}/{{}}/{{}}{ver}"), &[room, user])
    };
    let send = |verb: &str, event: &Event| {
        path(&format!("/_matrix/federation/{verb}/{{}}/{{}}"), &[room, &event.id])
    };
    let get = |name: &'static str, target: String| (name, Method::GET, target, None);
    let put = |name: &'static str, target: String, event: &Event| {
        (name, Method::PUT, target, Some(event.pdu.clone()))
    };
    let requests = [
        get("make_join", make("make_join", &newcomer)),
        get("make_leave", make("make_leave", &scene.mallory)),
        get("make_knock", make("make_knock", &newcomer)),
        put("send_join", send("v2/send_join", &join), &join),
        put("send_join v1", send("v1/send_join", &join), &join),
        put("send_leave", send("v2/send_leave", &leave), &leave),
        put("send_leave v1", send("v1/send_leave", &leave), &leave),
        put("send_knock", send("v1/send_knock", &knock), &knock),
        get(
            "timestamp_to_event",
            path("/_matrix/federation/v1/timestamp_to_event/{}?dir=f&ts=0", &[room]),
        ),
    ];
    let mut answers = ask_all(scene, &scene.peer, room, id).await;
    for (name, method, target, body) in requests {
        let answer = scene.peer.request(scene.server, method, &target, body.as_ref()).await;
        answers.push((name, answer.unwrap()));
    }
    answers
}

/// Names are compared without case and port, and whatever is not plainly allowed is denied.
#[tokio::test]
async fn a_server_that_is_kept_out_gets_nothing_and_says_nothing() {
    for version in VERSIONS {
        let denying = [
            json!({ "allow": ["*"], "deny": ["LOCALHOST"] }),
            json!({ "allow": ["*"], "deny": ["l?CAL*"] }),
            json!({ "allow": ["*.example"], "allow_ip_literals": true }),
            json!({}),
        ];
        let mut scene = Scene::set(version).await;
        let mut elsewhere = Scene::set(version).await;
        let said = scene.say("before").await;
        for acl in denying {
            let set = scene.alice.set_state(&scene.room.id, "m.room.server_acl", "", acl.clone());
            let set = set.await.unwrap();
            scene.sync.event_with_id(&scene.room.id, &set).await.unwrap();
            for (name, answer) in ask_everything(&scene, &said).await {
                let name = format!("version {version}, {acl}: {name}");
                assert!(!answer.body.to_string().contains("before"), "{name}: {answer:?}");
                assert!(matches!(answer.status, 403 | 404), "{name}: {answer:?}");
            }
            let message = scene.message("kept out");
            let answer = scene.deliver(&[&message]).await;
            assert!(answer["pdus"][&message.id]["error"].is_string(), "{acl}: {answer}");
            assert!(!scene.is_shown(&message.id).await, "version {version}, {acl}");
            let room = &scene.room.id;
            let read = json!({ "event_ids": [said.id], "data": { "ts": 1_700_000_000_000_i64 } });
            let edus = json!([
                { "edu_type": "m.typing", "content": {
                    "room_id": room, "user_id": scene.mallory, "typing": true } },
                { "edu_type": "m.receipt", "content": { room: { "m.read": { &scene.mallory: read } } } },
            ]);
            scene.peer.send_edus(scene.server, edus).await.unwrap();
            let answer = scene.sync.poll(std::time::Duration::ZERO).await.unwrap();
            let told = answer["rooms"]["join"][room]["ephemeral"]["events"].to_string();
            assert!(!told.contains(&scene.mallory), "version {version}, {acl}: {told}");
        }
        // It is kept out of this room only, and not for ever.
        elsewhere.say("elsewhere").await;
        let open = json!({ "allow": ["*"], "deny": ["*.example"] });
        let id =
            scene.alice.set_state(&scene.room.id, "m.room.server_acl", "", open).await.unwrap();
        scene.sync.event_with_id(&scene.room.id, &id).await.unwrap();
        let draft = scene.room.message(&scene.mallory, "let in again").unwrap();
        scene.put_out(&draft).await;
    }
}

/// Ten thousand patterns that are hard to match: an administrator of a room cannot slow down others.
#[tokio::test]
async fn a_list_of_servers_that_is_hard_to_match_costs_little() {
    let server = support::server().await;
    let (peer, alice) = (support::peer().await, support::user("alice").await);
    let mallory = peer.user("mallory");
    let options = json!({ "preset": "public_chat", "room_version": "11" });
    let id = alice.create_room(options).await.unwrap();
    let room = peer.join(server, &id, &mallory).await.unwrap();
    let hard = "*a?".repeat(8) + "x";
    let deny = vec![hard; 2_000];
    let acl = json!({ "allow": ["*"], "deny": deny });
    alice.set_state(&id, "m.room.server_acl", "", acl).await.unwrap();
    let arrived = |pdu: &Value| pdu["type"] == "m.room.server_acl";
    peer.received_pdu("the list", arrived).await.unwrap();
    let begun = std::time::Instant::now();
    for number in 0..100 {
        let draft = room.message(&mallory, &number.to_string()).unwrap();
        peer.put_out(server, &room, &draft).await.unwrap();
    }
    // A debug build beside other tests; without a bound it would not end.
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    crate::scene::assert_others_are_served(server).await;
}

/// Another server is stricter than this one, or wrong: of a transaction it takes all but the event that it
/// refuses, in their order, and everybody else gets that too.
#[tokio::test]
async fn a_server_that_refuses_one_event_gets_the_others() {
    let scene = Scene::set("11").await;
    let third = support::peer().await;
    let trent = third.user("trent");
    third.join(scene.server, &scene.room.id, &trent).await.unwrap();
    for (status, errcode) in [(400, "M_BAD_JSON"), (400, "M_NOT_JSON"), (413, "M_TOO_LARGE")] {
        let name = format!("{status} {errcode}");
        // While one transaction is under way, what is said gathers for the next.
        let (sign, first) = (Arc::new(Notify::new()), format!("first, {name}"));
        let (held, begins) = (sign.clone(), first.clone());
        third.script(move |request| {
            if has(request, "poison") {
                return Some(Reply::error(status, errcode));
            }
            let taken = Box::new(Reply::ok(json!({ "pdus": {} })));
            has(request, &begins).then(|| Reply::OnSign(held.clone(), taken))
        });
        scene.alice.say(&scene.room.id, &first).await.unwrap();
        third.received("what is held", |request| has(request, &first)).await.unwrap();
        let said = ["before", "more before", "poison", "after", "last"];
        let said = said.map(|body| format!("{body}, {name}"));
        for body in &said {
            scene.alice.say(&scene.room.id, body).await.unwrap();
        }
        sign.notify_one();
        let [before, _, poison, _, last] = &said;
        third.received("the last", |request| has(request, last)).await.unwrap();
        let is_whole = |request: &Received| said.iter().all(|body| has(request, body));
        third.received("all in one transaction", is_whole).await.unwrap();
        let taken = |request: &Received| !has(request, "poison") && has(request, last);
        third.received("the last without what it refuses", taken).await.unwrap();
        let transactions = third.seen("send");
        let taken = transactions.iter().filter(|request| !has(request, "poison"));
        let taken: Vec<&str> = taken.flat_map(Received::pdus).filter_map(body).collect();
        let of_these = |body: &&str| said.iter().any(|said| said == body);
        let taken: Vec<&str> = taken.into_iter().filter(of_these).collect();
        let all_but_it: Vec<&String> = said.iter().filter(|body| *body != poison).collect();
        assert_eq!(taken, all_but_it, "{name}");
        for body in [before, poison, last] {
            scene.peer.received("it", |request| has(request, body)).await.unwrap();
        }
        third.be_honest();
    }
    crate::scene::assert_others_are_served(scene.server).await;
}

/// What a message says.
fn body(pdu: &Value) -> Option<&str> {
    pdu["content"]["body"].as_str()
}

/// Whether a transaction has a message that begins so.
fn has(request: &Received, begins: &str) -> bool {
    request.pdus().filter_map(body).any(|body| body.starts_with(begins))
}

#[tokio::test]
async fn what_is_read_in_private_stays_private() {
    let mut scene = Scene::set("12").await;
    let bob = support::user("bob").await;
    bob.join(&scene.room.id, &[]).await.unwrap();
    let first = scene.say("first").await.id;
    let second = scene.say("second").await.id;
    let read = async |kind: &str, event: &str| {
        let template = "/_matrix/client/v3/rooms/{}/receipt/{}/{}";
        let target = path(template, &[&scene.room.id, kind, event]);
        scene.alice.api.post(&target, json!({})).await.unwrap().ok().unwrap();
    };
    read("m.read.private", &second).await;
    read("m.read", &first).await;
    let has_public = |request: &Received| request.edus().any(|edu| edu["edu_type"] == "m.receipt");
    scene.peer.received("a receipt", has_public).await.unwrap();
    let told: String =
        scene.peer.seen("send").iter().map(|request| request.body.to_string()).collect();
    assert!(!told.contains("m.read.private"), "{told}");
    let receipts = scene.peer.seen("send");
    let receipts = receipts
        .iter()
        .flat_map(|request| request.edus())
        .filter(|edu| edu["edu_type"] == "m.receipt");
    for receipt in receipts {
        assert!(!receipt.to_string().contains(&second), "{receipt}");
    }
    let sync = bob.api.get("/_matrix/client/v3/sync").await.unwrap().ok().unwrap();
    let shown = sync["rooms"]["join"][&scene.room.id]["ephemeral"].to_string();
    assert!(shown.contains(&scene.alice.id) && !shown.contains("private"), "{shown}");
}
