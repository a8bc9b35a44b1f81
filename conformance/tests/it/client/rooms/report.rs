//! POST /_matrix/client/v3/rooms/{roomId}/report
//! POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}

use serde_json::{Value, json};
use starling_conformance::client::{Answer, User, path};

use crate::support;

async fn report_room(user: &User, room: &str, body: Value) -> Answer {
    let target = path("/_matrix/client/v3/rooms/{}/report", &[room]);
    user.api.post(&target, body).await.unwrap()
}

async fn report_event(user: &User, room: &str, event: &str, body: Value) -> Answer {
    let target = path("/_matrix/client/v3/rooms/{}/report/{}", &[room, event]);
    user.api.post(&target, body).await.unwrap()
}

#[tokio::test]
async fn anybody_reports_a_room() {
    let alice = support::user("alice").await;
    let stranger = support::user("stranger").await;
    let room = alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    for user in [&alice, &stranger] {
        let answer = report_room(user, &room, json!({ "reason": "" })).await;
        assert_eq!(answer.ok().unwrap(), json!({}));
    }
    let answer = report_room(&alice, "!nowhere:example.org", json!({ "reason": "" })).await;
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
    report_room(&alice, &room, json!({})).await.expect_error(400, "M_MISSING_PARAM").unwrap();
}

#[tokio::test]
async fn a_member_reports_an_event() {
    let alice = support::user("alice").await;
    let stranger = support::user("stranger").await;
    let room = alice.create_public_room().await.unwrap();
    let event = alice.say(&room, "spam").await.unwrap();
    for body in [json!({ "reason": "spam", "score": -100 }), json!({})] {
        assert_eq!(report_event(&alice, &room, &event, body).await.ok().unwrap(), json!({}));
    }
    let reason = json!({ "reason": "spam" });
    let missing = |answer: Answer| answer.expect_error(404, "M_NOT_FOUND").unwrap();
    missing(report_event(&stranger, &room, &event, reason.clone()).await);
    missing(report_event(&alice, &room, "$nowhere", reason.clone()).await);
    missing(report_event(&alice, "!nowhere:example.org", &event, reason).await);
    let answer = report_event(&alice, &room, &event, json!({ "reason": [] })).await;
    answer.expect_error(400, "M_BAD_JSON").unwrap();
}

#[tokio::test]
async fn nobody_reports_without_a_token() {
    let anonymous = support::anonymous().await;
    for target in
        ["/_matrix/client/v3/rooms/!a:b.org/report", "/_matrix/client/v3/rooms/!a:b.org/report/$c"]
    {
        let answer = anonymous.post(target, json!({ "reason": "" })).await.unwrap();
        answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
    }
}
