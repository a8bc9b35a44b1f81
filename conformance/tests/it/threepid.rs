//! Invites of addresses: `POST /rooms/{roomId}/invite` with an identity server,
//! `PUT /_matrix/federation/v1/3pid/onbind` and
//! `PUT /_matrix/federation/v1/exchange_third_party_invite/{roomId}`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use starling_conformance::{
    client::{Answer, User, path},
    evil::{Peer, Reply},
    servers::Server,
};

use crate::{
    scene::{Scene, VERSIONS},
    support,
};

const ADDRESS: &str = "bob@example.org";

/// An identity server that knows one address at most.
struct Identity {
    peer: Peer,
    /// Whether its keys are valid still.
    valid: Arc<AtomicBool>,
}

impl Identity {
    /// One that knows to whom the address belongs, or does not.
    async fn start(bound: Option<&str>) -> Self {
        let (peer, valid) = (support::peer().await, Arc::new(AtomicBool::new(true)));
        let (bound, is_valid) = (bound.map(str::to_owned), valid.clone());
        let key = peer.key.public();
        let validity = format!("https://{}/_matrix/identity/v2/pubkey/isvalid?a=b", peer.name);
        peer.script(move |request| {
            let pieces: Vec<&str> = request.pieces.iter().map(String::as_str).collect();
            let ["_matrix", "identity", "v2", rest @ ..] = pieces.as_slice() else { return None };
            Some(Reply::ok(match rest {
                ["hash_details"] => json!({ "algorithms": ["sha256"], "lookup_pepper": "pepper" }),
                ["lookup"] => match &bound {
                    Some(user) => json!({ "mappings": { hashed(ADDRESS): user } }),
                    None => json!({ "mappings": {} }),
                },
                ["store-invite"] => json!({
                    "token": "token", "display_name": "b...@e...",
                    "public_keys": [{ "public_key": key, "key_validity_url": validity }],
                }),
                ["pubkey", "isvalid"] => {
                    let right = request.parameters("public_key") == [key.clone()]
                        && request.parameters("a") == ["b"];
                    json!({ "valid": right && is_valid.load(Ordering::SeqCst) })
                }
                _ => return Some(Reply::error(404, "M_NOT_FOUND")),
            }))
        });
        Self { peer, valid }
    }

    fn invite(&self) -> Value {
        json!({
            "id_server": self.peer.name, "id_access_token": "secret",
            "medium": "email", "address": "Bob@Example.ORG",
        })
    }

    /// The proof that the address belongs to a user.
    fn proof(&self, user: &str, sender: &str) -> Value {
        let text = format!(r#"{{"mxid":"{user}","sender":"{sender}","token":"token"}}"#);
        let signatures = json!({ "id": { (&*self.peer.key.id): self.peer.key.sign(&text) } });
        json!({ "mxid": user, "sender": sender, "token": "token", "signatures": signatures })
    }
}

fn hashed(address: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{address} email pepper")))
}

async fn invite(user: &User, room: &str, body: Value) -> Answer {
    user.api.post(&path("/_matrix/client/v3/rooms/{}/invite", &[room]), body).await.unwrap()
}

/// Tells a server that the address belongs to a user, who was invited by it.
async fn bind(server: &Server, identity: &Identity, user: &str, invites: Value) -> Answer {
    let body = json!({ "medium": "email", "address": ADDRESS, "mxid": user, "invites": invites });
    let target = "/_matrix/federation/v1/3pid/onbind";
    let answer = identity.peer.request_as(server, http::Method::PUT, target, Some(&body), None);
    answer.await.unwrap()
}

async fn member(user: &User, room: &str, of: &str) -> Value {
    let answer = user.state(room, "m.room.member", of).await.unwrap();
    if answer.status == 404 { Value::Null } else { answer.ok().unwrap() }
}

#[tokio::test]
async fn who_is_known_is_invited_as_a_user() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let identity = Identity::start(Some(&bob.id)).await;
    let room = alice.create_public_room().await.unwrap();
    invite(&alice, &room, identity.invite()).await.ok().unwrap();
    assert_eq!(member(&alice, &room, &bob.id).await["membership"], "invite");
    let asked = identity.peer.seen("lookup");
    let wanted =
        json!({ "addresses": [hashed(ADDRESS)], "algorithm": "sha256", "pepper": "pepper" });
    assert_eq!(asked[0].body, wanted);
    assert!(identity.peer.seen("store-invite").is_empty());
    let body = json!({ "invite_3pid": [identity.invite()] });
    let room = alice.create_room(body).await.unwrap();
    assert_eq!(member(&alice, &room, &bob.id).await["membership"], "invite");
}

