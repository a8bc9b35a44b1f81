//! POST /_matrix/client/v4/sync

use serde_json::{Value, json};
use starling_conformance::client::path;

use super::connection::{ids, places};
use crate::support;

const V4: &str = "/_matrix/client/v4/sync";

fn request(pos: Option<&Value>, required_state: Value) -> Value {
    let mut request = json!({ "conn_id": "main", "lists": { "all": {
        "range": [0, 19], "timeline_limit": 1, "required_state": required_state,
    } } });
    if let Some(pos) = pos {
        request["pos"] = pos.clone();
    }
    request
}

#[tokio::test]
async fn needs_an_access_token_and_a_request() {
    let anonymous = support::anonymous().await;
    let answer = anonymous.post(V4, json!({})).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
    let alice = support::user("alice").await;
    let room = || json!({ "timeline_limit": 1, "required_state": {} });
    let many = |named: &dyn Fn(usize) -> String| -> Value {
        (0..101).map(|number| (named(number), room())).collect::<serde_json::Map<_, _>>().into()
    };
    let filtered = |filters: Value| {
        let mut list = room();
        list["filters"] = filters;
        json!({ "lists": { "a": list } })
    };
    for (body, errcode) in [
        (json!({ "lists": many(&|number| format!("l{number}")) }), "M_INVALID_PARAM"),
        (
            json!({ "room_subscriptions": many(&|number| format!("!{number}:x")) }),
            "M_INVALID_PARAM",
        ),
        (json!({ "lists": { "with space": room() } }), "M_INVALID_PARAM"),
        (json!({ "lists": { "": room() } }), "M_INVALID_PARAM"),
        (json!({ "set_presence": "asleep" }), "M_INVALID_PARAM"),
        (json!({ "pos": "nonsense" }), "M_UNKNOWN_POS"),
        (json!({ "lists": { "a": { "timeline_limit": 1 } } }), "M_MISSING_PARAM"),
        (json!({ "lists": { "a": { "required_state": {} } } }), "M_MISSING_PARAM"),
        (json!({ "timeout": "soon" }), "M_BAD_JSON"),
        (
            json!({ "room_subscriptions": { "!r:x": { "timeline_limit": 1, "required_state": [["a", "b"]] } } }),
            "M_BAD_JSON",
        ),
        (filtered(json!({ "not_tags": [1] })), "M_BAD_JSON"),
        (filtered(json!({ "tags": ["x".repeat(256)] })), "M_INVALID_PARAM"),
    ] {
        let answer = alice.api.post(V4, body.clone()).await.unwrap();
        answer.expect_error(400, errcode).unwrap_or_else(|error| panic!("{error}: {body}"));
    }
    let mut list = room();
    list["range"] = json!([3, 2]);
    let answer = alice.api.post(V4, json!({ "lists": { "a": list } })).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
}

#[tokio::test]
async fn a_room_has_the_fields_of_the_proposal() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let named = json!({ "preset": "public_chat", "name": "N", "topic": "T" });
    let room = alice.create_room(named).await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let invite = bob.create_room(json!({ "invite": [alice.id] })).await.unwrap();
    let but_create = json!({
        "include": [{}], "exclude": [{ "type": "m.room.create" }], "lazy_members": true,
    });
    let ask = async |body: Value| alice.api.post(V4, body).await.unwrap().ok().unwrap();
    let answer = ask(request(None, but_create.clone())).await;
    assert_eq!(answer["lists"]["all"]["count"], 2);
    let shown = &answer["rooms"][&room];
    assert_eq!(
        (&shown["membership"], &shown["lists"], &shown["name"]),
        (&json!("join"), &json!(["all"]), &json!("N"))
    );
    assert!(shown.get("notification_count").is_none() && shown.get("heroes").is_none());
    let state = places(shown);
    assert!(state.contains(&"m.room.topic/".to_owned()), "{state:?}");
    assert!(!state.contains(&"m.room.create/".to_owned()), "{state:?}");
    // Bob's join is the timeline, Alice says nothing in it.
    let members: Vec<_> = state.iter().filter(|place| place.starts_with("m.room.member")).collect();
    assert_eq!(members, [&format!("m.room.member/{}", bob.id)]);
    let invited = &answer["rooms"][&invite];
    assert_eq!(invited["membership"], "invite");
    assert!(invited["stripped_state"].is_array() && invited.get("invite_state").is_none());

    alice.set_state(&room, "m.room.name", "", json!({})).await.unwrap();
    let pos = &answer["pos"];
    let news = ask(request(Some(pos), but_create.clone())).await;
    let shown = &news["rooms"][&room];
    assert!(shown["name"].is_null() && shown.get("name").is_some(), "{shown}");
    assert_eq!(shown["heroes"][0]["user_id"], bob.id.as_str());
    assert_eq!(ids(&news), [room.as_str()]);

    let mut longer = request(Some(&news["pos"]), but_create);
    longer["lists"]["all"]["timeline_limit"] = json!(3);
    let news = ask(longer).await;
    assert_eq!(news["rooms"][&room]["expanded_timeline"], true);
    assert!(news["rooms"][&room].get("unstable_expanded_timeline").is_none());
    let pos = news["pos"].as_str().unwrap();
    let target = path("/_matrix/client/v3/rooms/{}/messages?dir=b&from={}", &[&room, pos]);
    alice.api.get(&target).await.unwrap().ok().unwrap();
}

#[tokio::test]
async fn a_subscription_needs_no_list() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    alice.create_public_room().await.unwrap();
    let required = json!({ "include": [{ "type": "m.room.create", "state_key": "" }] });
    let subscribed = json!({ "room_subscriptions": {
        (&room): { "timeline_limit": 2, "required_state": required },
        "!unknown:x": { "timeline_limit": 2, "required_state": {} },
        "no room": { "timeline_limit": 2, "required_state": {} },
    } });
    let answer = alice.api.post(V4, subscribed).await.unwrap().ok().unwrap();
    assert_eq!(ids(&answer), [room.as_str()]);
    let shown = &answer["rooms"][&room];
    assert!(shown.get("lists").is_none() && shown["initial"] == true);
    assert_eq!(places(shown), ["m.room.create/"]);
    assert_eq!(shown["timeline"].as_array().unwrap().len(), 2);
}
