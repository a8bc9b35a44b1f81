//! PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}

use serde_json::{Value, json};
use starling_conformance::client::{Answer, User, path};

use crate::support;

const WITH_RELATIONS: &str = "org.matrix.msc3912.with_relations";

async fn relate(user: &User, room: &str, to: &str, rel_type: &str, key: &str) -> String {
    let relation = json!({ "rel_type": rel_type, "event_id": to, "key": key });
    let new = json!({ "msgtype": "m.text", "body": key });
    let content = json!({
        "msgtype": "m.text", "body": key, "m.relates_to": relation, "m.new_content": new,
    });
    user.send(room, "m.room.message", content).await.unwrap()
}

async fn redact(user: &User, room: &str, event: &str, txn: &str, body: Value) -> Answer {
    let template = "/_matrix/client/v3/rooms/{}/redact/{}/{}";
    user.api.put(&path(template, &[room, event, txn]), body).await.unwrap()
}

async fn is_redacted(user: &User, room: &str, event: &str) -> bool {
    let event = user.event(room, event).await.unwrap().ok().unwrap();
    event["unsigned"]["redacted_because"].is_object()
}

#[tokio::test]
async fn what_relates_to_an_event_is_redacted_with_it_where_that_is_wanted() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let said = alice.say(&room, "said").await.unwrap();
    let edit = relate(&alice, &room, &said, "m.replace", "edited").await;
    let mention = relate(&bob, &room, &said, "m.reference", "mentioned").await;
    let other = relate(&bob, &room, &said, "org.example.other", "other").await;
    let body = json!({ "reason": "r", WITH_RELATIONS: ["m.replace", "m.reference"] });
    let first = redact(&alice, &room, &said, "1", body.clone()).await.ok().unwrap();
    for (event, wanted) in [(&said, true), (&edit, true), (&mention, true), (&other, false)] {
        assert_eq!(is_redacted(&alice, &room, event).await, wanted, "{event}");
    }
    let shown = alice.event(&room, &edit).await.unwrap().ok().unwrap();
    let content = &shown["unsigned"]["redacted_because"]["content"];
    assert_eq!(content["reason"], "r");
    assert!(content.get(WITH_RELATIONS).is_none(), "{content}");

    // Who repeats the request has the rest redacted, too.
    let late = relate(&bob, &room, &said, "m.reference", "late").await;
    let again = redact(&alice, &room, &said, "1", body).await.ok().unwrap();
    assert_eq!(first, again);
    assert!(is_redacted(&alice, &room, &late).await);
    let versions = alice.api.get("/_matrix/client/versions").await.unwrap().ok().unwrap();
    assert_eq!(versions["unstable_features"]["org.matrix.msc3912"], true);
}

#[tokio::test]
async fn nobody_redacts_with_their_own_what_they_may_not_redact() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let said = bob.say(&room, "said").await.unwrap();
    let edit = relate(&bob, &room, &said, "m.replace", "edited").await;
    let answer = relate(&alice, &room, &said, "m.reference", "answered").await;
    redact(&bob, &room, &said, "1", json!({ WITH_RELATIONS: ["*"] })).await.ok().unwrap();
    for (event, wanted) in [(&said, true), (&edit, true), (&answer, false)] {
        assert_eq!(is_redacted(&bob, &room, event).await, wanted, "{event}");
    }
    let by_alice = alice.say(&room, "not his").await.unwrap();
    let refused = redact(&bob, &room, &by_alice, "2", json!({ WITH_RELATIONS: ["*"] })).await;
    refused.expect_error(403, "M_FORBIDDEN").unwrap();
    for wrong in [json!("*"), json!([1]), json!(null)] {
        let refused = redact(&bob, &room, &said, "3", json!({ WITH_RELATIONS: wrong })).await;
        refused.expect_error(400, "M_BAD_JSON").unwrap();
    }
    let many: Vec<String> = (0..51).map(|number| format!("org.example.{number}")).collect();
    let refused = redact(&bob, &room, &said, "4", json!({ WITH_RELATIONS: many })).await;
    refused.expect_error(400, "M_INVALID_PARAM").unwrap();
}