#[tokio::test]
async fn who_is_not_known_is_invited_when_the_address_becomes_theirs() {
    for version in VERSIONS {
        let (alice, bob) = (support::user("alice").await, support::user("bob").await);
        let identity = Identity::start(None).await;
        let options = json!({ "room_version": version, "name": "The hall" });
        let room = alice.create_room(options).await.unwrap();
        invite(&alice, &room, identity.invite()).await.ok().unwrap();
        let kept = &identity.peer.seen("store-invite")[0].body;
        for (field, value) in [
            ("address", ADDRESS),
            ("medium", "email"),
            ("room_id", &room),
            ("sender", &alice.id),
            ("room_name", "The hall"),
            ("room_join_rules", "invite"),
        ] {
            assert_eq!(kept[field], value, "{field}");
        }
        let event = alice.state(&room, "m.room.third_party_invite", "token").await.unwrap();
        let event = event.ok().unwrap();
        assert_eq!(event["display_name"], "b...@e...");
        assert_eq!(event["public_key"], identity.peer.key.public());
        assert_eq!(event["public_keys"][0]["public_key"], event["public_key"]);

        let server = support::server().await;
        let invites = |proof: Value, user: &str| {
            json!([{
                "medium": "email", "address": ADDRESS, "mxid": user, "room_id": room,
                "sender": alice.id, "signed": proof,
            }])
        };
        let eve = support::user("eve").await;
        let mut forged = identity.proof(&bob.id, &alice.id);
        forged["mxid"] = json!(eve.id);
        bind(server, &identity, &eve.id, invites(forged, &eve.id)).await.ok().unwrap();
        let proof = identity.proof(&bob.id, &alice.id);
        bind(server, &identity, &eve.id, invites(proof.clone(), &eve.id)).await.ok().unwrap();
        assert_eq!(member(&alice, &room, &eve.id).await, Value::Null, "a forged proof");
        identity.valid.store(false, Ordering::SeqCst);
        bind(server, &identity, &bob.id, invites(proof.clone(), &bob.id)).await.ok().unwrap();
        assert_eq!(member(&alice, &room, &bob.id).await, Value::Null, "a key that is not valid");
        identity.valid.store(true, Ordering::SeqCst);
        bind(server, &identity, &bob.id, invites(proof.clone(), &bob.id)).await.ok().unwrap();
        let invited = member(&alice, &room, &bob.id).await;
        assert_eq!(invited["membership"], "invite", "version {version}");
        let wanted = json!({ "display_name": "b...@e...", "signed": proof });
        assert_eq!(invited["third_party_invite"], wanted);
        bob.join(&room, &[]).await.unwrap();
        // Who was removed does not come back by the same proof.
        alice.kick(&room, &bob.id).await.unwrap();
        bind(server, &identity, &bob.id, invites(proof, &bob.id)).await.ok().unwrap();
        assert_eq!(member(&alice, &room, &bob.id).await["membership"], "leave");
    }
}

#[tokio::test]
async fn a_proof_can_be_brought_along_when_joining() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let identity = Identity::start(None).await;
    let room = alice.create_room(json!({ "invite_3pid": [identity.invite()] })).await.unwrap();
    let target = path("/_matrix/client/v3/rooms/{}/join", &[&room]);
    let join = async |user: &User, proof: Value| {
        user.api.post(&target, json!({ "third_party_signed": proof })).await.unwrap()
    };
    let proof = identity.proof(&bob.id, &alice.id);
    let eve = support::user("eve").await;
    join(&eve, proof.clone()).await.expect_error(403, "M_FORBIDDEN").unwrap();
    let mut other = proof.clone();
    other["token"] = json!("other");
    join(&bob, other).await.expect_error(403, "M_FORBIDDEN").unwrap();
    join(&bob, json!({ "sender": alice.id })).await.expect_error(400, "M_BAD_JSON").unwrap();
    join(&bob, proof).await.ok().unwrap();
    assert_eq!(member(&alice, &room, &bob.id).await["membership"], "join");
}

