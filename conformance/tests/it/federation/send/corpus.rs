//! Events that no server may accept, each wrong in one way.

use serde_json::{Value, json};
use starling_conformance::{
    evil::{raw, render},
    servers::Kind,
};

use crate::scene::{Bad, Scene};

/// Whether a room version is strict about numbers.
pub(crate) fn is_strict(version: &str) -> bool {
    version.parse::<u32>().unwrap() >= 6
}

/// Events that fail the format of the scene's room version.
pub(crate) fn malformed(scene: &Scene) -> Vec<Bad> {
    let mut corpus = Corpus { scene, bad: Vec::new() };
    corpus.fields();
    corpus.numbers();
    corpus.limits();
    corpus.bad
}

/// Well-formed events that are not what they claim to be, or that their sender may not send.
pub(crate) fn forged(scene: &Scene) -> Vec<Bad> {
    let mut corpus = Corpus { scene, bad: Vec::new() };
    corpus.signatures();
    corpus.impostors();
    corpus.without_right();
    corpus.bad
}

struct Corpus<'a> {
    scene: &'a Scene,
    bad: Vec<Bad>,
}

impl Corpus<'_> {
    fn fields(&mut self) {
        self.without("no type", "type");
        self.with("a number as type", "type", json!(5));
        self.without("no content", "content");
        self.with("null as content", "content", Value::Null);
        self.with("a list as content", "content", json!([]));
        self.with("text as content", "content", json!("text"));
        self.without("no sender", "sender");
        self.with("a sender without sigil", "sender", json!(self.scene.peer.name));
        self.with("a number as sender", "sender", json!(1));
        self.with("a number as room", "room_id", json!(1));
        self.without("no room", "room_id");
        self.without("no auth events", "auth_events");
        self.with("text as auth events", "auth_events", json!("$event"));
        self.with("numbers as auth events", "auth_events", json!([1, 2]));
        self.without("no previous events", "prev_events");
        self.with("an object as previous events", "prev_events", json!({}));
        self.with("a number as state key", "state_key", json!(1));
        self.without("no time", "origin_server_ts");
        self.with("text as time", "origin_server_ts", json!("yesterday"));
        self.with("a number as hashes", "hashes", json!(7));
    }

    fn numbers(&mut self) {
        self.without("no depth", "depth");
        self.with("null as depth", "depth", Value::Null);
        self.with("text as depth", "depth", json!("5"));
        self.with("a fraction as depth", "depth", raw("1.5"));
        self.with("negative depth", "depth", json!(-1));
        if is_strict(&self.scene.room.version) {
            self.with("depth 2^53", "depth", raw("9007199254740992"));
            self.with("depth 2^63-1", "depth", raw("9223372036854775807"));
            self.content("a fraction", raw("1.5"));
            self.content("a whole number with a point", raw("1.0"));
            self.content("2^53", raw("9007199254740992"));
            self.content("-2^53", raw("-9007199254740992"));
        }
        self.with("depth 2^63", "depth", raw("9223372036854775808"));
        // Synapse fails on these with 500, or writes them otherwise before it looks at the signature.
        if self.scene.server.kind() == Kind::Starling {
            self.content("a number beyond all", raw("1E400"));
            if is_strict(&self.scene.room.version) {
                self.content("an exponent", raw("1e3"));
            }
        }
    }

    fn limits(&mut self) {
        let references = |count: usize| {
            let ids: Vec<String> = (0..count).map(|index| format!("$unknown{index}:x")).collect();
            self.scene.room.references(ids.iter().map(String::as_str)).unwrap()
        };
        let (many_previous, many_auth) = (references(21), references(11));
        self.with("21 previous events", "prev_events", many_previous);
        self.with("11 auth events", "auth_events", many_auth);
        self.with("a long type", "type", json!("t".repeat(256)));
        self.with("a long state key", "state_key", json!("k".repeat(256)));
        let long_user = format!("@{}:{}", "u".repeat(256), self.scene.peer.name);
        self.with("a long sender", "sender", json!(long_user));
        let draft = self.draft();
        let size = render(&self.scene.sealed(&draft).pdu).unwrap().len();
        let body = "x".repeat(65_537 - size + "odd".len());
        self.with("65,537 bytes", "content", json!({ "msgtype": "m.text", "body": body }));
    }

    fn signatures(&mut self) {
        let (event, peer) = (self.scene.message("odd"), &self.scene.peer);
        let broken = event.with_broken_signature(&peer.name);
        self.bad.push(("a broken signature", broken));
        let unsigned = self.scene.message("odd").tampered(|pdu| pdu["signatures"] = json!({}));
        self.bad.push(("no signature", unsigned));
        let other_key = self.scene.message("odd").tampered(|pdu| {
            let signature = pdu["signatures"][&peer.name][&peer.key.id].clone();
            pdu["signatures"] = json!({ &peer.name: { "ed25519:unknown": signature } });
        });
        self.bad.push(("a signature by an unknown key", other_key));
        let other_server = self.scene.message("odd").tampered(|pdu| {
            let signature = pdu["signatures"][&peer.name].clone();
            pdu["signatures"] = json!({ self.scene.server.name(): signature });
        });
        self.bad.push(("a signature as the receiver", other_server));
        let changed = self.scene.message("odd").tampered(|pdu| {
            pdu["origin_server_ts"] = json!(pdu["origin_server_ts"].as_u64().unwrap() + 1);
        });
        self.bad.push(("a time changed after signing", changed));
    }

    fn impostors(&mut self) {
        let (alice, room) = (self.scene.alice.id.clone(), &self.scene.room);
        let in_her_name = room.message(&alice, "odd").unwrap();
        self.bad.push(("a message in Alice's name", self.scene.sealed(&in_her_name)));
        let stranger = self.scene.peer.user("stranger");
        let by_stranger = room.message(&stranger, "odd").unwrap();
        self.bad.push((
            "a message of somebody who is not in the room",
            self.scene.sealed(&by_stranger),
        ));
        let with_her_membership = room.member(&self.scene.mallory, &alice, "leave").unwrap();
        self.bad.push(("Alice kicked without power", self.scene.sealed(&with_her_membership)));
        let ban = room.member(&self.scene.mallory, &alice, "ban").unwrap();
        self.bad.push(("Alice banned without power", self.scene.sealed(&ban)));
        let join = room.member(&self.scene.mallory, &stranger, "join").unwrap();
        self.bad.push(("a join for somebody else", self.scene.sealed(&join)));
    }

    fn without_right(&mut self) {
        let (mallory, room) = (&self.scene.mallory, &self.scene.room);
        let state = |kind: &str, content: Value| {
            self.scene.sealed(&room.state_draft(mallory, kind, "", content).unwrap())
        };
        let power = json!({ "users": { mallory: 100 } });
        let create = json!({ "room_version": room.version, "creator": mallory });
        let found = [
            ("power for herself", state("m.room.power_levels", power)),
            ("a second creation", state("m.room.create", create)),
            ("a name without right", state("m.room.name", json!({ "name": "Mallory's" }))),
            (
                "an open history",
                state(
                    "m.room.history_visibility",
                    json!({ "history_visibility": "world_readable" }),
                ),
            ),
            (
                "the end of the room",
                state("m.room.tombstone", json!({ "replacement_room": "!other:x" })),
            ),
            ("a server list without right", state("m.room.server_acl", json!({ "allow": [] }))),
        ];
        self.bad.extend(found);
        let draft = room.state_draft(mallory, "org.example.note", &self.scene.alice.id, json!({}));
        let foreign_key = self.scene.sealed(&draft.unwrap());
        self.bad.push(("a state key with Alice's id", foreign_key));
    }

    /// Sealed with one field changed before.
    fn with(&mut self, name: &'static str, field: &str, value: Value) {
        let mut draft = self.draft();
        draft[field] = value;
        self.bad.push((name, self.scene.sealed(&draft)));
    }

    fn without(&mut self, name: &'static str, field: &str) {
        let mut draft = self.draft();
        draft.as_object_mut().unwrap().remove(field);
        self.bad.push((name, self.scene.sealed(&draft)));
    }

    fn content(&mut self, name: &'static str, odd: Value) {
        let content = json!({ "msgtype": "m.text", "body": "odd", "odd": odd });
        self.with(name, "content", content);
    }

    fn draft(&self) -> Value {
        self.scene.room.message(&self.scene.mallory, "odd").unwrap()
    }
}
