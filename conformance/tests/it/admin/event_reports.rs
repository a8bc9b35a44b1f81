//! GET /_synapse/admin/v1/event_reports
//! GET /_synapse/admin/v1/event_reports/{reportId}
//! DELETE /_synapse/admin/v1/event_reports/{reportId}

use serde_json::{Value, json};
use starling_conformance::client::path;

use super::at;
use crate::support;

#[tokio::test]
async fn reports_of_events_are_listed_shown_and_removed() {
    let admin = support::admin().await;
    let (alice, mallory) = (support::user("alice").await, support::user("mallory").await);
    let room = alice.create_room(json!({ "preset": "public_chat", "name": "Den" })).await.unwrap();
    mallory.join(&room, &[]).await.unwrap();
    for reason in ["first", "second"] {
        let event = mallory.say(&room, "spam").await.unwrap();
        let target = path("/_matrix/client/v3/rooms/{}/report/{}", &[&room, &event]);
        alice.api.post(&target, json!({ "reason": reason })).await.unwrap().ok().unwrap();
    }
    let list = async |query: &str| -> Value {
        let target = at("/v1/event_reports?room_id={}", &[&room]);
        admin.api.get(&format!("{target}{query}")).await.unwrap().ok().unwrap()
    };
    let newest = list("&limit=1").await;
    assert_eq!((&newest["total"], &newest["next_token"]), (&json!(2), &json!(1)));
    let report = &newest["event_reports"][0];
    assert_eq!((&report["reason"], &report["name"]), (&json!("second"), &json!("Den")));
    assert_eq!((&report["user_id"], &report["sender"]), (&json!(alice.id), &json!(mallory.id)));
    assert_eq!(list("&dir=f").await["event_reports"][0]["reason"], "first");
    assert_eq!(list("&from=1").await["event_reports"][0]["reason"], "first");
    let by = |id: &str| path("&event_sender_user_id={}", &[id]);
    assert_eq!(list(&by(&alice.id)).await["total"], 0);
    assert_eq!(list(&by(&mallory.id)).await["total"], 2);
    assert_eq!(list(&path("&user_id={}", &[&mallory.id])).await["total"], 0);

    let one = at("/v1/event_reports/{}", &[report["id"].as_str().unwrap()]);
    let details = admin.api.get(&one).await.unwrap().ok().unwrap();
    assert_eq!(details["event_json"]["content"]["body"], "spam");
    admin.api.delete(&one).await.unwrap().ok().unwrap();
    admin.api.delete(&one).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    admin.api.get(&one).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    assert_eq!(list("").await["total"], 1);
}