#[tokio::test]
async fn a_server_exchanges_the_invite_of_its_user() {
    for version in VERSIONS {
        let scene = Scene::set(version).await;
        let (server, room) = (scene.server, &scene.room.id);
        let identity = Identity::start(None).await;
        invite(&scene.alice, room, identity.invite()).await.ok().unwrap();
        let eve = scene.peer.user("eve");
        let body = |user: &str, proof: Value| {
            json!({
                "type": "m.room.member", "room_id": room, "sender": scene.alice.id,
                "state_key": user,
                "content": {
                    "membership": "invite",
                    "third_party_invite": { "display_name": "eve", "signed": proof },
                },
            })
        };
        let target = path("/_matrix/federation/v1/exchange_third_party_invite/{}", &[room]);
        let put = async |body: &Value| scene.peer.put(server, &target, body).await.unwrap();
        let good = body(&eve, identity.proof(&eve, &scene.alice.id));
        let change = |pointer: &str, value: Value| {
            let mut changed = good.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            changed
        };
        let bob = support::user("bob").await;
        for (bad, status, errcode) in [
            (change("/room_id", json!("!other:example.org")), 400, "M_INVALID_PARAM"),
            (change("/type", json!("m.room.message")), 400, "M_INVALID_PARAM"),
            (change("/content/membership", json!("join")), 400, "M_INVALID_PARAM"),
            (change("/sender", json!(scene.mallory)), 400, "M_INVALID_PARAM"),
            (change("/state_key", json!(bob.id)), 400, "M_INVALID_PARAM"),
            (change("/state_key", json!(scene.mallory)), 400, "M_INVALID_PARAM"),
            (change("/sender", json!(bob.id)), 403, "M_FORBIDDEN"),
            (body(&eve, identity.proof(&scene.mallory, &scene.alice.id)), 400, "M_INVALID_PARAM"),
            (change("/content/third_party_invite/signed/token", json!("x")), 403, "M_FORBIDDEN"),
            (change("/content/third_party_invite/signed/sender", json!("x")), 403, "M_FORBIDDEN"),
            (change("/content/third_party_invite/signed", json!(5)), 400, "M_INVALID_PARAM"),
        ] {
            put(&bad).await.expect_error(status, errcode).unwrap();
        }
        let unsigned = scene.peer.request_as(server, http::Method::PUT, &target, Some(&good), None);
        unsigned.await.unwrap().expect_error(401, "M_UNAUTHORIZED").unwrap();
        assert_eq!(scene.state("m.room.member", &eve).await, Value::Null);
        put(&good).await.ok().unwrap();
        assert_eq!(scene.state("m.room.member", &eve).await["membership"], "invite");
        assert!(!scene.peer.seen("invite").is_empty(), "the other server has signed it");
        put(&good).await.ok().unwrap();
    }
}

#[tokio::test]
async fn an_invite_by_another_server_is_exchanged_there() {
    let server = support::server().await;
    let (bob, peer) = (support::user("bob").await, support::peer().await);
    let identity = Identity::start(None).await;
    let mallory = peer.user("mallory");
    peer.answer("exchange_third_party_invite", Reply::ok(json!({})));
    let proof = identity.proof(&bob.id, &mallory);
    let invites = json!([{
        "medium": "email", "address": ADDRESS, "mxid": bob.id, "room_id": "!far:example.org",
        "sender": mallory, "signed": proof,
    }]);
    bind(server, &identity, &bob.id, invites).await.ok().unwrap();
    let asked = &peer.seen("exchange_third_party_invite")[0];
    assert_eq!(asked.pieces.last().unwrap(), "!far:example.org");
    assert_eq!(asked.body["state_key"], bob.id.as_str());
    assert_eq!(asked.body["content"]["third_party_invite"]["signed"], proof);
}

#[tokio::test]
async fn refusals() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let identity = Identity::start(None).await;
    let options = json!({
        "preset": "public_chat", "power_level_content_override": { "invite": 50 },
    });
    let room = alice.create_room(options).await.unwrap();
    invite(&bob, &room, identity.invite()).await.expect_error(403, "M_FORBIDDEN").unwrap();
    bob.join(&room, &[]).await.unwrap();
    invite(&bob, &room, identity.invite()).await.expect_error(403, "M_FORBIDDEN").unwrap();
    assert!(identity.peer.seen("identity").is_empty(), "nobody outside heard of it");
    let with = |field: &str, value: Value| {
        let mut body = identity.invite();
        body[field] = value;
        body
    };
    let nobody = support::peer().await.name;
    for (body, status, errcode) in [
        (with("id_server", json!("https://x/y")), 400, "M_INVALID_PARAM"),
        (with("id_server", json!("a@b")), 400, "M_INVALID_PARAM"),
        (with("id_access_token", json!("a b")), 400, "M_INVALID_PARAM"),
        (with("address", json!("")), 400, "M_INVALID_PARAM"),
        (with("address", json!("x".repeat(600))), 400, "M_INVALID_PARAM"),
        (with("medium", json!(5)), 400, "M_BAD_JSON"),
        (json!({ "medium": "email" }), 400, "M_MISSING_PARAM"),
        (with("id_server", json!(nobody)), 502, "M_UNKNOWN"),
    ] {
        invite(&alice, &room, body).await.expect_error(status, errcode).unwrap();
    }
    for (errcode, wanted) in
        [("M_TERMS_NOT_SIGNED", "M_TERMS_NOT_SIGNED"), ("M_UNKNOWN_TOKEN", "M_FORBIDDEN")]
    {
        let strict = support::peer().await;
        strict.answer("identity", Reply::error(403, errcode));
        let body = with("id_server", json!(strict.name));
        invite(&alice, &room, body).await.expect_error(403, wanted).unwrap();
    }
    let server = support::server().await;
    let answer = bind(server, &identity, "@far:example.org", json!([])).await;
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    let answer = bind(server, &identity, &bob.id, json!(5)).await;
    answer.expect_error(400, "M_BAD_JSON").unwrap();
    let many = json!({
        "mxid": bob.id, "room_id": room, "sender": alice.id, "signed": {},
    });
    let answer = bind(server, &identity, &bob.id, json!(vec![many; 51])).await;
    answer.expect_error(413, "M_TOO_LARGE").unwrap();
}
