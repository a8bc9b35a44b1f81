//! Names from before the specification had its own, which clients still use.

use serde_json::json;
use starling_conformance::client::path;

use crate::support;

#[tokio::test]
async fn what_had_another_name_before_answers_by_it() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let root = alice.say(&room, "root").await.unwrap();
    let relation = json!({ "rel_type": "m.thread", "event_id": root });
    let content = json!({ "msgtype": "m.text", "body": "reply", "m.relates_to": relation });
    alice.send(&room, "m.room.message", content).await.unwrap();
    for (stable, old, query) in [
        ("v3/rooms/{}/aliases", "unstable/org.matrix.msc2432/rooms/{}/aliases", ""),
        (
            "v1/rooms/{}/timestamp_to_event",
            "unstable/org.matrix.msc3030/rooms/{}/timestamp_to_event",
            "?ts=0&dir=f",
        ),
    ] {
        let ask = async |template: &str| {
            let target = path(&format!("/_matrix/client/{template}{query}"), &[&room]);
            alice.api.get(&target).await.unwrap().ok().unwrap()
        };
        assert_eq!(ask(stable).await, ask(old).await, "{old}");
    }
    let threads = path("/_matrix/client/unstable/org.matrix.msc3856/rooms/{}/threads", &[&room]);
    let threads = alice.api.get(&threads).await.unwrap().ok().unwrap();
    assert_eq!(threads["chunk"][0]["event_id"], root.as_str());
    let replies = "/_matrix/client/unstable/rooms/{}/relations/{}/m.thread";
    let replies = alice.api.get(&path(replies, &[&room, &root])).await.unwrap().ok().unwrap();
    assert_eq!(replies["chunk"][0]["content"]["body"], "reply");
}

#[tokio::test]
async fn profile_fields_are_set_and_removed_by_their_old_name() {
    let alice = support::user("alice").await;
    let old = path("/_matrix/client/unstable/uk.tcpip.msc4133/profile/{}/m.tz", &[&alice.id]);
    let stable = path("/_matrix/client/v3/profile/{}/m.tz", &[&alice.id]);
    let field = json!({ "m.tz": "Europe/Berlin" });
    alice.api.put(&old, field.clone()).await.unwrap().ok().unwrap();
    for target in [&old, &stable] {
        assert_eq!(alice.api.get(target).await.unwrap().ok().unwrap(), field);
    }
    alice.api.delete(&old).await.unwrap().ok().unwrap();
    alice.api.get(&stable).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    let bob = support::user("bob").await;
    bob.api.put(&old, field).await.unwrap().expect_error(403, "M_FORBIDDEN").unwrap();
}

#[tokio::test]
async fn what_works_is_advertised() {
    let answer = support::anonymous().await.get("/_matrix/client/versions").await.unwrap();
    let features = answer.ok().unwrap()["unstable_features"].clone();
    for name in [
        "org.matrix.msc2285.stable",
        "org.matrix.msc3440.stable",
        "org.matrix.msc3771",
        "org.matrix.msc3773",
        "org.matrix.msc3827.stable",
        "org.matrix.msc3981",
        "uk.tcpip.msc4133",
        "uk.tcpip.msc4133.stable",
    ] {
        assert_eq!(features[name], true, "{name}");
    }
}
