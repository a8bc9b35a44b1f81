//! What is stored rightly is found right; each kind of damage is found.

use ruma::{room_id, server_name};
use serde_json::json;
use starling_storage::events::{EventRow, RelationRow, flags};

use super::event::{Beside, judge, read};
use crate::{
    events::{Canonical, Pdu, verify::ServerKeys},
    rooms::versions,
};

fn message() -> (EventRow, Pdu) {
    let rules = versions::rules(&versions::DEFAULT).unwrap();
    let event = json!({
        "type": "m.room.message", "room_id": "!r:x.org", "sender": "@a:x.org",
        "content": { "body": "hi", "m.relates_to": { "rel_type": "m.thread", "event_id": "$root" } },
        "prev_events": ["$p"], "auth_events": ["$a"], "depth": 3, "origin_server_ts": 1,
        "signatures": { "x.org": { "ed25519:1": "c2ln" } },
    });
    let mut event = Canonical::parse(&event.to_string(), &rules).unwrap();
    let hash = crate::events::hashes::content_hash(&event).unwrap();
    let hashes = [("sha256".to_owned(), ruma::CanonicalJsonValue::from(hash))].into();
    event.object_mut().insert("hashes".to_owned(), ruma::CanonicalJsonValue::Object(hashes));
    let pdu = Pdu::from_canonical(event, &rules).unwrap();
    let row = EventRow {
        room_id: pdu.room_id.to_string(),
        event_id: pdu.event_id.to_string(),
        kind: pdu.kind.to_string(),
        state_key: None,
        sender: pdu.sender.to_string(),
        depth: 3,
        origin_server_ts: 1,
        received_ts: 1,
        state_before: Some(1),
        flags: 0,
        redacted_by: None,
        json: pdu.json.get().to_owned(),
        sent_by: None,
    };
    (row, pdu)
}

fn wrong(row: &EventRow, follows: Vec<&str>, parent: Option<&str>) -> Vec<String> {
    let rules = versions::rules(&versions::DEFAULT).unwrap();
    let relation = parent.map(|parent| RelationRow {
        room_id: row.room_id.clone(),
        parent_id: parent.to_owned(),
        event_id: row.event_id.clone(),
        rel_type: "m.thread".to_owned(),
        kind: "m.room.message".to_owned(),
        sender: "@a:x.org".to_owned(),
        depth: 3,
        origin_server_ts: 1,
    });
    let keys = ServerKeys::new();
    let relations = relation.iter().collect();
    let own = server_name!("here.org");
    let beside = Beside { rules: &rules, own, keys: &keys, follows, relations };
    match read(row, &rules) {
        Ok(pdu) => judge(row, &pdu, &beside).wrong,
        Err(reason) => vec![reason],
    }
}

#[test]
fn an_event_as_it_was_stored_is_right() {
    let (row, pdu) = message();
    assert_eq!(pdu.room_id, room_id!("!r:x.org"));
    assert_eq!(wrong(&row, vec!["$p"], Some("$root")), Vec::<String>::new());
    let outlier = EventRow { flags: flags::OUTLIER, ..row };
    assert_eq!(wrong(&outlier, vec![], None), Vec::<String>::new());
}

#[test]
fn every_damage_of_an_event_is_found() {
    let (row, _) = message();
    assert!(!wrong(&row, vec![], Some("$root")).is_empty(), "an edge is missing");
    assert!(!wrong(&row, vec!["$p"], None).is_empty(), "its relation is missing");
    assert!(!wrong(&row, vec!["$p"], Some("$other")).is_empty(), "it relates to another");
    for (from, to) in [
        ("hi", "ho"),
        ("$p", "$q"),
        ("!r:", "!s:"),
        ("\"depth\":3", "\"depth\":4"),
        ("{\"auth", "{ \"auth"),
        ("\"type\"", "\"tipe\""),
        ("}", ""),
    ] {
        let json = row.json.replacen(from, to, 1);
        assert_ne!(json, row.json, "{from}");
        let damaged = EventRow { json, ..row.clone() };
        assert!(!wrong(&damaged, vec!["$p", "$q"], Some("$root")).is_empty(), "{from}");
    }
    let s = str::to_owned;
    for damaged in [
        EventRow { kind: s("m.room.name"), ..row.clone() },
        EventRow { state_key: Some(s("")), ..row.clone() },
        EventRow { sender: s("@b:x.org"), ..row.clone() },
        EventRow { depth: 4, ..row.clone() },
        EventRow { origin_server_ts: 2, ..row.clone() },
        EventRow { room_id: s("!s:x.org"), ..row.clone() },
        EventRow { event_id: s("$other"), ..row.clone() },
        EventRow { redacted_by: Some(s("$other")), ..row.clone() },
    ] {
        assert!(!wrong(&damaged, vec!["$p"], Some("$root")).is_empty(), "{damaged:?}");
    }
}
